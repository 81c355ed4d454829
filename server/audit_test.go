package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/server"
)

// audited is a mount whose requests are recorded.
func audited(path string, h http.HandlerFunc, methods ...string) server.Mount {
	m := at(path, h, methods...)
	m.Audited = true
	return m
}

// decides stands for what lies behind policy: it notes a decision, then goes on.
func decides(decision, rule string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		trail := entra.TrailOf(r.Context())
		trail.Decision, trail.Rule = decision, rule
		next(w, r)
	}
}

// recordsOf takes audit records and is not the log.
func recordsOf() (logLines, slog.Handler) {
	records := make(logLines, 1024)
	return records, slog.NewJSONHandler(records, nil)
}

// members are those of a record that it has.
func members(record map[string]any, names ...string) map[string]any {
	some := map[string]any{}
	for _, name := range names {
		if value, ok := record[name]; ok {
			some[name] = value
		}
	}
	return some
}

func TestEveryRequestLeavesOneRecordHoweverItEnds(t *testing.T) {
	half := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("x")
	}
	records, audit := recordsOf()
	b := runKeyed(t, server.Config{Audit: audit}, only(
		audited("/token", decides("allow", "routes.mde", echo), http.MethodGet),
		audited("/refused", decides("deny", "routes.mde", fail(entra.Errorf(entra.Denied, "guard.policy", "no")))),
		audited("/fails", decides("allow", "routes.mde", fail(entra.Errorf(entra.NotFound, "cache.fill", "gone")))),
		audited("/malformed", fail(entra.Errorf(entra.Invalid, "native.ask", "scope: none"))),
		audited("/no-route", fail(entra.Errorf(entra.NotFound, "route.find", "route: none"))),
		audited("/no-tenant", fail(entra.Errorf(entra.Denied, "route.tenant", "tenant: not its own"))),
		audited("/panics", func(http.ResponseWriter, *http.Request) { panic("x") }),
		audited("/breaks-off", decides("allow", "routes.mde", half)),
		audited("/aborts", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		at("/routes", echo),
	))
	const mine = "X-Broker-Key: " + key
	for _, tt := range []struct {
		request string
		headers []string
		want    map[string]any
	}{
		{"GET /token", []string{mine}, map[string]any{"status": 200.0, "decision": "allow", "rule": "routes.mde", "principal": "local", "via": "key"}},
		{"HEAD /token", []string{mine}, map[string]any{"status": 200.0, "decision": "allow", "rule": "routes.mde", "principal": "local", "via": "key"}},
		{"GET /token", nil, map[string]any{"status": 401.0, "decision": "deny", "rule": "guard.key", "kind": "unadmitted"}},
		{"GET /token", []string{mine, "Host: evil.example"}, map[string]any{"status": 403.0, "decision": "deny", "rule": "guard.host", "kind": "denied"}},
		{"GET /token", []string{mine, "X-Forwarded-For: 10.0.0.1"}, map[string]any{"status": 403.0, "decision": "deny", "rule": "guard.forwarded", "kind": "denied"}},
		{"DELETE /token", []string{mine}, map[string]any{"status": 405.0, "decision": "none", "principal": "local", "via": "key", "kind": "invalid"}},
		{"GET /refused", []string{mine}, map[string]any{"status": 403.0, "decision": "deny", "rule": "routes.mde", "principal": "local", "via": "key", "kind": "denied"}},
		{"GET /fails", []string{mine}, map[string]any{"status": 404.0, "decision": "allow", "rule": "routes.mde", "principal": "local", "via": "key", "kind": "not_found"}},
		{"GET /malformed", []string{mine}, map[string]any{"status": 400.0, "decision": "none", "principal": "local", "via": "key", "kind": "invalid"}},
		{"GET /no-route", []string{mine}, map[string]any{"status": 404.0, "decision": "deny", "rule": "route.find", "principal": "local", "via": "key", "kind": "not_found"}},
		{"GET /no-tenant", []string{mine}, map[string]any{"status": 403.0, "decision": "deny", "rule": "route.tenant", "principal": "local", "via": "key", "kind": "denied"}},
		{"GET /panics", []string{mine}, map[string]any{"status": 500.0, "decision": "none", "principal": "local", "via": "key", "kind": "internal"}},
		{"GET /breaks-off", []string{mine}, map[string]any{"status": 200.0, "decision": "allow", "rule": "routes.mde", "principal": "local", "via": "key", "kind": "internal"}},
		{"GET /aborts", []string{mine}, map[string]any{"status": 200.0, "decision": "none", "principal": "local", "via": "key"}},
		{"GET /routes", []string{mine}, nil},
		{"GET /elsewhere", []string{mine}, nil},
		{"GET /token/more", []string{mine}, nil},
		{"GET /elsewhere", nil, nil},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		_, _ = b.try(t, method, "http://"+b.callers+path, tt.headers...) // some break off
		line := b.log.next(t, "request")
		if len(records) != min(len(tt.want), 1) {
			t.Fatalf("%s: %d records", tt.request, len(records))
		}
		if tt.want == nil {
			continue
		}
		record := records.next(t, "audit")
		if diff := cmp.Diff(tt.want, members(record, "status", "decision", "rule", "principal", "via", "uid", "pid", "kind")); diff != "" {
			t.Errorf("%s %q (-want +got):\n%s", tt.request, tt.headers, diff)
		}
		// What else it says is what the line says.
		for name, value := range line {
			if name != "msg" && name != "time" && record[name] != value {
				t.Errorf("%s: %s is %v in the line, and %v in the record", tt.request, name, value, record[name])
			}
		}
	}
}

func TestCallerThatLeavesIsRecorded(t *testing.T) {
	records, audit := recordsOf()
	h := newHeld()
	b := run(t, server.Config{Audit: audit}, only(audited("/token", decides("allow", "routes.mde", h.ServeHTTP))))
	conn := b.dial(t)
	if _, err := io.WriteString(conn, "GET /token HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-h.arrived
	_ = conn.Close()
	got := members(records.next(t, "audit"), "status", "decision", "kind")
	if diff := cmp.Diff(map[string]any{"status": 499.0, "decision": "allow", "kind": "canceled"}, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestWhatTheDrainCutsOffIsRecorded(t *testing.T) {
	records, audit := recordsOf()
	h := newHeld()
	b := run(t, server.Config{Audit: audit, Grace: 50 * time.Millisecond}, only(audited("/proxy/*", h.ServeHTTP)))
	if _, err := io.WriteString(b.dial(t), "GET /proxy/x HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-h.arrived
	b.stop()
	if err := b.drained(t); err != nil {
		t.Error(err)
	}
	if len(records) != 1 {
		t.Fatalf("%d records when Serve had ended, want one", len(records))
	}
	got := members(records.next(t, "audit"), "status", "decision", "kind")
	if diff := cmp.Diff(map[string]any{"status": 503.0, "decision": "none", "kind": "unavailable"}, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestWithoutAFileTheRecordStandsInPlaceOfTheLine(t *testing.T) {
	for level, want := range map[slog.Level][]string{
		slog.LevelDebug: {"request /routes", "request /elsewhere", "audit /token"},
		slog.LevelError: {"audit /token"}, // records are no matter of the log's level
	} {
		t.Run(level.String(), func(t *testing.T) {
			log := make(logLines, 16)
			s := server.New(server.Config{Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: level}))})
			handler := s.Handler(everybody(), audited("/token", decides("allow", "routes.mde", echo)), at("/routes", echo))
			for _, path := range []string{"/routes", "/elsewhere", "/token"} {
				r := httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost"+path, nil)
				r.RemoteAddr = "127.0.0.1:40000"
				handler.ServeHTTP(httptest.NewRecorder(), r)
			}
			var got []string
			for len(log) > 0 {
				line := log.next(t, "")
				got = append(got, fmt.Sprint(line["msg"], " ", line["path"]))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the log (-want +got):\n%s", diff)
			}
		})
	}
}

// Also those that are not admitted: the guard does not tell of them.
func TestRecordNamesTheProcessAtAUnixSocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // no other system tells
	}
	records, audit := recordsOf()
	path := t.TempDir() + "/s"
	b := runOn(t, keyed(), server.Config{Audit: audit}, only(audited("/token", echo)), listen(t, "unix", path), listen(t, "tcp4", "127.0.0.1:0"))
	b.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	want := map[string]any{"uid": float64(os.Getuid()), "pid": float64(os.Getpid())}
	for _, proof := range []string{key, key, "wrong"} { // two of them on one connection
		if _, err := b.try(t, "GET", "http://localhost/token", "X-Broker-Key: "+proof); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, members(records.next(t, "audit"), "uid", "pid")); diff != "" {
			t.Errorf("with %s (-want +got):\n%s", proof, diff)
		}
	}
}
