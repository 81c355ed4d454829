package route_test

import (
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// verdict is a row of a policy table: a call, and the setting that decides it.
type verdict struct {
	method, path string
	rule         string
	refused      string // a part of the reason; empty: let through
}

func allow(call, rule string) verdict {
	method, path, _ := strings.Cut(call, " ")
	return verdict{method: method, path: path, rule: rule}
}

func deny(call, rule, reason string) verdict {
	method, path, _ := strings.Cut(call, " ")
	return verdict{method: method, path: path, rule: rule, refused: reason}
}

// judge resolves each call by the route and compares what Permitted says.
func judge(t *testing.T, r route.Route, verdicts ...verdict) {
	t.Helper()
	table := newTable(t, []route.Route{r})
	for _, v := range verdicts {
		call, err := table.Resolve(route.Target{Route: r.Name, Method: v.method, Path: v.path})
		if err != nil {
			t.Errorf("%s %s: %v", v.method, v.path, err)
			continue
		}
		rule, err := call.Permitted()
		if rule != v.rule {
			t.Errorf("%s %s: decided by %s, want %s", v.method, v.path, rule, v.rule)
		}
		switch {
		case v.refused == "" && err != nil:
			t.Errorf("%s %s: %v", v.method, v.path, err)
		case v.refused != "":
			wantError(t, err, entra.Denied, v.refused, r.Name, v.method, v.path)
		}
	}
}

func defenderRoute(tb testing.TB, change func(*route.Route)) route.Route {
	tb.Helper()
	r := route.Route{Name: "defender", Upstream: upstream(tb, "https://api.security.microsoft.com")}
	change(&r)
	return r
}

func TestUnrestrictedRouteLetsEverythingThrough(t *testing.T) {
	judge(t, defenderRoute(t, func(*route.Route) {}),
		allow("GET /api/machines", "routes.defender.access"),
		allow("POST /api/machines/1/isolate", "routes.defender.access"),
		allow("POST /api/$batch", "routes.defender.access"),
		allow("DELETE /api/unheard-of('1')", "routes.defender.access"),
	)
}

func TestReadOnlyGoesByTheCatalogue(t *testing.T) {
	const access = "routes.defender.access"
	judge(t, defenderRoute(t, func(r *route.Route) { r.Access = route.ReadOnly }),
		allow("GET /api/incidents", access),
		allow("HEAD /api/incidents/41", access),
		allow("GET /API/v1.0/Machines/", access),
		allow("GET /api/machines/1/alerts/$count", access),
		allow("GET /api/machines/findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z)", access),
		allow("GET /api/machines/SoftwareInventoryExport", access),

		// These only read, though their method does not say so.
		allow("POST /api/advancedhunting/run", access),
		allow("POST /api/advancedqueries/run", access),
		allow("POST /api/DeviceAuthenticatedScanDefinitions/GetScanHistoryByScanDefinitionId", access),

		// And these do more, though they are GETs.
		deny("GET /api/machineactions/1/getPackageUri", access, "has the effect write"),
		deny("HEAD /api/machineactions/1/GETPACKAGEURI/", access, "has the effect write"),
		deny("GET /api/machineactions/1/GetLiveResponseResultDownloadLink(index=0)", access, "has the effect write"),

		deny("PATCH /api/incidents/41", access, "PATCH /api/incidents/{id} has the effect write; make it full"),
		deny("POST /api/indicators", access, "has the effect write"),
		deny("DELETE /api/indicators/1", access, "has the effect write"),
		deny("POST /api/machines/1/isolate", access, "has the effect action"),
		deny("POST /api/v1.0/machines/1/%69solate", access, "has the effect action"),
		deny("POST /api/machines/1/runliveresponse", access, "has the effect action"),
		deny("POST /api/indicators/import", access, "has the effect action"),

		// What the catalogue does not know may do anything.
		deny("GET /api/unheard-of", access, "the catalogue does not know this endpoint"),
		deny("GET /api/customdetections", access, "the catalogue does not know this endpoint"),
		deny("POST /api/incidents", access, "the catalogue does not know this endpoint"),
		deny("OPTIONS /api/incidents", access, "the catalogue does not know this endpoint"),
		deny("GET /api/machines('1')", access, "the catalogue does not know this endpoint"),
		deny("GET /api/v2.0/machines", access, "the catalogue does not know this endpoint"),
		deny("POST /api/machines('1')/isolate", access, "the catalogue does not know this endpoint"),
		deny("GET /api/machineactions/1/ns.getPackageUri", access, "the catalogue does not know this endpoint"),

		deny("POST /api/$batch", "routes.defender", "$batch can reach what no rule sees"),
		deny("POST /api/%24Batch", "routes.defender", "$batch can reach what no rule sees"),
		deny("GET /api/$entity", "routes.defender", "$entity can reach what no rule sees"),
	)
}

func TestAllowRules(t *testing.T) {
	const none = "no rule of routes.defender.allow names it"
	judge(t, defenderRoute(t, func(r *route.Route) {
		r.Allow = rules(t, "GET /api/incidents/**", "PATCH,POST /api/alerts/*", "/api/users/*/alerts", "HEAD /api/indicators", "GET /api/machines/*")
	}),
		allow("GET /api/incidents", "routes.defender.allow[0]"),
		allow("HEAD /api/incidents/41", "routes.defender.allow[0]"),
		allow("GET /api/V1.0/INCIDENTS/41/", "routes.defender.allow[0]"),
		allow("PATCH /api/alerts/1", "routes.defender.allow[1]"),
		allow("POST /api/alerts/batchUpdate", "routes.defender.allow[1]"),
		allow("DELETE /api/users/1/alerts", "routes.defender.allow[2]"),
		allow("HEAD /api/indicators", "routes.defender.allow[3]"),
		allow("GET /api/machines/findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z)", "routes.defender.allow[4]"),

		deny("POST /api/incidents", "routes.defender.allow", none),
		deny("GET /api/alerts", "routes.defender.allow", none),
		deny("GET /api/alerts/1", "routes.defender.allow", none),
		deny("PATCH /api/alerts/1/more", "routes.defender.allow", none),
		deny("GET /api/indicators", "routes.defender.allow", none), // GET stands for HEAD, HEAD not for GET
		deny("GET /api/machines", "routes.defender.allow", none),
		deny("POST /api/machines/1/isolate", "routes.defender.allow", none),
		deny("POST /api/$batch", "routes.defender", "no rule sees"),
		deny("GET /api/incidents/$batch", "routes.defender", "no rule sees"),
	)
}

// machines('1') is two segments in one, which * must not stand for.
func TestStarIsNoKeyInParentheses(t *testing.T) {
	judge(t, defenderRoute(t, func(r *route.Route) {
		r.Allow = rules(t, "GET /api/*", "GET /api/software/**", "/api/recommendations('1')")
	}),
		allow("GET /api/machines", "routes.defender.allow[0]"),
		allow("GET /api/software/a/unheard-of(x='1')", "routes.defender.allow[1]"),
		allow("GET /api/recommendations('1')", "routes.defender.allow[2]"),
		deny("GET /api/machines('1')", "routes.defender.allow", "no rule"),
		deny("GET /api/machines(1)", "routes.defender.allow", "no rule"),
	)
}

// An id that a rule refuses has one spelling. Others could be it to a server
// that reads a number.
func TestDeniedIDHasNoOtherSpelling(t *testing.T) {
	const other = "could be another spelling of an id"
	judge(t, defenderRoute(t, func(r *route.Route) { r.Deny = rules(t, "/api/incidents/1001/**", "/api/machines/*/isolate") }),
		allow("GET /api/incidents/1002", "routes.defender.access"),
		allow("GET /api/incidents/0", "routes.defender.access"),
		allow("GET /api/incidents/a-1001", "routes.defender.access"),
		allow("GET /api/incidents", "routes.defender.access"),
		allow("GET /api/machines/01", "routes.defender.access"), // no rule names a machine
		deny("GET /api/incidents/1001", "routes.defender.deny[0]", "refuses"),
		deny("GET /api/incidents/01001", "routes.defender", other),
		deny("GET /api/incidents/+1001", "routes.defender", other),
		deny("GET /api/incidents/%2B1001", "routes.defender", other),
		deny("GET /api/incidents/1001.0", "routes.defender", other),
		deny("GET /api/incidents/%EF%BC%91001", "routes.defender", other),
		deny("PATCH /api/incidents/01001", "routes.defender", other),
	)
}

func TestDenyRules(t *testing.T) {
	const spelling = "could be another spelling of what routes.defender.deny refuses"
	judge(t, defenderRoute(t, func(r *route.Route) {
		r.Deny = rules(t, "POST /api/machines/*/isolate", "/api/libraryfiles/**", "GET /api/machines/SoftwareInventoryExport",
			"/api/machineactions/*/GetLiveResponseResultDownloadLink(*)")
	}),
		allow("GET /api/incidents", "routes.defender.access"),
		allow("POST /api/machines/1/unisolate", "routes.defender.access"),
		allow("GET /api/machines/1/isolate", "routes.defender.access"),
		allow("GET /api/machines/pc1.example.test", "routes.defender.access"),
		allow("GET /api/domains/example.com/stats", "routes.defender.access"),
		allow("GET /api/machines/findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z)", "routes.defender.access"),
		allow("POST /api/unheard-of/1", "routes.defender.access"),
		allow("POST /api/unheard-of/v2", "routes.defender.access"),

		deny("POST /api/machines/1/isolate", "routes.defender.deny[0]", "refuses POST /api/machines/*/isolate"),
		deny("POST /API/v1.0/Machines/1/Isolate/", "routes.defender.deny[0]", "refuses"),
		deny("POST /api/machines/1/%69%73olate", "routes.defender.deny[0]", "refuses"),
		deny("POST /api/machines/pc1.example.test/isolate", "routes.defender.deny[0]", "refuses"),
		deny("GET /api/libraryfiles", "routes.defender.deny[1]", "refuses /api/libraryfiles/**"),
		deny("DELETE /api/libraryfiles/a.ps1", "routes.defender.deny[1]", "refuses"),
		deny("HEAD /api/machines/softwareinventoryexport", "routes.defender.deny[2]", "refuses GET"),

		deny("GET /api/machineactions/1/GetLiveResponseResultDownloadLink(index=0)", "routes.defender.deny[3]", "refuses"),

		// The same in the spellings of OData, or by another version.
		deny("POST /api/machines('1')/isolate", "routes.defender", spelling),
		deny("POST /api/machines(1)/isolate", "routes.defender", spelling),
		deny("POST /api/machines/1/isolate()", "routes.defender", spelling),
		deny("POST /api/machines/1/Microsoft.Defender.isolate", "routes.defender", spelling),
		deny("POST /api/machines/1/Microsoft.Defender.Machine/isolate", "routes.defender", spelling),
		deny("GET /api/machines/ns.SoftwareInventoryExport", "routes.defender", spelling),
		deny("GET /api/libraryfiles('a')", "routes.defender", spelling),
		deny("POST /api/v1/machines/1/isolate", "routes.defender", spelling),
		deny("POST /api/v2.0/machines/1/isolate", "routes.defender", spelling),
		deny("POST /api/machines/1/v1.isolate", "routes.defender", spelling),
		deny("POST /api/$batch", "routes.defender", "no rule sees"),
		deny("GET /api/libraryfiles/$value", "routes.defender.deny[1]", "refuses"),
		deny("GET /api/$crossjoin(machines,alerts)", "routes.defender", "no rule sees"),
	)
}

func TestDenyBeatsAllow(t *testing.T) {
	judge(t, defenderRoute(t, func(r *route.Route) {
		r.Access = route.ReadOnly
		r.Allow = rules(t, "/api/machines/**", "/api/incidents/**")
		r.Deny = rules(t, "/api/machines/*/logonusers")
	}),
		allow("GET /api/machines/1", "routes.defender.allow[0]"),
		deny("GET /api/machines/1/logonusers", "routes.defender.deny[0]", "refuses"),
		// An allow rule does not widen read-only.
		deny("PATCH /api/incidents/41", "routes.defender.access", "read-only"),
		deny("GET /api/alerts", "routes.defender.allow", "no rule"),
	)
}

func TestDenyHoldsInBothVersionsOfGraph(t *testing.T) {
	judge(t, route.Route{
		Name: "graph", Upstream: upstream(t, "https://graph.microsoft.com"),
		Allow: rules(t, "/v1.0/security/**", "/beta/security/**"),
		Deny:  rules(t, "POST /v1.0/security/runHuntingQuery", "/beta/security/labels/**"),
	},
		allow("GET /v1.0/security/incidents", "routes.graph.allow[0]"),
		allow("GET /beta/security/incidents", "routes.graph.allow[1]"),
		allow("GET /v1.0/security/unheard-of", "routes.graph.allow[0]"),
		deny("POST /v1.0/security/runHuntingQuery", "routes.graph.deny[0]", "refuses"),
		deny("POST /beta/security/runHuntingQuery", "routes.graph.deny[0]", "refuses"),
		deny("POST /v1.0/security/microsoft.graph.security.runHuntingQuery", "routes.graph", "another spelling"),
		deny("GET /v1.0/security/labels/1", "routes.graph.deny[1]", "refuses"),
		deny("GET /v1.0/me/messages", "routes.graph.allow", "no rule"),
		deny("POST /v1.0/$batch", "routes.graph", "no rule sees"),
	)
}

func TestBuiltinGraphOpensItsTwoTreesOnly(t *testing.T) {
	table := newTable(t, builtin(t, entra.Public))
	for raw, permitted := range map[string]bool{
		"/v1.0/security/incidents":                             true,
		"/beta/security/threatIntelligence/hosts('x.example')": true,
		"/V1.0/Security/alerts_v2":                             true,
		"/v1.0/users":                                          false,
		"/v1.0/securityandmore":                                false,
		"/v1.0/me/security":                                    false,
		"/v1.0/security/$batch":                                false,
	} {
		call, err := table.Resolve(route.Target{Route: "graph", Method: "GET", Path: raw})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := call.Permitted(); (err == nil) != permitted {
			t.Errorf("%s: got %v, want permitted: %v", raw, err, permitted)
		}
	}
}
