package guard

import (
	"slices"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// Decision is what policy says to one request, and by which rule.
type Decision struct {
	Allowed bool
	Rule    string // the setting that decided, as in the configuration: "routes.defender"
	Reason  string // for the caller where it was refused, with the remedy
}

func allow(rule string) Decision        { return Decision{Allowed: true, Rule: rule} }
func deny(rule, reason string) Decision { return Decision{Rule: rule, Reason: reason} }

// Err returns nil where the request was allowed, else the refusal.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	return entra.Errorf(entra.Denied, "guard.policy", "%s", d.Reason)
}

// Policy decides what an admitted caller may have: the calls that the routes
// let through, and the tokens of those routes that restrict nothing.
type Policy struct {
	Table   *route.Table
	HandOut bool          // whether tokens are handed out at all
	Scopes  []entra.Scope // handed out whatever the routes say: tokens.scopes
}

// Decide judges a request for a token.
//
// A token opens all that its scope opens, so one that is handed out would undo
// what a route refuses. Hence a scope that only restricted routes use is handed
// out where tokens.scopes lists it in so many words, and nowhere else.
func (p *Policy) Decide(_ Principal, req entra.Request) Decision {
	users := p.Table.UsersOf(req.Scope, req.Identity)
	if req.Use != entra.HandOut {
		return p.decideInside(req, users)
	}
	switch {
	case !p.HandOut:
		return deny("tokens.hand_out", "tokens are not handed out here (tokens.hand_out is false); call through /proxy/<route>/")
	case p.granted(req, users):
		return allow("tokens.scopes")
	case len(users) == 0:
		return denyUnused(req.Scope)
	}
	for _, r := range users {
		if !r.Restricted() {
			return allow("routes." + r.Name)
		}
	}
	return denyRestricted(req.Scope, users)
}

// decideInside judges a token that no caller sees: one that goes on a proxied
// call, or whose claims are shown.
func (p *Policy) decideInside(req entra.Request, users []*route.Route) Decision {
	for _, r := range users {
		if req.Route == "" || req.Route == r.Name {
			return allow("routes." + r.Name)
		}
	}
	if req.Use == entra.Inspect && p.granted(req, users) {
		return allow("tokens.scopes")
	}
	return denyUnused(req.Scope)
}

// granted reports whether tokens.scopes grants the request: a scope that it
// lists, of an identity that a route uses it with, or of the default one. The
// others are there for what their routes need.
func (p *Policy) granted(req entra.Request, users []*route.Route) bool {
	return slices.Contains(p.Scopes, req.Scope) && (len(users) > 0 || req.Identity == p.Table.DefaultIdentity())
}

func denyUnused(scope entra.Scope) Decision {
	return deny("default", "scope "+entra.Quote(string(scope))+": no route uses it with this identity, and tokens.scopes does not list it")
}

func denyRestricted(scope entra.Scope, users []*route.Route) Decision {
	var names []string
	for _, r := range users {
		names = append(names, r.Name)
	}
	return deny("routes."+names[0], "scope "+entra.Quote(string(scope))+": only restricted routes use it ("+strings.Join(names, ", ")+
		"), and its token would open more than they let through; call through /proxy/"+names[0]+"/, or list the scope in tokens.scopes")
}

// Permit judges a proxied call by its route's access, allow and deny.
func (p *Policy) Permit(_ Principal, call *route.Call) Decision {
	rule, err := call.Permitted()
	if err != nil {
		return deny(rule, entra.AsError(err).Message())
	}
	return allow(rule)
}
