package defender_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
)

// Hunting ends for certain, the rest of its two APIs by the notice alone, and
// nothing else.
func TestRetirement(t *testing.T) {
	ends := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
	if got := defender.RetirementEnds(); !got.Equal(ends) {
		t.Errorf("got end %s, want %s", got, ends)
	}
	if got, want := defender.RetirementBegan().Unix(), int64(1770336000); got != want {
		t.Errorf("got beginning @%d, want @%d", got, want)
	}
	for _, e := range load(t).Endpoints() {
		hunting := e.Path == "/api/advancedhunting/run" || e.Path == "/api/advancedqueries/run"
		old := e.API == defender.XDR || e.API == defender.MDE
		var want time.Time
		if old {
			want = ends
		}
		if on, settled := e.Retirement(); !on.Equal(want) || settled != hunting {
			t.Errorf("%s: got %s, settled %v; want %s, settled %v", &e, on, settled, want, hunting)
		}
	}
}

func TestCounterparts(t *testing.T) {
	const graph = "/v1.0/security/"
	want := map[string]string{
		"POST /api/advancedhunting/run": "POST " + graph + "runHuntingQuery",
		"POST /api/advancedqueries/run": "POST " + graph + "runHuntingQuery",
		"GET /api/incidents":            "GET " + graph + "incidents",
		"GET /api/incidents/{id}":       "GET " + graph + "incidents/{id}",
		"PATCH /api/incidents/{id}":     "PATCH " + graph + "incidents/{id}",
		"GET /api/alerts":               "GET " + graph + "alerts_v2",
		"GET /api/alerts/{id}":          "GET " + graph + "alerts_v2/{id}",
		"PATCH /api/alerts/{id}":        "PATCH " + graph + "alerts_v2/{id}",
	}
	got := map[string]string{}
	for _, e := range load(t).Endpoints() {
		if e.Counterpart != "" {
			got[e.String()] = e.Counterpart
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
