package route_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// viewed is a table of three routes and two identities, soc being in two
// tenants more than its own.
func viewed(t *testing.T) *route.Table {
	t.Helper()
	soc, lab := identity("soc"), identity("lab")
	soc.Tenants = []entra.Tenant{"a.example", "b.example"}
	lab.Name, lab.ID = "default", "lab"
	made, err := route.NewTable(route.Config{
		Catalogue:  catalogue(t),
		Identities: []route.Identity{soc, lab},
		Routes: []route.Route{
			{Name: "defender", Upstream: upstream(t, "https://api.security.microsoft.com"), Identity: "soc"},
			{Name: "mde", Upstream: upstream(t, "https://api.securitycenter.microsoft.com"), Identity: "soc"},
			{Name: "graph", Upstream: upstream(t, "https://graph.microsoft.com")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestView(t *testing.T) {
	own := identity("soc").Tenant
	for _, tt := range []struct {
		name       string
		view       route.View
		routes     []string
		identities []string
		tenants    []entra.Tenant // that soc may be used in
		byDefault  entra.IdentityID
	}{
		{name: "nothing", byDefault: ""},
		{name: "one route", view: route.View{Routes: []string{"mde"}}, routes: []string{"mde"}, identities: []string{"soc"}, tenants: []entra.Tenant{own}, byDefault: identity("soc").ID},
		{name: "an unknown route", view: route.View{Routes: []string{"mde", "none"}}, routes: []string{"mde"}, identities: []string{"soc"}, tenants: []entra.Tenant{own}, byDefault: identity("soc").ID},
		{name: "all", view: route.View{Routes: []string{"*"}, Tenants: []entra.Tenant{"*"}}, routes: []string{"defender", "mde", "graph"}, identities: []string{"soc", "default"}, tenants: []entra.Tenant{own, "a.example", "b.example"}, byDefault: "lab"},
		{name: "all of an identity", view: route.View{Routes: []string{"*"}, Identities: []string{"soc"}}, routes: []string{"defender", "mde"}, identities: []string{"soc"}, tenants: []entra.Tenant{own}, byDefault: identity("soc").ID},
		{name: "the default one beside", view: route.View{Routes: []string{"mde"}, Default: true}, routes: []string{"mde"}, identities: []string{"soc", "default"}, tenants: []entra.Tenant{own}, byDefault: "lab"},
		{name: "the default one alone", view: route.View{Default: true}, identities: []string{"default"}, byDefault: "lab"},
		{name: "an identity without a route", view: route.View{Identities: []string{"soc"}}, identities: []string{"soc"}, tenants: []entra.Tenant{own}, byDefault: identity("soc").ID},
		{name: "one tenant", view: route.View{Routes: []string{"mde"}, Tenants: []entra.Tenant{"b.example"}}, routes: []string{"mde"}, identities: []string{"soc"}, tenants: []entra.Tenant{"b.example"}, byDefault: identity("soc").ID},
		{name: "own and another", view: route.View{Routes: []string{"mde"}, Tenants: []entra.Tenant{"b.example", own}}, routes: []string{"mde"}, identities: []string{"soc"}, tenants: []entra.Tenant{own, "b.example"}, byDefault: identity("soc").ID},
		{name: "a tenant that it is not in", view: route.View{Routes: []string{"mde"}, Tenants: []entra.Tenant{"c.example"}}, routes: []string{"mde"}, identities: []string{"soc"}, byDefault: identity("soc").ID},
	} {
		t.Run(tt.name, func(t *testing.T) {
			part := viewed(t).View(tt.view)
			var routes, identities []string
			for _, r := range part.Routes() {
				routes = append(routes, r.Name)
			}
			for _, i := range part.Identities() {
				identities = append(identities, i.Name)
			}
			var tenants []entra.Tenant
			for _, tenant := range []entra.Tenant{own, "a.example", "b.example", "c.example"} {
				if part.Open(identity("soc").ID, tenant) {
					tenants = append(tenants, tenant)
				}
			}
			if d := cmp.Diff(routes, tt.routes); d != "" {
				t.Errorf("routes: %s", d)
			}
			if d := cmp.Diff(identities, tt.identities); d != "" {
				t.Errorf("identities: %s", d)
			}
			if d := cmp.Diff(tenants, tt.tenants); d != "" {
				t.Errorf("tenants: %s", d)
			}
			if got := part.DefaultIdentity(); got != tt.byDefault {
				t.Errorf("default identity %q, want %q", got, tt.byDefault)
			}
		})
	}
}

func TestViewResolvesWhatIsInItAlone(t *testing.T) {
	part := viewed(t).View(route.View{Routes: []string{"mde"}, Tenants: []entra.Tenant{"a.example"}})
	for _, tt := range []struct {
		target route.Target
		want   entra.Kind
		text   string
	}{
		{route.Target{Route: "defender"}, entra.NotFound, `route "defender": no such route; there are: mde`},
		{route.Target{Route: "mde"}, entra.Invalid, "tenant: say which of a.example"},
		{route.Target{Route: "mde", Tenant: "b.example"}, entra.Denied, `tenant b.example: not open to this caller as identity "soc"; it takes an entry in identities.soc.tenants, and in the tenants of a named caller`},
	} {
		tt.target.Method, tt.target.Path = http.MethodGet, "/api/machines"
		_, err := part.Resolve(tt.target)
		if e := entra.AsError(err); err == nil || e.Kind != tt.want || e.Message() != tt.text {
			t.Errorf("got %v, want %s %s", err, tt.want, tt.text)
		}
	}
	call, err := part.Resolve(route.Target{Route: "mde", Tenant: "a.example", Method: http.MethodGet, Path: "/api/machines"})
	if err != nil || call.Tenant != "a.example" {
		t.Errorf("got tenant %s, %v", call.Tenant, err)
	}
}

// A view leaves the table that it is of as it was.
func TestViewChangesNothing(t *testing.T) {
	whole := viewed(t)
	whole.View(route.View{Routes: []string{"mde"}, Tenants: []entra.Tenant{"a.example"}})
	i, err := whole.Identity("soc")
	if err != nil || i.Guest || len(i.Tenants) != 2 {
		t.Errorf("got %+v, %v", i, err)
	}
}
