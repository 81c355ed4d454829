package config

import (
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
	return entra.NewIdentityID(string(authority), string(id.Tenant), id.ClientID, string(id.Credential.Kind))
}

// checkIdentities checks the identities, reads the secrets that stand in
// variables, and returns what the table has to know.
func (l *loader) checkIdentities() []route.Identity {
	var all []route.Identity
	names := map[entra.IdentityID]string{}
	for _, name := range slices.Sorted(maps.Keys(l.cfg.Identities)) {
		id, path := l.cfg.Identities[name], join("identities", name)
		if id.Tenant == "" {
			l.faults.add(join(path, "tenant"), "missing; want a GUID or a domain name such as contoso.onmicrosoft.com")
		}
		switch {
		case id.ClientID == "":
			l.faults.add(join(path, "client_id"), "missing; want the application (client) id, a GUID")
		case !entra.IsGUID(id.ClientID):
			l.faults.add(join(path, "client_id"), "%s: want the application (client) id, a GUID", entra.Quote(id.ClientID))
		}
		id.ClientID = strings.ToLower(id.ClientID)
		l.checkCredential(&id.Credential, join(path, "credential"))
		l.cfg.Identities[name] = id
		if other, twice := names[id.ID(l.cfg.Authority)]; twice && !l.faults.below(path) {
			// Their tokens could not be told apart, nor whose credential is meant.
			l.faults.add(path, "the same tenant, client_id and kind of credential as identities.%s; keep one of them", other)
		}
		names[id.ID(l.cfg.Authority)] = name
		all = append(all, route.Identity{Name: name, ID: id.ID(l.cfg.Authority), Tenant: id.Tenant, Tenants: id.Tenants})
	}
	return all
}

// checkCredential holds a credential to the fields of its kind.
func (l *loader) checkCredential(c *Credential, path string) {
	if l.faults.has(path) || l.faults.has(join(path, "kind")) {
		return
	}
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
		if c.TokenFile == "" {
			l.faults.add(join(path, "token_file"), "missing; on AKS it is /var/run/secrets/azure/tokens/azure-identity-token")
		}
	default:
		l.faults.add(join(path, "kind"), "missing; want %s, %s or %s", ClientSecret, Certificate, WorkloadIdentity)
		return
	}
	l.checkForeign(c, path)
}

// checkForeign refuses the fields of other kinds of credential: two answers to
// the question which one is meant.
func (l *loader) checkForeign(c *Credential, path string) {
	for _, field := range []struct {
		key   string
		set   bool
		kinds []CredentialKind
	}{
		{"file", c.File != "", []CredentialKind{ClientSecret, Certificate}},
		{"env", c.Env != "", []CredentialKind{ClientSecret}},
		{"token_file", c.TokenFile != "", []CredentialKind{WorkloadIdentity}},
		{"key_file", c.KeyFile != "", []CredentialKind{Certificate}},
		{"password_file", c.PasswordFile != "", []CredentialKind{Certificate}},
		{"send_chain", c.SendChain, []CredentialKind{Certificate}},
	} {
		if field.set && !slices.Contains(field.kinds, c.Kind) {
			l.faults.add(join(path, field.key), "belongs to kind %s; remove it, or change the kind", orList(field.kinds))
		}
	}
}

func orList(kinds []CredentialKind) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	return strings.Join(names, " or ")
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
