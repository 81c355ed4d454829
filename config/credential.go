package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// ID names the identity for good, by all that decides whose tokens it gets:
// see [entra.IdentityID].
func (id *Identity) ID(authority entra.Authority) entra.IdentityID {
	client := id.ClientID
	if c := &id.Credential; c.Kind == ManagedIdentity {
		selector := selectorOf(c.ClientID, c.ObjectID, c.ResourceID)
		client = strings.ToLower(selector.key + " " + selector.value)
	}
	parts := []string{string(authority), string(id.Tenant), client, string(id.Credential.Kind)}
	switch id.Credential.Kind {
	case DeviceCode, Browser: // whose sign-in it is, of several to one app
		parts = append(parts, id.Name)
	case Password:
		parts = append(parts, strings.ToLower(id.Credential.Username))
	case OnBehalfOf: // whose tokens are taken
		parts = append(parts, id.Credential.Audiences...)
	}
	return entra.NewIdentityID(parts...)
}

// credentialKinds lists the kinds of credential.
func credentialKinds() []CredentialKind {
	return []CredentialKind{ClientSecret, Certificate, WorkloadIdentity, ManagedIdentity, KeyVaultSecret, KeyVaultCertificate, DeviceCode, Browser, Password, OnBehalfOf}
}

// checkIdentities checks the identities, reads the secrets that stand in
// variables, and returns what the table has to know.
func (l *loader) checkIdentities() []route.Identity {
	var all []route.Identity
	names := map[entra.IdentityID]string{}
	for _, name := range slices.Sorted(maps.Keys(l.cfg.Identities)) {
		id, path := l.cfg.Identities[name], join("identities", name)
		if id.SignsIn() {
			id.Name = name
		}
		if id.Credential.Kind == ManagedIdentity {
			l.checkManaged(&id, path)
		} else {
			l.checkApp(&id, path)
		}
		l.checkCredential(&id, join(path, "credential"))
		l.checkStore(&id, join(path, "store"))
		l.cfg.Identities[name] = id
		if other, twice := names[id.ID(l.cfg.Authority)]; twice && !l.faults.below(path) {
			// Their tokens could not be told apart, nor whose credential is meant.
			l.faults.add(path, "the same tenant, client_id and kind of credential as identities.%s; keep one of them", other)
		}
		names[id.ID(l.cfg.Authority)] = name
		all = append(all, route.Identity{
			Name: name, ID: id.ID(l.cfg.Authority), Tenant: id.Tenant, Tenants: id.Tenants, Known: id.known(), OnBehalfOf: id.Credential.Kind == OnBehalfOf,
		})
	}
	return all
}

// known is what Entra and Azure know the identity by.
func (id *Identity) known() route.Known {
	c := &id.Credential
	return route.Known{ClientID: cmp.Or(id.ClientID, c.ClientID), ObjectID: c.ObjectID, ResourceID: c.ResourceID, User: c.Username}
}

// checkApp checks an identity that is an app registration.
func (l *loader) checkApp(id *Identity, path string) {
	if id.Tenant == "" {
		l.faults.add(join(path, "tenant"), "missing; want a GUID or a domain name such as contoso.onmicrosoft.com")
	}
	if id.ClientID == "" {
		l.faults.add(join(path, "client_id"), "missing; want the application (client) id, a GUID")
	}
	l.checkGUID(&id.ClientID, join(path, "client_id"), "the application (client) id")
}

// checkManaged checks an identity that is a managed one. Who it is stands in
// its credential, since it proves nothing else.
func (l *loader) checkManaged(id *Identity, path string) {
	if id.ClientID != "" {
		l.faults.add(join(path, "client_id"), "a managed identity has it in its credential; move it there")
	}
	if len(id.Tenants) > 0 {
		l.faults.add(join(path, "tenants"), "a managed identity has tokens of its own tenant only; remove them, or let an app registration trust it")
	}
}

// checkGUID checks a GUID that may be left out, and lowers it.
func (l *loader) checkGUID(text *string, path, what string) {
	if *text != "" && !entra.IsGUID(*text) {
		l.faults.add(path, "%s: want %s, a GUID", entra.Quote(*text), what)
	}
	*text = strings.ToLower(*text)
}

// checkCredential holds a credential to the fields of its kind.
func (l *loader) checkCredential(id *Identity, path string) {
	if l.faults.has(path) || l.faults.has(join(path, "kind")) {
		return
	}
	c := &id.Credential
	switch c.Kind {
	case ClientSecret, Certificate, WorkloadIdentity:
		l.checkAppProof(c, path)
	case ManagedIdentity:
		l.checkSelector(&c.ClientID, &c.ObjectID, c.ResourceID, path)
	case KeyVaultSecret, KeyVaultCertificate:
		l.checkVault(c, path)
	case DeviceCode, Browser:
		l.checkRedirect(c.RedirectURI, join(path, "redirect_uri"))
	case Password:
		l.checkPassword(c, path)
	case OnBehalfOf:
		l.checkAudiences(id, join(path, "audiences"))
		l.checkOnBehalfOf(c, join(path, "credential"))
	default:
		l.faults.add(join(path, "kind"), "missing; want %s", orList(credentialKinds()))
		return
	}
	l.checkForeign(path, c.Kind, []field{
		{"file", c.File != "", []CredentialKind{ClientSecret, Certificate}},
		{"env", c.Env != "", []CredentialKind{ClientSecret}},
		{"token_file", c.TokenFile != "", []CredentialKind{WorkloadIdentity}},
		{"key_file", c.KeyFile != "", []CredentialKind{Certificate}},
		{"password_file", c.PasswordFile != "", []CredentialKind{Certificate, Password}},
		{"send_chain", c.SendChain, []CredentialKind{Certificate, KeyVaultCertificate}},
		{"client_id", c.ClientID != "", []CredentialKind{ManagedIdentity}},
		{"object_id", c.ObjectID != "", []CredentialKind{ManagedIdentity}},
		{"resource_id", c.ResourceID != "", []CredentialKind{ManagedIdentity}},
		{"vault", c.Vault != "", []CredentialKind{KeyVaultSecret, KeyVaultCertificate}},
		{"name", c.Name != "", []CredentialKind{KeyVaultSecret, KeyVaultCertificate}},
		{"redirect_uri", c.RedirectURI != "", []CredentialKind{DeviceCode, Browser}},
		{"username", c.Username != "", []CredentialKind{Password}},
		{"audiences", len(c.Audiences) > 0, []CredentialKind{OnBehalfOf}},
		{"credential", c.Access != (InnerCredential{}), []CredentialKind{KeyVaultSecret, KeyVaultCertificate, OnBehalfOf}},
	})
	if c.Kind == KeyVaultSecret || c.Kind == KeyVaultCertificate {
		l.checkAccess(id, join(path, "credential"))
	}
}

// checkAppProof checks how an app proves itself with what is in files or variables.
func (l *loader) checkAppProof(c *Credential, path string) {
	switch c.Kind {
	case ClientSecret:
		switch {
		case c.File != "" && c.Env != "":
			l.faults.add(path, "file and env are both set; want one")
		case c.File == "" && c.Env == "":
			l.faults.add(path, "neither file nor env is set; want the file with the client secret")
		case c.Env != "":
			l.seal(&c.Secret, c.Env, join(path, "env"))
		}
	case Certificate:
		if c.File == "" {
			l.faults.add(join(path, "file"), "missing; want the file with the certificate, PEM or PFX")
		}
	case WorkloadIdentity:
		l.checkTokenFile(c.TokenFile, path)
	}
}

func (l *loader) checkTokenFile(file, path string) {
	if file == "" {
		l.faults.add(join(path, "token_file"), "missing; on AKS it is /var/run/secrets/azure/tokens/azure-identity-token")
	}
}

// field is a key of a credential, with the kinds that it belongs to.
type field struct {
	key   string
	set   bool
	kinds []CredentialKind
}

// checkForeign refuses the fields of other kinds of credential: two answers to
// the question which one is meant.
func (l *loader) checkForeign(path string, kind CredentialKind, fields []field) {
	for _, f := range fields {
		if f.set && !slices.Contains(f.kinds, kind) {
			l.faults.add(join(path, f.key), "belongs to kind %s; remove it, or change the kind", orList(f.kinds))
		}
	}
}

func orList(kinds []CredentialKind) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	last := len(names) - 1
	if last < 2 {
		return strings.Join(names, " or ")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// seal takes the secret that a variable holds. The faults of the setting at
// path do not show the variable's name: some will have put the secret itself
// there.
func (l *loader) seal(into *entra.Secret, name, path string) {
	value := strings.TrimRight(l.env[name], "\r\n") // what a file's last line leaves behind
	switch {
	case value == "":
		l.faults.add(path, "no variable of that name is set; want the name, not the secret")
	case strings.ContainsFunc(value, unicode.IsControl):
		l.faults.add(path, "the variable's value has a line break or another control character in it")
	default:
		*into = entra.NewSecret(value)
	}
}
