package defender_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

func load(tb testing.TB) *defender.Catalogue {
	tb.Helper()
	c, err := defender.Load()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestCatalogueHasEveryRow(t *testing.T) {
	c := load(t)
	got := map[defender.API]int{}
	for _, e := range c.Endpoints() {
		got[e.API]++
	}
	want := map[defender.API]int{defender.XDR: 4, defender.MDE: 111, defender.Graph: 51, defender.MDCA: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("endpoints by API (-want +got):\n%s", diff)
	}
	if got, want := len(c.Hosts()), 26; got != want {
		t.Errorf("got %d hosts, want %d", got, want)
	}
}

func TestEveryEndpointIsWellFormed(t *testing.T) {
	c := load(t)
	permission := regexp.MustCompile(`^[A-Z][A-Za-z]*(\.[A-Za-z]+)+$`)
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete}
	for _, e := range c.Endpoints() {
		for _, p := range slices.Concat(e.App, e.Delegated) {
			if !permission.MatchString(p) {
				t.Errorf("%s: permission %q is not well-formed", &e, p)
			}
		}
		if !slices.Contains(methods, e.Method) {
			t.Errorf("%s: method is not one that the APIs have", &e)
		}
		if !strings.HasPrefix(e.Source, "https://learn.microsoft.com/") {
			t.Errorf("%s: source %q is no page of Microsoft's", &e, e.Source)
		}
		if got, ok := c.Match(e.Method, e.Path); !ok || got.String() != e.String() {
			t.Errorf("%s: its own path matches %v", &e, got)
		}
	}
}

// All but the GETs that read are written out: an endpoint that moves from one
// list to another has to be moved here too, by somebody who means it.
func TestEffects(t *testing.T) {
	got := map[defender.Effect][]string{}
	for _, e := range load(t).Endpoints() {
		if e.Method != http.MethodGet || e.Effect != defender.Read {
			got[e.Effect] = append(got[e.Effect], e.String())
		}
	}
	want := map[defender.Effect][]string{
		defender.Read: {
			"POST /api/DeviceAuthenticatedScanDefinitions/GetScanHistoryByScanDefinitionId",
			"POST /api/advancedhunting/run",
			"POST /api/advancedqueries/run",
			"POST /v1.0/security/runHuntingQuery",
		},
		defender.Write: {
			"DELETE /api/indicators/{id}",
			"DELETE /api/libraryfiles/{fileName}",
			"GET /api/machineactions/{id}/GetLiveResponseResultDownloadLink(index={commandIndex})",
			"GET /api/machineactions/{id}/getPackageUri",
			"PATCH /api/DeviceAuthenticatedScanDefinitions/{id}",
			"PATCH /api/alerts/{id}",
			"PATCH /api/incidents/{id}",
			"PATCH /api/machines/{id}",
			"PATCH /v1.0/security/alerts_v2/{id}",
			"PATCH /v1.0/security/identities/healthIssues/{id}",
			"PATCH /v1.0/security/incidents/{id}",
			"PATCH /v1.0/security/secureScoreControlProfiles/{id}",
			"POST /api/DeviceAuthenticatedScanDefinitions/BatchDelete",
			"POST /api/alerts/batchUpdate",
			"POST /api/indicators",
			"POST /api/indicators/BatchDelete",
			"POST /api/libraryfiles",
			"POST /api/machines/AddOrRemoveTagForMultipleMachines",
			"POST /api/machines/{id}/setDeviceValue",
			"POST /api/machines/{id}/tags",
		},
		defender.Action: {
			"POST /api/DeviceAuthenticatedScanDefinitions",
			"POST /api/alerts/CreateAlertByReference",
			"POST /api/indicators/import",
			"POST /api/machineactions/{id}/cancel",
			"POST /api/machines/{id}/StopAndQuarantineFile",
			"POST /api/machines/{id}/collectInvestigationPackage",
			"POST /api/machines/{id}/isolate",
			"POST /api/machines/{id}/offboard",
			"POST /api/machines/{id}/restrictCodeExecution",
			"POST /api/machines/{id}/runAntiVirusScan",
			"POST /api/machines/{id}/runliveresponse",
			"POST /api/machines/{id}/startInvestigation",
			"POST /api/machines/{id}/unisolate",
			"POST /api/machines/{id}/unrestrictCodeExecution",
			"POST /v1.0/security/alerts_v2/{id}/comments",
			"POST /v1.0/security/incidents/{id}/comments",
		},
	}
	for _, names := range got {
		slices.Sort(names)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("effects of all but plain reads (-want +got):\n%s", diff)
	}
}

func TestCeilings(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		method, path       string
		perMinute, perHour int
	}{
		{"GET", "/api/machines", 100, 1500},
		{"GET", "/api/machines/1/vulnerabilities", 50, 1500},
		{"GET", "/api/machines/SoftwareInventoryByMachine", 30, 1000},
		{"GET", "/api/machines/SoftwareVulnerabilityChangesByMachine", 30, 1000},
		{"GET", "/api/deviceavinfo", 30, 1000},
		{"GET", "/api/machines/InfoGatheringExport", 30, 1000},
		{"GET", "/api/machines/SoftwareInventoryNonCpeExport", 5, 20},
		{"GET", "/api/machines/browserextensionsinventoryExport", 5, 20},
		{"POST", "/api/advancedqueries/run", 45, 1500},
		{"POST", "/api/advancedhunting/run", 0, 0}, // "up to at least": not paced
		{"POST", "/v1.0/security/runHuntingQuery", 0, 0},
		{"GET", "/v1.0/security/alerts_v2", 150, 0},
		{"GET", "/beta/security/secureScores/1", 150, 0},
		{"GET", "/v1.0/security/incidents", 0, 0},
		{"GET", "/api/incidents", 50, 1500},
		{"PATCH", "/api/incidents/1", 50, 1500},
		{"GET", "/api/incidents/1", 100, 1500},
		{"POST", "/api/alerts/batchUpdate", 10, 500},
		{"POST", "/api/alerts/CreateAlertByReference", 15, 0},
		{"POST", "/api/indicators/import", 30, 0},
		{"POST", "/api/indicators/BatchDelete", 30, 1500},
		{"POST", "/api/machines/AddOrRemoveTagForMultipleMachines", 100, 1500},
		{"POST", "/api/machines/1/startInvestigation", 0, 50},
		{"POST", "/api/machines/1/runliveresponse", 10, 0},
		{"GET", "/api/machineactions/1/getPackageUri", 2, 120},
		{"GET", "/api/v1/alerts/", 30, 0},
	} {
		e, ok := c.Match(tt.method, tt.path)
		if !ok || e.PerMinute != tt.perMinute || e.PerHour != tt.perHour {
			t.Errorf("%s %s: got %+v, want %d a minute, %d an hour", tt.method, tt.path, e, tt.perMinute, tt.perHour)
		}
	}
}

// Three ways to be limited: together with others, alone, and by a ceiling that
// is not told.
func TestBudgets(t *testing.T) {
	const alerts = "GRAPH alert, securityActions, secureScore"
	shared := map[string]int{}
	atLeast := map[string]int{}
	for _, e := range load(t).Endpoints() {
		if e.Limit != "" {
			shared[e.Budget()]++
			if e.Budget() != alerts || e.PerMinute != 150 || e.PerHour != 0 {
				t.Errorf("%s: got %d a minute and %d an hour of %q, want 150 a minute of %q", &e, e.PerMinute, e.PerHour, e.Budget(), alerts)
			}
		} else if got, want := e.Budget(), string(e.API)+" "+e.String(); got != want {
			t.Errorf("got budget %q, want %q", got, want)
		}
		if e.AtLeast != 0 {
			atLeast[e.Budget()] = e.AtLeast
			if e.PerMinute != 0 || e.PerHour != 0 {
				t.Errorf("%s has a ceiling beside the one that is not told", &e)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{alerts: 6}, shared); diff != "" {
		t.Errorf("shared (-want +got):\n%s", diff)
	}
	want := map[string]int{"XDR POST /api/advancedhunting/run": 45, "GRAPH POST /v1.0/security/runHuntingQuery": 45}
	if diff := cmp.Diff(want, atLeast); diff != "" {
		t.Errorf("at least (-want +got):\n%s", diff)
	}
}

func TestBuiltinRoutesByCloud(t *testing.T) {
	c := load(t)
	for cloud, want := range map[entra.Cloud][]string{
		entra.Public: {
			"defender api.security.microsoft.com", "mde api.securitycenter.microsoft.com",
			"mde-legacy api.securitycenter.windows.com", "graph graph.microsoft.com",
		},
		entra.GCC:     {"defender api-gcc.security.microsoft.us", "mde api-gcc.securitycenter.microsoft.us", "graph graph.microsoft.com"},
		entra.GCCHigh: {"defender api-gov.security.microsoft.us", "mde api-gov.securitycenter.microsoft.us", "graph graph.microsoft.us"},
		entra.DoD:     {"defender api-gov.security.microsoft.us", "mde api-gov.securitycenter.microsoft.us", "graph dod-graph.microsoft.us"},
		entra.China:   {"graph microsoftgraph.chinacloudapi.cn"},
	} {
		var got []string
		for _, b := range c.Builtin(cloud, "") {
			got = append(got, b.Name+" "+b.Host.Name)
			var paths []string
			if b.Name == "graph" {
				paths = []string{"/v1.0/security/**", "/beta/security/**"}
			}
			if diff := cmp.Diff(paths, b.Paths); diff != "" {
				t.Errorf("%s: paths of %s (-want +got):\n%s", cloud, b.Name, diff)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", cloud, diff)
		}
	}
}

func TestBuiltinRoutesByRegion(t *testing.T) {
	c := load(t)
	const legacy, graph = "mde-legacy api.securitycenter.windows.com", "graph graph.microsoft.com"
	for region, want := range map[string][]string{
		"us":  {"defender us.api.security.microsoft.com", "mde api-us.securitycenter.microsoft.com", legacy, graph},
		"eu":  {"defender eu.api.security.microsoft.com", "mde api-eu.securitycenter.microsoft.com", legacy, graph},
		"uk":  {"defender uk.api.security.microsoft.com", "mde api-uk.securitycenter.microsoft.com", legacy, graph},
		"au":  {"defender au.api.security.microsoft.com", "mde api-au.securitycenter.microsoft.com", legacy, graph},
		"swa": {"defender swa.api.security.microsoft.com", "mde api.securitycenter.microsoft.com", legacy, graph},
		"ina": {"defender ina.api.security.microsoft.com", "mde api.securitycenter.microsoft.com", legacy, graph},
		"aea": {"defender aea.api.security.microsoft.com", "mde api.securitycenter.microsoft.com", legacy, graph},
	} {
		if diff := cmp.Diff(want, routesOf(c, entra.Public, region)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", region, diff)
		}
		if err := c.CheckRegion(entra.Public, region); err != nil {
			t.Errorf("%s: %v", region, err)
		}
	}
	for _, cloud := range entra.Clouds() {
		if diff := cmp.Diff(routesOf(c, cloud, ""), routesOf(c, cloud, "moon")); diff != "" {
			t.Errorf("%s: a region that does not exist changes the routes (-want +got):\n%s", cloud, diff)
		}
		if err := c.CheckRegion(cloud, ""); err != nil {
			t.Errorf("%s without a region: %v", cloud, err)
		}
	}
}

func routesOf(c *defender.Catalogue, cloud entra.Cloud, region string) []string {
	var got []string
	for _, b := range c.Builtin(cloud, region) {
		got = append(got, b.Name+" "+b.Host.Name)
	}
	return got
}

func TestRegionsThatACloudDoesNotHave(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		cloud        entra.Cloud
		region, want string
	}{
		{entra.Public, "moon", `region "moon": not one of the cloud public, which are us, eu, uk, au, swa, ina, aea`},
		{entra.Public, "EU", `region "EU": not one of the cloud public, which are us, eu, uk, au, swa, ina, aea`},
		{entra.GCC, "us", `region "us": the cloud gcc has none: leave it empty`},
		{entra.GCCHigh, "us", `region "us": the cloud gcchigh has none: leave it empty`},
		{entra.DoD, "us", `region "us": the cloud dod has none: leave it empty`},
		{entra.China, "us", `region "us": the cloud china has none: leave it empty`},
	} {
		err := c.CheckRegion(tt.cloud, tt.region)
		if entra.KindOf(err) != entra.Invalid || entra.AsError(err).Message() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.cloud, err, tt.want)
		}
	}
}
