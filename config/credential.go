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
		l.foreign(path, "token_file", c.TokenFile, WorkloadIdentity)
		switch {
		case c.File != "" && c.Env != "":
			l.faults.add(path, "file and env are both set; want one")
		case c.File == "" && c.Env == "":
			l.faults.add(path, "neither file nor env is set; want the file with the client secret")
		case c.Env != "":
			l.readSecret(c, join(path, "env"))
		}
	case WorkloadIdentity:
		l.foreign(path, "file", c.File, ClientSecret)
		l.foreign(path, "env", c.Env, ClientSecret)
		if c.TokenFile == "" {
			l.faults.add(join(path, "token_file"), "missing; on AKS it is /var/run/secrets/azure/tokens/azure-identity-token")
		}
	default:
		l.faults.add(join(path, "kind"), "missing; want %s or %s", ClientSecret, WorkloadIdentity)
	}
}

// foreign refuses a field of another kind of credential: two answers to the
// question which one is meant.
func (l *loader) foreign(path, key, value string, kind CredentialKind) {
	if value != "" {
		l.faults.add(join(path, key), "belongs to kind %s; remove it, or change the kind", kind)
	}
}

// readSecret seals the secret of a variable. Its faults do not show what
// stands in env: some will have put the secret itself there.
func (l *loader) readSecret(c *Credential, path string) {
	value := strings.TrimRight(l.env[c.Env], "\r\n") // what a file's last line leaves behind
	switch {
	case value == "":
		l.faults.add(path, "no variable of that name is set; want the name, not the secret")
	case strings.ContainsFunc(value, unicode.IsControl):
		l.faults.add(path, "the variable's value has a line break or another control character in it")
	default:
		c.Secret = entra.NewSecret(value)
	}
}
