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
	azureCertificate = "AZURE_CLIENT_CERTIFICATE_PATH"
	azurePassword    = "AZURE_CLIENT_CERTIFICATE_PASSWORD" //nolint:gosec // the name of a variable
	azureChain       = "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN"
	azureSecret      = "AZURE_CLIENT_SECRET" //nolint:gosec // the name of a variable
	azureAuthority   = "AZURE_AUTHORITY_HOST"
)

// azureSet lists which of these variables are set, and not used by an identity:
// as the one with its secret, or to read its vault.
func (l *loader) azureSet() []string {
	all := []string{azureTenant, azureClient, azureToken, azureCertificate, azurePassword, azureChain, azureSecret, azureAuthority}
	for _, id := range l.cfg.Identities {
		all = slices.DeleteFunc(all, func(name string) bool {
			return name == id.Credential.Env || name == id.Credential.Access.Env || needsAzure(&id) && slices.Contains([]string{azureTenant, azureClient, azureToken}, name)
		})
	}
	return slices.DeleteFunc(all, func(name string) bool { return l.env[name] == "" })
}

// chooseIdentities keeps the identities of the file, or else makes the default
// one from the AZURE_ variables, be it that none of them is set.
func (l *loader) chooseIdentities() {
	_, inFile := l.faults.origins["identities"]
	set := l.azureSet()
	switch {
	case inFile && len(l.cfg.Identities) == 0 && !l.faults.below("identities"):
		l.faults.add("identities", "none; name one, or remove the key and set %s", azureTenant)
	case inFile && len(set) > 0:
		l.warn(strings.Join(set, ", ") + ": ignored, since the configuration file has identities")
	case inFile:
	default:
		l.azureIdentity()
	}
}

// azureCredentials lists the variables that name a credential.
func azureCredentials() []string { return []string{azureToken, azureCertificate, azureSecret} }

// azureIdentity makes the identity named default from the variables.
func (l *loader) azureIdentity() {
	var id Identity
	const path = "identities." + defaultName
	l.azureText(&id.Tenant, azureTenant, join(path, "tenant"))
	l.azureCredential(&id, path)
	l.cfg.Identities = map[string]Identity{defaultName: id}

	if host := l.env[azureAuthority]; host != "" && l.cfg.Authority == "" {
		l.azureText(&l.cfg.Authority, azureAuthority, "authority")
	}
}

// azureCredential makes the credential, and says whose it is.
//
// Where the variables name several, the Azure SDKs take the first of a list.
// Here that is a fault: the webhook gives its token file to every container of
// a labelled Pod, so no order would be what is always meant.
func (l *loader) azureCredential(id *Identity, identity string) {
	c, path := &id.Credential, join(identity, "credential")
	given := slices.DeleteFunc(azureCredentials(), func(name string) bool { return l.env[name] == "" })
	if !slices.Contains(given, azureCertificate) {
		for _, name := range []string{azurePassword, azureChain} {
			if l.env[name] != "" {
				l.warn(name + " has no effect without " + azureCertificate)
			}
		}
	}
	if len(given) == 0 {
		c.Kind = ManagedIdentity
		l.azureText(&c.ClientID, azureClient, join(path, "client_id"))
		l.cfg.Notes = append(l.cfg.Notes, "no identities in a file and none of "+strings.Join(azureCredentials(), ", ")+" is set: "+
			"the identity default is the managed identity of where the broker runs, the one of "+azureClient+" where that is set")
		return
	}
	l.azureText(&id.ClientID, azureClient, join(identity, "client_id"))
	if last := len(given) - 1; last > 0 {
		l.faults.origins[path] = origin{name: given[last]}
		l.faults.add(path, "set beside %s; unset all but one, or say in identities which one is meant", strings.Join(given[:last], " and "))
		return
	}
	switch given[0] {
	case azureToken:
		c.Kind = WorkloadIdentity
		l.azureText(&c.TokenFile, azureToken, join(path, "token_file"))
	case azureCertificate:
		c.Kind = Certificate
		l.azureText(&c.File, azureCertificate, join(path, "file"))
		if l.env[azurePassword] != "" {
			l.faults.origins[join(path, "password_file")] = origin{name: azurePassword}
			l.seal(&c.Password, azurePassword, join(path, "password_file"))
		}
		c.SendChain = l.azureSendChain(join(path, "send_chain"))
	case azureSecret:
		c.Kind, c.Env = ClientSecret, azureSecret
		l.faults.origins[join(path, "env")] = origin{name: azureSecret}
	}
}

// azureText gives a setting the value of a variable.
func (l *loader) azureText(setting any, name, path string) {
	l.faults.origins[path] = origin{name: name}
	if _, err := setText(setting, l.env[name]); err != nil {
		l.faults.add(path, "%s", message(err))
	}
}

// azureSendChain reads whether the chain is sent, in the spellings of the Azure
// SDKs. They take every other one for false.
func (l *loader) azureSendChain(path string) bool {
	switch value := strings.ToLower(l.env[azureChain]); value {
	case "1", "true":
		return true
	case "", "0", "false":
	default:
		l.faults.origins[path] = origin{name: azureChain}
		l.faults.add(path, "%s: want true or 1, false or 0", entra.Quote(value))
	}
	return false
}
