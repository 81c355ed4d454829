package route_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tokenbroker/entra"
	"tokenbroker/route"
)

func TestResolveToken(t *testing.T) {
	routes := configured(t, builtin(t, entra.Public), "graph", func(r *route.Route) { r.Identity, r.Allow = "soc", nil })
	table := newTable(t, routes, identity("default"), identity("soc"))
	grant := func(name string, scope entra.Scope, routeName string, tenant entra.Tenant, other ...entra.Scope) route.Grant {
		return route.Grant{
			Request:  entra.Request{Identity: identity(name).ID, Tenant: tenant, Scope: scope, Route: routeName},
			Identity: name,
			Other:    other,
		}
	}
	const unused = entra.Scope("https://vault.example/.default")
	for _, tt := range []struct {
		name string
		ask  route.Ask
		want route.Grant
	}{
		{"a scope", route.Ask{Scope: mde}, grant("default", mde, "", home)},
		{"a scope of a route with another identity", route.Ask{Scope: graph}, grant("soc", graph, "", home)},
		{"a scope as somebody else", route.Ask{Scope: graph, Identity: "default"}, grant("default", graph, "", home)},
		{"a scope that no route uses", route.Ask{Scope: unused}, grant("default", unused, "", home)},
		{"a scope in a customer's tenant", route.Ask{Scope: mde, Tenant: string(customer)}, grant("default", mde, "", customer)},
		{"the own tenant, named", route.Ask{Scope: mde, Tenant: string(home)}, grant("default", mde, "", home)},
		{"a route with two scopes", route.Ask{Route: "defender"}, grant("default", xdr, "defender", home, mde)},
		{"one of them by path", route.Ask{Route: "defender", Path: "/api/machines"}, grant("default", mde, "defender", home)},
		{"the other by path", route.Ask{Route: "defender", Path: "/api/v1.0/Incidents"}, grant("default", xdr, "defender", home)},
		{"a route with one scope", route.Ask{Route: "mde"}, grant("default", mde, "mde", home)},
		{"a route with its own identity", route.Ask{Route: "graph"}, grant("soc", graph, "graph", home)},
		{"a route as somebody else", route.Ask{Route: "graph", Identity: "default"}, grant("default", graph, "graph", home)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := table.ResolveToken(tt.ask)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, zeroSecrets, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Request.Use != entra.HandOut {
				t.Errorf("use is %v, want the one that policy restricts most", got.Request.Use)
			}
		})
	}
}

func TestResolveTokenRefuses(t *testing.T) {
	table := newTable(t, builtin(t, entra.Public), identity("default"), identity("soc"))
	for _, tt := range []struct {
		name  string
		ask   route.Ask
		kind  entra.Kind
		parts []string
	}{
		{"two answers to one question", route.Ask{Scope: mde, Route: "mde"}, entra.Invalid, []string{"scope and route"}},
		{"no answer", route.Ask{}, entra.Invalid, []string{"defender, mde, mde-legacy, graph"}},
		{"a path without a route", route.Ask{Scope: mde, Path: "/api/machines"}, entra.Invalid, []string{"path", "route"}},
		{"an unknown route", route.Ask{Route: "other"}, entra.NotFound, []string{`"other"`, "defender, mde"}},
		{"an unknown identity", route.Ask{Scope: mde, Identity: "other"}, entra.NotFound, []string{`"other"`, "default, soc"}},
		{"an unknown identity for a route", route.Ask{Route: "mde", Identity: "other"}, entra.NotFound, []string{"default, soc"}},
		{"a path that can be misread", route.Ask{Route: "mde", Path: "/api/%2e%2e"}, entra.Invalid, []string{"dot segments"}},
		{"a malformed tenant", route.Ask{Scope: mde, Tenant: "a/b"}, entra.Invalid, []string{`tenant "a/b"`}},
		{"another tenant", route.Ask{Scope: mde, Tenant: "other.example"}, entra.Denied, []string{"other.example", "identities.default.tenants"}},
		{"another identity's tenant", route.Ask{Route: "mde", Identity: "soc", Tenant: string(customer)}, entra.Denied, []string{"identities.soc.tenants"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := table.ResolveToken(tt.ask)
			wantError(t, err, tt.kind, tt.parts...)
		})
	}
}

func TestIdentityOfAScope(t *testing.T) {
	const soc, lab = "soc", "lab"
	as := func(name string) func(*route.Route) { return func(r *route.Route) { r.Identity = name } }
	ask := func(t *testing.T, routes []route.Route, identities ...route.Identity) (route.Grant, error) {
		t.Helper()
		return newTable(t, routes, identities...).ResolveToken(route.Ask{Scope: mde})
	}

	t.Run("routes that disagree are named", func(t *testing.T) {
		routes := configured(t, builtin(t, entra.Public), "defender", as(soc))
		routes = configured(t, routes, "mde", as(lab))
		_, err := ask(t, routes, identity("default"), identity(soc), identity(lab))
		wantError(t, err, entra.Invalid, "defender uses the scope as soc", "mde as lab", "identity=")
	})
	t.Run("routes that the configuration does not name have no say", func(t *testing.T) {
		for _, name := range []string{"defender", "mde"} { // before and behind the optional one
			routes := configured(t, builtin(t, entra.Public), name, as(soc))
			grant, err := ask(t, routes, identity("default"), identity(soc))
			if err != nil || grant.Identity != soc {
				t.Errorf("%s: got %q, %v; want soc", name, grant.Identity, err)
			}
		}
	})
	t.Run("another name of a resource is the identity's that uses the resource", func(t *testing.T) {
		routes := configured(t, builtin(t, entra.Public), "mde", as(soc))
		grant, err := newTable(t, routes, identity("default"), identity(soc)).ResolveToken(route.Ask{Scope: "https://securitycenter.onmicrosoft.com/windowsatpservice/.default"})
		if err != nil || grant.Identity != soc {
			t.Errorf("got %q, %v; want soc", grant.Identity, err)
		}
	})
	t.Run("the only identity is the default one", func(t *testing.T) {
		if grant, err := ask(t, nil, identity(soc)); err != nil || grant.Identity != soc {
			t.Errorf("got %q, %v; want soc", grant.Identity, err)
		}
	})
	t.Run("none of several is the default", func(t *testing.T) {
		_, err := ask(t, nil, identity(soc), identity(lab))
		wantError(t, err, entra.Invalid, "identity=", "soc, lab")
	})
}
