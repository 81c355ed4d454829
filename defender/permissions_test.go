package defender_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

func TestMissingPermissions(t *testing.T) {
	application := func(roles ...string) entra.Claims { return entra.Claims{Roles: roles} }
	user := func(scp string) entra.Claims { return entra.Claims{Scp: scp} }
	for _, tt := range []struct {
		name         string
		method, path string
		claims       entra.Claims
		want         []string
	}{
		{"one of two", "GET", "/api/incidents", application("Incident.Read.All"), nil},
		{"the other one", "GET", "/api/incidents", application("AdvancedHunting.Read.All", "Incident.ReadWrite.All"), nil},
		{"none", "GET", "/api/incidents", application("AdvancedHunting.Read.All"), []string{"Incident.Read.All", "Incident.ReadWrite.All"}},
		{"no roles at all", "GET", "/api/incidents", application(), []string{"Incident.Read.All", "Incident.ReadWrite.All"}},
		{"reading does not write", "PATCH", "/api/incidents/1", application("Incident.Read.All"), []string{"Incident.ReadWrite.All"}},
		{"the plural of the samples", "GET", "/api/incidents", application("Incidents.Read.All"), nil},
		{"the plural of the page", "PATCH", "/api/alerts/1", application("Alerts.ReadWrite.All"), nil},
		{"the singular of a plural", "GET", "/api/remediationtasks", application("RemediationTask.Read.All"), nil},
		{"another thing", "GET", "/api/ips/1/stats", application("Tip.Read.All"), []string{"Ip.Read.All"}},

		{"a user", "GET", "/api/machines", user("Alert.Read Machine.Read"), nil},
		{"a user without", "GET", "/api/machines", user("Alert.Read"), []string{"Machine.Read", "Machine.ReadWrite"}},
		{"a user with an application's name", "GET", "/api/machines", user("Machine.Read.All"), []string{"Machine.Read", "Machine.ReadWrite"}},
		{"one name on both sides", "GET", "/api/files/1", user("File.Read.All"), nil},
		{"no user opens it", "DELETE", "/api/indicators/1", user("Ti.ReadWrite"), []string{"Ti.ReadWrite", "Ti.ReadWrite.All"}},
		{"cloud apps: the same names", "GET", "/api/v1/alerts/", user("Investigation.read"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, ok := load(t).Match(tt.method, tt.path)
			if !ok {
				t.Fatal("no such endpoint")
			}
			if diff := cmp.Diff(tt.want, defender.Missing(e, &tt.claims)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSamePermission(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"Incident.Read.All", "Incident.Read.All", true},
		{"Incident.Read.All", "Incidents.Read.All", true},
		{"incidents.read.all", "Incident.Read.All", true},
		{"AlertS.Read.All", "alert.read.all", true},
		{"Incident.Read.All", "Incident.ReadWrite.All", false},
		{"Incident.Read.All", "Incident.Read", false},
		{"Ip.Read.All", "Tip.Read.All", false},
	} {
		if got := defender.SamePermission(tt.a, tt.b); got != tt.want || defender.SamePermission(tt.b, tt.a) != got {
			t.Errorf("%s and %s: got %v, want %v, either way round", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestEffectNames(t *testing.T) {
	for effect, want := range map[defender.Effect]string{defender.Read: "read", defender.Write: "write", defender.Action: "action"} {
		if got := effect.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	var zero defender.Effect
	if zero != defender.Action {
		t.Error("the zero effect is not the one that is handled with the most care")
	}
}
