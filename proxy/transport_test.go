package proxy_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/proxy"
)

// guarded is an upstream that refuses the first token.
func guarded(t *testing.T, challenge string, got *[]string) http.HandlerFunc {
	t.Helper()
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		*got = append(*got, r.Header.Get("Authorization")+" "+string(body))
		mu.Unlock()
		if r.Header.Get("Authorization") == "Bearer token-1" {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, refused)
			return
		}
		_, _ = io.WriteString(w, "fine")
	}
}

func TestRefusedTokenIsReplacedAndTheRequestSentOnceMore(t *testing.T) {
	const (
		first, second = "Bearer token-1 ", "Bearer token-2 "
		claims        = `{"access_token":{"nbf":{"essential":true}}}`
	)
	large := strings.Repeat("x", 256<<10)
	fingerprint := entra.NewSecret("token-1").Fingerprint()
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		challenge                string
		wantStatus               int
		wantArrivals             []string
		wantClaims               string
	}{
		{name: "a read", method: "GET", path: "/api/incidents", wantStatus: 200, wantArrivals: []string{first, second}},
		{name: "a query", method: "POST", path: hunt, body: `{"Query":"x"}`, wantStatus: 200, wantArrivals: []string{first + `{"Query":"x"}`, second + `{"Query":"x"}`}},
		{name: "a write", method: "PATCH", path: "/api/incidents/1", body: `{}`, wantStatus: 200, wantArrivals: []string{first + `{}`, second + `{}`}},
		{name: "the largest body that is kept", method: "POST", path: hunt, body: large, wantStatus: 200, wantArrivals: []string{first + large, second + large}},
		{
			name: "with claims", method: "GET", path: "/api/incidents", wantStatus: 200, wantArrivals: []string{first, second}, wantClaims: claims,
			challenge: `Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(claims)) + `"`,
		},

		{name: "an action", method: "POST", path: isolate, body: `{}`, wantStatus: 401, wantArrivals: []string{first + `{}`}},
		{name: "an action without a body", method: "POST", path: isolate, wantStatus: 401, wantArrivals: []string{first}},
		{name: "what the catalogue does not know", method: "POST", path: "/api/new", body: `{}`, wantStatus: 401, wantArrivals: []string{first + `{}`}},
		{name: "a larger body", method: "POST", path: hunt, body: large + "x", wantStatus: 401, wantArrivals: []string{first + large + "x"}},
		{name: "a body that was only offered", method: "POST", path: hunt, body: `{}`, header: []string{"Expect", "100-continue"}, wantStatus: 401, wantArrivals: []string{first + `{}`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var arrivals []string
			source := &tokens{}
			b := start(t, upstream(t, guarded(t, tc.challenge, &arrivals)), func(cfg *proxy.Config) { cfg.Source = source })
			res := b.call(t, tc.method, "/proxy/defender"+tc.path, tc.body, tc.header...)

			if diff := cmp.Diff(arrivals, tc.wantArrivals); diff != "" {
				t.Errorf("arrived (-got +want):\n%.500s", diff)
			}
			wantBody := map[int]string{200: "fine", 401: refused}[tc.wantStatus]
			if res.status != tc.wantStatus || res.body != wantBody || res.kind() != "" {
				t.Errorf("got %d %s, want %d %s", res.status, res.body, tc.wantStatus, wantBody)
			}
			// Asked in any case, so that the next call has a good token.
			if len(source.asked) != 2 || source.asked[1].Rejected != fingerprint || source.asked[1].Claims != tc.wantClaims {
				t.Errorf("asked of the source: %+v", source.asked)
			}
		})
	}
}

func TestBodyOfUnknownLengthIsNotKept(t *testing.T) {
	var arrivals []string
	b := start(t, upstream(t, guarded(t, "", &arrivals)))
	res := raw(t, b.URL, "POST /proxy/defender"+hunt+" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
	if res.status != 401 || len(arrivals) != 1 {
		t.Errorf("got %d after %q", res.status, arrivals)
	}
}

func TestRefusalStands(t *testing.T) {
	for _, tc := range []struct {
		name   string
		always bool
		source entra.Source
		times  int
	}{
		{"when there is no other token", false, &tokens{fail: entra.Errorf(entra.Unavailable, "test", "away")}, 1},
		{"when the other token is the same", false, entra.SourceFunc(sameToken), 1},
		{"when the other token is refused too", true, &tokens{}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var arrivals atomic.Int32
			up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", "Bearer x=y")
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = io.WriteString(w, refused)
				arrivals.Add(1)
			})
			b := start(t, up, func(cfg *proxy.Config) { cfg.Source = tc.source })
			res := b.call(t, "GET", "/proxy/defender/api/incidents", "")
			if res.status != 401 || res.body != refused || res.header.Get("WWW-Authenticate") != "Bearer x=y" || res.kind() != "" {
				t.Errorf("got %d %s %v, want the upstream's own answer", res.status, res.body, res.header)
			}
			if got := int(arrivals.Load()); got != tc.times {
				t.Errorf("sent %d times, want %d", got, tc.times)
			}
			if trail := <-b.trails; trail.Failure != nil || trail.Upstream != 401 {
				t.Errorf("trail: %+v", trail)
			}
		})
	}
}

func TestRefusalOfManyAtOnce(t *testing.T) {
	var arrivals []string
	b := start(t, upstream(t, guarded(t, "", &arrivals)))
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			if res := b.call(t, "POST", "/proxy/defender"+hunt, `{"Query":"x"}`); res.status != 200 || res.body != "fine" {
				t.Errorf("got %d %s", res.status, res.body)
			}
		})
	}
	callers.Wait()
}

func TestFailureToGetATokenIsTheAnswer(t *testing.T) {
	for kind, want := range map[entra.Kind]int{entra.Denied: 403, entra.Challenged: 403, entra.Unavailable: 503, entra.Timeout: 504} {
		up := upstream(t, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was reached without a token") })
		b := start(t, up, func(cfg *proxy.Config) {
			cfg.Source = failing(kind)
		})
		res := b.call(t, "GET", "/proxy/defender/api/incidents", "")
		if res.status != want || res.kind() != kind.String() || !strings.Contains(res.body, "as the test wants it") || !strings.Contains(res.body, `"target":"req-1"`) {
			t.Errorf("%s: got %d %s %s", kind, res.status, res.kind(), res.body)
		}
	}
}

func TestTokenGoesOverTLSAlone(t *testing.T) {
	up := upstream(t, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was reached") })
	b := start(t, up, func(cfg *proxy.Config) {
		cfg.Resolve = inClear(cfg.Resolve)
	})
	if res := b.call(t, "GET", "/proxy/defender/api/incidents", ""); res.status != 500 || res.kind() != "internal" {
		t.Errorf("got %d %s, want 500 internal", res.status, res.kind())
	}
}

// A handler that writes nothing answers 200: net/http says so.
func TestCanceledIsNoSuccess(t *testing.T) {
	b := start(t, upstream(t, nil), func(cfg *proxy.Config) { cfg.Source = failing(entra.Canceled) })
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, b.URL+"/proxy/defender"+hunt, nil)
	if res, err := client(t).Do(req); err == nil {
		res.Body.Close()
		t.Errorf("got %d, want a broken connection", res.StatusCode)
	}
	if trail := <-b.trails; trail.Failure == nil || trail.Failure.Kind != entra.Canceled {
		t.Errorf("trail: %+v", trail)
	}
}
