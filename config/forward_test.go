package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sameServer are two routes with one upstream, and some more.
const sameServer = `
routes:
  defender: {}
  reader: {upstream: https://API.security.microsoft.com:443, access: read-only}
  graph: {}
  lab: {upstream: 'https://127.0.0.1:8443', scope: https://lab.example/.default}
  six: {upstream: 'https://[::1]', scope: https://lab.example/.default}
  deep: {upstream: https://deep.example/base, scope: https://lab.example/.default}
`

func TestForwardProxyHasOneRouteForEachServer(t *testing.T) {
	const api, lab = "api.security.microsoft.com", "127.0.0.1:8443"
	for _, tt := range []struct {
		name, yaml string
		want       map[string]string
	}{
		{
			"the default route", "listen: {callers: [{address: 'localhost:1', forward: true}]}" + sameServer,
			map[string]string{api: "defender", "graph.microsoft.com": "graph", lab: "lab", "[::1]": "six"},
		},
		{
			"another default route", "default_route: reader\nlisten: {callers: [{address: 'localhost:1', forward: true}]}" + sameServer,
			map[string]string{api: "reader", "graph.microsoft.com": "graph", lab: "lab", "[::1]": "six"},
		},
		{
			"its own", "listen: {callers: [{address: 'localhost:1', forward: true, route: reader}]}" + sameServer,
			map[string]string{api: "reader"},
		},
		{
			"its own, though that is not the default", "default_route: graph\nlisten: {callers: [{address: 'localhost:1', forward: true, route: lab}]}" + sameServer,
			map[string]string{lab: "lab"},
		},
		{
			"built in", "listen: {callers: [{address: 'localhost:1', forward: true}]}",
			map[string]string{api: "defender", "api.securitycenter.microsoft.com": "mde", "api.securitycenter.windows.com": "mde-legacy", "graph.microsoft.com": "graph"},
		},
	} {
		c := good(t, identity+tt.yaml)
		got := c.Forwarded(&c.Listen.Callers[0])
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// After a reload the listeners are those of before, and the routes may not fit
// them: nobody is called by a guess.
func TestForwardProxyTakesNoRouteInDoubt(t *testing.T) {
	c := good(t, identity+"default_route: graph"+sameServer)
	want := map[string]string{"graph.microsoft.com": "graph", "127.0.0.1:8443": "lab", "[::1]": "six"}
	if diff := cmp.Diff(want, c.Forwarded(&Listener{Forward: true})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := c.Forwarded(&Listener{Forward: true, Route: "gone"}); len(got) > 0 {
		t.Errorf("a route that is gone: got %v", got)
	}
}

func TestFaultsOfForwardProxies(t *testing.T) {
	for name, tt := range map[string]struct{ yaml, want string }{
		"several routes": {
			"default_route: graph\nlisten: {callers: [{address: 'localhost:1', forward: true}]}" + sameServer,
			"config.yaml:3: listen.callers[0].forward: api.security.microsoft.com is the upstream of the routes defender and reader: set route here, or default_route, to say by which of them it is called",
		},
		"an upstream with a path": {
			"listen: {callers: [{address: 'localhost:1', forward: true, route: deep}]}" + sameServer,
			"config.yaml:2: listen.callers[0].forward: no route to call by: want one whose upstream is a host alone, without a path",
		},
		"no such route": {
			"listen: {callers: [{address: 'localhost:1', forward: true, route: gone}]}",
			`config.yaml:2: listen.callers[0].route: no route "gone"; there are: defender, graph, mde, mde-legacy`,
		},
		"no truth": {
			"listen: {callers: [{address: 'localhost:1', forward: yes}]}",
			`config.yaml:2: listen.callers[0].forward: "yes": want true or false`,
		},
		"beyond this machine": {
			"listen: {callers: [{address: ':1', forward: true}]}",
			"config.yaml:2: listen.callers[0]: :1: reachable from beyond this machine; listen on localhost, or set both caller_key_file and listen.unsafe_non_loopback: true",
		},
	} {
		if _, err := try(t, identity+tt.yaml); text(err) != tt.want {
			t.Errorf("%s: got %s\nwant %s", name, text(err), tt.want)
		}
	}
}

func TestAuthority(t *testing.T) {
	for host, want := range map[string]string{
		"api.example": "api.example", "API.Example": "api.example", "api.example:80": "api.example", "api.example:443": "api.example", "[::1]:443": "[::1]",
		"127.0.0.1:8443": "127.0.0.1:8443", "api.example:8443": "api.example:8443",
		// Whatever else is written is another server.
		"api.example.": "api.example.", "api.example:080": "api.example:080", "api.example:0443": "api.example:0443", "api.example:65616": "api.example:65616",
		"api.example:": "api.example:", "api.example:443:80": "api.example:443",
		// The Kelvin sign is a k in lower case, the long s an S in upper case.
		"to\u212aen.example": "", "api.\u017fecurity.example": "", "\uff41pi.example": "", "api\u3002example": "", "": "",
	} {
		if got := Authority(host); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}
