package defenderemu

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottledSaysWhenAsADateOrInTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t)
		at := time.Now().Add(90 * time.Second).UTC()
		for _, uri := range []string{"/api/incidents", "/v1.0/security/incidents"} {
			a := e.with(Faults{Throttled: {RetryAfter: 90, RetryAs: RetryDate}}).get(uri).is(http.StatusTooManyRequests, "TooManyRequests")
			if got, err := http.ParseTime(a.Header().Get("Retry-After")); err != nil || !got.Equal(at) {
				t.Errorf("%s: got %s and %v, want %s", uri, got, err, at)
			}
			a = e.with(Faults{Throttled: {RetryAfter: 90, RetryAs: RetryBody}}).get(uri).is(http.StatusTooManyRequests, "TooManyRequests")
			if got, want := a.message(), "at "+at.Format(time.RFC3339)+"."; a.Header().Get("Retry-After") != "" || !strings.HasSuffix(got, want) {
				t.Errorf("%s: got Retry-After %q and message %q, want none and %q at the end", uri, a.Header().Get("Retry-After"), got, want)
			}
		}
	})
}

func TestDripComesPieceByPiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t)
		whole := e.get("/api/machines?$top=1").ok().Body.String()
		e.with(Faults{Drip: {Bytes: 100, DelayMS: 1000}})
		began := time.Now()
		a := e.get("/api/machines?$top=1").ok()
		pieces := (len(whole) + 99) / 100
		if got, want := time.Since(began), time.Duration(pieces)*time.Second; got != want || a.Body.String() != whole || !a.Flushed {
			t.Errorf("got %d bytes after %s, flushed %v; want %d after %s", a.Body.Len(), got, a.Flushed, len(whole), want)
		}
	})
}

func TestDripAndResetTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t).with(Faults{Drip: {Bytes: 10, DelayMS: 1000}, Reset: {Bytes: 25}})
		w := e.request(e.all("MDE"), http.MethodGet, "/api/machines?$top=1", "")
		began := time.Now()
		defer func() {
			if err := recover(); err != http.ErrAbortHandler { //nolint:errorlint // it is what was panicked with
				t.Errorf("got %v, want the handler to abort", err)
			}
			if got := time.Since(began); got != 3*time.Second {
				t.Errorf("aborted after %s, want 3s", got)
			}
		}()
		e.send(w)
	})
}
