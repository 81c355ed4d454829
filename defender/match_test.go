package defender_test

import (
	"testing"

	"pgregory.net/rapid"

	"tokenbroker/defender"
)

func TestMatch(t *testing.T) {
	c := load(t)
	for _, tt := range []struct{ method, path, want string }{
		{"GET", "/api/incidents", "GET /api/incidents"},
		{"GET", "/api/incidents/", "GET /api/incidents"},
		{"GET", "/API/V1.0/Incidents", "GET /api/incidents"},
		{"HEAD", "/api/incidents", "GET /api/incidents"},
		{"GET", "/api/incidents/41", "GET /api/incidents/{id}"},
		{"GET", "/api/v1.0/incidents/41", "GET /api/incidents/{id}"},
		{"GET", "/api/machines/1/alerts/$count", "GET /api/machines/{id}/alerts"},
		{"GET", "/api/software/microsoft-_-.net", "GET /api/Software/{id}"},
		{"GET", "/api/domains/example.com/stats", "GET /api/domains/{domain}/stats"},
		{"GET", "/api/machines/pc1.example.test/alerts", "GET /api/machines/{id}/alerts"},
		{"GET", "/api/v1/alerts", "GET /api/v1/alerts/"},

		// A name beats a placeholder, but only where it leads somewhere.
		{"GET", "/api/machines/findbytag", "GET /api/machines/findbytag"},
		{"GET", "/api/machines/softwareinventoryexport", "GET /api/machines/SoftwareInventoryExport"},
		{"POST", "/api/alerts/batchupdate", "POST /api/alerts/batchUpdate"},
		{"PATCH", "/api/alerts/batchupdate", "PATCH /api/alerts/{id}"},
		{"POST", "/api/machines/findbytag/isolate", "POST /api/machines/{id}/isolate"},

		// OData functions, with whatever parameters.
		{"GET", "/api/machines/findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z)", "GET /api/machines/findbyip(ip='{ip}',timestamp={timestamp})"},
		{"GET", "/api/machineactions/1/getliveresponseresultdownloadlink(index=0)", "GET /api/machineactions/{id}/GetLiveResponseResultDownloadLink(index={commandIndex})"},
		{"GET", "/api/machines/findbyip", "GET /api/machines/{id}"}, // to the upstream, a machine of that name
		{"GET", "/api/machines/findbyip(ip='1'", ""},

		// Other spellings of what is in the table.
		{"GET", "/api/machines('1')", ""},
		{"POST", "/api/machines('1')/isolate", ""},
		{"POST", "/api/machines/1/isolate()", ""},
		{"POST", "/api/machines/1/ns.isolate", ""},
		{"GET", "/api/machines/ns.SoftwareInventoryExport", ""},
		{"GET", "/api/machines/$value", ""},
		{"GET", "/api/$batch", ""},

		// Graph in both of its versions, and in no other.
		{"GET", "/v1.0/security/incidents/41", "GET /v1.0/security/incidents/{id}"},
		{"GET", "/Beta/Security/incidents/41/", "GET /v1.0/security/incidents/{id}"},
		{"POST", "/beta/security/runhuntingquery", "POST /v1.0/security/runHuntingQuery"},
		{"GET", "/beta/security/threatIntelligence/hosts/x.example/passiveDns/$count", "GET /v1.0/security/threatIntelligence/hosts/{id}/passiveDns"},
		{"GET", "/v1.0/security/threatIntelligence/hosts('x.example')", ""},
		{"GET", "/beta/v1.0/security/incidents", ""},
		{"GET", "/beta/beta/security/incidents", ""},
		{"GET", "/v2.0/security/incidents", ""},
		{"GET", "/beta/api/incidents", ""},
		{"GET", "/beta", ""},

		{"DELETE", "/api/incidents/41", ""},
		{"get", "/api/incidents", ""},
		{"GET", "/api/incidents//41", ""},
		{"GET", "/api/machines//alerts", ""},
		{"GET", "/api/incidents/41/more", ""},
		{"GET", "/api/v2.0/incidents", ""},
		{"GET", "/api/unheard-of", ""},
		{"GET", "/api", ""},
		{"GET", "/", ""},
		{"GET", "", ""},
	} {
		got := ""
		if e, ok := c.Match(tt.method, tt.path); ok {
			got = e.String()
		}
		if got != tt.want {
			t.Errorf("%s %s: got %q, want %q", tt.method, tt.path, got, tt.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	for path, want := range map[string]string{
		"/":                        "/",
		"":                         "/",
		"/API/Machines/":           "/api/machines",
		"/api/v1.0":                "/api",
		"/api/v1.0/":               "/api",
		"/Api/V1.0/machines":       "/api/machines",
		"/api/v1.0/v1.0/machines":  "/api/machines",
		"/api/v1.0machines":        "/api/v1.0machines",
		"/api/v1.00/machines":      "/api/v1.00/machines",
		"/x/api/v1.0/machines":     "/x/api/v1.0/machines",
		"/v1.0/security":           "/v1.0/security",
		"/api/alerts/$count":       "/api/alerts",
		"/api/alerts/$count/":      "/api/alerts",
		"/api/alerts/$counts":      "/api/alerts/$counts",
		"/api/Users/JOSÉ/alerts":   "/api/users/josé/alerts",
		"/api/v1.0/alerts/$count/": "/api/alerts",
	} {
		if got := defender.Canonical(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

func TestCanonicalIsTheCanonicalFormOfItself(t *testing.T) {
	segment := rapid.SampledFrom([]string{"", "api", "API", "v1.0", "$count", "Machines", "É"})
	rapid.Check(t, func(t *rapid.T) {
		path := ""
		for _, s := range rapid.SliceOf(segment).Draw(t, "segments") {
			path += "/" + s
		}
		once := defender.Canonical(path)
		if twice := defender.Canonical(once); twice != once {
			t.Errorf("%q: %q, and then %q", path, once, twice)
		}
	})
}

func TestMatchDoesNotAllocate(t *testing.T) {
	c := load(t)
	for _, path := range []string{"/api/machines/1/alerts", "/beta/security/incidents/41", "/api/machines/findbyip(ip='10.1.2.3',timestamp=2026-01-02t03:04:05z)"} {
		if allocs := testing.AllocsPerRun(100, func() { c.Match("GET", path) }); allocs != 0 {
			t.Errorf("%s: %v allocations, want none", path, allocs)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	c := load(b)
	for name, path := range map[string]string{
		"name":        "/api/incidents",
		"placeholder": "/api/machines/0123456789abcdef0123456789abcdef01234567/vulnerabilities",
		"function":    "/api/machines/findbyip(ip='10.1.2.3',timestamp=2026-01-02t03:04:05z)",
		"mixed case":  "/api/v1.0/Machines/SoftwareInventoryExport",
		"unknown":     "/api/unheard-of/1/2/3",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Match("GET", path)
			}
		})
	}
}
