package defenderemu

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

func TestLimitsArePerApplicationTenantAndEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, func(c *Config) { c.Limits = true })
		export := func(app, tenant string) answered {
			claims := e.all(defender.MDE)
			claims.AppID, claims.Tenant = app, tenant
			return e.send(e.request(claims, http.MethodGet, "/api/machines/SoftwareInventoryExport", ""))
		}
		time.Sleep(10 * time.Second)
		for range 5 {
			export("a", tenant).ok()
		}
		time.Sleep(500 * time.Millisecond)
		if got := export("a", tenant).is(http.StatusTooManyRequests, "TooManyRequests").Header().Get("Retry-After"); got != "60" {
			t.Errorf("got Retry-After %s, want 60", got)
		}
		export("b", tenant).ok()
		export("a", "33333333-3333-3333-3333-333333333333").ok()
		e.get("/api/machines").ok()

		// Twenty an hour, of which five have gone.
		for range 3 {
			time.Sleep(time.Minute)
			for range 5 {
				export("a", tenant).ok()
			}
		}
		time.Sleep(time.Minute)
		export("a", tenant).is(http.StatusTooManyRequests, "TooManyRequests")
		time.Sleep(time.Hour)
		export("a", tenant).ok()
		if got := e.Stats().Throttled; got != 2 {
			t.Errorf("got %d counted 429s, want 2", got)
		}
	})
}

func TestLimitsAreOffUnlessAsked(t *testing.T) {
	e := newEmulator(t)
	for range 10 {
		e.get("/api/machines/SoftwareInventoryExport").ok()
	}
}

func TestRequestsAreRemembered(t *testing.T) {
	e := newEmulator(t)
	r := e.request(e.all(defender.MDE), http.MethodGet, "/api/machines?$top=1&x=%2F", "")
	r.Header.Set("Cookie", "a=secret")
	r.Header.Set("Idempotency-Key", "k")
	e.send(r).ok()
	e.get("/api/nothing")
	want := []Request{
		{Method: "GET", Host: "example.com", URI: "/api/machines?$top=1&x=%2F", Headers: []string{"Authorization", "Cookie", "Idempotency-Key"}, Status: 200},
		{Method: "GET", Host: "example.com", URI: "/api/nothing", Headers: []string{"Authorization"}, Status: 404},
	}
	if diff := cmp.Diff(e.Requests(), want); diff != "" {
		t.Error(diff)
	}
	a := e.send(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/_emulator/requests", nil)).ok()
	var got []Request
	a.into(&got)
	if diff := cmp.Diff(got, want); diff != "" || strings.Contains(a.Body.String(), "secret") {
		t.Errorf("over HTTP: %s", diff)
	}
	for range kept {
		e.get("/api/nothing")
	}
	if got := e.Requests(); len(got) != kept || got[0].URI != "/api/nothing" {
		t.Errorf("got %d requests, the first for %s; want the last %d", len(got), got[0].URI, kept)
	}
}

func TestStatsAreShown(t *testing.T) {
	e := newEmulator(t)
	e.get("/api/incidents?$top=1").ok()
	e.get("/api/incidents/1001").ok()
	e.send(e.request(may(defender.XDR), http.MethodGet, "/api/incidents/1001", ""))
	var got Stats
	e.send(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/_emulator/stats", nil)).ok().into(&got)
	want := Stats{
		Requests: map[string]int{"GET /api/incidents": 1, "GET /api/incidents/{id}": 2}, Actions: map[string]int{}, Executed: []Execution{}, Forbidden: 1,
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
}

func TestHandshakesAreCounted(t *testing.T) {
	e := newEmulator(t)
	server := httptest.NewUnstartedServer(e.Server)
	server.Config.ConnState = e.ConnState
	server.StartTLS()
	defer server.Close()
	fetch := func(client *http.Client) {
		r := e.request(e.all(defender.MDE), http.MethodGet, server.URL+"/api/machines?$top=1", "")
		r.RequestURI = ""
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, response.Body)
		response.Body.Close()
	}
	for range 3 {
		fetch(server.Client())
	}
	other := server.Client().Transport.(*http.Transport).Clone()
	defer other.CloseIdleConnections()
	fetch(&http.Client{Transport: other})
	if got := e.Stats(); got.Handshakes != 2 || got.Connections != 2 {
		t.Errorf("got %d handshakes on %d connections, want 2 on 2", got.Handshakes, got.Connections)
	}
	other.CloseIdleConnections()
	server.Close()
	if got := len(e.meter.shaken); got != 0 {
		t.Errorf("%d closed connections are still held", got)
	}
}

func TestConfigIsChecked(t *testing.T) {
	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{
		{}, {Catalogue: catalogue}, {Verify: readToken}, {Catalogue: catalogue, Verify: readToken, PageSize: -1}, {Catalogue: catalogue, Verify: readToken, ActionTime: -1},
	} {
		if _, err := New(cfg); entra.KindOf(err) != entra.Invalid {
			t.Errorf("%+v: got %v, want an invalid one", cfg, err)
		}
	}
}

func TestDataAreTheSameForTheSameSeed(t *testing.T) {
	dump := func(seed uint64) string {
		e := newEmulator(t, func(c *Config) { c.Seed = seed })
		all := ""
		for _, uri := range []string{"/api/machines", "/api/incidents", "/api/indicators", "/api/machineactions", "/api/vulnerabilities", "/api/investigations"} {
			all += e.get(uri).ok().Body.String()
		}
		return all
	}
	one := dump(1)
	if one != dump(1) {
		t.Error("the same seed made other data")
	}
	if one == dump(2) {
		t.Error("another seed made the same data")
	}
}

func TestDataAreLifelike(t *testing.T) {
	d := newData(1, tenant, stamp{noon}, fleetSize)
	if len(d.machines) != 300 || len(d.incidents) != incidentCount {
		t.Errorf("got %d machines and %d incidents", len(d.machines), len(d.incidents))
	}
	oldest := d.incidents[0].CreatedTime
	if age := noon.Sub(oldest.Time); age < 28*24*time.Hour || age > 31*24*time.Hour {
		t.Errorf("the oldest incident is %s old, want a month", age)
	}
	kinds := map[string]int{}
	for i := range d.alerts {
		a := &d.alerts[i]
		kinds["severity "+a.Severity]++
		kinds["status "+a.Status]++
		for name, at := range map[string]stamp{"created": a.AlertCreationTime, "updated": a.LastUpdateTime, "resolved": a.ResolvedTime} {
			if at.After(noon) {
				t.Errorf("alert %s was %s in the future: %s", a.ID, name, at)
			}
		}
		if a.FirstEventTime.After(a.LastEventTime.Time) || d.machine(a.MachineID) == nil {
			t.Errorf("alert %s: events from %s to %s on %s", a.ID, a.FirstEventTime, a.LastEventTime, a.MachineID)
		}
	}
	for _, s := range append(slices.Clone(severities), "New") {
		if kinds["severity "+s]+kinds["status "+s] < 10 {
			t.Errorf("got %v, want some of %s", kinds, s)
		}
	}
	for i := range d.machines {
		kinds["exposure "+d.machines[i].ExposureLevel]++
		kinds["risk "+d.machines[i].RiskScore]++
	}
	for _, kind := range []string{"exposure Low", "exposure Medium", "exposure High", "risk None", "risk Medium", "risk High"} {
		if kinds[kind] < 10 {
			t.Errorf("got %v, want some of %s", kinds, kind)
		}
	}
	seen := map[string]bool{}
	for _, m := range d.machines {
		if len(m.ID) != 40 || seen[m.ID] || seen[m.ComputerDNSName] || m.LastSeen.After(noon) {
			t.Errorf("got machine %+v", m)
		}
		seen[m.ID], seen[m.ComputerDNSName] = true, true
	}
}

func TestTimeGoesOnFromNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t)
		time.Sleep(90 * time.Second)
		if got, want := e.now().Time, noon.Add(90*time.Second); !got.Equal(want) {
			t.Errorf("got %s, want %s", got, want)
		}
		e = newEmulator(t, func(c *Config) { c.Now = time.Time{} })
		if got := e.now().Time; !got.Equal(time.Now()) {
			t.Errorf("without Config.Now: got %s, want %s", got, time.Now())
		}
	})
}

func TestTimesAndTextsOnTheWire(t *testing.T) {
	b, err := json.Marshal(map[string]any{
		"time": stamp{time.Date(2026, 1, 2, 4, 4, 5, 100, time.FixedZone("", 3600))}, "none": stamp{}, "text": optional("a&b"), "null": optional(""),
	})
	if want := `{"none":null,"null":null,"text":"a\u0026b","time":"2026-01-02T03:04:05.0000001Z"}`; err != nil || string(b) != want {
		t.Errorf("got %s and %v, want %s", b, err, want)
	}
}

func TestConcurrentCallsAgree(t *testing.T) {
	e := newEmulator(t)
	machine := e.first("/api/machines", "id")
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for range 5 {
				e.act("/api/machines/"+machine+"/offboard", `{"Comment":"c"}`)
				e.list("/api/machineactions")
				e.list("/api/alerts?$filter=machineId%20eq%20'" + machine + "'")
				e.call(http.MethodPatch, "/api/incidents/1001", `{"comment":"c"}`).ok()
				e.thing("/api/incidents/1001")
			}
		})
	}
	calls.Wait()
	if got := e.Stats().Actions["POST /api/machines/{id}/offboard"]; got != 40 {
		t.Errorf("got %d actions, want 40", got)
	}
	if got := e.list("/api/machineactions?$filter=type%20eq%20'Offboard'").Value; len(got) != 40 {
		t.Errorf("got %d actions in the list, want 40", len(got))
	}
	if got := e.thing("/api/incidents/1001")["comments"].([]any); len(got) != 40 {
		t.Errorf("got %d comments, want 40", len(got))
	}
}
