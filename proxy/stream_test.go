package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tokenbroker/entra"
	"tokenbroker/proxy"
)

func TestAnswerStreams(t *testing.T) {
	for _, contentType := range []string{"text/plain", "application/json"} {
		t.Run(contentType, func(t *testing.T) {
			more := make(chan struct{})
			up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", contentType)
				w.Header().Set("Content-Length", "20")
				for range 2 {
					_, _ = io.WriteString(w, "[1234567]\n")
					_ = http.NewResponseController(w).Flush()
					<-more
				}
			})
			b := start(t, up)
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL+"/proxy/defender/api/incidents", nil)
			res, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			lines := bufio.NewReader(res.Body)
			for range 2 { // each line arrives before the next is sent
				if line, err := lines.ReadString('\n'); err != nil || line != "[1234567]\n" {
					t.Fatalf("got %q and %v", line, err)
				}
				more <- struct{}{}
			}
			if contentType == "text/plain" && res.ContentLength != 20 {
				t.Errorf("length %d, want the upstream's", res.ContentLength)
			}
		})
	}
}

func TestRequestStreams(t *testing.T) {
	arrived := make(chan string)
	up := upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		lines := bufio.NewReader(r.Body)
		for range 2 {
			line, _ := lines.ReadString('\n')
			arrived <- line
		}
	})
	b := start(t, up)
	body, send := io.Pipe()
	go func() {
		for _, line := range []string{"first\n", "second\n"} { // each arrives before the next is sent
			_, _ = io.WriteString(send, line)
			if got := <-arrived; got != line {
				t.Errorf("arrived: %q, want %q", got, line)
			}
		}
		send.Close()
	}()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, b.URL+"/proxy/defender"+hunt, body)
	res, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("got %d", res.StatusCode)
	}
}

func TestBrokenAnswerIsSeenAsBroken(t *testing.T) {
	for _, tc := range []struct{ name, contentType, begin string }{
		{"text", "text/plain", "abc"},
		{"JSON", "application/json", `{"value":[1,2`},
		{"JSON, in a link", "application/json", `{"@odata.nextLink":"https://`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, options := range [][]func(*httptest.Server){nil, {http2}} {
				up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", tc.contentType)
					_, _ = io.WriteString(w, tc.begin)
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				}, options...)
				b := start(t, up)
				overTLS := upstream(t, b.around(b.proxy), http2) // a listener that speaks HTTP/2
				for front, local := range map[string]*http.Client{b.URL: client(t), overTLS.URL: overTLS.Client()} {
					req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, front+"/proxy/defender/api/incidents", nil)
					res, err := local.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(res.Body)
					res.Body.Close()
					if err == nil || string(got) != tc.begin {
						t.Errorf("got %q and %v by %s, want %q and an error", got, err, res.Proto, tc.begin)
					}
					if trail := <-b.trails; trail.Upstream != 200 || trail.Failure == nil || trail.Failure.Kind != entra.Upstream {
						t.Errorf("trail: %+v", trail)
					}
				}
			}
		})
	}
}

func TestCallerWhoLeavesCancelsTheUpstream(t *testing.T) {
	for _, tc := range []struct {
		name  string
		begin string // of the answer, when the caller leaves
	}{{"before the answer", ""}, {"in the middle of it", "abc"}} {
		t.Run(tc.name, func(t *testing.T) {
			reached, canceled := make(chan struct{}), make(chan struct{})
			up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				if tc.begin != "" {
					_, _ = io.WriteString(w, tc.begin)
					_ = http.NewResponseController(w).Flush()
				}
				close(reached)
				<-r.Context().Done()
				close(canceled)
			})
			b := start(t, up)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+"/proxy/defender/api/incidents", nil)
			go func() {
				<-reached
				if tc.begin == "" {
					leave()
				}
			}()
			res, err := client(t).Do(req)
			if tc.begin != "" {
				if err != nil {
					t.Fatal(err)
				}
				leave()
				res.Body.Close()
			} else if err == nil {
				res.Body.Close()
				t.Error("got an answer")
			}
			<-canceled
			if trail := <-b.trails; trail.Failure == nil || trail.Failure.Kind != entra.Canceled {
				t.Errorf("trail: %+v", trail)
			}
		})
	}
}

// half is a request in the middle of its body.
const half = "POST /proxy/defender" + hunt + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"

func TestCallerWhoIsLate(t *testing.T) {
	b := start(t, upstream(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	front := httptest.NewUnstartedServer(b.proxy)
	front.Config.ReadTimeout = 20 * time.Millisecond
	front.Start()
	t.Cleanup(front.Close)
	if res := raw(t, front.URL, half); res.status != 400 || !strings.Contains(res.body, "limits.read_timeout") {
		t.Errorf("got %d %s", res.status, res.body)
	}
}

func TestCallerWhoLeavesInTheMiddleOfTheRequest(t *testing.T) {
	for _, tc := range []struct {
		name string
		post func(t *testing.T, b *broker, arrived <-chan struct{})
	}{
		{"over HTTP/1.1", func(t *testing.T, b *broker, arrived <-chan struct{}) {
			t.Helper()
			conn := dial(t, b.URL)
			_, _ = io.WriteString(conn, half)
			<-arrived
			conn.Close()
		}},
		{"over HTTP/1.1, with a reset", func(t *testing.T, b *broker, arrived <-chan struct{}) {
			t.Helper()
			conn := dial(t, b.URL)
			_, _ = io.WriteString(conn, half)
			<-arrived
			_ = conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}},
		{"over HTTP/2", func(t *testing.T, b *broker, arrived <-chan struct{}) {
			t.Helper()
			front := upstream(t, b.around(b.proxy), http2) // a TLS listener
			ctx, leave := context.WithCancel(t.Context())
			body, send := io.Pipe()
			go func() {
				_, _ = io.WriteString(send, "{}")
				<-arrived
				leave()
			}()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, front.URL+"/proxy/defender"+hunt, body)
			if res, err := front.Client().Do(req); err == nil {
				res.Body.Close()
				t.Errorf("got %d", res.StatusCode)
			}
			send.Close()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			arrived := make(chan struct{})
			up := upstream(t, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadFull(r.Body, make([]byte, 2))
				close(arrived)
				_, _ = io.Copy(io.Discard, r.Body)
			})
			b := start(t, up)
			tc.post(t, b, arrived)
			if trail := <-b.trails; trail.Failure == nil || trail.Failure.Kind != entra.Canceled {
				t.Errorf("trail: %+v", trail)
			}
		})
	}
}

func TestCallerWhoLeavesBeforeTheBodyIsKept(t *testing.T) {
	b := start(t, upstream(t, func(http.ResponseWriter, *http.Request) { t.Error("the upstream got half a request") }))
	conn := dial(t, b.URL)
	_, _ = io.WriteString(conn, "POST /proxy/defender"+hunt+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{}")
	conn.Close()
	if trail := <-b.trails; trail.Failure == nil || trail.Failure.Kind != entra.Canceled {
		t.Errorf("trail: %+v", trail)
	}
}

func TestBodyThatIsTooLargeOrBroken(t *testing.T) {
	for _, options := range [][]func(*httptest.Server){nil, {http2}} {
		up := upstream(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }, options...)
		b := start(t, up, func(cfg *proxy.Config) { cfg.MaxRequestBody = 10 })
		head := "POST /proxy/defender" + isolate + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
		for _, tc := range []struct {
			name, body string
			status     int
			message    string
		}{
			{"the largest", "a\r\n0123456789\r\n0\r\n\r\n", 200, ""},
			{"too large", "b\r\n01234567890\r\n0\r\n\r\n", 413, "more than 10 bytes, see limits.request_body"},
			{"broken", "nonsense\r\n", 400, "not what the request's header says"},
		} {
			res := raw(t, b.URL, head+tc.body)
			if res.status != tc.status || !strings.Contains(res.body, tc.message) {
				t.Errorf("%s: got %d %s, want %d with %q", tc.name, res.status, res.body, tc.status, tc.message)
			}
		}
	}
}
