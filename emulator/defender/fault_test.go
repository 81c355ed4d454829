package defenderemu

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// with switches faults on.
func (e *emulator) with(on Faults) *emulator {
	e.t.Helper()
	if err := e.SetFaults(on); err != nil {
		e.t.Fatal(err)
	}
	return e
}

func TestFaultsThatAnswer(t *testing.T) {
	e := newEmulator(t)
	for _, tt := range []struct {
		faults Faults
		status int
		code   string
		header map[string]string
		body   string
	}{
		{Faults{Unauthorized: {}}, 401, "Unauthorized", map[string]string{"WWW-Authenticate": ""}, ""},
		{
			Faults{Unauthorized: {Claims: "eyJ4Ijp7fX0="}},
			401, "Unauthorized",
			map[string]string{"WWW-Authenticate": `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="eyJ4Ijp7fX0="`},
			"",
		},
		{Faults{Forbidden: {}}, 403, "Forbidden", nil, "Missing application roles. API required roles: Machine.Read.All, Machine.ReadWrite.All, application roles: ."},
		{Faults{Throttled: {}}, 429, "TooManyRequests", map[string]string{"Retry-After": ""}, ""},
		{Faults{Throttled: {RetryAfter: 7}}, 429, "TooManyRequests", map[string]string{"Retry-After": "7"}, ""},
		{Faults{Throttled: {RetryAfter: 7, RetryAs: RetryFraction}}, 429, "TooManyRequests", map[string]string{"Retry-After": "7.128"}, ""},
		{Faults{Throttled: {RetryAfter: 7, RetryAs: RetrySeconds}}, 429, "TooManyRequests", map[string]string{"Retry-After": "7"}, ""},
		{
			Faults{Unauthorized: {Claims: "eyJ4Ijp7fX0=", Challenge: `Negotiate, Bearer claims="x", error="insufficient_claims"`}},
			401, "Unauthorized",
			map[string]string{"WWW-Authenticate": `Negotiate, Bearer claims="x", error="insufficient_claims"`},
			"",
		},
		{Faults{Forbidden: {Challenge: `Bearer error="insufficient_claims"`}}, 403, "Forbidden", map[string]string{"WWW-Authenticate": `Bearer error="insufficient_claims"`}, "Missing"},
		{Faults{ServerError: {}}, 500, "InternalServerError", nil, `"message":""`},
	} {
		a := e.with(tt.faults).get("/api/machines").is(tt.status, tt.code)
		for name, want := range tt.header {
			if got := a.Header().Get(name); got != want {
				t.Errorf("%v: got %s: %q, want %q", tt.faults, name, got, want)
			}
		}
		if !strings.Contains(a.Body.String(), tt.body) {
			t.Errorf("%v: got %s, want %s in it", tt.faults, a.Body, tt.body)
		}
	}
	if got := e.Stats().Faults; got != 10 {
		t.Errorf("got %d faults, want 10", got)
	}
}

func TestFaultLastsForSoManyRequestsOfItsPath(t *testing.T) {
	e := newEmulator(t).with(Faults{Throttled: {Times: 2, Path: "/API/machines"}})
	e.get("/api/alerts?$top=1").ok()
	e.get("/api/machines").is(http.StatusTooManyRequests, "TooManyRequests")
	if diff := cmp.Diff(e.faults.on, Faults{Throttled: {Times: 1, Path: "/API/machines"}}); diff != "" {
		t.Error(diff)
	}
	e.get("/api/machines").is(http.StatusTooManyRequests, "TooManyRequests")
	e.get("/api/machines").ok()
}

func TestEmptyListMayBeNotFound(t *testing.T) {
	e := newEmulator(t)
	const none, some = "/api/machines?$filter=id%20eq%20'x'", "/api/machines?$top=1"
	e.get(none).ok()
	e.with(Faults{EmptyNotFound: {}})
	e.get(none).is(http.StatusNotFound, "ResourceNotFound")
	e.get(some).ok()
}

func TestRedirectLeadsElsewhere(t *testing.T) {
	e := newEmulator(t).with(Faults{Redirect: {}})
	a := e.get("/api/machines?$top=1&x=%2f")
	if got, want := a.Header().Get("Location"), "https://elsewhere.example/api/machines?$top=1&x=%2f"; a.Code != http.StatusFound || got != want {
		t.Errorf("got %d to %s, want 302 to %s", a.Code, got, want)
	}
}

func TestSlowAnswerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t).with(Faults{Slow: {DelayMS: 180_000, Times: 2}})
		began := time.Now()
		e.get("/api/machines?$top=1").ok()
		if got := time.Since(began); got != 180*time.Second {
			t.Errorf("got an answer after %s, want 180s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		machine := e.dataOf(tenant).machines[0].ID
		e.send(e.request(e.all(defender.MDE), http.MethodPost, "/api/machines/"+machine+"/offboard", `{"Comment":"c"}`).WithContext(ctx))
		if got := time.Since(began); got != time.Second {
			t.Errorf("the caller left after a second, and the handler stayed for %s", got)
		}
		if got := e.Stats().Actions["POST /api/machines/{id}/offboard"]; got != 1 {
			t.Errorf("the action was done %d times, want once: a late answer does not undo it", got)
		}
	})
}

func TestStreamIsAsLongAsAsked(t *testing.T) {
	e := newEmulator(t).with(Faults{Stream: {Bytes: 1 << 20}})
	a := e.get("/api/machines")
	if n := a.Body.Len(); n < 1<<20 || n > 1<<20+1<<16 {
		t.Errorf("got %d bytes, want about %d", n, 1<<20)
	}
	var l listed
	a.into(&l)
	e.send(e.request(may(defender.MDE), http.MethodGet, "/api/machines", "")).is(http.StatusForbidden, "Forbidden")
	if on := defaults[Stream].Bytes; on != 100<<20 {
		t.Errorf("the usual stream has %d bytes, want 100 MiB", on)
	}
}

func TestStreamEndsWhenTheCallerLeaves(t *testing.T) {
	e := newEmulator(t).with(Faults{Stream: {Bytes: 1 << 40}})
	for _, writes := range []int{0, 3} {
		w := &leaving{ResponseRecorder: httptest.NewRecorder(), left: writes}
		e.ServeHTTP(w, e.request(e.all(defender.MDE), http.MethodGet, "/api/machines", ""))
		if w.left != -1 {
			t.Errorf("after %d writes: wrote on %d times", writes, -1-w.left)
		}
	}
}

// leaving is a caller who leaves after so many writes.
type leaving struct {
	*httptest.ResponseRecorder
	left int
}

func (w *leaving) Write(b []byte) (int, error) { return w.WriteString(string(b)) }

func (w *leaving) WriteString(s string) (int, error) {
	if w.left--; w.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(s), nil
}

func TestResetBreaksTheBody(t *testing.T) {
	e := newEmulator(t)
	server := httptest.NewServer(e.Server)
	defer server.Close()
	fetch := func(path string) (string, error) {
		r := e.request(e.all(defender.MDE), http.MethodGet, server.URL+path, "")
		r.RequestURI = ""
		response, err := server.Client().Do(r)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		return string(b), err
	}
	whole, err := fetch("/api/machines")
	if err != nil {
		t.Fatal(err)
	}
	e.with(Faults{Reset: {Bytes: 500}})
	if got, err := fetch("/api/machines"); !errors.Is(err, io.ErrUnexpectedEOF) || got != whole[:500] {
		t.Errorf("got %d bytes and %v, want the first 500 and an unexpected end", len(got), err)
	}
	e.with(Faults{Reset: {Bytes: 1 << 20}})
	if _, err := fetch("/api/machines?$top=1"); err == nil {
		t.Error("a body that is shorter than the cut came whole")
	}
}

func TestActionIsDoneThoughItsAnswerIsLost(t *testing.T) {
	e := newEmulator(t)
	machine := e.first("/api/machines", "id")
	e.with(Faults{Reset: {}})
	func() {
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
				t.Errorf("got %v, want the handler to abort", err)
			}
		}()
		e.call(http.MethodPost, "/api/machines/"+machine+"/offboard", `{"Comment":"c"}`)
	}()
	if got := e.Stats().Actions["POST /api/machines/{id}/offboard"]; got != 1 {
		t.Errorf("the action was done %d times, want once", got)
	}
	if got := e.Requests()[1].Status; got != http.StatusCreated {
		t.Errorf("got %d remembered, want 201", got)
	}
}

func TestUnknownFaultsAreRefused(t *testing.T) {
	e := newEmulator(t)
	for _, on := range []Faults{{"thunder": {}}, {Slow: {}}, {Throttled: {Times: -1}}, {Throttled: {RetryAfter: -1}}, {Stream: {Bytes: -1}}, {Slow: {DelayMS: -1}}, {Drip: {}}, {Stream: {Pages: -1}}, {Throttled: {RetryAs: "soon"}}} {
		if err := e.SetFaults(on); entra.KindOf(err) != entra.Invalid {
			t.Errorf("%v: got %v, want an invalid one", on, err)
		}
	}
}

func TestFaultsAreSwitchedOverHTTP(t *testing.T) {
	e := newEmulator(t)
	admin := func(method, path, body string) answered {
		return e.send(httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	}
	shows := func(a answered, want string) {
		t.Helper()
		if got := a.ok().Body.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	shows(admin("GET", "/_emulator/faults", ""), "{}")
	shows(admin("PUT", "/_emulator/faults", `{"throttled":{"retry_after_s":5,"times":2},"next_link_host":{}}`),
		`{"next_link_host":{"host":"127.0.0.1"},"throttled":{"times":2,"retry_after_s":5}}`)
	e.get("/api/machines").is(http.StatusTooManyRequests, "TooManyRequests")
	shows(admin("GET", "/_emulator/faults", ""), `{"next_link_host":{"host":"127.0.0.1"},"throttled":{"times":1,"retry_after_s":5}}`)
	for _, body := range []string{"", "x", `{"throttled":{"retry":5}}`, `{"thunder":{}}`, `{"slow":{}}`, `{"throttled":{"path":"` + strings.Repeat("x", maxFaults) + `"}}`} {
		admin("PUT", "/_emulator/faults", body).is(http.StatusBadRequest, "BadRequest")
	}
	shows(admin("DELETE", "/_emulator/faults", ""), "{}")
	e.get("/api/machines").ok()
	admin("GET", "/_emulator/nothing", "").is(http.StatusNotFound, "ResourceNotFound")
	e.with(Faults{Unauthorized: {}, Redirect: {}, Reset: {}})
	admin("GET", "/_emulator/stats", "").ok()
}
