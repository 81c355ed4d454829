package guard

import (
	"slices"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// Caller is what a named caller may have. What it does not name is refused.
type Caller struct {
	Name       string
	Routes     []string       // by name; [route.Every]: all that are open
	Scopes     []entra.Scope  // handed out to it, whatever its routes restrict
	Tenants    []entra.Tenant // none: the identities' own; [route.Every]: all that they may be used in
	Identities []string       // none: those of its routes, and for Scopes the default one
	Access     route.Access   // ReadOnly: only what the catalogue knows to be a read, on every route
}

// caller is a [Caller] with what exists for it.
type caller struct {
	Caller
	table  *route.Table
	grants string // the setting that Scopes come from
}

func newCaller(c Caller, whole *route.Table) *caller {
	own := &caller{Caller: c, table: whole.View(route.View{
		Routes: c.Routes, Identities: c.Identities, Tenants: c.Tenants, Default: len(c.Scopes) > 0,
	})}
	own.grants = own.setting("scopes")
	return own
}

// setting names a setting of the caller as messages and records have it.
func (c *caller) setting(key string) string { return "callers." + c.Name + "." + key }

// permit judges a call by the caller's access, then by its route's rules.
func (c *caller) permit(call *route.Call) Decision {
	if r, _ := c.table.Route(call.Route.Name); r != call.Route {
		return deny("callers", "route "+entra.Quote(call.Route.Name)+": not open to this caller")
	}
	if c.Access == route.ReadOnly {
		if why := call.NoRead(); why != "" {
			return deny(c.setting("access"), call.Method+" "+entra.Quote(call.Path.Raw())+": "+c.setting("access")+" is read-only, and "+why)
		}
	}
	rule, err := call.Permitted()
	if err != nil {
		return deny(rule, entra.AsError(err).Message())
	}
	return allow(rule)
}

// decideInside judges a token that no caller sees: one that goes on a proxied
// call, or whose claims are shown.
func (c *caller) decideInside(req *entra.Request) Decision {
	users := c.table.UsersOf(req.Scope, req.Identity)
	for _, r := range users {
		if req.Route == "" || req.Route == r.Name {
			return allow("routes." + r.Name)
		}
	}
	if req.Use == entra.Proxy && c.table.Bridged(req.Route, req.Scope, req.Identity) {
		return allow("routes." + req.Route + ".bridge")
	}
	if req.Use == entra.Inspect && c.granted(req, users) {
		return allow(c.grants)
	}
	return c.unused(req.Scope)
}

// granted reports whether the caller's scopes grant the request: a scope that
// they list, of an identity that a route uses it with, of one that the caller
// lists, or of the default one. The others are there for what their routes need.
func (c *caller) granted(req *entra.Request, users []*route.Route) bool {
	return slices.Contains(c.Scopes, req.Scope) &&
		(len(users) > 0 || len(c.Identities) > 0 || req.Identity == c.table.DefaultIdentity())
}

func (c *caller) unused(scope entra.Scope) Decision {
	return deny("default", "scope "+entra.Quote(string(scope))+": no route uses it with this identity, and "+c.grants+" does not list it")
}

func (c *caller) restricted(scope entra.Scope, users []*route.Route) Decision {
	var names []string
	for _, r := range users {
		names = append(names, r.Name)
	}
	return deny("routes."+names[0], "scope "+entra.Quote(string(scope))+": only restricted routes use it ("+strings.Join(names, ", ")+
		"), and its token would open more than they let through; call through /proxy/"+names[0]+"/, or list the scope in "+c.grants)
}
