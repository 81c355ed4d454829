package cli

import (
	"strings"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
	"tokenbroker/setup"
)

// leg is one of the scopes of a route as check looks at it: its own, or the one
// that its hunting needs on the other side of a bridge.
type leg struct {
	route   *route.Route // of the other side: one that lets nothing but hunting through
	scope   entra.Scope
	lets    func(*defender.Endpoint) bool // whether the route lets a call of it through
	bridge  route.Bridge
	verdict string // as long as nothing was asked
	advice  []string
}

// legs lists those of a route, that over its bridge last.
func (a *app) legs(r *route.Route) []leg {
	var all []leg
	for _, scope := range r.Scopes() {
		all = append(all, leg{route: r, scope: scope, lets: func(e *defender.Endpoint) bool { return a.lets(r, e) }, verdict: "valid"})
	}
	for _, e := range a.catalogue.Endpoints() {
		if out, ok := a.across(r, &e); ok && a.lets(r, &e) {
			return append(all, beyond(out))
		}
	}
	return all
}

// across returns a call of the endpoint by the route as it goes over its bridge;
// not ok: it does not.
func (a *app) across(r *route.Route, e *defender.Endpoint) (out route.Call, ok bool) {
	call, err := a.table.Resolve(target(r, e))
	if err != nil {
		return call, false
	}
	out = call.Cross()
	return out, out.Bridge != route.NoBridge
}

// beyond is the leg of a call that has crossed.
func beyond(out route.Call) leg {
	there := *out.Route
	pattern, _ := route.ParsePattern(out.Path.Match()) // a path without stars is one
	there.Access, there.Allow, there.Deny = route.Full, []route.Rule{{Path: pattern}}, nil
	needed := strings.Join(out.Endpoint.App, " or ") + " of " + setup.Resource(out.Endpoint.API)
	return leg{
		route: &there, scope: out.Scope, bridge: out.Bridge,
		lets:    func(e *defender.Endpoint) bool { return e.String() == out.Endpoint.String() },
		verdict: "valid; hunting goes there, and needs " + needed,
		advice:  []string{"bridge " + out.Bridge.String() + ": hunting needs " + needed + ", and a query has Graph's limits: 3 minutes, 100,000 rows, 50 MB"},
	}
}

// isBridged reports whether calls of the endpoint by the route go over its bridge.
func (a *app) isBridged(r *route.Route, e *defender.Endpoint) bool {
	_, ok := a.across(r, e)
	return ok
}
