package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/server"
)

func TestMethods(t *testing.T) {
	b := run(t, server.Config{}, only(
		at("/get", echo, http.MethodGet),
		at("/both", echo, http.MethodGet, http.MethodPost),
		at("/post", echo, http.MethodPost),
		at("/head", echo, http.MethodHead),
		at("/any/*", echo),
		at("/two", echo, http.MethodGet),
		at("/two", accept, http.MethodPost),
		at("/:name/deep", echo, http.MethodGet),
	))
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/get", 200, ""},
		{"HEAD", "/get", 200, ""}, // RFC 9110 §9.1: whoever has GET has HEAD
		{"POST", "/get", 405, "GET, HEAD"},
		{"OPTIONS", "/get", 405, "GET, HEAD"},
		{"get", "/get", 405, "GET, HEAD"},
		{"echo_route_not_found", "/get", 405, "GET, HEAD"}, // echo's own word
		{"POST", "/both", 200, ""},
		{"PUT", "/both", 405, "GET, POST, HEAD"},
		{"HEAD", "/post", 405, "POST"},
		{"GET", "/post", 405, "POST"},
		{"GET", "/head", 405, "HEAD"},
		{"GET", "/any/x", 200, ""},
		{"OPTIONS", "/any/x", 200, ""},
		{"TRACE", "/any/x", 200, ""}, // for the mount to refuse
		{"CONNECT", "/any/x", 200, ""},
		{"PROPFIND", "/any/x", 200, ""},
		{"BREW", "/any/x", 200, ""},
		{"echo_route_not_found", "/any/x", 200, ""},
		{"BREW", "/elsewhere", 404, ""},
		{"GET", "/two", 200, ""},
		{"POST", "/two", 202, ""}, // the other mount's
		{"PUT", "/two", 405, "GET, POST, HEAD"},
		{"GET", "/a%2Fb/deep", 200, ""},
		{"GET", "/a/b/deep", 404, ""},
	} {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			a := b.raw(t, tt.method+" "+tt.path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			if a.StatusCode != tt.status || a.Header.Get("Allow") != tt.allow {
				t.Errorf("got %d, Allow %q; want %d, Allow %q", a.StatusCode, a.Header.Get("Allow"), tt.status, tt.allow)
			}
			switch {
			case tt.method == "HEAD", tt.method == "CONNECT": // have no body to look at
			case tt.status == 200 && !strings.HasPrefix(a.body, tt.method+" "):
				t.Errorf("got %q, want the method as it was sent", a.body)
			case tt.status == 405 && a.problem(t)["kind"] != "invalid":
				t.Errorf("got problem %s", a.body)
			}
		})
	}
}

// A path is read once, as it was sent: neither echo nor net/http cleans it, and
// no escape makes a mount of what is none.
func TestOddPathsReachTheirMountAsTheyAre(t *testing.T) {
	b := run(t, server.Config{}, only(at("/proxy/*", echo), at("/token", echo)))
	for path, want := range map[string]string{
		"/proxy/":                "GET /proxy/",
		"/proxy/a":               "GET /proxy/a",
		"/proxy//a":              "GET /proxy//a",
		"/proxy/../token":        "GET /proxy/../token",
		"/proxy/..%2ftoken":      "GET /proxy/..%2ftoken",
		"/proxy/%2e%2e/token":    "GET /proxy/%2e%2e/token",
		"/proxy/a%2Fb%5Cc%00":    "GET /proxy/a%2Fb%5Cc%00",
		"/proxy/a;b=c":           "GET /proxy/a;b=c",
		"/proxy/a?x":             "GET /proxy/a",
		"/proxy/:id/*":           "GET /proxy/:id/*",
		"http://localhost/token": "GET /token",
		"/token":                 "GET /token",
		"/token?":                "GET /token",
		"/proxy":                 "",
		"//proxy/a":              "",
		"/./proxy/a":             "",
		"/x/../proxy/a":          "",
		"/%70roxy/a":             "",
		"/proxy%2Fa":             "",
		"/Proxy/a":               "",
		"/token/":                "",
		"/token%20":              "",
		"/token%3F":              "",
		"/token;a":               "",
		"/tok%65n":               "",
		"/token%00":              "",
		"/TOKEN":                 "",
		"/":                      "",
	} {
		a := b.raw(t, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if want == "" {
			if a.StatusCode != http.StatusNotFound || a.problem(t)["kind"] != "not_found" {
				t.Errorf("%s: got %d %q, want 404", path, a.StatusCode, a.body)
			}
			continue
		}
		if got := strings.TrimSpace(a.body); a.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s: got %d %q, want %q", path, a.StatusCode, got, want)
		}
	}
}

func TestOpenMountAdmitsEverybodyAndNoOther(t *testing.T) {
	b := runKeyed(t, server.Config{}, func(s *server.Server) []server.Mount {
		open := at("/healthz", s.Healthz().ServeHTTP, http.MethodGet)
		open.Open = true
		return []server.Mount{open, at("/token", echo)}
	})
	for path, want := range map[string]int{"/healthz": 200, "/healthz/": 403, "/token": 403, "/": 403} {
		if got := b.do(t, "GET", path, "Host: evil.example").StatusCode; got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
}

func TestMountSeesItsCallerAndAnswersInItsOwnShape(t *testing.T) {
	own := server.Mount{
		Name: "own", Path: "/own", Keys: func(r *http.Request) ([]entra.Secret, error) {
			return []entra.Secret{entra.NewSecret(r.Header.Get("X-Own-Key"))}, nil
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, ok := guard.PrincipalOf(r.Context())
			if !ok {
				t.Error("no principal in the context")
			}
			if r.URL.Query().Has("panic") {
				panic("x")
			}
			_, _ = io.WriteString(w, who.Name+" by "+who.Via)
		}),
		WriteError: func(w http.ResponseWriter, _ *http.Request, e *entra.Error) {
			w.WriteHeader(http.StatusPaymentRequired)
			_, _ = io.WriteString(w, "own "+e.Kind.String())
		},
	}
	b := runKeyed(t, server.Config{}, only(own))
	for target, want := range map[string]string{
		"/own " + key:       "200 local by key",
		"/own?panic " + key: "402 own internal",
		"/own wrong":        "402 own unadmitted",
	} {
		path, proof, _ := strings.Cut(target, " ")
		a := b.do(t, "GET", path, "X-Own-Key: "+proof)
		if got := a.Status[:4] + a.body; got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
}

func TestPanicIsAnInternalErrorAndTheServerLives(t *testing.T) {
	b := run(t, server.Config{}, only(at("/x", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5000") // of an answer that will not come
		w.Header().Set("Etag", "x")
		panic(errors.New("index out of luck"))
	}), at("/y", echo)))
	a := b.do(t, "GET", "/x", "X-Request-Id: request-1")
	want := map[string]any{"title": "Internal Server Error", "status": 500.0, "kind": "internal", "detail": "internal error", "instance": "request-1"}
	if diff := cmp.Diff(want, a.problem(t)); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
	if a.StatusCode != 500 || a.Header.Get("Etag") != "" || a.Header.Get("X-Request-Id") != "request-1" {
		t.Errorf("got %d %v", a.StatusCode, a.Header)
	}
	line := b.log.next(t, "panic")
	if stack, _ := line["stack"].(string); !strings.Contains(stack, "mount_test.go") || line["request_id"] != "request-1" || line["level"] != "ERROR" {
		t.Errorf("got log line %v, want the stack of the handler", line)
	}
	line = b.log.next(t, "request")
	if line["status"] != 500.0 || line["kind"] != "internal" || line["err"] != "server.survive: panic: a value of type *errors.errorString" || line["level"] != "WARN" {
		t.Errorf("got access line %v", line)
	}
	if got := b.do(t, "GET", "/y").StatusCode; got != 200 {
		t.Errorf("after the panic: got %d", got)
	}
}

// Half an answer must not look whole, whoever is to blame.
func TestBrokenAnswersBreakTheConnection(t *testing.T) {
	half := func(w http.ResponseWriter) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
	}
	b := run(t, server.Config{}, only(
		at("/panic", func(w http.ResponseWriter, _ *http.Request) { half(w); panic("x") }),
		at("/abort", func(w http.ResponseWriter, _ *http.Request) { half(w); panic(http.ErrAbortHandler) }),
		at("/abort-at-once", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		at("/canceled", fail(entra.AsError(context.Canceled))),
		at("/token", echo),
	))
	for path, want := range map[string]map[string]any{
		"/panic":         {"status": 200.0, "kind": "internal"},
		"/abort":         {"status": 200.0, "kind": nil}, // whoever aborts notes why
		"/abort-at-once": {"kind": nil},
		"/canceled":      {"status": 499.0, "kind": "canceled"},
	} {
		a, err := b.try(t, "GET", "http://"+b.callers+path)
		if err == nil {
			t.Errorf("%s: got %d %q, want a broken connection", path, a.StatusCode, a.body)
		}
		line := b.log.next(t, "request")
		for name, value := range want {
			if line[name] != value {
				t.Errorf("%s: got %s %v in the access line, want %v", path, name, line[name], value)
			}
		}
	}
	if got := b.do(t, "GET", "/token").StatusCode; got != 200 {
		t.Errorf("afterwards: got %d", got)
	}
}

func TestUnixSocket(t *testing.T) {
	l := listen(t, "unix", t.TempDir()+"/s")
	b := runOn(t, everybody(), server.Config{}, only(at("/token", echo)), l, listen(t, "tcp4", "127.0.0.1:0"))
	conn, err := net.Dial("unix", b.callers)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const request = "GET /token HTTP/1.1\r\nHost: whatever\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if a := readAnswer(t, bufio.NewReader(conn), request); a.StatusCode != 200 {
		t.Errorf("got %d", a.StatusCode)
	}
}
