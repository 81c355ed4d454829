package route

import (
	"errors"
	"slices"
	"strings"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// Config is what a [Table] is made from.
type Config struct {
	Catalogue  *defender.Catalogue
	Identities []Identity // the one named default, or the only one, is the default identity
	Routes     []Route
}

// Table resolves names to routes and identities. It never changes, and is safe
// for concurrent use: a reload makes a new one, and a named caller has a [View]
// of it.
type Table struct {
	catalogue  *defender.Catalogue
	identities []*Identity
	byDefault  *Identity                // nil: several, and none is the default
	routes     []*Route                 // the open ones; each names its identity
	users      map[entra.Scope][]*Route // the open ones whose calls can need the scope
	akin       map[entra.Scope][]*Route // those that need the same resource application by another of its names
	closed     map[string]string        // of the optional ones, why each is closed
	bridges    map[string]*crossing     // by the name of the route
}

// NewTable makes a table, or says all that is wrong, each fault with its place
// in the configuration.
//
// Where a route that the configuration names is restricted, the optional ones
// are closed. Otherwise a read-only defender could be walked round by mde,
// whose calls have the same token.
func NewTable(cfg Config) (*Table, error) {
	t := &Table{catalogue: cfg.Catalogue, closed: make(map[string]string)}
	faults := slices.Concat(t.addIdentities(cfg.Identities), t.addRoutes(cfg.Routes))
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	t.indexUsers()
	return t, nil
}

// indexUsers notes which routes need which scopes, and which of them need the
// same resource application by another of its names: samples and clients ask for
// names that no upstream has.
func (t *Table) indexUsers() {
	t.users, t.akin = make(map[entra.Scope][]*Route), make(map[entra.Scope][]*Route)
	for _, r := range t.routes {
		for _, scope := range r.Scopes() {
			t.users[scope] = append(t.users[scope], r)
			for _, alias := range t.catalogue.Aliases(scope) {
				t.akin[alias] = append(t.akin[alias], r)
			}
		}
	}
}

func (t *Table) addIdentities(identities []Identity) (faults []error) {
	for _, i := range identities {
		faults = append(faults, t.identityFaults(&i)...)
		t.identities = append(t.identities, &i)
	}
	if len(t.identities) == 0 {
		return []error{fault("identities: want at least one")}
	}
	t.byDefault = t.chooseDefault()
	return faults
}

// chooseDefault returns the identity named default, or the only one, or none.
func (t *Table) chooseDefault() *Identity {
	if len(t.identities) == 1 {
		return t.identities[0]
	}
	return t.identity("default")
}

// addRoutes adds the routes, with what they leave to the defaults filled in.
func (t *Table) addRoutes(given []Route) (faults []error) {
	routes := slices.Clone(given)
	for i := range routes {
		r := &routes[i]
		if r.Identity == "" && t.byDefault != nil {
			r.Identity = t.byDefault.Name
		}
		if r.Host == nil && r.Upstream != nil {
			r.Host, _ = t.catalogue.Host(r.Upstream.Hostname())
		}
	}
	restricts := slices.ContainsFunc(routes, func(r Route) bool { return !r.Optional && r.narrowed() })
	for i := range routes {
		switch r := &routes[i]; {
		case r.Optional && restricts:
			t.closed[r.Name] = "the configuration restricts routes and does not name it; add routes." + r.Name + " to open it"
		case r.Optional && r.Identity == "":
			t.closed[r.Name] = "no identity is the default; name one in routes." + r.Name + ".identity to open it"
		default:
			faults = append(faults, t.routeFaults(r)...)
			t.routes = append(t.routes, r)
		}
	}
	return append(faults, t.addBridges(routes)...)
}

// Routes lists the open routes, in the order in which they were given.
func (t *Table) Routes() []*Route { return slices.Clone(t.routes) }

// Route returns the open route of that name.
func (t *Table) Route(name string) (*Route, error) {
	if r := t.route(name); r != nil {
		return r, nil
	}
	if why, ok := t.closed[name]; ok {
		return nil, entra.Errorf(entra.Denied, "route.find", "route %q: closed, because %s", name, why)
	}
	return nil, entra.Errorf(entra.NotFound, "route.find", "route %s: no such route; there are: %s", entra.Quote(name), routeNames(t.routes))
}

// Identities lists the identities, in the order in which they were given.
func (t *Table) Identities() []*Identity { return slices.Clone(t.identities) }

// Identity returns the identity of that name.
func (t *Table) Identity(name string) (*Identity, error) {
	if i := t.identity(name); i != nil {
		return i, nil
	}
	return nil, entra.Errorf(entra.NotFound, "identity.find", "identity %s: no such identity; there are: %s", entra.Quote(name), t.identityNames())
}

// DefaultIdentity returns the id of the identity that is used where none is
// named; none where several are configured and none of them is the default.
func (t *Table) DefaultIdentity() entra.IdentityID {
	if t.byDefault == nil {
		return ""
	}
	return t.byDefault.ID
}

// UsersOf lists the open routes whose calls can need a token of that scope and
// identity: whoever holds such a token can do all that they let through, and
// what they refuse as well. Where none needs the scope by this name, they are
// those that need its resource application by another: the token is as good.
func (t *Table) UsersOf(scope entra.Scope, identity entra.IdentityID) []*Route {
	for _, candidates := range [][]*Route{t.users[scope], t.akin[scope]} {
		var users []*Route
		for _, r := range candidates {
			if t.identity(r.Identity).ID == identity {
				users = append(users, r)
			}
		}
		if len(users) > 0 {
			return users
		}
	}
	return nil
}

func (t *Table) route(name string) *Route {
	for _, r := range t.routes {
		if r.Name == name {
			return r
		}
	}
	return nil
}

func (t *Table) identity(name string) *Identity {
	for _, i := range t.identities {
		if i.Name == name {
			return i
		}
	}
	return nil
}

func (t *Table) identityNames() string {
	var names []string
	for _, i := range t.identities {
		names = append(names, i.Name)
	}
	return strings.Join(names, ", ")
}

func routeNames(routes []*Route) string {
	if len(routes) == 0 {
		return "none"
	}
	var names []string
	for _, r := range routes {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}
