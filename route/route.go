// Package route resolves what a caller names (a route, a path, a tenant, a
// scope) to what the broker needs: the upstream, the identity, the scope of the
// token, and the endpoint of the catalogue that tells what the call will do.
//
// It also says what a route lets through. A path that two readers could read in
// two ways is refused before anything is matched, so that the rule and the
// upstream speak of the same call.
package route

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// Access says how much of its upstream a route opens.
type Access uint8

const (
	// Full is everything that the token opens.
	Full Access = iota
	// ReadOnly is what the catalogue knows to be a read, whatever its method.
	ReadOnly
)

// ParseAccess accepts an access's name in the configuration; empty is [Full].
func ParseAccess(s string) (Access, error) {
	switch s {
	case "", "full":
		return Full, nil
	case "read-only":
		return ReadOnly, nil
	default:
		return Full, entra.Errorf(entra.Invalid, "parse.access", "access %s: want full or read-only", entra.Quote(s))
	}
}

// String is the access's name in the configuration.
func (a Access) String() string {
	if a == ReadOnly {
		return "read-only"
	}
	return "full"
}

// Rule picks calls by method and path.
type Rule struct {
	Methods []string // in upper case; GET picks HEAD too. None: every method
	Path    Pattern
}

// String is the rule in one line: GET,POST /api/incidents/**.
func (r Rule) String() string {
	return strings.TrimPrefix(strings.Join(r.Methods, ",")+" "+r.Path.String(), " ")
}

// picks reports whether the rule picks a call.
func (r Rule) picks(method string, path Path) bool {
	return (len(r.Methods) == 0 || slices.Contains(r.Methods, method) ||
		method == http.MethodHead && slices.Contains(r.Methods, http.MethodGet)) && r.Path.Match(path)
}

// Identity is what a table has to know of an identity.
type Identity struct {
	Name    string // in the configuration
	ID      entra.IdentityID
	Tenant  entra.Tenant   // its own; empty: only Entra knows it, as with a managed identity
	Tenants []entra.Tenant // further ones that it may be used in
	Guest   bool           // only in those: in a caller's [View], its own is not open

	// What Entra and Azure know it by, for protocols that have no place for its
	// name; empty: not known here.
	Known Known

	OnBehalfOf bool // it acts on behalf of whom the assertion of each request is of, and never as itself
}

// Route leads to an upstream, with the tokens of one identity.
type Route struct {
	Name     string
	Upstream *url.URL       // https; it can have a path, to which those of the calls are appended, and which no rule sees
	Identity string         // by name; empty: the default identity
	Scope    entra.Scope    // empty: by the call's path, from Host
	Host     *defender.Host // the upstream in the catalogue; nil: NewTable looks for it, and leaves nil where it is not there
	Access   Access
	Allow    []Rule // empty: all that Access lets through
	Deny     []Rule // beats Allow
	Rate     Rate
	Bridge   Bridge // over which its hunting goes; see [Call.Cross]
	Optional bool   // built in, and not named by the configuration
}

// Rate says how the calls of a route are paced. The zero value keeps each
// endpoint to the ceilings that the catalogue has for it.
type Rate struct {
	PerMinute int  // all of the route's calls, in place of the catalogue's ceilings; zero: those
	Burst     int  // of these, how many may come at once; zero: all of a minute's
	Off       bool // not at all
}

// Restricted reports whether the route lets through less than its token opens.
// Such a token is not for handing out.
func (r *Route) Restricted() bool {
	return r.Access != Full || len(r.Allow) > 0 || len(r.Deny) > 0
}

// narrowed reports whether the configuration restricts the route: more than the
// built-in one is restricted that leads to the same host.
func (r *Route) narrowed() bool {
	builtin := r.Host != nil && slices.EqualFunc(r.Allow, r.Host.Paths(), func(rule Rule, path string) bool { return rule.String() == path })
	return r.Access != Full || len(r.Deny) > 0 || len(r.Allow) > 0 && !builtin
}

// Scopes lists the scopes that the route's calls can need, that of its own
// host first.
func (r *Route) Scopes() []entra.Scope {
	if r.Scope != "" || r.Host == nil {
		return []entra.Scope{r.Scope}
	}
	return r.Host.Scopes()
}

// ScopeFor returns the scope of the token for a call, or none where the
// upstream serves no API at that path.
func (r *Route) ScopeFor(p Path) entra.Scope {
	if r.Scope != "" || r.Host == nil {
		return r.Scope
	}
	return r.Host.ScopeFor(p.Match())
}
