package defenderemu

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// graphBodies are bodies that Graph's writes and actions accept.
var graphBodies = map[string]string{
	"PATCH /v1.0/security/alerts_v2/{id}":                  `{"status":"inProgress"}`,
	"PATCH /v1.0/security/incidents/{id}":                  `{"status":"active"}`,
	"PATCH /v1.0/security/identities/healthIssues/{id}":    `{"status":"closed"}`,
	"PATCH /v1.0/security/secureScoreControlProfiles/{id}": `{"state":"ignored","comment":"c"}`,
	"POST /v1.0/security/alerts_v2/{id}/comments":          `{"@odata.type":"microsoft.graph.security.alertComment","comment":"c"}`,
	"POST /v1.0/security/incidents/{id}/comments":          `{"comment":"c"}`,
	"POST /v1.0/security/runHuntingQuery":                  `{"Query":"AlertInfo | count"}`,
}

func TestEveryPermissionOfGraphOpensItsEndpoint(t *testing.T) {
	e := newEmulator(t)
	examples := e.examples()
	for i := range e.catalogue.Endpoints() {
		endpoint := &e.catalogue.Endpoints()[i]
		if endpoint.API != defender.Graph {
			continue
		}
		var tokens []entra.Claims
		for _, role := range endpoint.App {
			tokens = append(tokens, may(defender.Graph, role))
		}
		for _, scope := range endpoint.Delegated {
			user := may(defender.Graph)
			user.Scp = scope
			tokens = append(tokens, user)
		}
		path := examples.Replace(endpoint.Path)
		for _, path := range []string{path, strings.Replace(path, "/v1.0/", "/beta/", 1)} {
			for _, claims := range tokens {
				a := e.send(e.request(claims, endpoint.Method, path, graphBodies[endpoint.String()])).ok()
				if version := strings.Split(path, "/")[1]; !strings.Contains(a.Body.String(), `"@odata.context":"https://graph.microsoft.com/`+version+`/$metadata#`) {
					t.Errorf("%s %s: got %.200s, want a context", endpoint.Method, path, a.Body)
				}
			}
			e.send(e.request(may(defender.Graph, "Directory.Read.All"), endpoint.Method, path, "")).is(http.StatusForbidden, "Forbidden")
		}
	}
}

func TestGraphRefusesInItsShape(t *testing.T) {
	e := newEmulator(t)
	r := e.request(may(defender.MDE), http.MethodGet, "/beta/security/incidents", "")
	r.Header.Set("client-request-id", "mine")
	a := e.send(r).is(http.StatusUnauthorized, "InvalidAuthenticationToken")
	if got := a.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer realm="", authorization_uri="https://`) || strings.Contains(got, "claims=") {
		t.Errorf("got WWW-Authenticate %q, want a challenge without claims", got)
	}
	var body struct {
		Error struct {
			InnerError map[string]string `json:"innerError"`
		}
	}
	a.into(&body)
	inner := body.Error.InnerError
	if _, err := time.Parse("2006-01-02T15:04:05", inner["date"]); err != nil || inner["client-request-id"] != "mine" || len(inner["request-id"]) != 36 {
		t.Errorf("got %v, want a date, an id and the caller's", inner)
	}
	if got := a.Header(); got.Get("request-id") != inner["request-id"] || got.Get("client-request-id") != "mine" {
		t.Errorf("got headers %v, want the ids of the body", got)
	}
	a = e.with(Faults{Unauthorized: {Claims: "e30="}}).get("/v1.0/security/incidents").is(http.StatusUnauthorized, "InvalidAuthenticationToken")
	if got := a.Header().Get("WWW-Authenticate"); !strings.HasSuffix(got, `error="insufficient_claims", claims="e30="`) {
		t.Errorf("got WWW-Authenticate %q, want the claims", got)
	}
	if got := e.with(nil).get("/api/machines").ok().Header(); got.Get("request-id") != "" {
		t.Errorf("MDE: got %v, want none of Graph's headers", got)
	}
}

func TestGraphCommentsAreAddedEachTime(t *testing.T) {
	e := newEmulator(t)
	for i, of := range []string{"/v1.0/security/incidents/1001", "/v1.0/security/alerts_v2/" + e.first("/api/alerts", "id")} {
		before := len(e.thing(of)["comments"].([]any))
		for n := range 2 {
			var l listed
			e.call(http.MethodPost, of+"/comments", `{"comment":"seen"}`).ok().into(&l)
			if got := l.properties("comment"); len(got) != before+n+1 || got[len(got)-1] != "seen" {
				t.Errorf("%s: got comments %v, want one more", of, got)
			}
		}
		for _, body := range []string{"", "[]", "{}", `{"comment":""}`, `{"comment":4}`} {
			if got := e.call(http.MethodPost, of+"/comments", body).Code; got != http.StatusBadRequest {
				t.Errorf("%s with %q: got %d, want 400", of, body, got)
			}
		}
		if got := len(e.Stats().Executed); got != 2*(i+1) {
			t.Errorf("%s: got %d executions, want two more", of, got)
		}
	}
	e.call(http.MethodPost, "/v1.0/security/incidents/9/comments", `{"comment":"c"}`).is(http.StatusNotFound, "ResourceNotFound")
	e.call(http.MethodPost, "/v1.0/security/alerts_v2/x/comments", `{"comment":"c"}`).is(http.StatusNotFound, "ResourceNotFound")
}

func TestGraphKeepsWhatIsChanged(t *testing.T) {
	e := newEmulator(t)
	const issue, control = "/v1.0/security/identities/healthIssues/1", "/beta/security/secureScoreControlProfiles/OneAdmin"
	e.call(http.MethodPatch, issue, `{"status":"suppressed"}`).ok()
	if got := e.thing(issue)["status"]; got != "suppressed" {
		t.Errorf("got %v, want suppressed", got)
	}
	e.call(http.MethodPatch, control, `{"state":"thirdParty","assignedTo":"a@example.test"}`).ok()
	updates := e.thing(control)["controlStateUpdates"].([]any)
	if got := updates[0].(map[string]any); len(updates) != 1 || got["state"] != "thirdParty" || got["updatedBy"] != client {
		t.Errorf("got %v, want the one update", updates)
	}
	for _, uri := range []string{issue, control} {
		for _, body := range []string{"", "[]", "{}", `{"status":"gone","state":4}`} {
			if got := e.call(http.MethodPatch, uri, body).Code; got != http.StatusBadRequest {
				t.Errorf("%s with %q: got %d, want 400", uri, body, got)
			}
		}
		e.call(http.MethodPatch, uri+"x", "{}").is(http.StatusNotFound, "ResourceNotFound")
		e.get(uri+"x").is(http.StatusNotFound, "ResourceNotFound")
	}
}

func TestThreatIntelligenceIsOfWhatExists(t *testing.T) {
	e := newEmulator(t)
	const root = "/v1.0/security/threatIntelligence/"
	for _, id := range e.list(root + "intelProfiles").properties("id") {
		if l := e.list(root + "intelProfiles/" + id.(string) + "/indicators?$top=2"); len(l.Value) != 2 || l.NextLink == "" {
			t.Errorf("got %d indicators and link %q, want two and one", len(l.Value), l.NextLink)
		}
	}
	cve := e.first("/api/vulnerabilities", "id")
	if got := e.thing(root + "vulnerabilities/" + cve); got["id"] != cve || got["@odata.type"] != "#microsoft.graph.security.vulnerability" {
		t.Errorf("got %v, want the weakness that the machines have", got)
	}
	if got := e.thing(root + "hosts/C2-1.example/reputation")["classification"]; got != "malicious" {
		t.Errorf("got %v, want malicious", got)
	}
	for _, path := range []string{
		"articles/9", "articles/9/indicators", "hosts/example.org", "hosts/example.org/passiveDns", "hosts/example.org/reputation",
		"vulnerabilities/CVE-1999-0001/components/1", "vulnerabilities/" + cve + "/components/9",
	} {
		e.get(root+path).is(http.StatusNotFound, "ResourceNotFound")
	}
}

// Graph counts what is done with alerts and scores together.
func TestCeilingsAreSharedWithinALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, func(c *Config) { c.Limits = true })
		for range 75 {
			e.get("/v1.0/security/alerts_v2?$top=1").ok()
			e.get("/beta/security/secureScores?$top=1").ok()
		}
		e.get("/v1.0/security/alerts_v2/x").is(http.StatusTooManyRequests, "TooManyRequests")
		e.get("/v1.0/security/incidents?$top=1").ok()
		e.get("/v1.0/security/secureScoreControlProfiles").ok()
	})
}
