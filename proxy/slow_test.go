package proxy_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/entra"
)

var protocols = map[string]*http.Protocols{"HTTP/1.1": only((*http.Protocols).SetHTTP1), "HTTP/2": only((*http.Protocols).SetHTTP2)}

// A hunting query may take 200 s, and the header's wait ends after 240.
func TestUpstreamMayThink(t *testing.T) {
	for protocol, only := range protocols {
		for seconds, want := range map[int]int{200: 200, 239: 200, 241: 504} {
			t.Run(protocol, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := bubbleOver(t, only, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						_, _ = io.Copy(io.Discard, r.Body)
						select {
						case <-time.After(time.Duration(seconds) * time.Second):
						case <-r.Context().Done():
						}
						_, _ = io.WriteString(w, "thought")
					}))
					if res := b.as("a").call(t.Context(), http.MethodPost, "/proxy/defender"+hunt, `{"Query":"x"}`); res.status != want {
						t.Errorf("after %d s: got %d %s, want %d", seconds, res.status, res.body, want)
					}
				})
			})
		}
	}
}

// No time ends a stream in which something comes, however rarely.
func TestSlowStreamLives(t *testing.T) {
	for protocol, only := range protocols {
		for _, contentType := range []string{"application/json", "text/csv"} {
			t.Run(protocol+" "+contentType, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const pieces, pause = 30, 10 * time.Minute
					b := bubbleOver(t, only, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Content-Type", contentType)
						for range pieces {
							_, _ = io.WriteString(w, "12345678\n")
							_ = http.NewResponseController(w).Flush()
							time.Sleep(pause)
						}
					}))
					begun := time.Now()
					res := b.get("/proxy/defender/api/incidents")
					if took := time.Since(begun); res.body != strings.Repeat("12345678\n", pieces) || took < pieces*pause {
						t.Errorf("%d bytes in %v", len(res.body), took)
					}
				})
			})
		}
	}
}

// arrivals notes when something reached the caller.
type arrivals struct {
	http.ResponseWriter
	flushed []time.Time
	pending bool
}

func (a *arrivals) Write(p []byte) (int, error) { a.pending = true; return a.ResponseWriter.Write(p) }

func (a *arrivals) Flush() {
	if a.pending {
		a.flushed, a.pending = append(a.flushed, time.Now()), false
	}
}

// What has come is passed on within 5 ms, whether its length is known or not.
func TestFirstByteIsPassedOnAtOnce(t *testing.T) {
	for protocol, only := range protocols {
		for _, header := range []http.Header{
			{"Content-Type": {"application/json"}, "Content-Length": {"20"}},
			{"Content-Type": {"application/json"}},
			{"Content-Type": {"text/csv"}, "Content-Length": {"20"}},
			{"Content-Type": {"text/csv"}},
		} {
			t.Run(protocol, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var sent []time.Time
					b := bubbleOver(t, only, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						for name, value := range header {
							w.Header()[name] = value
						}
						for i := range 2 {
							time.Sleep(time.Duration(i) * time.Minute)
							sent = append(sent, time.Now())
							_, _ = io.WriteString(w, "[1234567]\n")
							_ = http.NewResponseController(w).Flush()
						}
					}))
					w := &arrivals{ResponseWriter: httptest.NewRecorder()}
					b.proxy.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/proxy/defender/api/incidents", nil))
					w.Flush() // as net/http does at a handler's end
					if len(w.flushed) != 2 {
						t.Fatalf("passed on %d times, want 2", len(w.flushed))
					}
					for i, at := range w.flushed {
						late := at.Sub(sent[i])
						t.Logf("%v: passed on after %v", header, late)
						if late > 5*time.Millisecond {
							t.Error("too late")
						}
					}
				})
			})
		}
	}
}

// Who leaves takes the upstream's work along, at once and by either protocol.
func TestUpstreamIsCanceledAtOnce(t *testing.T) {
	for protocol, only := range protocols {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				canceled := make(chan time.Time, 1)
				b := bubbleOver(t, only, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					<-r.Context().Done()
					canceled <- time.Now()
				}))
				ctx, leave := context.WithCancel(entra.WithTrail(t.Context(), new(entra.Trail)))
				begun := time.Now()
				time.AfterFunc(time.Minute, leave)
				func() {
					defer func() { _ = recover() }() // how a handler breaks a connection
					b.proxy.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/proxy/defender/api/incidents", nil))
				}()
				if took := (<-canceled).Sub(begun); took != time.Minute {
					t.Errorf("canceled %v after the caller left", took-time.Minute)
				}
			})
		})
	}
}
