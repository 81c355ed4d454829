package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		lines := bufio.NewReader(r.Body)
		_ = http.NewResponseController(w).EnableFullDuplex()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(w, line)
			_ = http.NewResponseController(w).Flush()
		}
	}, http2)
	b := start(t, up)
	body, send := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, b.URL+"/proxy/defender"+hunt, body)
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(send, "first\n")
		sent <- errors.Join(err, send.Close())
	}()
	res, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "first\n" {
		t.Errorf("got %q and %v", got, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestBrokenAnswerIsSeenAsBroken(t *testing.T) {
	for _, tc := range []struct{ name, contentType, begin string }{
		{"text", "text/plain", "abc"},
		{"JSON", "application/json", `{"value":[1,2`},
		{"JSON, in a link", "application/json", `{"@odata.nextLink":"https://`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, options := range [][]func(*httptest.Server){{quiet}, {quiet, http2}} {
				up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", tc.contentType)
					_, _ = io.WriteString(w, tc.begin)
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				}, options...)
				b := start(t, up)
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL+"/proxy/defender/api/incidents", nil)
				res, err := client(t).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err == nil || string(got) != tc.begin {
					t.Errorf("got %q and %v, want %q and an error", got, err, tc.begin)
				}
				if trail := <-b.trails; trail.Upstream != 200 || trail.Failure == nil || trail.Failure.Kind != entra.Upstream {
					t.Errorf("trail: %+v", trail)
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

func TestCallerWhoLeavesInTheMiddleOfTheRequest(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }, quiet)
	b := start(t, up)
	conn := dial(t, b.URL)
	_, _ = io.WriteString(conn, "POST /proxy/defender"+hunt+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{}")
	conn.Close()
	if trail := <-b.trails; trail.Failure == nil || trail.Failure.Kind == entra.Upstream {
		t.Errorf("blames the upstream: %+v", trail)
	}
}

func TestBodyThatIsTooLargeOrBroken(t *testing.T) {
	for _, options := range [][]func(*httptest.Server){{quiet}, {quiet, http2}} {
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
			{"broken", "nonsense\r\n", 400, "broke off, or is not what the header says"},
		} {
			res := raw(t, b.URL, head+tc.body)
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != tc.status || !strings.Contains(string(body), tc.message) {
				t.Errorf("%s: got %d %s, want %d with %q", tc.name, res.StatusCode, body, tc.status, tc.message)
			}
		}
	}
}
