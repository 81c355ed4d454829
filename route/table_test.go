package route_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/route"
)

func TestNewTableReportsAllFaultsAtOnce(t *testing.T) {
	_, err := route.NewTable(route.Config{
		Catalogue:  catalogue(t),
		Identities: []route.Identity{identity("soc"), identity("soc"), identity("a/b"), identity(".."), identity("lab")},
		Routes: []route.Route{
			{Name: "../x", Upstream: upstream(t, "https://api.security.microsoft.com"), Identity: "soc"},
			{Name: "nowhere", Identity: "soc", Scope: xdr},
			{Name: "plain", Upstream: upstream(t, "http://api.security.microsoft.com"), Identity: "soc"},
			{Name: "user", Upstream: upstream(t, "https://me@api.security.microsoft.com"), Identity: "soc"},
			{Name: "query", Upstream: upstream(t, "https://api.security.microsoft.com?x=1"), Identity: "soc"},
			{Name: "deep", Upstream: upstream(t, "https://api.security.microsoft.com/api"), Identity: "soc"},
			{Name: "dots", Upstream: upstream(t, "https://gateway.example/a/../b"), Identity: "soc", Scope: xdr},
			{Name: "scopeless", Upstream: upstream(t, "https://gateway.example"), Identity: "soc"},
			{Name: "stranger", Upstream: upstream(t, "https://api.security.microsoft.com"), Identity: "who"},
			{Name: "anybody", Upstream: upstream(t, "https://api.security.microsoft.com")},
			{
				Name: "rules", Upstream: upstream(t, "https://api.security.microsoft.com"), Identity: "soc",
				Allow: []route.Rule{{Path: pattern(t, "/api/**")}, {Methods: []string{"GET", "get"}, Path: pattern(t, "/api/**")}},
				Deny:  []route.Rule{{Methods: []string{""}}},
			},
			{Name: "rules", Upstream: upstream(t, "https://api.security.microsoft.com"), Identity: "soc"},
		},
	})
	if err == nil {
		t.Fatal("got no error")
	}
	if got := entra.KindOf(err); got != entra.Invalid {
		t.Errorf("got %s, want invalid", got)
	}
	want := []string{
		"identities.soc: two identities of this name",
		`identities: "a/b": want a name of 1 to 63 letters a to z, digits and hyphens, the first no hyphen`,
		`identities: "..": want a name of 1 to 63 letters a to z, digits and hyphens, the first no hyphen`,
		`routes: "../x": want a name of 1 to 63 letters a to z, digits and hyphens, the first no hyphen`,
		"routes.nowhere.upstream: want https://host",
		"routes.plain.upstream: want https://host",
		"routes.user.upstream: want https://host",
		"routes.query.upstream: want https://host",
		"routes.deep.upstream: want https://api.security.microsoft.com alone: the path is part of each call",
		`routes.dots.upstream: path "/a/../b": dot segments are refused`,
		"routes.scopeless.scope: the catalogue does not know the upstream, so name the scope of its tokens",
		`routes.stranger.identity: no identity "who"; there are: soc, soc, a/b, .., lab`,
		"routes.anybody.identity: no identity is the default, so name one of: soc, soc, a/b, .., lab",
		`routes.rules.allow[1].methods: "get": want GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS`,
		`routes.rules.deny[0].methods: "": want GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS`,
		"routes.rules.deny[0].path: want a pattern, such as /api/incidents/**",
		"routes.rules: two routes of this name",
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"mde": true, "mde-legacy": true, "7": true, "a-": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "Mde": false, "a_b": false, "a.b": false, "..": false, "a/b": false, `a"b`: false, "ä": false, strings.Repeat("a", 64): false,
	} {
		if got := route.IsName(name); got != want {
			t.Errorf("%q is a name: %v, want %v", name, got, want)
		}
	}
}

func TestNewTableWantsAnIdentity(t *testing.T) {
	_, err := route.NewTable(route.Config{Catalogue: catalogue(t)})
	wantError(t, err, entra.Invalid, "identities: want at least one")
}

func TestTableLooksUpstreamsUpInTheCatalogue(t *testing.T) {
	gcc, _ := catalogue(t).Host("api-gcc.securitycenter.microsoft.us")
	table := newTable(t, []route.Route{
		{Name: "known", Upstream: upstream(t, "https://API.Security.Microsoft.com:443/")},
		{Name: "gateway", Upstream: upstream(t, "https://gateway.example/defender"), Scope: mde},
		{Name: "replaced", Upstream: upstream(t, "https://gateway.example/mde"), Host: gcc},
		{Name: "override", Upstream: upstream(t, "https://api.security.microsoft.com"), Scope: graph},
	})
	want := map[string][]entra.Scope{"known": {xdr, mde}, "gateway": {mde}, "replaced": {gcc.MDE}, "override": {graph}}
	got := map[string][]entra.Scope{}
	for _, r := range table.Routes() {
		got[r.Name] = r.Scopes()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
	if r, err := table.Route("known"); err != nil || r.Host.Name != "api.security.microsoft.com" || r.Identity != "default" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestUnknownNamesAreAnsweredWithTheKnownOnes(t *testing.T) {
	table := newTable(t, builtin(t, entra.Public), identity("default"), identity("soc"))
	_, err := table.Route("nope")
	wantError(t, err, entra.NotFound, `route "nope"`, "defender, mde, mde-legacy, graph")
	_, err = table.Identity("nope")
	wantError(t, err, entra.NotFound, `identity "nope"`, "default, soc")
	if got := len(table.Identities()); got != 2 {
		t.Errorf("got %d identities, want 2", got)
	}
}

func TestRestrictedRouteClosesTheOptionalOnes(t *testing.T) {
	restrict := map[string]func(*route.Route){
		"read-only": func(r *route.Route) { r.Access = route.ReadOnly },
		"allow":     func(r *route.Route) { r.Allow = rules(t, "GET /api/incidents/**") },
		"deny":      func(r *route.Route) { r.Deny = rules(t, "POST /api/machines/**") },
	}
	for name, change := range restrict {
		t.Run(name, func(t *testing.T) {
			table := newTable(t, configured(t, builtin(t, entra.Public), "defender", change))
			if _, err := table.Route("defender"); err != nil {
				t.Error(err)
			}
			for _, closed := range []string{"mde", "mde-legacy", "graph"} {
				_, err := table.Route(closed)
				wantError(t, err, entra.Denied, closed, "the configuration restricts routes and does not name it", "add routes."+closed)
			}
			if got := len(table.Routes()); got != 1 {
				t.Errorf("got %d open routes, want 1", got)
			}
			if got := table.UsersOf(mde, identity("default").ID); len(got) != 1 || got[0].Name != "defender" {
				t.Errorf("users of MDE's scope: got %v, want defender alone", names(got))
			}
		})
	}
}

// Built-in graph is restricted to its two trees, whether or not the
// configuration names it.
func TestRestrictionOfABuiltinRouteClosesNothing(t *testing.T) {
	for _, name := range []string{"defender", "graph"} {
		table := newTable(t, configured(t, builtin(t, entra.Public), name, func(*route.Route) {}))
		if got := names(table.Routes()); got != "defender mde mde-legacy graph" {
			t.Errorf("%s is named, open: %s", name, got)
		}
		if r, err := table.Route("graph"); err != nil || !r.Restricted() {
			t.Errorf("graph: got %+v, %v", r, err)
		}
	}
}

func TestRestrictedGraphClosesTheOptionalRoutes(t *testing.T) {
	for name, change := range map[string]func(*route.Route){
		"read-only":   func(r *route.Route) { r.Access = route.ReadOnly },
		"deny":        func(r *route.Route) { r.Deny = rules(t, "/beta/**") },
		"one method":  func(r *route.Route) { r.Allow[0].Methods = []string{"GET"} },
		"other paths": func(r *route.Route) { r.Allow = rules(t, "/v1.0/security/incidents/**") },
		"another host": func(r *route.Route) { // which the catalogue does not know
			r.Host, r.Upstream, r.Scope = nil, upstream(t, "https://gateway.example"), graph
		},
	} {
		if got := names(newTable(t, configured(t, builtin(t, entra.Public), "graph", change)).Routes()); got != "graph" {
			t.Errorf("%s, open: %s", name, got)
		}
	}
}

func TestRestrictedRouteLeavesOtherConfiguredOnesOpen(t *testing.T) {
	routes := configured(t, builtin(t, entra.Public), "defender", func(r *route.Route) { r.Access = route.ReadOnly })
	routes = configured(t, routes, "mde", func(*route.Route) {})
	if got := names(newTable(t, routes).Routes()); got != "defender mde" {
		t.Errorf("open: %s", got)
	}
}

func TestOptionalRouteWithoutIdentityIsClosed(t *testing.T) {
	routes := configured(t, builtin(t, entra.Public), "defender", func(r *route.Route) { r.Identity = "soc" })
	table := newTable(t, routes, identity("soc"), identity("lab"))
	_, err := table.Route("mde")
	wantError(t, err, entra.Denied, "no identity is the default", "routes.mde.identity")
}

func TestUsersOf(t *testing.T) {
	routes := configured(t, builtin(t, entra.Public), "mde", func(r *route.Route) { r.Identity = "soc" })
	table := newTable(t, routes, identity("default"), identity("soc"))
	for _, tt := range []struct {
		scope    entra.Scope
		identity string
		want     string
	}{
		{mde, "default", "defender"},
		{mde, "soc", "mde"},
		{xdr, "default", "defender"},
		{xdr, "soc", ""},
		{graph, "default", "graph"},
		{"https://other.example/.default", "default", ""},
		// By another name of its resource application, where none needs this one.
		{"https://api.securitycenter.windows.com/.default", "default", "mde-legacy"},
		{"https://api.securitycenter.windows.com/.default", "soc", "mde"},
		{"https://securitycenter.onmicrosoft.com/windowsatpservice/.default", "default", "defender mde-legacy"},
		{"https://securitycenter.onmicrosoft.com/windowsatpservice/.default", "soc", "mde"},
		{"https://securitycenter.onmicrosoft.com/windowsatpservice/Machine.Read", "default", ""},
		{"https://security.microsoft.com/mtp/.default", "default", "defender"},
		{"https://security.microsoft.com/mtp/.default", "soc", ""},
	} {
		if got := names(table.UsersOf(tt.scope, identity(tt.identity).ID)); got != tt.want {
			t.Errorf("%s as %s: got %q, want %q", tt.scope, tt.identity, got, tt.want)
		}
	}
}

func TestAccessNames(t *testing.T) {
	for name, want := range map[string]route.Access{"": route.Full, "full": route.Full, "read-only": route.ReadOnly} {
		got, err := route.ParseAccess(name)
		if err != nil || got != want || name != "" && got.String() != name {
			t.Errorf("%q: got %v, %v", name, got, err)
		}
	}
	_, err := route.ParseAccess("readonly")
	wantError(t, err, entra.Invalid, `"readonly"`, "full or read-only")
}

func names(routes []*route.Route) string {
	var all []string
	for _, r := range routes {
		all = append(all, r.Name)
	}
	return strings.Join(all, " ")
}
