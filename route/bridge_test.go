package route_test

import (
	"testing"

	"tokenbroker/entra"
	"tokenbroker/route"
)

const runHuntingQuery = "POST /v1.0/security/runHuntingQuery"

// bridged are the built-in routes of a cloud, defender with a bridge.
func bridged(tb testing.TB, cloud entra.Cloud, change ...func(*route.Route)) []route.Route {
	tb.Helper()
	return configured(tb, builtin(tb, cloud), "defender", func(r *route.Route) {
		r.Bridge = route.GraphHunting
		for _, c := range change {
			c(r)
		}
	})
}

func TestBridgeLeadsHuntingToGraph(t *testing.T) {
	table := newTable(t, bridged(t, entra.Public))
	for path, across := range map[string]bool{
		"/api/advancedhunting/run":       true,
		"/api/advancedqueries/run":       true,
		"/API/v1.0/AdvancedHunting/run/": true,
		"/api/advancedhunting/schema":    false,
		"/api/machines/1/isolate":        false,
		"/api/advancedqueries/other.run": false,
	} {
		call, err := table.Resolve(route.Target{Route: "defender", Tenant: string(customer), Method: "POST", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if call.Scope == graph || call.Path.Raw() != path || call.Bridge != route.NoBridge {
			t.Errorf("%s: got scope %s, path %s before it has crossed", path, call.Scope, call.Path)
		}
		out := call.Cross()
		if !across {
			if out.Bridge != route.NoBridge || out.Scope == graph || out.Route != call.Route || out.Path != call.Path {
				t.Errorf("%s: got %s by %q, want it to stay", path, out.Route.Upstream, out.Bridge)
			}
			continue
		}
		if out.Bridge != route.GraphHunting || out.Scope != graph || out.Endpoint.String() != runHuntingQuery ||
			out.Route.Upstream.String() != "https://graph.microsoft.com" || out.Path.Raw() != "/v1.0/security/runHuntingQuery" || out.Route.Name != "defender" {
			t.Errorf("%s: got %s%s, scope %s, %s", path, out.Route.Upstream, out.Path, out.Scope, out.Endpoint)
		}
		if req := out.Request(); req.Scope != graph || req.Identity != call.Identity.ID || req.Tenant != customer || req.Use != entra.Proxy || req.Route != "defender" {
			t.Errorf("%s: got request %+v", path, req)
		}
		if again := out.Cross(); again.Bridge != out.Bridge || again.Scope != out.Scope {
			t.Errorf("%s: got %+v the second time", path, again)
		}
	}
}

func TestWithoutBridgeHuntingStays(t *testing.T) {
	call, err := newTable(t, builtin(t, entra.Public)).Resolve(route.Target{Route: "defender", Method: "POST", Path: "/api/advancedhunting/run"})
	if out := call.Cross(); err != nil || out.Scope != xdr || out.Bridge != route.NoBridge {
		t.Errorf("got scope %s by %q, %v", out.Scope, out.Bridge, err)
	}
}

// The rules of the route are for the path that the caller wrote.
func TestBridgeIsJudgedAsItsCallerWroteIt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*route.Route)
		want   string // the rule; with "no" before it for a refusal
	}{
		{"read-only", func(r *route.Route) { r.Access = route.ReadOnly }, "routes.defender.access"},
		{"allowed", func(r *route.Route) { r.Allow = rules(t, "/api/advancedhunting/**") }, "routes.defender.allow[0]"},
		{"not allowed", func(r *route.Route) { r.Allow = rules(t, "/v1.0/security/**") }, "no routes.defender.allow"},
		{"denied", func(r *route.Route) { r.Deny = rules(t, "/api/advancedhunting/run") }, "no routes.defender.deny[0]"},
		{"what is denied is another path", func(r *route.Route) { r.Deny = rules(t, "/v1.0/security/**") }, "routes.defender.access"},
	} {
		table := newTable(t, bridged(t, entra.Public, tt.change))
		call, err := table.Resolve(route.Target{Route: "defender", Method: "POST", Path: "/api/advancedhunting/run"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := call.Permitted()
		if err != nil {
			got = "no " + got
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		// A restricted route closes graph. Where that is stays known.
		if out := call.Cross(); out.Route.Upstream.Host != "graph.microsoft.com" {
			t.Errorf("%s: got %s", tt.name, out.Route.Upstream)
		}
	}
}

// The bridge's token is for its calls alone, and gives nobody another.
func TestBridgeOpensNoScope(t *testing.T) {
	routes := bridged(t, entra.Public, func(r *route.Route) { r.Access = route.ReadOnly }) // closes graph
	table := newTable(t, routes, identity("default"), identity("other"))
	mine, others := identity("default").ID, identity("other").ID
	if users := table.UsersOf(graph, mine); len(users) > 0 {
		t.Errorf("got users %v of Graph's scope, want none", users)
	}
	grant, err := table.ResolveToken(route.Ask{Route: "defender"})
	if err != nil || len(grant.Other) != 1 || grant.Other[0] != mde {
		t.Errorf("got other scopes %v, %v, want MDE's alone", grant.Other, err)
	}
	if _, err := table.ResolveToken(route.Ask{Route: "defender", Path: "/v1.0/security/runHuntingQuery"}); err == nil {
		t.Error("got a token for Graph by path, want a refusal")
	}
	for _, tt := range []struct {
		route string
		scope entra.Scope
		id    entra.IdentityID
		want  bool
	}{
		{"defender", graph, mine, true}, {"defender", xdr, mine, false}, {"defender", graph, others, false}, {"mde", graph, mine, false}, {"", graph, mine, false},
	} {
		if got := table.Bridged(tt.route, tt.scope, tt.id); got != tt.want {
			t.Errorf("%q %s %s: got %t", tt.route, tt.scope, tt.id, got)
		}
	}
	if table.View(route.View{Routes: []string{"mde"}}).Bridged("defender", graph, mine) {
		t.Error("got the bridge of a route that is out of sight")
	}
	if !table.View(route.View{Routes: []string{"defender"}}).Bridged("defender", graph, mine) {
		t.Error("got no bridge in the view that has the route")
	}
}

func TestBridgeFaults(t *testing.T) {
	for want, routes := range map[string][]route.Route{
		"routes.graph.bridge: it leads hunting away from the Defender APIs": configured(t, builtin(t, entra.Public), "graph", func(r *route.Route) { r.Bridge = route.GraphHunting }),
		"routes.x.bridge: it leads hunting away from the Defender APIs": append(builtin(t, entra.Public),
			route.Route{Name: "x", Upstream: upstream(t, "https://x.example"), Scope: xdr, Bridge: route.GraphHunting}),
		"routes.x.bridge: Graph has no hunting in the cloud china": append(builtin(t, entra.China),
			route.Route{Name: "x", Upstream: upstream(t, "https://api.security.microsoft.com"), Bridge: route.GraphHunting}),
		"routes.x.bridge: where is Graph? no route graph says so": {{Name: "x", Upstream: upstream(t, "https://api.security.microsoft.com"), Bridge: route.GraphHunting}},
		"routes.x.bridge: where route graph leads, there is no hunting": {
			{Name: "graph", Upstream: upstream(t, "https://api.securitycenter.microsoft.com")},
			{Name: "x", Upstream: upstream(t, "https://api.security.microsoft.com"), Bridge: route.GraphHunting},
		},
	} {
		_, err := route.NewTable(route.Config{Catalogue: catalogue(t), Identities: []route.Identity{identity("default")}, Routes: routes})
		wantError(t, err, entra.Invalid, want)
	}
}

func TestBridgeOfEachCloud(t *testing.T) {
	for cloud, want := range map[entra.Cloud]string{
		entra.GCC: "graph.microsoft.com", entra.GCCHigh: "graph.microsoft.us", entra.DoD: "dod-graph.microsoft.us",
	} {
		call, err := newTable(t, bridged(t, cloud)).Resolve(route.Target{Route: "defender", Method: "POST", Path: "/api/advancedhunting/run"})
		if out := call.Cross(); err != nil || out.Route.Upstream.Host != want || out.Scope != entra.Scope("https://"+want+"/.default") {
			t.Errorf("%s: got %s with %s, %v, want %s", cloud, out.Route.Upstream, out.Scope, err, want)
		}
	}
}

// An emulator's Graph is where the route graph leads.
func TestBridgeOfAnEmulator(t *testing.T) {
	here := func(r *route.Route) { r.Upstream = upstream(t, "https://127.0.0.1:8443") }
	routes := configured(t, bridged(t, entra.Public, here), "graph", here)
	call, err := newTable(t, routes).Resolve(route.Target{Route: "defender", Method: "POST", Path: "/api/advancedqueries/run"})
	if out := call.Cross(); err != nil || out.Route.Upstream.Host != "127.0.0.1:8443" || out.Scope != graph || out.Bridge != route.GraphHunting {
		t.Errorf("got %s with %s, %v", out.Route.Upstream, out.Scope, err)
	}
}

func TestParseBridge(t *testing.T) {
	for _, b := range []route.Bridge{route.NoBridge, route.GraphHunting} {
		if got, err := route.ParseBridge(b.String()); err != nil || got != b {
			t.Errorf("%q: got %v, %v", b, got, err)
		}
	}
	_, err := route.ParseBridge("graph")
	wantError(t, err, entra.Invalid, `bridge "graph": want graph-hunting`)
}
