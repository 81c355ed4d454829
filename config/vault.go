package config

import (
	"net/url"
	"slices"
	"strings"

	"tokenbroker/entra"
)

// VaultResource is whom tokens for the cloud's Key Vaults are for. The vaults
// are hosts below it ("Azure Key Vault endpoints in national clouds").
func (c *Config) VaultResource() string {
	switch c.Cloud {
	case entra.GCCHigh, entra.DoD:
		return "https://vault.usgovcloudapi.net"
	case entra.China:
		return "https://vault.azure.cn"
	}
	return "https://vault.azure.net"
}

// parseVault accepts an https host, with a slash at the end as the portal shows it.
func parseVault(text string) (VaultURL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" ||
		u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Port() != "" && !isPort(u.Port()) {
		return "", invalid("want the vault's address alone, as in https://NAME.vault.azure.net") // without the text: it may hold a secret's URL
	}
	return VaultURL("https://" + strings.ToLower(u.Host)), nil
}

// checkVault checks what is read, and where.
//
// The token that the vault gets is good at every other vault that its identity
// may read. So it goes to the cloud's vaults only, unless the authority is an
// emulator's, whose tokens are good nowhere.
func (l *loader) checkVault(c *Credential, path string) {
	below := "." + strings.TrimPrefix(l.cfg.VaultResource(), "https://")
	switch at := join(path, "vault"); {
	case c.Vault == "":
		l.faults.add(at, "missing; want https://NAME%s", below)
	case !strings.HasSuffix(string(c.Vault), below) && isMicrosofts(l.cfg.Authority):
		l.faults.add(at, "%s: no Key Vault of cloud %s; want https://NAME%s", entra.Quote(string(c.Vault)), l.cfg.Cloud, below)
	}
	const letters = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	switch at := join(path, "name"); {
	case c.Name == "":
		l.faults.add(at, "missing; want the name in the vault")
	case len(c.Name) > 127 || strings.Trim(c.Name, letters) != "":
		l.faults.add(at, "%s: want the name in the vault, letters, digits and hyphens, without a version", entra.Quote(c.Name))
	}
}

// isMicrosofts reports whether the authority's host is in a domain of
// Microsoft's or of an operator of one of its clouds.
func isMicrosofts(authority entra.Authority) bool {
	return slices.ContainsFunc([]string{
		"microsoft.com", "windows.net", "microsoftonline.com", "microsoftonline.us", "microsoftonline.de", "microsoftonline.cn", "chinacloudapi.cn",
		"sovcloud-identity.fr", "sovcloud-identity.de", "sovcloud-identity.sg",
	}, func(domain string) bool {
		host, _, _ := strings.Cut(authority.Host(), ":")
		return host == domain || strings.HasSuffix(host, "."+domain)
	})
}

// checkAccess checks the identity that reads the vault, and fills in what is
// left out.
func (l *loader) checkAccess(id *Identity, path string) {
	a := &id.Credential.Access
	if l.faults.within(path) {
		return
	}
	if *a == (InnerCredential{}) {
		l.azureAccess(a, path)
	}
	switch a.Kind {
	case WorkloadIdentity:
		l.checkTokenFile(a.TokenFile, path)
		l.checkGUID(&a.ClientID, join(path, "client_id"), "the client id")
	case ManagedIdentity:
		l.checkSelector(&a.ClientID, &a.ObjectID, a.ResourceID, path)
	case "":
		l.faults.add(join(path, "kind"), "missing; want %s", orList([]CredentialKind{WorkloadIdentity, ManagedIdentity}))
		return
	default:
		l.faults.add(join(path, "kind"), "%s: a vault is read with %s", a.Kind, orList([]CredentialKind{WorkloadIdentity, ManagedIdentity}))
		return
	}
	l.checkForeign(path, a.Kind, []field{
		{"file", a.File != "", []CredentialKind{ClientSecret, Certificate}},
		{"env", a.Env != "", []CredentialKind{ClientSecret}},
		{"key_file", a.KeyFile != "", []CredentialKind{Certificate}},
		{"password_file", a.PasswordFile != "", []CredentialKind{Certificate}},
		{"send_chain", a.SendChain, []CredentialKind{Certificate}},
		{"token_file", a.TokenFile != "", []CredentialKind{WorkloadIdentity}},
		{"tenant", a.Tenant != "", []CredentialKind{WorkloadIdentity}},
		{"object_id", a.ObjectID != "", []CredentialKind{ManagedIdentity}},
		{"resource_id", a.ResourceID != "", []CredentialKind{ManagedIdentity}},
	})
	if a.Kind == WorkloadIdentity {
		if a.Tenant == "" {
			a.Tenant = id.Tenant
		}
		if a.ClientID == "" {
			a.ClientID = id.ClientID
		}
	}
}

// azureAccess makes the identity that reads a vault from the variables.
func (l *loader) azureAccess(a *InnerCredential, path string) {
	a.Kind = ManagedIdentity
	if l.env[azureToken] != "" {
		a.Kind = WorkloadIdentity
		l.azureText(&a.TokenFile, azureToken, join(path, "token_file"))
		l.azureText(&a.Tenant, azureTenant, join(path, "tenant"))
	}
	l.azureText(&a.ClientID, azureClient, join(path, "client_id"))
}

// needsAzure reports whether an identity's vault is read as the variables say.
func needsAzure(id *Identity) bool {
	c := &id.Credential
	return (c.Kind == KeyVaultSecret || c.Kind == KeyVaultCertificate) && c.Access == (InnerCredential{})
}

// selector is the one way in which a managed identity is named.
type selector struct{ key, value string }

func selectorOf(clientID, objectID, resourceID string) selector {
	switch {
	case clientID != "":
		return selector{"client_id", clientID}
	case objectID != "":
		return selector{"object_id", objectID}
	case resourceID != "":
		return selector{"resource_id", resourceID}
	}
	return selector{}
}

// checkSelector checks how a managed identity is named.
func (l *loader) checkSelector(clientID, objectID *string, resourceID, path string) {
	l.checkGUID(clientID, join(path, "client_id"), "the client id of the managed identity")
	l.checkGUID(objectID, join(path, "object_id"), "the object (principal) id of the managed identity")
	lower := strings.ToLower(resourceID)
	if lower != "" && (!strings.HasPrefix(lower, "/subscriptions/") || !strings.Contains(lower, "/providers/microsoft.managedidentity/userassignedidentities/")) {
		l.faults.add(join(path, "resource_id"), "%s: want /subscriptions/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME", entra.Quote(resourceID))
	}
	named := slices.DeleteFunc([]string{*clientID, *objectID, resourceID}, func(s string) bool { return s == "" })
	if len(named) > 1 {
		l.faults.add(path, "client_id, object_id and resource_id: want one of them at most")
	}
}
