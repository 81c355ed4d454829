package setup_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/setup"
)

func TestPermissionsAreTheLeastThatOpenTheEndpoints(t *testing.T) {
	app := setup.Secret{Days: 1, File: "f"}
	user := setup.User{Flow: setup.DeviceCode}
	for _, tt := range []struct {
		name      string
		how       setup.Credential
		endpoints []string
		given     []setup.Permission
		scopes    []entra.Scope
		want      string
	}{
		{name: "a read role for a read", how: app, endpoints: []string{"GET /api/incidents"}, want: "XDR/Incident.Read.All"},
		{name: "one for both", how: app, endpoints: []string{"GET /api/incidents", "PATCH /api/incidents/1"}, want: "XDR/Incident.ReadWrite.All"},
		{name: "whatever the order", how: app, endpoints: []string{"PATCH /api/alerts/1", "GET /api/alerts"}, want: "MDE/Alert.ReadWrite.All"},
		{name: "one's own indicators", how: app, endpoints: []string{"POST /api/indicators"}, want: "MDE/Ti.ReadWrite"},
		{name: "the weakest action", how: app, endpoints: []string{"POST /api/machineactions/1/cancel"}, want: "MDE/Machine.Scan"},
		{name: "an action that is held anyway", how: app, endpoints: []string{"POST /api/machineactions/1/cancel", "POST /api/machines/1/isolate"}, want: "MDE/Machine.Isolate"},
		{
			name: "by resource application", how: app, endpoints: []string{"POST /v1.0/security/runHuntingQuery", "GET /api/machines", "POST /api/advancedhunting/run"},
			want: "XDR/AdvancedHunting.Read.All MDE/Machine.Read.All GRAPH/ThreatHunting.Read.All",
		},
		{name: "delegated", how: user, endpoints: []string{"GET /api/machines", "GET /api/incidents"}, want: "XDR/Incident.Read MDE/Machine.Read"},
		{
			name: "given and beyond", how: app, endpoints: []string{"GET /api/machines", "GET /api/alerts"},
			given: []setup.Permission{{API: "MDE", Name: "Machine.ReadWrite.All"}, {API: "GRAPH", Name: "User.Read.All"}},
			want:  "MDE/Alert.Read.All MDE/Machine.ReadWrite.All GRAPH/User.Read.All",
		},
		{
			name: "given twice in two spellings", how: app,
			given: []setup.Permission{{API: "MDE", Name: "Machine.Read.All"}, {API: "MDE", Name: "machine.read.all"}, {API: "MDE", Name: "Machine.Read.All"}},
			want:  "MDE/Machine.Read.All",
		},
		{name: "named by a scope", how: user, scopes: []entra.Scope{"https://graph.microsoft.com/SecurityAlert.Read.All"}, want: "GRAPH/SecurityAlert.Read.All"},
		{
			name: "a scope that something fills", how: app, endpoints: []string{"GET /api/incidents"},
			scopes: []entra.Scope{"8ee8fdad-f234-4243-8f3b-15c294843740/.default"}, want: "XDR/Incident.Read.All",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan(t, setup.Want{Endpoints: endpoints(t, tt.endpoints...), Permissions: tt.given, Scopes: tt.scopes, Credential: tt.how})
			if diff := cmp.Diff(tt.want, names(p.Permissions())); diff != "" {
				t.Errorf("permissions (-want +got):\n%s", diff)
			}
		})
	}
}

// What is taken first can become needless by what is taken later.
func TestPermissionsThatBecomeNeedlessAreNotHeld(t *testing.T) {
	wanted := []defender.Endpoint{
		{API: defender.MDE, Method: "GET", Path: "/a", App: []string{"Weak.Read", "Middle.Manage"}},
		{API: defender.MDE, Method: "GET", Path: "/b", App: []string{"Middle.Manage", "Strong.Offboard"}},
	}
	p := plan(t, setup.Want{Endpoints: wanted, Credential: setup.Secret{Days: 1, File: "f"}})
	if got, want := names(p.Permissions()), "MDE/Middle.Manage"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestScriptSaysWhatAPermissionOpens(t *testing.T) {
	p := plan(t, setup.Want{
		Endpoints:   endpoints(t, "GET /api/alerts", "GET /api/alerts/1", "GET /api/investigations", "GET /api/investigations/1", "GET /api/users/1/alerts", "GET /api/ips/1/alerts"),
		Permissions: []setup.Permission{{API: defender.Graph, Name: "User.Read.All"}}, Credential: setup.Secret{Days: 1, File: "f"},
	})
	for _, f := range setup.Formats() {
		text := script(t, p, f)
		for _, want := range []string{"Alert.Read.All: GET /api/alerts, GET /api/alerts/{id}, GET /api/investigations", "and 2 more", "User.Read.All: asked for by name", "a Privileged Role Administrator"} {
			if !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(text, "\n#", "")), " "), want) {
				t.Errorf("%s: the header does not say %q", f, want)
			}
		}
	}
}

func names(permissions []setup.Permission) string {
	var all []string
	for _, p := range permissions {
		all = append(all, string(p.API)+"/"+p.Name)
	}
	return strings.Join(all, " ")
}

// Whatever is wanted: everything is open, nothing is held that could be left
// away, and nothing that writes where something that reads would do.
func TestPermissionsAreEnoughAndNoneTooMany(t *testing.T) {
	all := catalogue(t).Endpoints()
	rapid.Check(t, func(t *rapid.T) {
		wanted := rapid.SliceOfN(rapid.SampledFrom(all), 1, 20).Draw(t, "endpoints")
		p, err := setup.New(catalogueOf(t), setup.Want{Endpoints: wanted, Credential: setup.Secret{Days: 1, File: "f"}, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		held := p.Permissions()
		opens := func(e *defender.Endpoint, without setup.Permission) bool {
			return slices.ContainsFunc(held, func(p setup.Permission) bool {
				return p != without && p.API == e.API && slices.Contains(e.App, p.Name)
			})
		}
		for _, e := range wanted {
			if !opens(&e, setup.Permission{}) {
				t.Errorf("%s stays closed with %s", &e, names(held))
			}
		}
		for _, h := range held {
			needed := slices.ContainsFunc(wanted, func(e defender.Endpoint) bool { return !opens(&e, h) })
			if !needed {
				t.Errorf("%s is not needed beside %s", h.Name, names(held))
			}
			if reader := strings.Replace(h.Name, "ReadWrite", "Read", 1); reader != h.Name {
				weaker := !slices.ContainsFunc(wanted, func(e defender.Endpoint) bool {
					return !opens(&e, h) && !slices.Contains(e.App, reader)
				})
				if weaker {
					t.Errorf("%s is held where %s would do", h.Name, reader)
				}
			}
		}
	})
}

func catalogueOf(t *rapid.T) *defender.Catalogue {
	c, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParsePermission(t *testing.T) {
	for _, tt := range []struct{ in, want, fault string }{
		{in: "Incident.Read.All", want: "XDR/Incident.Read.All"},
		{in: "machine.read", want: "MDE/Machine.Read"},
		{in: "graph/User.Read.All", want: "GRAPH/User.Read.All"},
		{in: "GRAPH/User-Mail.ReadWrite.All", want: "GRAPH/User-Mail.ReadWrite.All"},
		{in: "Mail.Read", fault: "say whose it is"},
		{in: "teams/Mail.Read", fault: "say whose it is"},
		{in: "GRAPH/$(id)", fault: "say whose it is"},
	} {
		got, err := setup.ParsePermission(catalogue(t), tt.in)
		switch {
		case tt.fault != "":
			if err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%s: got error %v, want one with %q", tt.in, err, tt.fault)
			}
		case err != nil || names([]setup.Permission{got}) != tt.want:
			t.Errorf("%s: got %v (%v), want %s", tt.in, got, err, tt.want)
		}
	}
}

// The application ids stand here and in the catalogue: they have to agree.
func TestResourceApplicationsAreTheCatalogues(t *testing.T) {
	c := catalogue(t)
	for name, api := range map[string]defender.API{
		"8ee8fdad-f234-4243-8f3b-15c294843740": defender.XDR, "fc780465-2017-40d4-a0c5-307022471b92": defender.MDE,
		"00000003-0000-0000-c000-000000000000": defender.Graph, "05a65629-4c1b-48c1-a78b-804c4abdd4af": defender.MDCA,
	} {
		if !c.Opens(entra.Audience{name}, api) {
			t.Errorf("the catalogue does not know %s as %s", name, api)
		}
		for _, e := range c.Endpoints() {
			if e.API != api {
				continue
			}
			text := script(t, plan(t, setup.Want{Endpoints: []defender.Endpoint{e}, Credential: setup.Secret{Days: 1, File: "f"}}), setup.Terraform)
			if !strings.Contains(text, `client_id = "`+name+`"`) {
				t.Errorf("%s: the script does not name %s", &e, name)
			}
			break
		}
	}
}
