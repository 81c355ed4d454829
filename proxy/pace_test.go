package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/budget"
	"tokenbroker/entra"
	"tokenbroker/proxy"
	"tokenbroker/route"
)

// twice may be called two times a minute, says the catalogue.
const twice = "/api/machineactions/1/getPackageUri"

func paced(cfg *proxy.Config) { cfg.Budgets = new(budget.Ledger) }

// with changes the route of every call.
func with(rate route.Rate) func(*proxy.Config) {
	return func(cfg *proxy.Config) {
		resolve := cfg.Resolve
		cfg.Resolve = func(ctx context.Context, target route.Target) (route.Call, error) {
			call, err := resolve(ctx, target)
			if err == nil {
				r := *call.Route
				r.Rate, call.Route = rate, &r
			}
			return call, err
		}
	}
}

func TestCallsStayBelowTheCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var arrived atomic.Int32
		b := newBubble(t, func(http.ResponseWriter, *http.Request) { arrived.Add(1) }, paced)
		for range 2 {
			if res := b.get("/proxy/defender" + twice); res.status != http.StatusOK {
				t.Fatalf("got %d %s below the ceiling", res.status, res.body)
			}
		}
		time.Sleep(20 * time.Second)
		res := b.get("/proxy/based" + twice) // another route to the same limit
		if res.status != http.StatusTooManyRequests || res.kind() != "exhausted" || res.header.Get("Retry-After") != "41" ||
			!strings.Contains(res.body, `"code":"BrokerExhausted"`) || arrived.Load() != 2 {
			t.Errorf("got %d %v %s after %d calls", res.status, res.header, res.body, arrived.Load())
		}
		for name, path := range map[string]string{"tenant": "/proxy/defender@contoso.example" + twice, "endpoint": "/proxy/defender/api/machines", "unknown": "/proxy/defender/api/new"} {
			if res := b.get(path); res.status != http.StatusOK {
				t.Errorf("another %s: got %d", name, res.status)
			}
		}
	})
}

func TestHourCountsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, func(http.ResponseWriter, *http.Request) {}, paced)
		const export = "/proxy/defender/api/machines/SoftwareInventoryExport" // 5 a minute, 20 an hour
		for range 4 {
			for range 5 {
				if res := b.get(export); res.status != http.StatusOK {
					t.Fatalf("got %d %s", res.status, res.body)
				}
			}
			time.Sleep(61 * time.Second)
		}
		if res := b.get(export); res.kind() != "exhausted" || len(res.header.Get("Retry-After")) != len("3357") {
			t.Errorf("got %d %v", res.status, res.header)
		}
	})
}

// What the catalogue does not know may be anything: a 429 holds back no other
// route.
func TestUnknownCallsAreHeldBackByRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, (&throttling{times: 1, retryAfter: "30"}).ServeHTTP, paced)
		if res := b.get("/proxy/defender/api/new"); res.status != http.StatusTooManyRequests || res.kind() != "" {
			t.Fatalf("got %d %s", res.status, res.body)
		}
		if res := b.get("/proxy/defender/api/newer"); res.kind() != "exhausted" {
			t.Errorf("the route's next: got %d", res.status)
		}
		if res := b.get("/proxy/based/api/new"); res.status != http.StatusOK {
			t.Errorf("another route's: got %d %s", res.status, res.body)
		}
	})
}

// Whatever the routes are called.
func TestRoutesAreHeldBackApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, (&throttling{times: 1, retryAfter: "30"}).ServeHTTP, paced, func(cfg *proxy.Config) {
			resolve := cfg.Resolve
			cfg.Resolve = func(ctx context.Context, target route.Target) (route.Call, error) {
				call, err := resolve(ctx, target)
				r := *call.Route
				if call.Route = &r; r.Name == "based" {
					r.Name, r.Rate = "other", route.Rate{PerMinute: 60}
				} else {
					r.Name = "route"
				}
				return call, err
			}
		})
		if res := b.get("/proxy/based/api/new"); res.status != http.StatusTooManyRequests || res.kind() != "" {
			t.Fatalf("got %d %s", res.status, res.body)
		}
		if res := b.get("/proxy/defender/api/new"); res.status != http.StatusOK {
			t.Errorf("another route: got %d %s", res.status, res.body)
		}
	})
}

// Graph counts alerts and scores together.
func TestEndpointsThatShareACeilingAreHeldBackTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, (&throttling{times: 1, retryAfter: "30"}).ServeHTTP, paced)
		b.get("/proxy/defender/v1.0/security/alerts_v2")
		if res := b.get("/proxy/defender/v1.0/security/secureScores"); res.kind() != "exhausted" {
			t.Errorf("scores: got %d", res.status)
		}
		if res := b.get("/proxy/defender/v1.0/security/incidents"); res.status != http.StatusOK {
			t.Errorf("incidents: got %d", res.status)
		}
	})
}

// A body that is too long to be kept goes out whole all the same.
func TestBodyOfWhoWaitsArrivesWhole(t *testing.T) {
	for _, path := range []string{hunt, isolate} {
		for _, size := range []int{0, 1, 256 << 10, 256<<10 + 1, 1 << 20} {
			synctest.Test(t, func(t *testing.T) {
				got := 0
				b := newBubble(t, func(_ http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					got = len(body)
				}, paced)
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/proxy/defender"+path, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", size))})
				r.Header.Set("Prefer", "wait=10")
				b.proxy.ServeHTTP(httptest.NewRecorder(), r)
				if r.ContentLength != -1 || got != size {
					t.Errorf("%d bytes of unknown length: %d arrived", size, got)
				}
			})
		}
	}
}

func TestWhoIsWillingWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var preferences []string
		b := newBubble(t, func(_ http.ResponseWriter, r *http.Request) { preferences = r.Header["Prefer"] }, paced)
		begun := time.Now()
		for range 3 {
			res := b.get("/proxy/defender"+twice, "Prefer", "return=minimal, wait=100", "Prefer", `odata.maxpagesize=5;x="a,wait=1"`)
			if res.status != http.StatusOK || res.header.Get("Preference-Applied") != "wait=100" {
				t.Fatalf("got %d %v", res.status, res.header)
			}
		}
		if got := fmt.Sprintf("%q", preferences); got != `["return=minimal" "odata.maxpagesize=5;x=\"a,wait=1\""]` {
			t.Errorf("the upstream got %s", got)
		}
		if waited := time.Since(begun).Round(time.Second); waited != 61*time.Second {
			t.Errorf("waited %v, want a minute and the second that the call may be on its way", waited)
		}
		if res := b.get("/proxy/defender"+twice, "Prefer", "wait=1"); res.kind() != "" {
			t.Errorf("the second of that minute: got %s", res.body)
		}
		begun = time.Now()
		if res := b.get("/proxy/defender"+twice, "Prefer", "wait=10"); res.kind() != "exhausted" || res.header.Get("Preference-Applied") != "wait=10" || time.Since(begun) > time.Second {
			t.Errorf("got %d after %v, want to be refused at once", res.status, time.Since(begun))
		}
	})
}

func TestRateOfTheRoute(t *testing.T) {
	for name, tc := range map[string]struct {
		rate   route.Rate
		passes int // of four calls
	}{
		"the catalogue's": {route.Rate{}, 2},
		"off":             {route.Rate{Off: true}, 4},
		"its own":         {route.Rate{PerMinute: 3}, 3},
		"in bursts":       {route.Rate{PerMinute: 60, Burst: 1}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, func(http.ResponseWriter, *http.Request) {}, paced, with(tc.rate))
				passed := 0
				for range 4 {
					if b.get("/proxy/defender"+twice).status == http.StatusOK {
						passed++
					}
				}
				if passed != tc.passes {
					t.Errorf("%d of 4 passed, want %d", passed, tc.passes)
				}
				if want := http.StatusOK; tc.rate.PerMinute > 0 {
					if res := b.get("/proxy/defender/api/machines"); res.status == want {
						t.Error("the figures of a route are for all of its calls")
					}
				}
			})
		})
	}
}

func TestPreferenceGoesOnWhereNothingIsPaced(t *testing.T) {
	for name, option := range map[string]func(*proxy.Config){"no budgets": func(*proxy.Config) {}, "off": func(cfg *proxy.Config) { paced(cfg); with(route.Rate{Off: true})(cfg) }} {
		synctest.Test(t, func(t *testing.T) {
			got := ""
			b := newBubble(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Prefer") }, option)
			if res := b.get("/proxy/defender"+twice, "Prefer", "wait=5"); got != "wait=5" || res.header.Get("Preference-Applied") != "" {
				t.Errorf("%s: the upstream got %q", name, got)
			}
		})
	}
}

// A ceiling of a few calls an hour must not be used up by a wrong secret.
func TestTokenThatIsNotToBeHadCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		b := newBubble(t, func(http.ResponseWriter, *http.Request) {}, paced, func(cfg *proxy.Config) {
			source := cfg.Source
			cfg.Source = entra.SourceFunc(func(ctx context.Context, req entra.Request) (entra.Token, error) {
				if broken.Load() {
					return failing(entra.Misconfigured)(ctx, req)
				}
				return source.Token(ctx, req)
			})
		})
		broken.Store(true)
		for range 5 {
			if res := b.get("/proxy/defender" + twice); res.kind() != "misconfigured" {
				t.Errorf("got %s", res.body)
			}
		}
		broken.Store(false)
		if res := b.get("/proxy/defender" + twice); res.status != http.StatusOK {
			t.Errorf("got %d %s", res.status, res.body)
		}
	})
}

// A token that was fetched before the wait would be old after it.
func TestTokenIsAskedForAgainAfterTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		asked := 0
		b := newBubble(t, func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.Header.Get("Authorization")) }, paced, func(cfg *proxy.Config) {
			cfg.Source = entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
				asked++
				return entra.NewToken(fmt.Sprint("token-", asked), req.Scope, time.Now().Add(time.Hour), time.Time{})
			})
		})
		for range 3 {
			b.get("/proxy/defender"+twice, "Prefer", "wait=90")
		}
		if want := "[Bearer token-1 Bearer token-2 Bearer token-4]"; fmt.Sprint(got) != want {
			t.Errorf("sent %v, want %s", got, want)
		}
	})
}

func TestWhoLeavesTheLineIsNotCalledFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var arrived atomic.Int32
		b := newBubble(t, func(http.ResponseWriter, *http.Request) { arrived.Add(1) }, paced, with(route.Rate{PerMinute: 1}))
		b.get("/proxy/defender/api/incidents")
		ctx, leave := context.WithCancel(t.Context())
		var line sync.WaitGroup
		line.Go(func() {
			defer func() {
				if recover() != http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
					t.Error("got an answer")
				}
			}()
			b.as("a").call(ctx, http.MethodPost, "/proxy/defender"+isolate, `{}`, "Prefer", "wait=200")
		})
		synctest.Wait()
		leave()
		line.Wait()
		time.Sleep(5 * time.Minute)
		if arrived.Load() != 1 {
			t.Error("an action went out although its caller had left")
		}
	})
}

// An isolation whose caller has gone away while it waited must not happen.
// net/http sees who leaves only when the body has been read.
func TestActionInLineHasItsBodyRead(t *testing.T) {
	for name, framing := range map[string]string{
		"with a length": "Content-Length: 2\r\n\r\n{}",
		"in chunks":     "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var arrived atomic.Int32
			b := start(t, upstream(t, func(http.ResponseWriter, *http.Request) { arrived.Add(1) }), paced, with(route.Rate{PerMinute: 1}))
			b.call(t, http.MethodGet, "/proxy/defender/api/incidents", "")
			<-b.trails
			conn := dial(t, b.URL)
			_, _ = io.WriteString(conn, "POST /proxy/defender"+isolate+" HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=300\r\n"+framing)
			conn.Close()
			if trail := <-b.trails; trail.Failure == nil || trail.Failure.Kind != entra.Canceled || arrived.Load() != 1 {
				t.Errorf("trail: %+v after %d calls", trail, arrived.Load())
			}
		})
	}
}

// Nor may one whose body is too large to be read before its turn: it is refused.
func TestActionWithALargeBodyDoesNotWait(t *testing.T) {
	large := strings.Repeat("x", 300<<10)
	for name, framing := range map[string]string{
		"with a length": "Content-Length: 307200\r\n\r\n" + large,
		"in chunks":     "Transfer-Encoding: chunked\r\n\r\n4b000\r\n" + large + "\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, upstream(t, func(http.ResponseWriter, *http.Request) {}), paced, with(route.Rate{PerMinute: 60, Burst: 1}))
			b.call(t, http.MethodGet, "/proxy/defender/api/incidents", "")
			<-b.trails
			conn := dial(t, b.URL)
			_, _ = io.WriteString(conn, "POST /proxy/defender"+isolate+" HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=300\r\n"+framing)
			conn.Close()
			if trail := <-b.trails; trail.Failure == nil || trail.Failure.Kind != entra.Exhausted {
				t.Errorf("trail: %+v, want it refused at once", trail)
			}
		})
	}
}

// Eight callers share the 45 calls a minute of MDE's hunting for two minutes.
func TestCallersShareTheCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		arrived := map[string][]time.Time{}
		b := newBubble(t, func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			arrived[r.Header.Get("X-Tenant")] = append(arrived[r.Header.Get("X-Tenant")], time.Now())
		}, paced)
		const path = "/api/advancedqueries/run"
		begun := time.Now()
		end := begun.Add(2 * time.Minute)
		served := make([]int, 8)
		var total atomic.Int32
		var callers sync.WaitGroup
		for i := range served {
			callers.Go(func() {
				for time.Now().Before(end) {
					res := b.as(fmt.Sprint(i)).call(t.Context(), http.MethodPost, "/proxy/defender"+path, `{"Query":"x"}`, "Prefer", "wait=200")
					if res.status != http.StatusOK {
						t.Errorf("got %d %s", res.status, res.body)
					}
					if now := time.Now(); now.Before(end) {
						total.Add(1)
						if now.Sub(begun) > time.Minute { // by then all stand in line
							served[i]++
						}
					}
				}
			})
		}
		time.Sleep(30 * time.Second)
		before := time.Now()
		if res := b.as("0").call(t.Context(), http.MethodPost, "/proxy/defender@contoso.example"+path, `{}`, "X-Tenant", "other"); res.status != 200 || time.Since(before) > time.Second {
			t.Errorf("another tenant: got %d after %v", res.status, time.Since(before))
		}
		callers.Wait()
		if n := total.Load(); n < 86 || n > 90 { // 95 % of 45 a minute
			t.Errorf("%d calls in two minutes, want 86 to 90", n)
		}
		if slices.Contains(served, 0) {
			t.Errorf("served %v in the second minute, want everybody in their turn", served)
		}
		for i, at := range arrived[""] {
			if i >= 45 && at.Sub(arrived[""][i-45]) < time.Minute {
				t.Errorf("call %d arrived %v after the 45th before it", i, at.Sub(arrived[""][i-45]))
			}
		}
	})
}
