package guard_test

import (
	"net/url"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/route"
)

// The token of a bridge goes on its route's calls, and nowhere else.
func TestDecideOnTheTokenOfABridge(t *testing.T) {
	const graph = entra.Scope("https://graph.microsoft.com/.default")
	to := func(name, host string) route.Route {
		return route.Route{Name: name, Upstream: &url.URL{Scheme: "https", Host: host}}
	}
	bridged := to("defender", "api.security.microsoft.com")
	bridged.Bridge, bridged.Access = route.GraphHunting, route.ReadOnly
	closed := to("graph", "graph.microsoft.com")
	closed.Optional = true // and the other one is restricted
	whole := table(t, bridged, to("plain", "api.security.microsoft.com"), closed)

	call := resolve(t, whole, "defender", "/api/advancedhunting/run")
	out := call.Cross()
	if out.Scope != graph {
		t.Fatalf("got scope %s", out.Scope)
	}
	inspect, handOut := out.Request(), out.Request()
	inspect.Use, handOut.Use = entra.Inspect, entra.HandOut
	another, elsewhere, nowhere := out.Request(), out.Request(), out.Request()
	another.Identity, elsewhere.Route, nowhere.Route = other, "plain", ""

	for _, callers := range [][]guard.Caller{nil, {{Name: guard.Local, Routes: []string{"defender"}, Access: route.ReadOnly}}} {
		p := guard.NewPolicy(guard.PolicyConfig{Table: whole, HandOut: true, Callers: callers})
		for name, tt := range map[string]struct {
			ask  guard.Ask
			want string
		}{
			"the call":                {guard.AskOf(&call), "routes.defender.access"},
			"its token":               {guard.Ask{Request: out.Request()}, "routes.defender.bridge"},
			"its claims":              {guard.Ask{Request: inspect}, "no default"},
			"its token, in hand":      {guard.Ask{Request: handOut}, "no default"},
			"its token, for another":  {guard.Ask{Request: elsewhere}, "no default"},
			"its token, for no route": {guard.Ask{Request: nowhere}, "no default"},
			"the token of another":    {guard.Ask{Request: another}, "no default"},
		} {
			if callers != nil && name == "the token of another" {
				tt.want = "no callers" // which the caller does not see
			}
			if got := ruling(p.Decide(guard.Principal{Name: guard.Local}, tt.ask)); got != tt.want {
				t.Errorf("%s, callers %v: got %q, want %q", name, callers, got, tt.want)
			}
		}
	}
}
