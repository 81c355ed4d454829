package route_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
)

func TestResolve(t *testing.T) {
	table := newTable(t, builtin(t, entra.Public))
	call, err := table.Resolve(route.Target{Route: "defender", Tenant: "Customer.Example", Method: "GET", Path: "/API/v1.0/Incidents/41"})
	if err != nil {
		t.Fatal(err)
	}
	if call.Route.Name != "defender" || call.Endpoint.String() != "GET /api/incidents/{id}" || call.Path.Raw() != "/API/v1.0/Incidents/41" {
		t.Errorf("got %s, %s, %s", call.Route.Name, call.Endpoint, call.Path)
	}
	want := entra.Request{Identity: identity("default").ID, Tenant: customer, Scope: xdr, Route: "defender", Use: entra.Proxy}
	if diff := cmp.Diff(want, call.Request(), zeroSecrets); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestResolveChoosesTheScopeByPath(t *testing.T) {
	table := newTable(t, builtin(t, entra.Public))
	for _, tt := range []struct {
		route, path string
		want        entra.Scope
	}{
		{"defender", "/api/incidents", xdr},
		{"defender", "/api/%69ncidents", xdr},
		{"defender", "/api/machines", mde},
		{"mde", "/api/machines", mde},
		{"mde-legacy", "/api/alerts", "https://api.securitycenter.windows.com/.default"},
		{"graph", "/v1.0/security/incidents", graph},
		{"graph", "/v1.0/me", graph}, // which Permitted refuses
	} {
		call, err := table.Resolve(route.Target{Route: tt.route, Method: "GET", Path: tt.path})
		if err != nil || call.Scope != tt.want || call.Tenant != home {
			t.Errorf("%s %s: got scope %q, tenant %q, %v; want %q", tt.route, tt.path, call.Scope, call.Tenant, err, tt.want)
		}
	}
}

func TestResolveNamesTheRouteThatServesThePath(t *testing.T) {
	for _, tt := range []struct {
		cloud       entra.Cloud
		route, path string
		want        string
	}{
		{entra.GCC, "defender", "/api/machines", `route "defender": api-gcc.security.microsoft.us serves no API at "/api/machines"; call it by route mde`},
		{entra.GCC, "mde", "/api/incidents", "call it by route defender"},
		{entra.DoD, "defender", "/api/alerts/1", "call it by route mde"},
		{entra.Public, "mde", "/api/v1.0/AdvancedHunting/run", "call it by route defender"},
		{entra.Public, "graph", "/api/machines", "call it by route defender, mde, mde-legacy"},
		{entra.Public, "defender", "/v1.0/security/incidents", "call it by route graph"},
		{entra.Public, "defender", "/", "nor does any other route's upstream"},
	} {
		gateway := route.Route{Name: "gateway", Upstream: upstream(t, "https://gateway.example"), Scope: mde} // nobody knows what it serves
		table := newTable(t, append(builtin(t, tt.cloud), gateway))
		_, err := table.Resolve(route.Target{Route: tt.route, Method: "GET", Path: tt.path})
		wantError(t, err, entra.Invalid, tt.want)
		_, err = table.ResolveToken(route.Ask{Route: tt.route, Path: tt.path})
		wantError(t, err, entra.Invalid, tt.want)
	}
}

func TestResolveRefuses(t *testing.T) {
	table := newTable(t, builtin(t, entra.Public))
	for _, tt := range []struct {
		name   string
		target route.Target
		kind   entra.Kind
		text   string
	}{
		{"an unknown route", route.Target{Route: "other", Method: "GET", Path: "/api/incidents"}, entra.NotFound, "there are: defender"},
		{"a method in lower case", route.Target{Route: "defender", Method: "patch", Path: "/api/incidents/1"}, entra.Invalid, "want GET, HEAD"},
		{"no method", route.Target{Route: "defender", Path: "/api/incidents/1"}, entra.Invalid, "want GET, HEAD"},
		{"a path that can be misread", route.Target{Route: "defender", Method: "GET", Path: "/api/../x"}, entra.Invalid, "dot segments"},
		{"no path", route.Target{Route: "defender", Method: "GET"}, entra.Invalid, "leading slash"},
		{"a malformed tenant", route.Target{Route: "defender", Tenant: "common", Method: "GET", Path: "/api/incidents"}, entra.Invalid, `tenant "common"`},
		{"a tenant that is not configured", route.Target{Route: "defender", Tenant: "other.example", Method: "GET", Path: "/api/incidents"}, entra.Denied, "identities.default.tenants"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := table.Resolve(tt.target)
			wantError(t, err, tt.kind, tt.text)
		})
	}
}

func TestEndpointIsKnownOnlyWhereItsAPIIsServed(t *testing.T) {
	table := newTable(t, []route.Route{
		{Name: "gateway", Upstream: upstream(t, "https://gateway.example/defender"), Scope: mde},
		{Name: "defender", Upstream: upstream(t, "https://api.security.microsoft.com")},
		{Name: "graph", Upstream: upstream(t, "https://graph.microsoft.com")},
	})
	for _, tt := range []struct {
		route, path string
		known       bool
	}{
		{"gateway", "/api/machines", true}, // who knows what stands behind it
		{"defender", "/api/machines", true},
		{"defender", "/api/v1/alerts", false}, // of Defender for Cloud Apps
		{"graph", "/v1.0/security/incidents", true},
	} {
		call, err := table.Resolve(route.Target{Route: tt.route, Method: "GET", Path: tt.path})
		if err != nil || (call.Endpoint != nil) != tt.known {
			t.Errorf("%s %s: got endpoint %v, %v; want known: %v", tt.route, tt.path, call.Endpoint, err, tt.known)
		}
	}
}

func TestEffectOfACall(t *testing.T) {
	table := newTable(t, builtin(t, entra.Public))
	for _, tt := range []struct {
		method, path string
		want         defender.Effect
	}{
		{"GET", "/api/machines", defender.Read},
		{"HEAD", "/api/machines", defender.Read},
		{"POST", "/api/advancedqueries/run", defender.Read},
		{"GET", "/api/machineactions/1/getPackageUri", defender.Write},
		{"POST", "/api/machines/1/tags", defender.Write},
		{"POST", "/api/machines/1/isolate", defender.Action},

		// Of what the catalogue does not know only the method speaks.
		{"GET", "/api/unheard-of", defender.Read},
		{"HEAD", "/api/unheard-of", defender.Read},
		{"OPTIONS", "/api/machines", defender.Read},
		{"POST", "/api/unheard-of", defender.Action},
		{"PUT", "/api/machines/1", defender.Action},
		{"DELETE", "/api/machines/1", defender.Action},
		{"POST", "/api/machines('1')/isolate", defender.Action},
	} {
		call, err := table.Resolve(route.Target{Route: "defender", Method: tt.method, Path: tt.path})
		if err != nil || call.Effect() != tt.want {
			t.Errorf("%s %s: got %s, %v; want %s", tt.method, tt.path, call.Effect(), err, tt.want)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	table := newTable(b, builtin(b, entra.Public))
	for name, target := range map[string]route.Target{
		"plain":    {Route: "defender", Method: "GET", Path: "/api/incidents"},
		"tenant":   {Route: "defender", Method: "GET", Path: "/api/incidents", Tenant: string(customer)},
		"function": {Route: "mde", Method: "GET", Path: "/api/machines/findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z)"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := table.Resolve(target); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
