package setup

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
)

func TestLeast(t *testing.T) {
	endpoints := []defender.Endpoint{
		{API: defender.XDR, Method: "GET", Path: "/api/incidents", App: []string{"Incident.ReadWrite.All", "Incident.Read.All"}, Delegated: []string{"Incident.Read"}},
		{API: defender.XDR, Method: "GET", Path: "/api/incidents/{id}", App: []string{"Incident.Read.All"}, Delegated: []string{"Incident.Read"}},
		{API: defender.MDE, Method: "GET", Path: "/api/export", App: []string{"Machine.Read.All"}}, // for no user
	}
	incidents := []string{"GET /api/incidents", "GET /api/incidents/{id}"}
	for _, tt := range []struct {
		name      string
		delegated bool
		want      []Needed
	}{
		{"of an application", false, []Needed{
			{Permission{defender.XDR, "Incident.Read.All"}, incidents},
			{Permission{defender.MDE, "Machine.Read.All"}, []string{"GET /api/export"}},
		}},
		{"of a user", true, []Needed{{Permission{defender.XDR, "Incident.Read"}, incidents}}},
	} {
		if diff := cmp.Diff(tt.want, Least(slices.Clone(endpoints), tt.delegated)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if got := Resource(defender.MDE); got != "WindowsDefenderATP" {
		t.Errorf("got %q", got)
	}
}
