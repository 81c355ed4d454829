package server_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/server"
)

// write lets WriteProblem answer a request that has a trail.
func write(t *testing.T, err *entra.Error) (*httptest.ResponseRecorder, *entra.Trail) {
	t.Helper()
	trail := &entra.Trail{RequestID: "request-1"}
	r := httptest.NewRequestWithContext(entra.WithTrail(t.Context(), trail), http.MethodGet, "/token", nil)
	w := httptest.NewRecorder()
	server.WriteProblem(w, r, err)
	return w, trail
}

func TestProblemOfEveryKind(t *testing.T) {
	want := map[entra.Kind]int{
		entra.Internal: 500, entra.Invalid: 400, entra.Unadmitted: 401, entra.Denied: 403, entra.NotFound: 404,
		entra.Misconfigured: 500, entra.Challenged: 403, entra.Throttled: 503, entra.Unavailable: 503,
		entra.Upstream: 502, entra.Timeout: 504, entra.Exhausted: 429,
		entra.Kind(200): 500, // a kind that nobody knows
	}
	for _, kind := range append(entra.Kinds(), entra.Kind(200)) {
		if kind == entra.Canceled {
			continue
		}
		w, trail := write(t, &entra.Error{Kind: kind, RetryAfter: time.Minute, Err: errors.New("text for people")})
		if w.Code != want[kind] {
			t.Errorf("%s: got status %d, want %d", kind, w.Code, want[kind])
		}
		if trail.Failure == nil || trail.Failure.Kind != kind {
			t.Errorf("%s: got failure %v in the trail", kind, trail.Failure)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: got Cache-Control %q", kind, got)
		}
		if got := w.Header().Get("Retry-After") != ""; got != (w.Code == 503 || w.Code == 429) {
			t.Errorf("%s: with %d, Retry-After is there: %v", kind, w.Code, got)
		}
		if got := w.Header().Get("WWW-Authenticate") != ""; got != (w.Code == 401) {
			t.Errorf("%s: with %d, WWW-Authenticate is there: %v", kind, w.Code, got)
		}
		if !strings.Contains(w.Body.String(), `"kind":"`+kind.String()+`"`) {
			t.Errorf("%s: got %s", kind, w.Body)
		}
		if got := strings.Contains(w.Body.String(), "text for people"); got != (kind != entra.Internal) {
			t.Errorf("%s: got %s; only an internal error keeps its text from the caller", kind, w.Body)
		}
	}
}

func TestProblemBody(t *testing.T) {
	w, _ := write(t, &entra.Error{
		Kind: entra.Throttled, Op: "broker.fill", Code: "temporarily_unavailable", AADSTS: 50196, CorrelationID: "c-1",
		RetryAfter: 1500 * time.Millisecond, Err: errors.New("Entra throttles; call /proxy/<route>/ & wait"),
	})
	const want = `{"title":"Service Unavailable","status":503,"detail":"Entra throttles; call /proxy/<route>/ & wait",` +
		`"instance":"request-1","kind":"throttled","code":"temporarily_unavailable","aadsts":50196,"correlation_id":"c-1"}` + "\n"
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := w.Header().Get("Retry-After"); got != "2" {
		t.Errorf("got Retry-After %q, want whole seconds, rounded up", got)
	}

	w, _ = write(t, &entra.Error{Kind: entra.Challenged, Code: "interaction_required", Claims: `{"access_token":{}}`, Err: errors.New("sign in")})
	if diff := cmp.Diff(`{"title":"Forbidden","status":403,"detail":"sign in","instance":"request-1","kind":"challenged",`+
		`"code":"interaction_required","claims":"{\"access_token\":{}}"}`+"\n", w.Body.String()); diff != "" {
		t.Errorf("with claims (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(`Bearer realm="tokenbroker", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="`, w.Header().Get("WWW-Authenticate")); diff != "" {
		t.Errorf("with claims (-want +got):\n%s", diff)
	}

	w, _ = write(t, &entra.Error{Kind: entra.Denied, Err: errors.New("no")})
	if diff := cmp.Diff(`{"title":"Forbidden","status":403,"detail":"no","instance":"request-1","kind":"denied"}`+"\n", w.Body.String()); diff != "" {
		t.Errorf("without the rest (-want +got):\n%s", diff)
	}
	if got, ok := w.Header()["Retry-After"]; ok {
		t.Errorf("got Retry-After %q, want none", got)
	}
}

func TestTooLargeABodyIs413(t *testing.T) {
	w, _ := write(t, entra.Errorf(entra.Invalid, "", "form: %w", &http.MaxBytesError{Limit: 1}))
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", w.Code)
	}
}

func TestNothingIsWrittenToACallerWhoLeft(t *testing.T) {
	w, trail := write(t, entra.AsError(context.Canceled))
	if w.Body.Len() != 0 || len(w.Header()) != 0 {
		t.Errorf("got %v %s", w.Header(), w.Body)
	}
	if trail.Failure == nil || trail.Failure.Kind != entra.Canceled {
		t.Errorf("got failure %v in the trail", trail.Failure)
	}
}
