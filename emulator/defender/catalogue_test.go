package defenderemu

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// examples returns what placeholders in paths can stand for.
func (e *emulator) examples() *strings.Replacer {
	e.t.Helper()
	url := e.first("/api/alerts/"+e.first("/api/alerts?$filter=category%20eq%20'Execution'", "id")+"/domains", "host")
	file := e.list("/api/alerts/" + e.first("/api/alerts?$filter=category%20eq%20'Execution'", "id") + "/files").Value[0]["sha1"].(string)
	return strings.NewReplacer(
		"{domain}", url, "{ip}", "203.0.113.1", "{timestamp}", "2026-03-01T12:00:00Z", "{commandIndex}", "0", "{fileName}", "x.ps1",
		"{cveId}", e.first("/api/vulnerabilities", "id"),
		"/api/incidents/{id}", "/api/incidents/1001", "/security/incidents/{id}", "/security/incidents/1001",
		"/alerts/{id}", "/alerts/"+e.first("/api/alerts", "id"), "/alerts_v2/{id}", "/alerts_v2/"+e.first("/api/alerts", "id"),
		"/files/{id}", "/files/"+file, "/indicators/{id}", "/indicators/1000", "/investigations/{id}", "/investigations/5001",
		"/machineactions/{id}", "/machineactions/"+e.first("/api/machineactions", "id"), "/machines/{id}", "/machines/"+e.first("/api/machines", "id"),
		"/recommendations/{id}", "/recommendations/va-_-microsoft-_-edge", "/Software/{id}", "/Software/microsoft-_-edge",
		"/threatIntelligence/vulnerabilities/{id}", "/threatIntelligence/vulnerabilities/"+e.first("/api/vulnerabilities", "id"),
		"/hosts/{id}", "/hosts/c2-1.example", "/secureScores/{id}", "/secureScores/"+e.first("/v1.0/security/secureScores", "id"),
		"/secureScoreControlProfiles/{id}", "/secureScoreControlProfiles/OneAdmin", "{component}", "1",
		"/users/{id}", "/users/ines.adeyemi", "{id}", "1",
	)
}

func TestEveryCataloguedEndpointAnswers(t *testing.T) {
	e := newEmulator(t)
	examples := e.examples()
	for i := range e.catalogue.Endpoints() {
		endpoint := &e.catalogue.Endpoints()[i]
		path := examples.Replace(endpoint.Path)
		for _, body := range []string{"", "{}", "[]", `{"Comment":4}`, `{"Query":"AlertInfo | count","Comment":"c"}`} {
			a := e.call(endpoint.Method, path, body)
			switch {
			case a.Code >= 500, a.Code == http.StatusUnauthorized, a.Code == http.StatusForbidden:
				t.Errorf("%s with %s: got %d %.200s", endpoint, body, a.Code, a.Body)
			case a.Code >= 400:
				if a.message() == "" {
					t.Errorf("%s with %s: got %d without a message", endpoint, body, a.Code)
				}
			case endpoint.Method == http.MethodGet && !strings.HasPrefix(strings.TrimSpace(a.Body.String()), "{"):
				t.Errorf("%s: got %.200s, want an object", endpoint, a.Body)
			}
		}
		if got := e.send(e.request(may(endpoint.API), endpoint.Method, path, "")).Code; got != http.StatusForbidden {
			t.Errorf("%s without roles: got %d, want 403", endpoint, got)
		}
		wrong := e.all(endpoint.API)
		wrong.Audience = entra.Audience{"https://other.example"}
		if got := e.send(e.request(wrong, endpoint.Method, path, "")).Code; got != http.StatusUnauthorized {
			t.Errorf("%s with another audience: got %d, want 401", endpoint, got)
		}
	}
}

func TestReadsAnswerWithExamples(t *testing.T) {
	e := newEmulator(t)
	examples := e.examples()
	// What has no result in the data of the examples.
	absent := map[string]bool{
		"/api/machines/findbytag": true, "/api/machines/SoftwareVulnerabilityChangesByMachine": true,
		"/api/machineactions/{id}/getPackageUri": true, "/api/machineactions/{id}/GetLiveResponseResultDownloadLink(index={commandIndex})": true,
		"/api/DeviceAuthenticatedScanAgents/{id}": true, "/api/remediationtasks/{id}": true,
	}
	for _, endpoint := range e.catalogue.Endpoints() {
		if endpoint.Method == http.MethodGet && !absent[endpoint.Path] {
			e.get(examples.Replace(endpoint.Path)).ok()
		}
	}
}

func TestEveryHandlerIsCatalogued(t *testing.T) {
	e := newEmulator(t)
	known := map[string]bool{}
	for i := range e.catalogue.Endpoints() {
		known[strings.ToLower(e.catalogue.Endpoints()[i].String())] = true
	}
	for name := range routes() {
		if !known[strings.ToLower(name)] {
			t.Errorf("%s is not in the catalogue", name)
		}
	}
}

func TestWhatHasNoDataIsEmptyOrSwitchedOff(t *testing.T) {
	c := &call{Request: httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/x", nil), server: newEmulator(t).Server}
	for _, tt := range []struct{ method, path, code string }{
		{"GET", "/api/things", ""}, {"GET", "/api/things/{id}", "ResourceNotFound"}, {"POST", "/api/things", "DisabledFeature"},
	} {
		c.endpoint = &defender.Endpoint{API: defender.MDE, Method: tt.method, Path: tt.path}
		_, err := absent(c.endpoint)(c)
		if r, _ := errors.AsType[*refusal](err); (r == nil) != (tt.code == "") || r != nil && r.code != tt.code {
			t.Errorf("%s %s: got %v, want %q", tt.method, tt.path, err, tt.code)
		}
	}
}

func TestUnknownRequestsAreNotFound(t *testing.T) {
	e := newEmulator(t)
	for _, tt := range []struct{ method, uri string }{
		{"GET", "/"},
		{"GET", "/api"},
		{"GET", "/api/nothing"},
		{"DELETE", "/api/machines"},
		{"GET", "/api//machines"},
		{"GET", "/api/v2.0/machines"},
		{"GET", "/v1.0/me"},
		{"GET", "/api/machines/x/nothing"},
		{"CONNECT", "/api/machines"},
	} {
		e.call(tt.method, tt.uri, "").is(http.StatusNotFound, "ResourceNotFound")
	}
	if got := e.Stats().Requests["unknown"]; got != 9 {
		t.Errorf("got %d unknown requests, want 9", got)
	}
	if a := e.get("/v1.0/me"); !strings.Contains(a.Body.String(), `"innerError":{"date":"`) {
		t.Errorf("Graph: got %s, want its shape", a.Body)
	}
}

func TestPathsAreReadAsTheRealOnesDo(t *testing.T) {
	e := newEmulator(t)
	id := e.first("/api/machines", "id")
	for _, uri := range []string{
		"/api/machines/" + id, "/API/Machines/" + strings.ToUpper(id), "/api/v1.0/machines/" + id, "/api/V1.0/machines/" + id + "/",
		"/api/machines/" + fmt.Sprintf("%%%02x", id[0]) + id[1:], "/api/machines/" + id + "?x=%2f",
	} {
		if got := e.thing(uri)["id"]; got != id {
			t.Errorf("%s: got %v, want %s", uri, got, id)
		}
	}
	if got := e.send(e.request(e.all(defender.MDE), http.MethodHead, "/api/machines", "")); got.Code != http.StatusOK {
		t.Errorf("HEAD: got %d", got.Code)
	}
}
