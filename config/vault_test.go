package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
)

const (
	app      = "tenant: contoso.com, client_id: " + client + ", "
	inVault  = "vault: 'https://Contoso.vault.azure.net/', name: defender"
	resource = "/subscriptions/s/resourceGroups/soc/providers/Microsoft.ManagedIdentity/userAssignedIdentities/Hunter"
)

// with is a file whose identity has the credential.
func with(credential string) string {
	return "caller_key_file: /k\nidentities: {default: {" + app + "credential: {" + credential + "}}}\n"
}

func TestVaultIsReadAsItSaysOrAsTheVariablesDo(t *testing.T) {
	managed := InnerCredential{Kind: ManagedIdentity}
	webhook := []string{"AZURE_FEDERATED_TOKEN_FILE=/t", "AZURE_CLIENT_ID=33333333-3333-3333-3333-333333333333", "AZURE_TENANT_ID=fabrikam.com"}
	const ignored = ": ignored, since the configuration file has identities"
	for _, tt := range []struct {
		name, access string
		env          []string
		want         InnerCredential
		warning      string
	}{
		{"managed identity", ", credential: {kind: managed-identity}", nil, managed, ""},
		{"user-assigned", ", credential: {kind: managed-identity, object_id: AAAAAAAA-1111-1111-1111-111111111111}", nil, InnerCredential{Kind: ManagedIdentity, ObjectID: "aaaaaaaa-1111-1111-1111-111111111111"}, ""},
		{"by resource", ", credential: {kind: managed-identity, resource_id: " + resource + "}", nil, InnerCredential{Kind: ManagedIdentity, ResourceID: resource}, ""},
		{"the identity's workload", ", credential: {kind: workload-identity, token_file: /t}", nil, InnerCredential{Kind: WorkloadIdentity, TokenFile: "/t", Tenant: "contoso.com", ClientID: client}, ""},
		{
			"another's workload", ", credential: {kind: workload-identity, token_file: /t, tenant: fabrikam.com, client_id: 33333333-3333-3333-3333-333333333333}", webhook[:1],
			InnerCredential{Kind: WorkloadIdentity, TokenFile: "/t", Tenant: "fabrikam.com", ClientID: "33333333-3333-3333-3333-333333333333"},
			"AZURE_FEDERATED_TOKEN_FILE" + ignored,
		},
		{"nothing said", "", nil, managed, ""},
		{"the variables' workload", "", webhook, InnerCredential{Kind: WorkloadIdentity, TokenFile: "/t", Tenant: "fabrikam.com", ClientID: "33333333-3333-3333-3333-333333333333"}, ""},
		{"the variables' file alone", "", webhook[:1], InnerCredential{Kind: WorkloadIdentity, TokenFile: "/t", Tenant: "contoso.com", ClientID: client}, ""},
		{"the variables' managed identity", "", webhook[1:2], InnerCredential{Kind: ManagedIdentity, ClientID: "33333333-3333-3333-3333-333333333333"}, ""},
		{"a variable of no use", "", []string{"AZURE_CLIENT_SECRET=x"}, managed, "AZURE_CLIENT_SECRET" + ignored},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, kind := range []CredentialKind{KeyVaultSecret, KeyVaultCertificate} {
				c := good(t, with("kind: "+string(kind)+", "+inVault+tt.access), tt.env...)
				want := Credential{Kind: kind, Vault: "https://contoso.vault.azure.net", Name: "defender", Access: tt.want}
				if diff := cmp.Diff(c.Identities["default"].Credential, want, sameSecret); diff != "" {
					t.Error(diff)
				}
				if got := strings.Join(c.Warnings, "\n"); got != tt.warning {
					t.Errorf("got warnings %q, want %q", got, tt.warning)
				}
			}
		})
	}
}

func TestVaultIsOfTheCloud(t *testing.T) {
	for _, tt := range []struct{ cloud, vault, wants, resource string }{
		{"public", "https://a.vault.azure.net", "", "https://vault.azure.net"},
		{"gcc", "https://a.vault.azure.net", "", "https://vault.azure.net"},
		{"gcchigh", "https://a.vault.usgovcloudapi.net", "", "https://vault.usgovcloudapi.net"},
		{"dod", "https://a.vault.usgovcloudapi.net", "", "https://vault.usgovcloudapi.net"},
		{"china", "https://a.vault.azure.cn", "", "https://vault.azure.cn"},
		{"public", "https://a.vault.azure.cn", "https://NAME.vault.azure.net", ""},
		{"dod", "https://a.vault.azure.net", "https://NAME.vault.usgovcloudapi.net", ""},
		{"public", "https://a.vault.azure.net.evil.example", "https://NAME.vault.azure.net", ""},
		{"public", "https://evilvault.azure.net", "https://NAME.vault.azure.net", ""},
		{"public", "https://a.vault.azure.net:8443", "https://NAME.vault.azure.net", ""},
		{"public\nauthority: https://login.chinacloudapi.cn", "https://a.example", "https://NAME.vault.azure.net", ""},
		{"public\nauthority: https://westus2.login.microsoft.com:443", "https://a.example", "https://NAME.vault.azure.net", ""},
		{"public\nauthority: https://localhost:8443", "https://localhost:9443", "", "https://vault.azure.net"},
	} {
		c, err := try(t, with("kind: key-vault-secret, name: x, vault: '"+tt.vault+"'")+"cloud: "+tt.cloud)
		if tt.wants == "" {
			if err != nil || c.VaultResource() != tt.resource {
				t.Errorf("%s, %s: got %v, tokens for %s", tt.cloud, tt.vault, err, c.VaultResource())
			}
			continue
		}
		if got := text(err); !strings.Contains(got, "identities.default.credential.vault: \""+tt.vault+"\": no Key Vault of cloud ") || !strings.HasSuffix(got, "; want "+tt.wants) {
			t.Errorf("%s, %s: got %s", tt.cloud, tt.vault, got)
		}
	}
}

func TestFaultsOfVaultsAndManagedIdentities(t *testing.T) {
	const (
		path  = "config.yaml:1: identities.default"
		vault = "kind: key-vault-certificate, " + inVault
	)
	for _, tt := range []struct{ name, identity, want string }{
		{"client id beside", app + "credential: {kind: managed-identity}", path + ".client_id: a managed identity has it in its credential; move it there"},
		{"further tenants", "tenants: [a.example], credential: {kind: managed-identity}", path + ".tenants: a managed identity has tokens of its own tenant only; remove them, or let an app registration trust it"},
		{"two names", "credential: {kind: managed-identity, client_id: " + client + ", object_id: " + client + "}", path + ".credential: client_id, object_id and resource_id: want one of them at most"},
		{"object", "credential: {kind: managed-identity, object_id: x}", path + `.credential.object_id: "x": want the object (principal) id of the managed identity, a GUID`},
		{"resource", "credential: {kind: managed-identity, resource_id: hunter}", path + `.credential.resource_id: "hunter": want /subscriptions/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME`},
		{"secret's file", "credential: {kind: managed-identity, file: /s}", path + ".credential.file: belongs to kind secret or certificate; remove it, or change the kind"},
		{"no vault, no name", app + "credential: {kind: key-vault-secret}", path + ".credential.vault: missing; want https://NAME.vault.azure.net\n" + path + ".credential.name: missing; want the name in the vault"},
		{"a secret's URL", app + "credential: {kind: key-vault-secret, vault: 'https://a.vault.azure.net/secrets/x', name: x}", path + ".credential.vault: want the vault's address alone, as in https://NAME.vault.azure.net"},
		{"http", app + "credential: {kind: key-vault-secret, vault: 'http://a.vault.azure.net', name: x}", path + ".credential.vault: want the vault's address alone, as in https://NAME.vault.azure.net"},
		{"a name with a version", app + "credential: {kind: key-vault-secret, vault: 'https://a.vault.azure.net', name: x/1}", path + `.credential.name: "x/1": want the name in the vault, letters, digits and hyphens, without a version`},
		{"a chain of a secret", app + "credential: {kind: key-vault-secret, " + inVault + ", send_chain: true}", path + ".credential.send_chain: belongs to kind certificate or key-vault-certificate; remove it, or change the kind"},
		{"a vault of a secret", app + "credential: {kind: secret, file: /s, " + inVault + ", credential: {kind: managed-identity}}", path + ".credential.vault: belongs to kind key-vault-secret or key-vault-certificate; remove it, or change the kind\n" +
			path + ".credential.name: belongs to kind key-vault-secret or key-vault-certificate; remove it, or change the kind\n" +
			path + ".credential.credential: belongs to kind key-vault-secret, key-vault-certificate or on-behalf-of; remove it, or change the kind"},
		{"read with a secret", app + "credential: {" + vault + ", credential: {kind: secret}}", path + ".credential.credential.kind: secret: a vault is read with workload-identity or managed-identity"},
		{"read with no kind", app + "credential: {" + vault + ", credential: {token_file: /t}}", path + ".credential.credential.kind: missing; want workload-identity or managed-identity"},
		{"read with no file", app + "credential: {" + vault + ", credential: {kind: workload-identity, client_id: x}}", path + ".credential.credential.token_file: missing; on AKS it is /var/run/secrets/azure/tokens/azure-identity-token\n" +
			path + `.credential.credential.client_id: "x": want the client id, a GUID`},
		{"read with a file too many", app + "credential: {" + vault + ", credential: {kind: managed-identity, token_file: /t, tenant: contoso.com}}", path + ".credential.credential.token_file: belongs to kind workload-identity; remove it, or change the kind\n" +
			path + ".credential.credential.tenant: belongs to kind workload-identity; remove it, or change the kind"},
		{"read by an object", app + "credential: {" + vault + ", credential: {kind: workload-identity, token_file: /t, object_id: " + client + ", resource_id: x}}", path + ".credential.credential.object_id: belongs to kind managed-identity; remove it, or change the kind\n" +
			path + ".credential.credential.resource_id: belongs to kind managed-identity; remove it, or change the kind"},
		{"read by no tenant", app + "credential: {" + vault + ", credential: {kind: workload-identity, token_file: /t, tenant: common}}", path + `.credential.credential.tenant: tenant "common": want a GUID or a domain name such as contoso.onmicrosoft.com`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := try(t, "identities: {default: {"+tt.identity+"}}")
			if got := text(err); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestIdentitiesAreToldApart: two that get different tokens never share them.
func TestIdentitiesAreToldApart(t *testing.T) {
	managed := func(c Credential) Identity {
		c.Kind = ManagedIdentity
		return Identity{Credential: c}
	}
	seen := map[entra.IdentityID]int{}
	for i, id := range []Identity{
		managed(Credential{}),
		{Tenant: tenant, Credential: Credential{Kind: ManagedIdentity}},
		managed(Credential{ClientID: client}), managed(Credential{ObjectID: client}), managed(Credential{ResourceID: resource}),
		{Tenant: tenant, ClientID: client, Credential: Credential{Kind: KeyVaultSecret}},
		{Tenant: tenant, ClientID: client, Credential: Credential{Kind: KeyVaultCertificate}},
		{Tenant: tenant, ClientID: client, Credential: Credential{Kind: Certificate}},
	} {
		name := id.ID("https://login.microsoftonline.com")
		if other, twice := seen[name]; twice {
			t.Errorf("identities %d and %d are both %s", other, i, name)
		}
		seen[name] = i
	}
	upper, lower := managed(Credential{ResourceID: resource}), managed(Credential{ResourceID: strings.ToLower(resource)})
	if upper.ID("x") != lower.ID("x") {
		t.Error("the letter case of a resource id counts")
	}
	_, err := try(t, "identities: {a: {credential: {kind: managed-identity}}, default: {credential: {kind: managed-identity}}}")
	if want := "config.yaml:1: identities.default: the same tenant, client_id and kind of credential as identities.a; keep one of them"; text(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
