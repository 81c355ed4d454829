package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// throttling answers 429 so many times.
type throttling struct {
	times      int
	retryAfter string
	body       string
	arrived    []time.Time
}

func (u *throttling) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	u.arrived = append(u.arrived, time.Now())
	if len(u.arrived) > u.times {
		return
	}
	if u.retryAfter != "" {
		w.Header().Set("Retry-After", u.retryAfter)
	}
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = io.WriteString(w, u.body)
}

const tooMany = `{"error":{"code":"TooManyRequests","message":"slow down"}}`

func TestThrottledCall(t *testing.T) {
	post := http.MethodPost
	for _, tc := range []struct {
		name, method, path, body string
		upstream                 throttling
		wait                     string
		status, arrivals         int
		retryAfter               string
		took                     time.Duration
	}{
		{"passes where the caller does not wait", "GET", "/api/incidents", "", throttling{times: 1, retryAfter: "30"}, "", 429, 1, "30", 0},
		{"or not long enough", "GET", "/api/incidents", "", throttling{times: 1, retryAfter: "30"}, "29", 429, 1, "30", 0},
		{"is repeated for who waits", "GET", "/api/incidents", "", throttling{times: 1, retryAfter: "30"}, "30", 200, 2, "", 30 * time.Second},
		{"with its body", post, hunt, `{"Query":"x"}`, throttling{times: 2, retryAfter: "30"}, "60", 200, 3, "", time.Minute},
		{"until the patience ends", "GET", "/api/incidents", "", throttling{times: 9, retryAfter: "30"}, "70", 429, 3, "30", time.Minute},
		{"but not for ever", "GET", "/api/incidents", "", throttling{times: 99, retryAfter: "1"}, "300", 429, 9, "1", 8 * time.Second},
		{"by a default", "GET", "/api/incidents", "", throttling{times: 1, body: tooMany}, "60", 200, 2, "", time.Minute},
		{"and says the default", "GET", "/api/incidents", "", throttling{times: 1, body: tooMany}, "", 429, 1, "60", 0},
		{"by the body", "GET", "/api/incidents", "", throttling{times: 1, body: `{"error":{"message":"admitted 15 per Minute. You can send requests again in 12 seconds."}}`}, "", 429, 1, "12", 0},
		{"is never repeated as an action", post, isolate, `{}`, throttling{times: 1, retryAfter: "1"}, "300", 429, 1, "1", 0},
		{"nor with a body that is not kept", post, hunt, strings.Repeat("x", 256<<10+1), throttling{times: 1, retryAfter: "1"}, "300", 429, 1, "1", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, tc.upstream.ServeHTTP, paced)
				begun := time.Now()
				res := b.as("a").call(t.Context(), tc.method, "/proxy/defender"+tc.path, tc.body, "Prefer", "wait="+tc.wait)
				if res.status != tc.status || len(tc.upstream.arrived) != tc.arrivals || res.header.Get("Retry-After") != tc.retryAfter || res.kind() != "" {
					t.Errorf("got %d with Retry-After %q after %d calls %s", res.status, res.header.Get("Retry-After"), len(tc.upstream.arrived), res.body)
				}
				if res.status == 429 && res.body != tc.upstream.body {
					t.Errorf("got %s, want the upstream's own words", res.body)
				}
				if took := time.Since(begun).Truncate(time.Second); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				if tc.retryAfter == "" {
					return
				}
				arrivals := len(tc.upstream.arrived)
				other := b.as("b").call(t.Context(), tc.method, "/proxy/based"+tc.path, tc.body)
				if other.kind() != "exhausted" || len(tc.upstream.arrived) != arrivals {
					t.Errorf("the next caller got %d %s", other.status, other.body)
				}
			})
		})
	}
}

func TestUpstreamThatIsAwayIsNoMatterOfBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arrived := 0
		b := newBubble(t, func(w http.ResponseWriter, _ *http.Request) {
			arrived++
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, paced)
		for range 2 {
			if res := b.get("/proxy/defender/api/incidents", "Prefer", "wait=60"); res.status != 503 || res.header.Get("Retry-After") != "30" || res.kind() != "" {
				t.Errorf("got %d %v", res.status, res.header)
			}
		}
		if arrived != 2 {
			t.Errorf("%d calls, want 2", arrived)
		}
	})
}
