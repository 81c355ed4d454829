package defender

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
)

const (
	endpointsHead = "api\tmethod\tpath\tapp_permissions\tdelegated_permissions\tsource\tper_minute\tper_hour\tat_least\tlimit\teffect\tretires\tcounterpart\n"
	hostsHead     = "clouds\thost\tauthority\troute\tregion\txdr_scope\tmde_scope\tgraph_scope\tmdca_scope\tstatus\tsource\n"

	goodEndpoint = "XDR\tPATCH\t/api/incidents/{id}\tIncident.ReadWrite.All\t\tpage\t50\t\t45\tXDR incidents\twrite\t2027-02-01\tPATCH /v1.0/incidents/{id}\n"
	goodGraph    = "GRAPH\tPATCH\t/v1.0/incidents/{id}\tSecurityIncident.ReadWrite.All\t\tpage\t\t\t\t\twrite\t\t\n"
	goodHost     = "gcchigh;dod\tapi.example\thttps://login.microsoftonline.us\tdefender\tus\thttps://api.example.us/.default\t\t\t\tcurrent\tpage\n"
)

func TestLoadReadsEveryColumn(t *testing.T) {
	c, err := load(endpointsHead+goodEndpoint+goodGraph, hostsHead+goodHost)
	if err != nil {
		t.Fatal(err)
	}
	wantEndpoint := Endpoint{
		API: XDR, Method: "PATCH", Path: "/api/incidents/{id}", App: []string{"Incident.ReadWrite.All"},
		PerMinute: 50, AtLeast: 45, Limit: "XDR incidents", Effect: Write, Retires: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC),
		Counterpart: "PATCH /v1.0/incidents/{id}", Source: "page",
	}
	if diff := cmp.Diff(wantEndpoint, c.Endpoints()[0]); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	wantHost := Host{
		Clouds: []entra.Cloud{entra.GCCHigh, entra.DoD}, Name: "api.example", Authority: "https://login.microsoftonline.us",
		Route: "defender", Region: "us", XDR: "https://api.example.us/.default", Status: "current", Source: "page",
	}
	if diff := cmp.Diff([]Host{wantHost}, c.Hosts()); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
}

func TestLoadRefusesABrokenTable(t *testing.T) {
	replaced := func(row, old, new string) string {
		t.Helper()
		if !strings.Contains(row, old) {
			t.Fatalf("row %q has no %q", row, old)
		}
		return strings.Replace(row, old, new, 1)
	}
	endpoint := func(old, new string) string { return endpointsHead + replaced(goodEndpoint, old, new) + goodGraph }
	host := func(old, new string) string { return hostsHead + replaced(goodHost, old, new) }
	for _, tt := range []struct{ name, endpoints, hosts, want string }{
		{"other columns", "api\tmethod\n", hostsHead, "endpoints.tsv: columns"},
		{"a cell too few", endpoint("\tpage", ""), hostsHead, "endpoints.tsv line 2: 12 cells, want 13"},
		{"unknown api", endpoint("XDR", "XDX"), hostsHead, `api "XDX"`},
		{"relative path", endpoint("/api/incidents", "api/incidents"), hostsHead, "want a leading slash"},
		{"no permission", endpoint("Incident.ReadWrite.All", ""), hostsHead, "no application permission"},
		{"ceiling a minute", endpoint("\t50\t", "\tmany\t"), hostsHead, `ceiling "many"`},
		{"ceiling an hour", endpoint("\t50\t\t", "\t50\t0\t"), hostsHead, `ceiling "0"`},
		{"ceiling at least", endpoint("\t45\t", "\t-1\t"), hostsHead, `ceiling "-1"`},
		{"counterpart", endpoint("PATCH /v1.0", "POST /v1.0"), hostsHead, `"POST /v1.0/incidents/{id}" is no endpoint of Graph`},
		{"counterpart elsewhere", endpoint("PATCH /v1.0/incidents/{id}", "PATCH /api/incidents/{id}"), hostsHead, "is no endpoint of Graph"},
		{"effect", endpoint("write", "wrote"), hostsHead, `effect "wrote"`},
		{"day", endpoint("2027-02-01", "February"), hostsHead, "February"},
		{"twice", endpointsHead + goodEndpoint + replaced(goodEndpoint, "/api/incidents/{id}", "/API/v1.0/Incidents/{other}"), hostsHead, "stands there twice"},
		{"unknown cloud", endpointsHead, host("dod", "moon"), "hosts.tsv line 2: "},
		{"plain authority", endpointsHead, host("https://login", "http://login"), "want https"},
		{"scope", endpointsHead, host("https://api.example.us/.default", "api.example.us"), "want https://host/.default"},
		{"no scope", endpointsHead, host("https://api.example.us/.default", ""), "want a cloud and a scope"},
		{"no cloud", endpointsHead, host("gcchigh;dod", ""), "want a cloud and a scope"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(tt.endpoints, tt.hosts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}
