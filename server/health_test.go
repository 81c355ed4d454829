package server_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/server"
)

func TestProbes(t *testing.T) {
	status := func() any { return []map[string]any{{"identity": "default", "state": "failed"}} }
	refused := func() []string { return []string{"cache.size: out of bounds"} }
	b := run(t, server.Config{Status: status, Refused: refused}, func(s *server.Server) []server.Mount {
		return []server.Mount{at("/healthz", s.Healthz().ServeHTTP)}
	})
	for path, want := range map[string]map[string]any{
		"/livez": {"status": "alive"},
		"/readyz": {
			"status": "ready", "tokens": []any{map[string]any{"identity": "default", "state": "failed"}},
			"configuration_refused": []any{"cache.size: out of bounds"},
		},
		"/healthz": {"status": "ready"},
	} {
		a := b.probe(t, path)
		if a.StatusCode != http.StatusOK || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %v", path, a.StatusCode, a.Header)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if a := b.do(t, "GET", "/healthz"); a.StatusCode != http.StatusOK || strings.Contains(a.body, "tokens") {
		t.Errorf("callers' /healthz: got %d %s, want the verdict alone", a.StatusCode, a.body)
	}
}

func TestReadyWithoutStatus(t *testing.T) {
	b := run(t, server.Config{}, only())
	if a := b.probe(t, "/readyz"); a.StatusCode != http.StatusOK || strings.Contains(a.body, "tokens") {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
}

// Whoever reaches the operators' port, which may be the whole cluster, gets no
// token there.
func TestOperatorsListenerServesNothingElse(t *testing.T) {
	b := run(t, server.Config{}, only(at("/token", echo), at("/proxy/*", echo)))
	for _, path := range []string{"/token", "/proxy/x", "/", "/routes", "/debug/pprof/"} {
		if got := b.probe(t, path).StatusCode; got != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, got)
		}
	}
	a, err := b.try(t, "POST", "http://"+b.ops+"/livez")
	if err != nil || a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d, %v", a.StatusCode, err)
	}
}

// samples are the lines of /metrics that begin with tokenbroker_, less the
// buckets and sums of histograms.
func samples(t *testing.T, b *broker) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(b.probe(t, "/metrics").body) {
		if strings.HasPrefix(line, "tokenbroker_") && !regexp.MustCompile(`_(bucket|sum)\{`).MatchString(line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestMetrics(t *testing.T) {
	gauge := 3.0
	b := run(t, server.Config{Counters: []server.Counter{
		{Name: "cache_hits_total", Help: "Tokens from memory.", Value: func() float64 { return 7 }},
		{Name: "cache_entries", Help: "Tokens in memory.", Gauge: true, Value: func() float64 { return gauge }},
	}}, only(
		at("/token", echo, http.MethodGet),
		at("/proxy/*", func(w http.ResponseWriter, r *http.Request) {
			trail := entra.TrailOf(r.Context())
			trail.Route, trail.Upstream = "defender", 404
			w.WriteHeader(http.StatusNotFound)
		}),
		at("/away", fail(&entra.Error{Kind: entra.Unavailable})),
	))
	for _, request := range []string{"GET /token", "GET /token", "PUT /token", "GET /proxy/defender/x", "PATCH /proxy/defender/y", "GET /away", "GET /nothing"} {
		method, path, _ := strings.Cut(request, " ")
		b.do(t, method, path)
		b.log.next(t, "request") // it is counted before it is logged
	}
	gauge = 2
	body := b.probe(t, "/metrics").body
	for _, want := range []string{
		`tokenbroker_requests_total{class="2xx",mount="token"} 2`,
		`tokenbroker_requests_total{class="4xx",mount="token"} 1`,
		`tokenbroker_requests_total{class="4xx",mount="proxy"} 2`,
		`tokenbroker_requests_total{class="5xx",mount="away"} 1`,
		`tokenbroker_requests_total{class="4xx",mount="none"} 1`,
		`tokenbroker_request_seconds_count{mount="token"} 3`,
		`tokenbroker_proxied_total{class="4xx",route="defender"} 2`,
		`tokenbroker_failures_total{kind="invalid"} 1`,
		`tokenbroker_failures_total{kind="not_found"} 1`,
		`tokenbroker_failures_total{kind="unavailable"} 1`,
		`tokenbroker_failures_total{kind="throttled"} 0`, // all kinds are there from the start
		"# TYPE tokenbroker_cache_hits_total counter",
		"tokenbroker_cache_hits_total 7",
		"# TYPE tokenbroker_cache_entries gauge",
		"tokenbroker_cache_entries 2",
		"go_goroutines ",
		"go_build_info{",
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
}

// A stranger who sends ten thousand paths and methods makes no series of them.
func TestStrangersMakeNoMetrics(t *testing.T) {
	b := run(t, server.Config{}, only(at("/token", echo), at("/proxy/*", echo)))
	names := func() []string {
		var names []string
		for _, line := range samples(t, b) {
			name, _, _ := strings.Cut(line, " ")
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	before := names()
	conn := b.dial(t)
	r := bufio.NewReader(conn)
	for _, line := range []string{"GET /token/x", "BREW /token", "GET /proxy/stranger/path", "STRANGE /proxy/x", "GET /stranger"} {
		if _, err := conn.Write([]byte(line + "?stranger HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: stranger-1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		readAnswer(t, r, line)
		b.log.next(t, "request")
	}
	if diff := cmp.Diff(before, names()); diff != "" {
		t.Errorf("series (-before +after):\n%s", diff)
	}
}
