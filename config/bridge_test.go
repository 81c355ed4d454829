package config

import (
	"testing"

	"tokenbroker/entra"
	"tokenbroker/route"
)

func TestBridgeOfRoutes(t *testing.T) {
	table := good(t, identity+`routes: {defender: {access: read-only, bridge: graph-hunting, upstream: "https://127.0.0.1:8443"}, mde: {bridge: ""}}`).Table
	for name, want := range map[string]route.Bridge{"defender": route.GraphHunting, "mde": route.NoBridge} {
		if r, err := table.Route(name); err != nil || r.Bridge != want {
			t.Errorf("%s: got %q, %v, want %q", name, r.Bridge, err, want)
		}
	}
	call, err := table.Resolve(route.Target{Route: "defender", Method: "POST", Path: "/api/advancedhunting/run"})
	if out := call.Cross(); err != nil || out.Scope != entra.Scope("https://graph.microsoft.com/.default") || out.Route.Upstream.Host != "graph.microsoft.com" {
		t.Errorf("got %s with %s, %v, want the cloud's Graph, though its route is closed", out.Route.Upstream, out.Scope, err)
	}
}

func TestFaultsOfABridge(t *testing.T) {
	for yaml, want := range map[string]string{
		"routes: {mde: {bridge: graph}}":           `config.yaml:2: routes.mde.bridge: bridge "graph": want graph-hunting, or nothing`,
		"routes: {graph: {bridge: graph-hunting}}": "config.yaml:2: routes.graph.bridge: it leads hunting away from the Defender APIs, and the catalogue knows none of them at the route's upstream",
		"cloud: china\nroutes: {x: {upstream: https://api.security.microsoft.com, bridge: graph-hunting}}": "config.yaml:3: routes.x.bridge: Graph has no hunting in the cloud china",
	} {
		if _, err := try(t, identity+yaml); text(err) != want {
			t.Errorf("%s: got\n%s\nwant\n%s", yaml, text(err), want)
		}
	}
}
