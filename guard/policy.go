package guard

import (
	"slices"

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

// Note notes the decision in a request's trail.
func (d Decision) Note(trail *entra.Trail) {
	trail.Rule, trail.Decision = d.Rule, "deny"
	if d.Allowed {
		trail.Decision = "allow"
	}
}

// PolicyConfig is what a [Policy] is made from.
type PolicyConfig struct {
	Table   *route.Table
	HandOut bool          // whether tokens are handed out at all
	Scopes  []entra.Scope // handed out although routes restrict them: tokens.scopes
	Callers []Caller      // none: everybody is [Local], with all routes
}

// Policy decides what an admitted caller may have: the calls that its routes
// let through, and the tokens of those routes that restrict nothing. It never
// changes, and is safe for concurrent use.
type Policy struct {
	handOut bool
	scopes  []entra.Scope
	callers map[string]*caller
}

// NewPolicy makes a policy. The configuration has been checked: a name in it
// that the table does not know gives nothing.
func NewPolicy(cfg PolicyConfig) *Policy {
	p := &Policy{handOut: cfg.HandOut, scopes: cfg.Scopes, callers: make(map[string]*caller, len(cfg.Callers))}
	if len(cfg.Callers) == 0 {
		everybody := Caller{Name: Local, Routes: []string{route.Every}, Tenants: []entra.Tenant{route.Every}, Scopes: cfg.Scopes}
		p.callers[Local] = &caller{everybody, cfg.Table, "tokens.scopes"}
	}
	for _, c := range cfg.Callers {
		p.callers[c.Name] = newCaller(c, cfg.Table)
	}
	return p
}

// Table returns the routes, identities and tenants that exist for a caller,
// to resolve with what it asks for. For nobody there are none.
func (p *Policy) Table(who Principal) *route.Table {
	if c, ok := p.callers[who.Name]; ok {
		return c.table
	}
	return new(route.Table)
}

// Ask is what policy is asked: whether a caller may have a token, or make a
// call with it.
type Ask struct {
	Request entra.Request
	Call    *route.Call // the call that the broker is to make; nil: it is about the token alone
}

// AskOf asks for a call.
func AskOf(call *route.Call) Ask { return Ask{call.Request(), call} }

// Decide judges a request: who asks, for which identity in which tenant, for
// which scope and use, and of a call its route, method and path. What no rule
// names is refused.
//
// A token opens all that its scope opens, so one that is handed out would undo
// what a route refuses. Hence a scope that a caller reaches by restricted routes
// only is handed out where tokens.scopes or the caller's own scopes list it in
// so many words, and nowhere else.
func (p *Policy) Decide(who Principal, ask Ask) Decision {
	c, ok := p.callers[who.Name]
	if !ok {
		return deny("callers", "caller "+entra.Quote(who.Name)+": no entry of callers says what it may; add one")
	}
	req := &ask.Request
	if !c.table.Open(req.Identity, req.Tenant) {
		return deny("callers", "identity or tenant: not open to this caller")
	}
	switch {
	case ask.Call != nil:
		return c.permit(ask.Call)
	case req.Use == entra.HandOut:
		return p.decideHandOut(c, req)
	default:
		return c.decideInside(req)
	}
}

// decideHandOut judges a token that the caller is to have in its hands.
func (p *Policy) decideHandOut(c *caller, req *entra.Request) Decision {
	users := c.table.UsersOf(req.Scope, req.Identity)
	switch {
	case !p.handOut:
		return deny("tokens.hand_out", "tokens are not handed out here (tokens.hand_out is false); call through /proxy/<route>/")
	case c.granted(req, users):
		return allow(c.grants)
	case len(users) == 0:
		return c.unused(req.Scope)
	case c.Access == route.ReadOnly:
		return deny(c.setting("access"), "scope "+entra.Quote(string(req.Scope))+": "+c.setting("access")+" is read-only, and the token would open more; call through /proxy/"+
			users[0].Name+"/, or list the scope in "+c.setting("scopes"))
	case slices.Contains(p.scopes, req.Scope):
		return allow("tokens.scopes")
	}
	for _, r := range users {
		if !r.Restricted() {
			return allow("routes." + r.Name)
		}
	}
	return c.restricted(req.Scope, users)
}
