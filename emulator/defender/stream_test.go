package defenderemu

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"tokenbroker/defender"
)

func TestStreamHasPages(t *testing.T) {
	e := newEmulator(t).with(Faults{Stream: {Bytes: 100 << 10, Pages: 3}, NextLinkHost: {}})
	seen := map[any]bool{}
	pages, rows := 0, 0
	for uri := "/api/machines/SoftwareInventoryByMachine?pageSize=9&a=%2f"; uri != ""; pages++ {
		l := e.list(uri)
		for _, id := range l.properties("id") {
			seen[id] = true
			rows++
		}
		if uri = l.NextLink; uri != "" {
			uri = follow(t, uri)
		}
	}
	if pages != 3 || len(seen) != rows || rows < 250 {
		t.Errorf("got %d rows, %d of them different, on %d pages; want over 250 on 3", rows, len(seen), pages)
	}
}

func TestStreamIsInTheShapeOfHunting(t *testing.T) {
	e := newEmulator(t).with(Faults{Stream: {Bytes: 10 << 10}})
	for uri, names := range map[string][2]string{
		"/api/advancedhunting/run":         {"Schema", "Results"},
		"/api/advancedqueries/run":         {"Schema", "Results"},
		"/v1.0/security/runHuntingQuery":   {"schema", "results"},
		"/beta/security/runHuntingQuery/?": {"schema", "results"},
	} {
		var body map[string][]map[string]string
		e.call(http.MethodPost, uri, `{"Query":"AlertInfo"}`).ok().into(&body)
		if len(body[names[0]]) != 2 || len(body[names[1]]) < 9 || body[names[1]][1]["id"] != "0-1" {
			t.Errorf("%s: got %.200v, want %v", uri, body, names)
		}
	}
}

// counting throws an answer away.
type counting struct {
	*httptest.ResponseRecorder
	bytes int
}

func (w *counting) Write(b []byte) (int, error) {
	w.bytes += len(b)
	return len(b), nil
}

func TestStreamTakesNoMemory(t *testing.T) {
	e := newEmulator(t).with(Faults{Stream: {Bytes: 200 << 20}})
	r := e.request(e.all(defender.MDE), http.MethodGet, "/api/machines/SoftwareInventoryByMachine", "")
	e.dataOf(tenant)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w := &counting{ResponseRecorder: httptest.NewRecorder()}
	e.ServeHTTP(w, r)
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; w.bytes < 200<<20 || allocated > 1<<20 {
		t.Errorf("got %d bytes and allocated %d, want 200 MiB with less than one", w.bytes, allocated)
	}
}

func TestLastPageMayHaveADeltaLink(t *testing.T) {
	e := newEmulator(t, func(c *Config) { c.PageSize = 200 }).with(Faults{DeltaLink: {}, NextLinkHost: {}})
	var body struct {
		Next  string `json:"@odata.nextLink"`
		Delta string `json:"@odata.deltaLink"`
	}
	e.get("/api/machines?a=%2f").ok().into(&body)
	if body.Next == "" || body.Delta != "" {
		t.Fatalf("got %+v, want the next link alone", body)
	}
	next := follow(t, body.Next)
	body.Next = ""
	e.get(next).ok().into(&body)
	if body.Next != "" || body.Delta[:len("https://127.0.0.1/api/machines?a=%2f&$deltatoken=")] != "https://127.0.0.1/api/machines?a=%2f&$deltatoken=" {
		t.Fatalf("got %+v, want the delta link alone", body)
	}
	e.get(follow(t, body.Delta)).ok()
}

func TestFleetIsAsLargeAsAsked(t *testing.T) {
	e := newEmulator(t, func(c *Config) { c.Machines, c.PageSize = 10_000, 50 })
	seen, pages := map[any]bool{}, 0
	for uri := "/api/machines"; uri != ""; pages++ {
		l := e.list(uri)
		for _, id := range l.properties("id") {
			seen[id] = true
		}
		if uri = l.NextLink; uri != "" {
			uri = follow(t, uri)
		}
	}
	if pages != 200 || len(seen) != 10_000 {
		t.Errorf("got %d machines on %d pages, want 10,000 on 200", len(seen), pages)
	}
	_, err := New(Config{Catalogue: e.catalogue, Verify: readToken, Machines: 299})
	if err == nil {
		t.Error("got an emulator with 299 machines, want an error")
	}
}
