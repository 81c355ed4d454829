package route

import (
	"cmp"
	"slices"

	"tokenbroker/entra"
)

// Ask is what a caller says who wants a token: its scope, or the route whose
// token it should be.
type Ask struct {
	Scope    entra.Scope
	Route    string
	Path     string // escaped, with Route: which of its scopes. Empty: that of its own host
	Identity string // by name; empty: as the route says, or as those agree that use the scope, or the default
	Known    Known  // in place of Identity: what it is known by; the zero value says nothing
	Tenant   string // empty: the identity's own

	Assertion entra.Secret // the token of the user to act on behalf of; zero: the identity itself
}

// Grant is what an [Ask] comes to. It is for policy to say whether its request
// may be made.
type Grant struct {
	Request  entra.Request // for handing out, unless its Use is changed
	Identity string        // its name
	Other    []entra.Scope // the route's other scopes, where the path did not decide
}

const opToken = "route.token"

// ResolveToken resolves what a caller asks for. Two answers to one question
// are refused, and so is a question that has two answers.
func (t *Table) ResolveToken(ask Ask) (Grant, error) {
	switch {
	case ask.Scope != "" && ask.Route != "":
		return Grant{}, entra.Errorf(entra.Invalid, opToken, "scope and route: two answers to one question, name one of them")
	case ask.Scope == "" && ask.Route == "":
		return Grant{}, entra.Errorf(entra.Invalid, opToken, "token: for what? name a scope, or a route: %s", routeNames(t.routes))
	case ask.Identity != "" && ask.Known != Known{}:
		return Grant{}, entra.Errorf(entra.Invalid, opToken, "identity: said by its name and by an id, two answers to one question; keep one of them")
	case ask.Path != "" && ask.Route == "":
		return Grant{}, entra.Errorf(entra.Invalid, opToken, "path: it belongs to a route, leave it off or name the route in place of the scope")
	}
	g := Grant{Identity: ask.Identity}
	if ask.Route != "" {
		r, err := t.Route(ask.Route)
		if err != nil {
			return Grant{}, err
		}
		g.Request.Route = r.Name
		if g.Request.Scope, g.Other, err = t.scopesFor(r, ask.Path); err != nil {
			return Grant{}, err
		}
		g.Identity = cmp.Or(g.Identity, r.Identity)
	} else {
		g.Request.Scope = ask.Scope
	}
	if err := t.chooseIdentity(&g, ask); err != nil {
		return Grant{}, err
	}
	identity, err := t.Identity(g.Identity)
	if err != nil {
		return Grant{}, err
	}
	g.Request.Identity = identity.ID
	if g.Request.Tenant, err = identity.tenant(ask.Tenant); err != nil {
		return Grant{}, err
	}
	if err := identity.actsFor(ask.Assertion); err != nil {
		return Grant{}, err
	}
	g.Request.Assertion = ask.Assertion
	return g, nil
}

// chooseIdentity fills in the identity that the request leaves open, or names by
// what it is known by.
func (t *Table) chooseIdentity(g *Grant, ask Ask) (err error) {
	if ask.Known != (Known{}) {
		g.Identity, err = t.identityKnownBy(ask.Known, ask, g.Identity)
	} else if g.Identity == "" {
		g.Identity, err = t.identityFor(ask.Scope)
	}
	return err
}

// scopesFor returns the scope for a path of the route; without a path, that of
// the upstream's own host and the others.
func (t *Table) scopesFor(r *Route, path string) (scope entra.Scope, others []entra.Scope, err error) {
	if path == "" {
		scopes := r.Scopes()
		return scopes[0], scopes[1:], nil
	}
	p, err := ParsePath(path)
	if err != nil {
		return "", nil, err
	}
	scope, err = t.scopeFor(r, p)
	return scope, nil, err
}

// identityFor returns the name of the identity of the routes that use a scope,
// by this name or else by another of its resource application.
// Routes that the configuration does not name have no say beside those that it
// names. A scope that no route uses is the default identity's.
func (t *Table) identityFor(scope entra.Scope) (string, error) {
	users := t.users[scope]
	if len(users) == 0 {
		users = t.akin[scope]
	}
	configured := slices.ContainsFunc(users, func(r *Route) bool { return !r.Optional })
	var first *Route
	for _, r := range users {
		switch {
		case r.Optional && configured: // has no say
		case first == nil:
			first = r
		case r.Identity != first.Identity:
			return "", entra.Errorf(entra.Invalid, opToken, "identity: route %s uses the scope as %s, route %s as %s; say which with identity=, or client_id where the protocol has that",
				first.Name, first.Identity, r.Name, r.Identity)
		}
	}
	switch {
	case first != nil:
		return first.Identity, nil
	case t.byDefault != nil:
		return t.byDefault.Name, nil
	}
	return "", entra.Errorf(entra.Invalid, opToken, "identity: no route uses the scope and no identity is the default; say identity= (or client_id, where the protocol has that), one of: %s", t.identityNames())
}
