package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/entra"
)

// SignsIn reports whether the identity is a user who signs in, and stays so.
func (id *Identity) SignsIn() bool {
	return id.Credential.Kind == DeviceCode || id.Credential.Kind == Browser
}

// Delegated reports whether the identity's tokens stand for users, who have
// permissions one by one.
func (id *Identity) Delegated() bool {
	return id.SignsIn() || id.Credential.Kind == Password || id.Credential.Kind == OnBehalfOf
}

// App is the credential of the app itself: of kind on-behalf-of the one inside.
func (c *Credential) App() Credential {
	if c.Kind != OnBehalfOf {
		return *c
	}
	a := &c.Access
	return Credential{
		Kind: a.Kind, File: a.File, Env: a.Env, TokenFile: a.TokenFile, KeyFile: a.KeyFile,
		PasswordFile: a.PasswordFile, SendChain: a.SendChain, Secret: a.Secret,
	}
}

// checkRedirect checks where a browser is sent after a sign-in: what is sent
// along signs in whoever has it.
func (l *loader) checkRedirect(uri, path string) {
	if uri == "" {
		return
	}
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Port() != "" && !isPort(u.Port()) {
		l.faults.add(path, "want http://localhost, or another URL that the app is registered with") // without the text: it may hold a password
		return
	}
	loopback := slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		l.faults.add(path, "%s: want http://localhost, or https", entra.Quote(uri))
	}
}

// checkPassword checks a user whose password we have, and warns of that.
func (l *loader) checkPassword(c *Credential, path string) {
	name, domain, _ := strings.Cut(c.Username, "@")
	switch at := join(path, "username"); {
	case c.Username == "":
		l.faults.add(at, "missing; want the user, as in analyst@contoso.com")
	case name == "" || domain == "" || strings.ContainsAny(c.Username, " \t"):
		l.faults.add(at, "%s: want the user, as in analyst@contoso.com", entra.Quote(c.Username))
	}
	if c.PasswordFile == "" {
		l.faults.add(join(path, "password_file"), "missing; want the file with the user's password")
	}
	l.warn(path + ": kind password: whoever reads the file is that user, and no second factor can be asked for; Microsoft advises against it: have them sign in, by kind device-code or browser")
}

// checkOnBehalfOf checks the credential of an app that acts on behalf of users.
func (l *loader) checkOnBehalfOf(c *Credential, path string) {
	kinds := []CredentialKind{ClientSecret, Certificate, WorkloadIdentity}
	switch a := &c.Access; {
	case l.faults.within(path):
		return
	case a.Kind == "":
		l.faults.add(join(path, "kind"), "missing; want %s", orList(kinds))
		return
	case !slices.Contains(kinds, a.Kind):
		l.faults.add(join(path, "kind"), "%s: an app that acts on behalf of users proves itself with %s", a.Kind, orList(kinds))
		return
	}
	app := c.App()
	l.checkAppProof(&app, path)
	c.Access.Secret = app.Secret
	a := &c.Access
	l.checkForeign(path, a.Kind, []field{
		{"file", a.File != "", []CredentialKind{ClientSecret, Certificate}},
		{"env", a.Env != "", []CredentialKind{ClientSecret}},
		{"token_file", a.TokenFile != "", []CredentialKind{WorkloadIdentity}},
		{"key_file", a.KeyFile != "", []CredentialKind{Certificate}},
		{"password_file", a.PasswordFile != "", []CredentialKind{Certificate}},
		{"send_chain", a.SendChain, []CredentialKind{Certificate}},
	})
	for _, f := range []field{
		{key: "tenant", set: a.Tenant != ""},
		{key: "client_id", set: a.ClientID != ""},
		{key: "object_id", set: a.ObjectID != ""},
		{key: "resource_id", set: a.ResourceID != ""},
	} {
		if f.set {
			l.faults.add(join(path, f.key), "the app is the identity's own; remove it")
		}
	}
}

// checkAudiences checks the Application ID URIs of an app that acts on behalf
// of users, and brings them to one spelling.
func (l *loader) checkAudiences(id *Identity, path string) {
	if l.faults.within(path) {
		return
	}
	audiences := id.Credential.Audiences
	for i, said := range audiences {
		scope, err := entra.ParseResource(said)
		uri := scope.Audience()
		app, ofApp := strings.CutPrefix(uri, "api://")
		switch {
		case err != nil || !strings.Contains(uri, "://"):
			l.faults.add(element(path, i), "%s: want an Application ID URI, as in api://contoso/portal or https://contoso.onmicrosoft.com/portal", entra.Quote(said))
		case ofApp && entra.IsGUID(app) && app != id.ClientID:
			l.faults.add(element(path, i), "%s: that is another app than client_id; remove it", entra.Quote(said))
		}
		audiences[i] = uri
	}
}

// checkForeignAudiences refuses an audience that stands for something else too:
// what is shown for one app or API asserts nothing to another.
func (l *loader) checkForeignAudiences() {
	owners := map[string]string{} // the names of identities
	for _, name := range slices.Sorted(maps.Keys(l.cfg.Identities)) {
		id := l.cfg.Identities[name]
		for i, audience := range id.Credential.Audiences {
			path := element("identities."+name+".credential.audiences", i)
			if other, taken := owners[audience]; taken && l.cfg.Identities[other].ClientID != id.ClientID {
				l.faults.add(path, "identities.%s has it too, and is another app; an Application ID URI belongs to one", other)
			}
			owners[audience] = name
			if route := l.routeFor(audience); route != "" {
				l.faults.add(path, "%s: route %q gets tokens for it, and such a token was given to be sent there; want the app's own", entra.Quote(audience), route)
			}
		}
	}
}

// routeFor names a route whose tokens are for the audience; empty: there is none.
func (l *loader) routeFor(audience string) string {
	if l.cfg.Table == nil {
		return "" // which is a fault already
	}
	for _, r := range l.cfg.Table.Routes() {
		if slices.ContainsFunc(r.Scopes(), func(s entra.Scope) bool { return s.Audience() == audience }) {
			return r.Name
		}
	}
	return ""
}

// checkStore checks where a user's sign-in is kept.
func (l *loader) checkStore(id *Identity, path string) {
	s := &id.Store
	_, said := l.faults.origins[path]
	switch {
	case l.faults.within(path), l.faults.within(strings.TrimSuffix(path, "store") + "credential"):
	case !id.SignsIn() && said:
		l.faults.add(path, "there is no sign-in to keep: it belongs to kind %s; remove it", orList([]CredentialKind{DeviceCode, Browser}))
	case !id.SignsIn(), s.Kind != "":
	case !said:
		s.Kind = InMemory
	case s.File == "" && s.KeyFile == "":
		l.faults.add(path, "want memory, keychain, or file and key_file")
	case s.File == "":
		l.faults.add(join(path, "file"), "missing; want the file for the sign-ins")
	case s.KeyFile == "":
		l.faults.add(join(path, "key_file"), "missing; want the file with its key: tokenbroker key new makes one")
	case sameFile(s.File, s.KeyFile):
		l.faults.add(path, "file and key_file are the same file; want two")
	default:
		s.Kind = InFile
		l.checkStoreKey(s, join(path, "key_file"))
	}
}

// checkStoreKey checks that a file of sign-ins has one key for all its
// identities.
func (l *loader) checkStoreKey(s *Store, path string) {
	for _, name := range slices.Sorted(maps.Keys(l.cfg.Identities)) {
		other := l.cfg.Identities[name].Store
		if other.Kind == InFile && sameFile(other.File, s.File) && !sameFile(other.KeyFile, s.KeyFile) {
			l.faults.add(path, "identities.%s has another key for the same file; want one", name)
		}
	}
}

// checkScopes holds delegated permissions to identities that are users: an
// application gets all of its permissions, not one by one.
func (l *loader) checkScopes() {
	const want = "%s: want https://host/.default: an application gets all of its permissions, not one by one"
	for _, r := range l.openRoutes() {
		id := l.cfg.Identities[r.Identity]
		if set := l.cfg.Routes[r.Name]; isPermissions(set.Scope) && !id.Delegated() {
			l.faults.add(join(join("routes", r.Name), "scope"), want, entra.Quote(string(set.Scope)))
		}
	}
	for id := range maps.Values(l.cfg.Identities) {
		if id.Delegated() {
			return // whose tokens they are is settled when they are asked for
		}
	}
	check := func(path string, scopes []entra.Scope) {
		for i, scope := range scopes {
			if isPermissions(scope) {
				l.faults.add(element(path, i), want, entra.Quote(string(scope)))
			}
		}
	}
	check("tokens.scopes", l.cfg.Tokens.Scopes)
	for i := range l.cfg.Callers {
		check(join(element("callers", i), "scopes"), l.cfg.Callers[i].Scopes)
	}
}

// isPermissions reports whether a scope names permissions, and not all there are.
func isPermissions(scope entra.Scope) bool {
	return scope != "" && string(scope) != scope.Audience()+"/.default"
}
