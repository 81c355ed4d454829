package cli

import (
	"fmt"
	"io"
	"strings"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/route"
)

// grant is what check says of one caller, one route and one of its scopes; or
// of a scope that the caller is granted beside its routes.
type grant struct {
	Caller    string         `json:"caller"`
	Proof     string         `json:"proof"`
	Route     string         `json:"route,omitempty"`
	Identity  string         `json:"identity"`
	Tenants   []entra.Tenant `json:"tenants"`
	Scope     entra.Scope    `json:"scope"`
	Endpoints int            `json:"endpoints"` // of the catalogue, that the scope is for
	Callable  int            `json:"callable"`  // those of them that the caller may call
	HandedOut bool           `json:"handed_out"`
	Rule      string         `json:"rule"` // that decides about handing out
}

// grants lists who may do what. What is not in the list is refused.
func (a *app) grants() []grant {
	var all []grant
	for _, caller := range a.callers() {
		who := guard.Principal{Name: caller.Name}
		visible := a.policy.Table(who)
		listed := map[[2]string]bool{} // identity and scope
		for _, r := range visible.Routes() {
			identity, _ := visible.Identity(r.Identity) // a route in sight has its identity there
			for _, scope := range r.Scopes() {
				g := a.grant(caller, visible, identity, scope)
				g.Route = r.Name
				a.count(&g, who, visible, r)
				listed[[2]string{identity.Name, string(scope)}] = true
				all = append(all, g)
			}
		}
		for _, scope := range caller.Scopes {
			for _, identity := range visible.Identities() {
				if g := a.grant(caller, visible, identity, scope); !listed[[2]string{identity.Name, string(scope)}] && g.HandedOut {
					all = append(all, g)
				}
			}
		}
	}
	return all
}

// caller is a caller as check names it.
type caller struct {
	guard.Caller
	proof string
}

// callers lists the callers: the named ones, or local, which is everybody.
func (a *app) callers() []caller {
	if len(a.cfg.Callers) == 0 {
		proof := "none: whoever reaches a listener"
		if a.cfg.CallerKeyFile != "" {
			proof = "key"
		}
		return []caller{{guard.Caller{Name: guard.Local, Scopes: a.cfg.Tokens.Scopes}, proof}}
	}
	var all []caller
	for i, named := range policyCallers(a.cfg) {
		var proofs []string
		set := a.cfg.Callers[i]
		if set.KeyFile != "" || set.Name == guard.Local && a.cfg.CallerKeyFile != "" {
			proofs = append(proofs, "key")
		}
		if set.UID.Set {
			proofs = append(proofs, fmt.Sprintf("uid %d", set.UID.Number))
		}
		all = append(all, caller{named, orElse(strings.Join(proofs, " or "), "none")})
	}
	return all
}

// grant asks policy about handing out a token.
func (a *app) grant(c caller, visible *route.Table, identity *route.Identity, scope entra.Scope) grant {
	g := grant{Caller: c.Name, Proof: c.proof, Identity: identity.Name, Tenants: identity.All(), Scope: scope}
	if len(g.Tenants) == 0 {
		return g
	}
	req := entra.Request{Identity: identity.ID, Tenant: g.Tenants[0], Scope: scope}
	decision := a.policy.Decide(guard.Principal{Name: c.Name}, guard.Ask{Request: req})
	g.HandedOut, g.Rule = decision.Allowed, decision.Rule
	return g
}

// count counts the endpoints that the scope is for, and those that the caller
// may call by the route.
func (a *app) count(g *grant, who guard.Principal, visible *route.Table, r *route.Route) {
	asked := entra.Audience{g.Scope.Audience()}
	for _, e := range a.catalogue.Endpoints() {
		if !a.catalogue.Opens(asked, e.API) {
			continue
		}
		g.Endpoints++
		if len(g.Tenants) > 0 && a.letsThrough(who, visible, r, g.Tenants[0], &e) {
			g.Callable++
		}
	}
}

// letsThrough reports whether the caller may call the endpoint by the route.
func (a *app) letsThrough(who guard.Principal, visible *route.Table, r *route.Route, tenant entra.Tenant, e *defender.Endpoint) bool {
	to := target(r, e)
	to.Tenant = string(tenant)
	call, err := visible.Resolve(to)
	return err == nil && a.policy.Decide(who, guard.AskOf(&call)).Allowed
}

// target is a call of an endpoint by a route. An id stands there by the name of
// its placeholder.
func target(r *route.Route, e *defender.Endpoint) route.Target {
	return route.Target{Route: r.Name, Method: e.Method, Path: strings.NewReplacer("{", "", "}", "").Replace(e.Path)}
}

// writeGrants writes who may do what as a table.
func writeGrants(w io.Writer, grants []grant) error {
	rows := [][]string{{"CALLER", "PROOF", "ROUTE", "SCOPE", "IDENTITY", "TENANTS", "MAY CALL", "TOKEN", "BY"}}
	for _, g := range grants {
		calls := "-"
		if g.Route != "" {
			calls = fmt.Sprintf("%d of %d endpoints", g.Callable, g.Endpoints)
		}
		var tenants []string
		for _, tenant := range g.Tenants {
			tenants = append(tenants, string(tenant))
		}
		rows = append(rows, []string{
			g.Caller, g.Proof, orElse(g.Route, "-"), string(g.Scope), g.Identity, orElse(strings.Join(tenants, " "), "-"), calls, yesNo(g.HandedOut), orElse(g.Rule, "-"),
		})
	}
	return table(w, rows)
}
