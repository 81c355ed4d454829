package guard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/route"
)

const (
	xdr   = entra.Scope("https://xdr.example/.default")
	mde   = entra.Scope("https://mde.example/.default")
	extra = entra.Scope("https://extra.example/.default")

	app   = entra.IdentityID("app")
	other = entra.IdentityID("other")
)

// table is a route table with the identities app and other.
func table(t *testing.T, routes ...route.Route) *route.Table {
	t.Helper()
	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	cfg := route.Config{
		Catalogue:  catalogue,
		Identities: []route.Identity{{Name: "default", ID: app}, {Name: "other", ID: other}},
		Routes:     routes,
	}
	made, err := route.NewTable(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func full(name string, scope entra.Scope) route.Route {
	return route.Route{Name: name, Upstream: &url.URL{Scheme: "https", Host: name + ".example"}, Scope: scope}
}

func readOnly(name string, scope entra.Scope) route.Route {
	r := full(name, scope)
	r.Access = route.ReadOnly
	return r
}

func restricted(t *testing.T, name string, scope entra.Scope, allow, deny string) route.Route {
	t.Helper()
	r := full(name, scope)
	rules := func(pattern string) []route.Rule {
		if pattern == "" {
			return nil
		}
		p, err := route.ParsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return []route.Rule{{Path: p}}
	}
	r.Allow, r.Deny = rules(allow), rules(deny)
	return r
}

func as(identity string, r route.Route) route.Route {
	r.Identity = identity
	return r
}

func TestDecide(t *testing.T) {
	handOut := func(scope entra.Scope) entra.Request { return entra.Request{Identity: app, Scope: scope} }
	forRoute := func(name string, r entra.Request) entra.Request { r.Route = name; return r }
	to := func(use entra.Use, r entra.Request) entra.Request { r.Use = use; return r }
	by := func(id entra.IdentityID, r entra.Request) entra.Request { r.Identity = id; return r }
	routes := func(r ...route.Route) []route.Route { return r }

	for _, tt := range []struct {
		name   string
		routes []route.Route
		noHand bool
		scopes []entra.Scope
		req    entra.Request
		want   string // the rule, and "no" before it for a refusal
	}{
		// Handing out.
		{name: "full", routes: routes(full("a", xdr)), req: handOut(xdr), want: "routes.a"},
		{name: "full, by route", routes: routes(full("a", xdr)), req: forRoute("a", handOut(xdr)), want: "routes.a"},
		{name: "read-only", routes: routes(readOnly("a", xdr)), req: handOut(xdr), want: "no routes.a"},
		{name: "read-only, by route", routes: routes(readOnly("a", xdr)), req: forRoute("a", handOut(xdr)), want: "no routes.a"},
		{name: "allow", routes: routes(restricted(t, "a", xdr, "/api/**", "")), req: handOut(xdr), want: "no routes.a"},
		{name: "deny", routes: routes(restricted(t, "a", xdr, "", "/api/machines/**")), req: handOut(xdr), want: "no routes.a"},
		{name: "one restricted, one not", routes: routes(readOnly("a", xdr), full("b", xdr)), req: handOut(xdr), want: "routes.b"},
		{name: "one restricted, one not, by the restricted one", routes: routes(readOnly("a", xdr), full("b", xdr)), req: forRoute("a", handOut(xdr)), want: "routes.b"},
		{name: "all restricted", routes: routes(readOnly("a", xdr), restricted(t, "b", xdr, "/api/**", "")), req: handOut(xdr), want: "no routes.a"},
		{name: "another scope's route is full", routes: routes(readOnly("a", xdr), full("b", mde)), req: handOut(xdr), want: "no routes.a"},
		{name: "another identity's route is full", routes: routes(readOnly("a", xdr), as("other", full("b", xdr))), req: handOut(xdr), want: "no routes.a"},
		{name: "the other identity itself", routes: routes(readOnly("a", xdr), as("other", full("b", xdr))), req: by(other, handOut(xdr)), want: "routes.b"},
		{name: "an identity that no route uses", routes: routes(full("a", xdr)), req: by(other, handOut(xdr)), want: "no default"},
		{name: "no route uses the scope", routes: routes(full("a", xdr)), req: handOut(extra), want: "no default"},
		{name: "no scope", routes: routes(full("a", xdr)), req: handOut(""), want: "no default"},
		{name: "nearly the scope", routes: routes(full("a", xdr)), req: handOut("https://xdr.example/Incident.Read.All"), want: "no default"},
		{name: "listed", routes: routes(full("a", xdr)), scopes: []entra.Scope{mde, extra}, req: handOut(extra), want: "tokens.scopes"},
		{name: "listed beats restricted", routes: routes(readOnly("a", xdr)), scopes: []entra.Scope{xdr}, req: handOut(xdr), want: "tokens.scopes"},
		{name: "listed, of an identity that no route uses it with", routes: routes(full("a", xdr)), scopes: []entra.Scope{extra}, req: by(other, handOut(extra)), want: "no default"},
		{name: "listed, of an identity that a route uses it with", routes: routes(as("other", readOnly("b", extra))), scopes: []entra.Scope{extra}, req: by(other, handOut(extra)), want: "tokens.scopes"},
		{name: "hand_out is off", routes: routes(full("a", xdr)), noHand: true, req: handOut(xdr), want: "no tokens.hand_out"},
		{name: "hand_out beats listed", routes: routes(full("a", xdr)), noHand: true, scopes: []entra.Scope{xdr}, req: handOut(xdr), want: "no tokens.hand_out"},
		// On a proxied call.
		{name: "proxy, full", routes: routes(full("a", xdr)), req: to(entra.Proxy, forRoute("a", handOut(xdr))), want: "routes.a"},
		{name: "proxy, restricted", routes: routes(readOnly("a", xdr)), req: to(entra.Proxy, forRoute("a", handOut(xdr))), want: "routes.a"},
		{name: "proxy, hand_out is off", routes: routes(full("a", xdr)), noHand: true, req: to(entra.Proxy, forRoute("a", handOut(xdr))), want: "routes.a"},
		{name: "proxy, the second route of a scope", routes: routes(full("a", xdr), full("b", xdr)), req: to(entra.Proxy, forRoute("b", handOut(xdr))), want: "routes.b"},
		{name: "proxy, a scope of another route", routes: routes(full("a", xdr), full("b", mde)), req: to(entra.Proxy, forRoute("a", handOut(mde))), want: "no default"},
		{name: "proxy, another identity", routes: routes(full("a", xdr)), req: by(other, to(entra.Proxy, forRoute("a", handOut(xdr)))), want: "no default"},
		{name: "proxy, a listed scope is no route's", routes: routes(full("a", xdr)), scopes: []entra.Scope{extra}, req: to(entra.Proxy, forRoute("a", handOut(extra))), want: "no default"},
		// To show claims.
		{name: "inspect, full", routes: routes(full("a", xdr)), req: to(entra.Inspect, handOut(xdr)), want: "routes.a"},
		{name: "inspect, restricted", routes: routes(readOnly("a", xdr)), req: to(entra.Inspect, handOut(xdr)), want: "routes.a"},
		{name: "inspect, hand_out is off", routes: routes(full("a", xdr)), noHand: true, req: to(entra.Inspect, forRoute("a", handOut(xdr))), want: "routes.a"},
		{name: "inspect, listed", routes: routes(full("a", xdr)), scopes: []entra.Scope{extra}, req: to(entra.Inspect, handOut(extra)), want: "tokens.scopes"},
		{name: "inspect, unknown", routes: routes(full("a", xdr)), req: to(entra.Inspect, handOut(extra)), want: "no default"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := guard.NewPolicy(guard.PolicyConfig{Table: table(t, tt.routes...), HandOut: !tt.noHand, Scopes: tt.scopes})
			d := p.Decide(guard.Principal{Name: guard.Local}, guard.Ask{Request: tt.req})
			if got := ruling(d); got != tt.want {
				t.Errorf("got %q, want %q (reason: %s)", got, tt.want, d.Reason)
			}
			if d.Allowed != (d.Err() == nil) || d.Allowed != (d.Reason == "") {
				t.Errorf("a refusal, and only that, has a reason and an error: %+v", d)
			}
		})
	}
}

func TestRefusalsNameTheRemedy(t *testing.T) {
	p := guard.NewPolicy(guard.PolicyConfig{Table: table(t, readOnly("a", xdr), readOnly("b", xdr)), HandOut: true})
	for scope, want := range map[entra.Scope]string{
		xdr:   `scope "https://xdr.example/.default": only restricted routes use it (a, b), and its token would open more than they let through; call through /proxy/a/, or list the scope in tokens.scopes`,
		extra: `scope "https://extra.example/.default": no route uses it with this identity, and tokens.scopes does not list it`,
	} {
		err := p.Decide(guard.Principal{Name: guard.Local}, guard.Ask{Request: entra.Request{Identity: app, Scope: scope}}).Err()
		if e := entra.AsError(err); e.Kind != entra.Denied || e.Message() != want {
			t.Errorf("got %s %q, want %s %q", e.Kind, e.Message(), entra.Denied, want)
		}
	}
}

func TestDecideOnACall(t *testing.T) {
	for _, tt := range []struct {
		route route.Route
		want  string
	}{
		{full("a", xdr), "routes.a.access"},
		{readOnly("a", xdr), "no routes.a.access"},
		{restricted(t, "a", xdr, "/api/**", ""), "routes.a.allow[0]"},
		{restricted(t, "a", xdr, "/api/incidents/**", ""), "no routes.a.allow"},
		{restricted(t, "a", xdr, "", "/api/machines/*/isolate"), "no routes.a.deny[0]"},
	} {
		whole := table(t, tt.route)
		p := guard.NewPolicy(guard.PolicyConfig{Table: whole, HandOut: true})
		call := resolve(t, whole, "a", "/api/machines/1/isolate")
		d := p.Decide(guard.Principal{Name: guard.Local}, guard.AskOf(&call))
		if got := ruling(d); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
		if !d.Allowed && (!strings.Contains(d.Reason, "/api/machines/1/isolate") || strings.Contains(d.Reason, "route.permit")) {
			t.Errorf("%s: got reason %q, want the call in it and no place in our code", tt.want, d.Reason)
		}
	}
}

// resolve resolves a POST.
func resolve(t *testing.T, from *route.Table, name, path string) route.Call {
	t.Helper()
	call, err := from.Resolve(route.Target{Route: name, Method: http.MethodPost, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return call
}

// ruling is a decision's rule, with "no" before it for a refusal.
func ruling(d guard.Decision) string {
	if d.Allowed {
		return d.Rule
	}
	return "no " + d.Rule
}

func TestNote(t *testing.T) {
	for _, tt := range []struct {
		decision guard.Decision
		want     entra.Trail
	}{
		{guard.Decision{Allowed: true, Rule: "routes.a"}, entra.Trail{Decision: "allow", Rule: "routes.a"}},
		{guard.Decision{Rule: "default"}, entra.Trail{Decision: "deny", Rule: "default"}},
	} {
		var got entra.Trail
		tt.decision.Note(&got)
		if got != tt.want {
			t.Errorf("got %+v, want %+v", got, tt.want)
		}
	}
}
