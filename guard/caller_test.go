package guard_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/route"
)

const (
	home     = entra.Tenant("home.example")
	customer = entra.Tenant("customer.example")
	foreign  = entra.Tenant("foreign.example")
)

// world is a table of two identities and four routes, with the real catalogue.
func world(t *testing.T) *route.Table {
	t.Helper()
	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	made, err := route.NewTable(route.Config{
		Catalogue: catalogue,
		Identities: []route.Identity{
			{Name: "default", ID: app, Tenant: home, Tenants: []entra.Tenant{customer, foreign}},
			{Name: "other", ID: other, Tenant: home},
		},
		Routes: []route.Route{full("a", xdr), full("b", mde), readOnly("c", extra), as("other", full("d", xdr))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestDecideForNamedCallers(t *testing.T) {
	own := func(c guard.Caller) guard.Caller { c.Name = "own"; return c }
	routes := func(names ...string) guard.Caller { return guard.Caller{Routes: names} }
	with := func(c guard.Caller, change func(*guard.Caller)) guard.Caller { change(&c); return c }
	scopes := func(c guard.Caller, s ...entra.Scope) guard.Caller {
		return with(c, func(c *guard.Caller) { c.Scopes = s })
	}
	tenants := func(c guard.Caller, t ...entra.Tenant) guard.Caller {
		return with(c, func(c *guard.Caller) { c.Tenants = t })
	}
	identities := func(c guard.Caller, names ...string) guard.Caller {
		return with(c, func(c *guard.Caller) { c.Identities = names })
	}
	reader := func(c guard.Caller) guard.Caller {
		return with(c, func(c *guard.Caller) { c.Access = route.ReadOnly })
	}
	req := func(id entra.IdentityID, tenant entra.Tenant, scope entra.Scope, use entra.Use) entra.Request {
		return entra.Request{Identity: id, Tenant: tenant, Scope: scope, Use: use}
	}
	hand := func(id entra.IdentityID, scope entra.Scope) entra.Request { return req(id, home, scope, entra.HandOut) }
	show := func(id entra.IdentityID, scope entra.Scope) entra.Request { return req(id, home, scope, entra.Inspect) }
	proxied := func(id entra.IdentityID, scope entra.Scope, name string) entra.Request {
		r := req(id, home, scope, entra.Proxy)
		r.Route = name
		return r
	}

	for _, tt := range []struct {
		name   string
		caller guard.Caller
		global []entra.Scope // tokens.scopes
		noHand bool
		req    entra.Request
		want   string
	}{
		{name: "its route", caller: routes("a"), req: hand(app, xdr), want: "routes.a"},
		{name: "another's route", caller: routes("b"), req: hand(app, xdr), want: "no default"},
		{name: "nothing at all", caller: routes(), req: hand(app, xdr), want: "no callers"},
		{name: "every route", caller: routes("*"), req: hand(app, mde), want: "routes.b"},
		{name: "every route, restricted", caller: routes("*"), req: hand(app, extra), want: "no routes.c"},
		{name: "the same scope by another identity's route", caller: routes("a"), req: hand(other, xdr), want: "no callers"},
		{name: "that identity's route", caller: routes("d"), req: hand(other, xdr), want: "routes.d"},
		{name: "hand_out is off", caller: routes("a"), noHand: true, req: hand(app, xdr), want: "no tokens.hand_out"},

		{name: "own scope", caller: scopes(routes(), extra), req: hand(app, extra), want: "callers.own.scopes"},
		{name: "own scope beats the restriction", caller: scopes(routes("c"), extra), req: hand(app, extra), want: "callers.own.scopes"},
		{name: "own scope, nearly", caller: scopes(routes(), extra), req: hand(app, xdr), want: "no default"},
		{name: "own scope, of an identity without a route", caller: scopes(routes(), extra), req: hand(other, extra), want: "no callers"},
		{name: "own scope, of an identity that it lists", caller: identities(scopes(routes(), extra), "other"), req: hand(other, extra), want: "callers.own.scopes"},
		{name: "own scope, of each identity that it lists", caller: identities(scopes(routes(), extra), "default", "other"), req: hand(other, extra), want: "callers.own.scopes"},
		{name: "own scope, of the default identity that it does not list", caller: identities(scopes(routes(), extra), "other"), req: hand(app, extra), want: "no callers"},
		{name: "own scope, of its route's identity that does not use it", caller: scopes(routes("d"), extra), req: hand(other, extra), want: "no default"},
		{name: "hand_out beats own scope", caller: scopes(routes("a"), xdr), noHand: true, req: hand(app, xdr), want: "no tokens.hand_out"},

		{name: "tokens.scopes lifts a restriction", caller: routes("c"), global: []entra.Scope{extra}, req: hand(app, extra), want: "tokens.scopes"},
		{name: "tokens.scopes gives nothing to who has no route", caller: routes("a"), global: []entra.Scope{extra}, req: hand(app, extra), want: "no default"},
		{name: "tokens.scopes does not lift the caller's access", caller: reader(routes("c")), global: []entra.Scope{extra}, req: hand(app, extra), want: "no callers.own.access"},

		{name: "read-only caller gets no token", caller: reader(routes("a")), req: hand(app, xdr), want: "no callers.own.access"},
		{name: "read-only caller with the scope", caller: scopes(reader(routes("a")), xdr), req: hand(app, xdr), want: "callers.own.scopes"},
		{name: "read-only caller sees claims", caller: reader(routes("a")), req: show(app, xdr), want: "routes.a"},

		{name: "own tenant", caller: routes("a"), req: req(app, home, xdr, entra.HandOut), want: "routes.a"},
		{name: "further tenant, not named", caller: routes("a"), req: req(app, customer, xdr, entra.HandOut), want: "no callers"},
		{name: "further tenant, named", caller: tenants(routes("a"), customer), req: req(app, customer, xdr, entra.HandOut), want: "routes.a"},
		{name: "own tenant, where others are named", caller: tenants(routes("a"), customer), req: req(app, home, xdr, entra.HandOut), want: "no callers"},
		{name: "own tenant, named too", caller: tenants(routes("a"), customer, home), req: req(app, home, xdr, entra.HandOut), want: "routes.a"},
		{name: "every tenant", caller: tenants(routes("a"), "*"), req: req(app, foreign, xdr, entra.HandOut), want: "routes.a"},
		{name: "every tenant, of those configured", caller: tenants(routes("a"), "*"), req: req(app, "nobody.example", xdr, entra.HandOut), want: "no callers"},
		{name: "a tenant of another identity", caller: tenants(routes("d"), customer), req: req(other, customer, xdr, entra.HandOut), want: "no callers"},

		{name: "identity listed", caller: identities(routes("*"), "other"), req: hand(other, xdr), want: "routes.d"},
		{name: "identity not listed", caller: identities(routes("*"), "other"), req: hand(app, xdr), want: "no callers"},
		{name: "route of an identity not listed", caller: identities(routes("a", "d"), "other"), req: proxied(app, xdr, "a"), want: "no callers"},

		{name: "call by its route", caller: routes("a"), req: proxied(app, xdr, "a"), want: "routes.a"},
		{name: "call by another's route", caller: routes("a"), req: proxied(app, mde, "b"), want: "no default"},
		{name: "call with a scope of its own", caller: scopes(routes("a"), extra), req: proxied(app, extra, "a"), want: "no default"},
		{name: "call, hand_out is off", caller: routes("a"), noHand: true, req: proxied(app, xdr, "a"), want: "routes.a"},
		{name: "claims of its route", caller: routes("c"), req: show(app, extra), want: "routes.c"},
		{name: "claims of another's route", caller: routes("a"), req: show(app, extra), want: "no default"},
		{name: "claims of its scope", caller: scopes(routes(), extra), req: show(app, extra), want: "callers.own.scopes"},
		{name: "claims of a global scope without a route", caller: routes("a"), global: []entra.Scope{extra}, req: show(app, extra), want: "no default"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := guard.NewPolicy(guard.PolicyConfig{
				Table: world(t), HandOut: !tt.noHand, Scopes: tt.global,
				Callers: []guard.Caller{own(tt.caller), {Name: "neighbour", Routes: []string{"*"}, Tenants: []entra.Tenant{"*"}}},
			})
			d := p.Decide(guard.Principal{Name: "own"}, guard.Ask{Request: tt.req})
			if got := ruling(d); got != tt.want {
				t.Errorf("got %q, want %q (reason: %s)", got, tt.want, d.Reason)
			}
		})
	}
}

func TestDecideForNamedCallersOnACall(t *testing.T) {
	whole := world(t)
	for _, tt := range []struct {
		caller       guard.Caller
		route        string
		method, path string
		want         string
	}{
		{guard.Caller{Routes: []string{"a"}}, "a", http.MethodPost, "/api/machines/1/isolate", "routes.a.access"},
		{guard.Caller{Routes: []string{"b"}}, "a", http.MethodGet, "/api/machines", "no callers"},
		{guard.Caller{Routes: []string{"a"}, Access: route.ReadOnly}, "a", http.MethodGet, "/api/machines", "routes.a.access"},
		{guard.Caller{Routes: []string{"a"}, Access: route.ReadOnly}, "a", http.MethodPost, "/api/advancedhunting/run", "routes.a.access"},
		{guard.Caller{Routes: []string{"a"}, Access: route.ReadOnly}, "a", http.MethodPost, "/api/machines/1/isolate", "no callers.own.access"},
		{guard.Caller{Routes: []string{"a"}, Access: route.ReadOnly}, "a", http.MethodGet, "/api/machineactions/1/getPackageUri", "no callers.own.access"},
		{guard.Caller{Routes: []string{"a"}, Access: route.ReadOnly}, "a", http.MethodGet, "/api/unheard-of", "no callers.own.access"},
		{guard.Caller{Routes: []string{"c"}}, "c", http.MethodPost, "/api/machines/1/isolate", "no routes.c.access"},
		{guard.Caller{Routes: []string{"c"}, Scopes: []entra.Scope{extra}}, "c", http.MethodPost, "/api/machines/1/isolate", "no routes.c.access"},
	} {
		tt.caller.Name = "own"
		p := guard.NewPolicy(guard.PolicyConfig{Table: whole, HandOut: true, Callers: []guard.Caller{tt.caller}})
		call, err := whole.Resolve(route.Target{Route: tt.route, Method: tt.method, Path: tt.path})
		if err != nil {
			t.Fatal(err)
		}
		d := p.Decide(guard.Principal{Name: "own"}, guard.AskOf(&call))
		if got := ruling(d); got != tt.want {
			t.Errorf("%v %s %s: got %q, want %q (%s)", tt.caller.Routes, tt.method, tt.path, got, tt.want, d.Reason)
		}
	}
}

func TestNobodyHasNothing(t *testing.T) {
	named := guard.NewPolicy(guard.PolicyConfig{Table: world(t), HandOut: true, Callers: []guard.Caller{{Name: "own", Routes: []string{"*"}}}})
	for _, who := range []guard.Principal{{}, {Name: guard.Local}, {Name: guard.Anonymous}, {Name: "OWN"}} {
		d := named.Decide(who, guard.Ask{Request: entra.Request{Identity: app, Tenant: home, Scope: xdr}})
		if ruling(d) != "no callers" {
			t.Errorf("%q: got %q, want a refusal", who.Name, ruling(d))
		}
		if got := named.Table(who).Routes(); len(got) != 0 {
			t.Errorf("%q sees %d routes, want none", who.Name, len(got))
		}
		if _, err := named.Table(who).Resolve(route.Target{Route: "a", Method: http.MethodGet, Path: "/"}); entra.KindOf(err) != entra.NotFound {
			t.Errorf("%q: got %v, want that the route is not there", who.Name, err)
		}
	}
}

// What a caller reads of what it may not have is what it reads of what is not
// there, but for the name that it said itself.
func TestCallerLearnsNothingOfAnother(t *testing.T) {
	p := guard.NewPolicy(guard.PolicyConfig{Table: world(t), HandOut: true, Callers: []guard.Caller{
		{Name: "own", Routes: []string{"b"}},
		{Name: "neighbour", Routes: []string{"*"}, Tenants: []entra.Tenant{"*"}},
	}})
	mine := p.Table(guard.Principal{Name: "own"})
	for _, tt := range []struct {
		ask            func(name string) route.Ask
		hidden, absent string
	}{
		{func(name string) route.Ask { return route.Ask{Route: name} }, "a", "zz"},
		{func(name string) route.Ask { return route.Ask{Scope: mde, Identity: name} }, "other", "nobody"},
		{func(name string) route.Ask { return route.Ask{Scope: mde, Tenant: name} }, string(customer), "unheard.example"},
	} {
		_, hidden := mine.ResolveToken(tt.ask(tt.hidden))
		_, absent := mine.ResolveToken(tt.ask(tt.absent))
		if hidden == nil || absent == nil {
			t.Errorf("%s: got %v and %v, want two refusals", tt.hidden, hidden, absent)
			continue
		}
		quoted := func(err error, name string) string {
			text := strings.ReplaceAll(err.Error(), strconv.Quote(name), "it")
			return strings.ReplaceAll(text, "tenant "+name, "tenant it")
		}
		got, want := quoted(hidden, tt.hidden), quoted(absent, tt.absent)
		if got != want || entra.KindOf(hidden) != entra.KindOf(absent) {
			t.Errorf("what is hidden reads\n%s\nand what is not there\n%s", got, want)
		}
		for _, secret := range []string{"other", string(home), string(customer), string(foreign), "a, b"} {
			if strings.Contains(got, secret) {
				t.Errorf("%q names %s", got, secret)
			}
		}
	}
}
