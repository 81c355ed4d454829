package route

import (
	"slices"
	"strings"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// Target is a call as its caller names it.
type Target struct {
	Route  string
	Tenant string // empty: the identity's own
	Method string
	Path   string // escaped as it was sent, without the /proxy/name before it and without a query

	Assertion entra.Secret // the token of the user to act on behalf of; zero: the identity itself
}

// Call is a target, resolved: all that is needed to judge it, to get its token
// and to send it.
type Call struct {
	Route    *Route
	Identity *Identity
	Tenant   entra.Tenant
	Scope    entra.Scope
	Endpoint *defender.Endpoint // nil: the catalogue does not know it
	Method   string
	Path     Path
	Bridge   Bridge // the one that it has crossed, see [Call.Cross]; zero: none

	Assertion entra.Secret // the user's whom it is made for; zero: the identity itself

	crossing *crossing // what becomes of it; nil: it stays what it is
}

// Resolve resolves a call. It does not judge it: see [Call.Permitted].
func (t *Table) Resolve(target Target) (Call, error) {
	r, err := t.Route(target.Route)
	if err != nil {
		return Call{}, err
	}
	if !isMethod(target.Method) {
		return Call{}, entra.Errorf(entra.Invalid, "route.resolve", "method %s: "+wantMethod, entra.Quote(target.Method))
	}
	path, err := ParsePath(target.Path)
	if err != nil {
		return Call{}, err
	}
	scope, err := t.scopeFor(r, path)
	if err != nil {
		return Call{}, err
	}
	identity := t.identity(r.Identity)
	tenant, err := identity.tenant(target.Tenant)
	if err != nil {
		return Call{}, err
	}
	if err := identity.actsFor(target.Assertion); err != nil {
		return Call{}, err
	}
	endpoint := t.endpoint(r, target.Method, path)
	return Call{
		Route:     r,
		Identity:  identity,
		Tenant:    tenant,
		Scope:     scope,
		Endpoint:  endpoint,
		Method:    target.Method,
		Path:      path,
		Assertion: target.Assertion,
		crossing:  t.crossing(r, endpoint),
	}, nil
}

// Request asks for the call's token.
func (c *Call) Request() entra.Request {
	return entra.Request{
		Identity:  c.Identity.ID,
		Tenant:    c.Tenant,
		Scope:     c.Scope,
		Assertion: c.Assertion,
		Route:     c.Route.Name,
		Use:       entra.Proxy,
	}
}

// scopeFor returns the scope for a path, or names the routes that serve it.
func (t *Table) scopeFor(r *Route, path Path) (entra.Scope, error) {
	if scope := r.ScopeFor(path); scope != "" {
		return scope, nil
	}
	var serving []*Route
	for _, other := range t.routes {
		if other.Host != nil && other.Host.ScopeFor(path.Match()) != "" {
			serving = append(serving, other)
		}
	}
	remedy := "nor does any other route's upstream"
	if len(serving) > 0 {
		remedy = "call it by route " + routeNames(serving)
	}
	// Not NotFound: to a Defender client a 404 is an empty result.
	return "", entra.Errorf(entra.Invalid, "route.resolve", "route %q: %s serves no API at %s; %s",
		r.Name, r.Host.Name, entra.Quote(path.Raw()), remedy)
}

// endpoint returns the call's endpoint, if the catalogue knows it and the
// upstream serves its API.
func (t *Table) endpoint(r *Route, method string, path Path) *defender.Endpoint {
	e, ok := t.catalogue.Match(method, path.Match())
	if !ok || r.Host != nil && r.Scope == "" && r.Host.Scope(e.API) == "" {
		return nil
	}
	return e
}

// tenant returns the tenant that was named, or the identity's own. Another
// tenant than those of the configuration is refused here, before anything can
// be sent there.
func (i *Identity) tenant(name string) (entra.Tenant, error) {
	if name == "" && i.Guest {
		return "", entra.Errorf(entra.Invalid, opTenant, "tenant: say which of %s", i.tenantNames())
	}
	if name == "" {
		return i.Tenant, nil
	}
	tenant, err := entra.ParseTenant(name)
	if err != nil {
		return "", err
	}
	if !i.in(tenant) {
		return "", entra.Errorf(entra.Denied, opTenant, "tenant %s: not open to this caller as identity %q; it takes an entry in identities.%s.tenants, and in the tenants of a named caller",
			tenant, i.Name, i.Name)
	}
	return tenant, nil
}

const opTenant = "route.tenant"

// in reports whether the identity may be used in the tenant.
func (i *Identity) in(tenant entra.Tenant) bool {
	return tenant == i.Tenant && !i.Guest || slices.Contains(i.Tenants, tenant)
}

// All lists the tenants that the identity may be used in, its own first. The
// own one of a managed identity is empty: only Entra knows it.
func (i *Identity) All() []entra.Tenant {
	if i.Guest {
		return slices.Clone(i.Tenants)
	}
	return append([]entra.Tenant{i.Tenant}, i.Tenants...)
}

func (i *Identity) tenantNames() string {
	var names []string
	for _, t := range i.Tenants {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}
