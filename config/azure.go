package config

import (
	"slices"
	"strings"

	"tokenbroker/entra"
)

// defaultName is the identity that is used where none is named.
const defaultName = "default"

// The variables of the Azure SDKs and of the workload-identity webhook.
// See "Azure Workload Identity: Mutating Admission Webhook",
// https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html.
const (
	azureTenant      = "AZURE_TENANT_ID"
	azureClient      = "AZURE_CLIENT_ID"
	azureToken       = "AZURE_FEDERATED_TOKEN_FILE"
	azureSecret      = "AZURE_CLIENT_SECRET" //nolint:gosec // the name of a variable
	azureCertificate = "AZURE_CLIENT_CERTIFICATE_PATH"
	azureAuthority   = "AZURE_AUTHORITY_HOST"
)

// azureSet lists which of these variables are set, and not named by an identity
// as the one with its secret.
func (l *loader) azureSet() []string {
	all := []string{azureTenant, azureClient, azureToken, azureSecret, azureCertificate, azureAuthority}
	for _, id := range l.cfg.Identities {
		all = slices.DeleteFunc(all, func(name string) bool { return name == id.Credential.Env })
	}
	return slices.DeleteFunc(all, func(name string) bool { return l.env[name] == "" })
}

// chooseIdentities keeps the identities of the file, or else makes the default
// one from the AZURE_ variables.
func (l *loader) chooseIdentities() {
	_, inFile := l.faults.origins["identities"]
	set := l.azureSet()
	switch {
	case inFile && len(l.cfg.Identities) == 0 && !l.faults.below("identities"):
		l.faults.add("identities", "none; name one, or remove the key and set %s", azureTenant)
	case inFile && len(set) > 0:
		l.warn(strings.Join(set, ", ") + ": ignored, since the configuration file has identities")
	case inFile:
	case len(set) == 0:
		l.faults.add("identities", "none; name one in a configuration file, or set %s, %s and either %s or %s",
			azureTenant, azureClient, azureToken, azureSecret)
	default:
		l.azureIdentity()
	}
}

// azureIdentity makes the identity named default from the variables.
//
// Where the variables name two credentials, the Azure SDKs take the first of
// a list. Here that is a fault: the webhook gives its token file to every
// container of a labelled Pod, so neither order would be what is always meant.
func (l *loader) azureIdentity() {
	var id Identity
	const path = "identities." + defaultName
	from := func(name, key string) string {
		l.faults.origins[join(path, key)] = origin{name: name}
		return l.env[name]
	}
	text := func(setting any, name, key string) {
		if _, err := setText(setting, from(name, key)); err != nil {
			l.faults.add(join(path, key), "%s", message(err))
		}
	}
	text(&id.Tenant, azureTenant, "tenant")
	text(&id.ClientID, azureClient, "client_id")

	credential, token, secret := &id.Credential, l.env[azureToken], l.env[azureSecret]
	switch {
	case l.env[azureCertificate] != "":
		from(azureCertificate, "credential")
		l.faults.add(join(path, "credential"), "certificates are not in this version; unset it and use %s or %s", azureToken, azureSecret)
	case token != "" && secret != "":
		from(azureSecret, "credential")
		l.faults.add(join(path, "credential"), "%s is set as well; unset one, or say in identities which one is meant", azureToken)
	case token != "":
		credential.Kind = WorkloadIdentity
		text(&credential.TokenFile, azureToken, "credential.token_file")
	case secret != "":
		credential.Kind, credential.Env = ClientSecret, azureSecret
		from(azureSecret, "credential.env")
	default:
		l.faults.add(join(path, "credential"), "none; set %s or %s (managed identity is not in this version)", azureToken, azureSecret)
	}
	l.cfg.Identities = map[string]Identity{defaultName: id}

	if host := l.env[azureAuthority]; host != "" && l.cfg.Authority == "" {
		l.faults.origins["authority"] = origin{name: azureAuthority}
		authority, err := entra.ParseAuthority(host)
		if err != nil {
			l.faults.add("authority", "%s", message(err))
		}
		l.cfg.Authority = authority
	}
}
