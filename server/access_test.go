package server_test

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/server"
)

func TestEveryAnswerHasARequestID(t *testing.T) {
	b := runKeyed(t, server.Config{}, func(s *server.Server) []server.Mount {
		return []server.Mount{
			at("/token", echo, http.MethodGet),
			at("/any/*", echo),
			at("/panic", func(http.ResponseWriter, *http.Request) { panic("x") }),
			at("/silent", func(http.ResponseWriter, *http.Request) {}),
			at("/refused", fail(entra.Errorf(entra.Denied, "", "no"))),
			{Name: "healthz", Path: "/healthz", Handler: s.Healthz(), WriteError: server.WriteProblem, Open: true},
		}
	})
	const host, mine = " HTTP/1.1\r\nHost: localhost\r\n", "X-Broker-Key: " + key + "\r\n"
	for _, tt := range []struct {
		name, request string
		want          int
	}{
		{"200", "GET /token" + host + mine, 200},
		{"200 without a word", "GET /silent" + host + mine, 200},
		{"HEAD", "HEAD /token" + host + mine, 200},
		{"open", "GET /healthz" + host, 200},
		{"mount's refusal", "GET /refused" + host + mine, 403},
		{"401", "GET /token" + host, 401},
		{"401 where nothing is", "GET /nothing" + host, 401},
		{"401 before 405", "DELETE /token" + host, 401},
		{"403 by Host", "GET /token HTTP/1.1\r\nHost: evil.example\r\n", 403},
		{"404", "GET /nothing" + host + mine, 404},
		{"405", "DELETE /token" + host + mine, 405},
		{"500", "GET /panic" + host + mine, 500},
		{"OPTIONS *", "OPTIONS *" + host + mine, 404},
		{"OPTIONS * without a key", "OPTIONS *" + host, 401},
		{"OPTIONS of a mount without a key", "OPTIONS /token" + host, 401},
		{"CONNECT", "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n" + mine, 404},
		{"CONNECT elsewhere", "CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n" + mine, 403},
		{"absolute-form", "GET http://localhost/token" + host + mine, 200},
		{"absolute-form, elsewhere", "GET http://evil.example/token" + host + mine, 403},
		{"HTTP/1.0", "GET /token HTTP/1.0\r\nHost: localhost\r\n" + mine, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := b.raw(t, tt.request+"X-Request-ID: their-own.id_1\r\n\r\n")
			if a.StatusCode != tt.want {
				t.Errorf("got status %d, want %d: %s", a.StatusCode, tt.want, a.body)
			}
			if diff := cmp.Diff([]string{"their-own.id_1"}, a.Header["X-Request-Id"]); diff != "" {
				t.Errorf("X-Request-Id (-want +got):\n%s", diff)
			}
			if got := b.log.next(t, "request")["request_id"]; got != "their-own.id_1" {
				t.Errorf("got request id %v in the log", got)
			}
			if tt.want >= 400 && a.problem(t)["instance"] != "their-own.id_1" {
				t.Errorf("got problem %s, want the request id as its instance", a.body)
			}
		})
	}
}

func TestRequestIDIsReplacedUnlessPlain(t *testing.T) {
	b := run(t, server.Config{}, only(at("/x", echo)))
	long := strings.Repeat("a", 64)
	for _, id := range []string{"12345678", "0af7651916cd43dd8448eb211c80319c", "A-b_c.d-1", long} {
		if got := b.do(t, "GET", "/x", "X-Request-Id: "+id).Header.Get("X-Request-Id"); got != id {
			t.Errorf("sent %q, got %q, want it kept", id, got)
		}
	}
	fresh := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	for _, headers := range [][]string{
		nil,
		{"X-Request-Id: "},
		{"X-Request-Id: 1234567"},
		{"X-Request-Id: " + long + "a"},
		{"X-Request-Id: with space"},
		{"X-Request-Id: <script>"},
		{"X-Request-Id: quote\"quote"},
		{"X-Request-Id: ümlaut-12"},
		{"X-Request-Id: 12345678", "X-Request-Id: 87654321"},
	} {
		a := b.do(t, "GET", "/x", headers...)
		if got := a.Header["X-Request-Id"]; len(got) != 1 || !fresh.MatchString(got[0]) {
			t.Errorf("sent %q, got %q, want a new one", headers, got)
		}
	}
}

func TestAccessLine(t *testing.T) {
	b := runKeyed(t, server.Config{}, only(
		at("/proxy/*", func(w http.ResponseWriter, r *http.Request) {
			trail := entra.TrailOf(r.Context())
			trail.Identity, trail.Tenant, trail.Scope, trail.Route = "default", "contoso.example", "https://a/.default", "defender"
			trail.Endpoint, trail.Rule, trail.Cache, trail.TokenFP, trail.Upstream = "GET /api/x", "routes.defender", "hit", "0123456789ab", 403
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "twelve bytes")
		}),
		at("/stands-for", func(_ http.ResponseWriter, r *http.Request) { entra.TrailOf(r.Context()).Call = r.Header.Get("X-Call") }),
		at("/fails", fail(&entra.Error{
			Kind: entra.Misconfigured, Op: "broker.fill", Code: "invalid_client", AADSTS: 7000215,
			CorrelationID: "c-1", Err: errors.New("identity \"default\": Entra refuses its secret"),
		})),
	))
	line := func(method, target string, headers ...string) map[string]any {
		t.Helper()
		b.do(t, method, target, append(headers, "X-Broker-Key: "+key, "X-Request-Id: request-1", "Cookie: "+secret, "X-Other: "+secret)...)
		got := b.log.next(t, "request")
		if took, ok := got["duration_ms"].(float64); !ok || took < 0 || took > 10_000 {
			t.Errorf("got duration_ms %v", got["duration_ms"])
		}
		delete(got, "time")
		delete(got, "duration_ms")
		return got
	}

	want := map[string]any{
		"level": "INFO", "msg": "request", "request_id": "request-1", "mount": "proxy", "method": "POST",
		"path": "/proxy/defender/a%20b", "status": 418.0, "bytes": 12.0, "principal": "local",
		"identity": "default", "tenant": "contoso.example", "scope": "https://a/.default", "route": "defender",
		"endpoint": "GET /api/x", "rule": "routes.defender", "cache": "hit", "token_fp": "0123456789ab", "upstream": 403.0,
	}
	if diff := cmp.Diff(want, line("POST", "/proxy/defender/a%20b?$filter="+secret)); diff != "" {
		t.Errorf("a proxied call (-want +got):\n%s", diff)
	}

	for call, want := range map[string]any{"DELETE /proxy/defender/api/indicators/5": "DELETE /proxy/defender/api/indicators/5", "GET /proxy/defender/" + key: "(not written down)"} {
		if got := line("GET", "/stands-for", "X-Call: "+call)["call"]; got != want {
			t.Errorf("the call %q is written as %v", call, got)
		}
	}

	got := line("GET", "/fails?x="+secret)
	delete(got, "bytes")
	want = map[string]any{
		"level": "WARN", "msg": "request", "request_id": "request-1", "mount": "fails", "method": "GET", "path": "/fails",
		"status": 500.0, "principal": "local", "kind": "misconfigured", "aadsts": 7000215.0, "correlation_id": "c-1",
		"err": "broker.fill: identity \"default\": Entra refuses its secret",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a failure (-want +got):\n%s", diff)
	}
}

// Whatever a caller sends, its keys, queries and headers are not in the log,
// and a line stays bearable.
func TestLogHoldsNothingSecret(t *testing.T) {
	b := runKeyed(t, server.Config{}, only(
		at("/token", echo, http.MethodGet),
		at("/panic", func(http.ResponseWriter, *http.Request) { panic("x") }),
	))
	for _, path := range []string{"/token", "/panic", "/none", "/" + strings.Repeat("long/", 4000)} {
		for _, proof := range []string{"X-Broker-Key: " + key, "X-Broker-Key: wrong-" + secret, "Authorization: Bearer " + key, "Authorization: Bearer " + secret, "X-Forwarded-For: " + secret} {
			for _, method := range []string{"GET", "DELETE", strings.Repeat("M", 5000)} {
				b.do(t, method, path+"?key="+secret, proof, "Cookie: "+secret, "User-Agent: "+secret, "Referer: http://"+secret)
			}
		}
	}
	b.stop()
	if err := b.drained(t); err != nil {
		t.Error(err)
	}
	close(b.log)
	lines := 0
	for line := range b.log {
		lines++
		if strings.Contains(line, secret) || strings.Contains(line, key) {
			t.Errorf("a secret in the log: %s", line)
		}
		if len(line) > 2500 && !strings.Contains(line, `"stack"`) {
			t.Errorf("a line of %d bytes: %s", len(line), line)
		}
	}
	if lines < 60 {
		t.Errorf("got %d lines, want one a request", lines)
	}
}

func TestCallerThatLeavesIsLoggedAs499(t *testing.T) {
	arrived := make(chan struct{})
	b := run(t, server.Config{}, only(at("/slow", func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		server.WriteProblem(w, r, entra.AsError(r.Context().Err()))
	})))
	conn := b.dial(t)
	if _, err := io.WriteString(conn, "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-arrived
	_ = conn.Close()
	line := b.log.next(t, "request")
	if line["status"] != 499.0 || line["kind"] != "canceled" || line["level"] != "INFO" {
		t.Errorf("got %v, want status 499", line)
	}
	if got := b.probe(t, "/metrics").body; !strings.Contains(got, `tokenbroker_requests_total{class="4xx",mount="slow"} 1`) {
		t.Error("the metrics do not have it")
	}
}
