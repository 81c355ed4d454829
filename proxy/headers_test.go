package proxy_test

import (
	"bufio"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProxyDropsWhatIsNotForTheUpstream(t *testing.T) {
	arrivals := make(chan http.Header, 1)
	up := upstream(t, func(_ http.ResponseWriter, r *http.Request) { arrivals <- r.Header })
	b := start(t, up)
	for _, tc := range []struct {
		name   string
		header []string
		want   http.Header // beside Authorization
	}{
		{"nothing is added", nil, http.Header{}},
		{"what is the caller's to say", []string{
			"User-Agent: mine/1", "Accept: application/json", "Prefer: wait=10", "If-None-Match: \"x\"", "Range: bytes=0-1", "X-Custom: a", "X-Custom: b",
			"Client-Request-Id: 1", "X_Custom: c", "ConsistencyLevel: eventual",
		}, http.Header{
			"User-Agent": {"mine/1"}, "Accept": {"application/json"}, "Prefer": {"wait=10"}, "If-None-Match": {`"x"`}, "Range": {"bytes=0-1"}, "X-Custom": {"a", "b"},
			"Client-Request-Id": {"1"}, "X_custom": {"c"}, "Consistencylevel": {"eventual"},
		}},
		{"keys and users", []string{
			"Authorization: Bearer mine", "Authorization: Basic mine", "Cookie: a=b", "Cookie2: a", "X-Broker-Key: k", "X-IDENTITY-HEADER: k", "secret: k",
			"X_Broker_Key: k", "x-user_assertion: a", "X-Token-Broker-Error: x", "Proxy-Authorization: Basic mine", "Proxy-Anything: x",
		}, http.Header{}},
		{"where it came from", []string{
			"Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: h", "X-Forwarded-Prefix: /p", "X_FORWARDED_URI: /u",
		}, http.Header{}},
		{"what makes a request repeatable", []string{"Idempotency-Key: 1", "X-Idempotency-Key: 1"}, http.Header{}},
		{"compression", []string{"Accept-Encoding: gzip, br"}, http.Header{}},
		{"hop by hop", []string{
			"Connection: keep-alive, X-Custom, Authorization", "X-Custom: a", "Keep-Alive: 5", "TE: gzip", "Upgrade: h2c", "HTTP2-Settings: x",
		}, http.Header{}},
		{"the token, by Connection", []string{"Connection: Authorization", "Authorization: Bearer mine"}, http.Header{}},
		{"Java's offer to upgrade", []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x"}, http.Header{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := raw(t, b.URL, "GET /proxy/defender/api/x HTTP/1.1\r\nHost: localhost\r\n"+strings.Join(append(tc.header, ""), "\r\n")+"\r\n")
			if res.status != http.StatusOK {
				t.Fatalf("got %d", res.status)
			}
			want := maps.Clone(tc.want)
			want["Authorization"] = []string{"Bearer token-1"}
			if diff := cmp.Diff(<-arrivals, want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

func TestProxyDropsRequestTrailers(t *testing.T) {
	arrivals := make(chan *http.Request, 1)
	up := upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrivals <- r
	})
	b := start(t, up)
	raw(t, b.URL, "POST /proxy/defender"+hunt+" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n")
	if r := <-arrivals; len(r.Trailer) != 0 || r.Header.Get("Trailer") != "" {
		t.Errorf("trailers arrived: %v, announced %q", r.Trailer, r.Header.Get("Trailer"))
	}
}

func TestProxyAnswersAsTheUpstreamDid(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for name, value := range map[string]string{
			"Content-Type": "text/csv", "Etag": `"strong"`, "Location": "https://elsewhere.example/secret?sig=1", "Retry-After": "7",
			"WWW-Authenticate": "Bearer", "X-Custom": "a", "Date": "Sat, 21 Nov 2026 12:00:00 GMT", "Content-Encoding": "br",
			"Connection": "X-Hop", "X-Hop": "1", "Keep-Alive": "1", "Proxy-Authenticate": "Basic",
			"Set-Cookie": "session=1", "Alt-Svc": "h3", "Strict-Transport-Security": "max-age=1", "Clear-Site-Data": "*",
			"X-Request-Id": "theirs", "X-Token-Broker-Error": "forged", "X_token_broker_hint": "forged",
		} {
			h.Set(name, value)
		}
		h.Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusFound)
		_, _ = io.WriteString(w, "a,b")
		h.Set("X-Sum", "1")
	})
	b := start(t, up)
	res := b.call(t, "GET", "/proxy/defender/api/x", "")
	want := http.Header{
		"Content-Type": {"text/csv"}, "Etag": {`"strong"`}, "Location": {"https://elsewhere.example/secret?sig=1"}, "Retry-After": {"7"},
		"Www-Authenticate": {"Bearer"}, "X-Custom": {"a"}, "Date": {"Sat, 21 Nov 2026 12:00:00 GMT"}, "Content-Encoding": {"br"},
		"X-Request-Id": {"req-1"},
	}
	if diff := cmp.Diff(res.header, want); diff != "" || res.status != http.StatusFound || res.body != "a,b" {
		t.Errorf("got %d %q; header (-got +want):\n%s", res.status, res.body, diff)
	}
	if got := res.trailer.Get("X-Sum"); got != "1" {
		t.Errorf("trailer: got %q, want 1", got)
	}
}

func TestTrailersSpeakForTheUpstreamAlone(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Trailer", "X-Sum, Set-Cookie")
		_, _ = io.WriteString(w, "a,b")
		for _, name := range []string{"X-Sum", "Set-Cookie", http.TrailerPrefix + "X-Token-Broker-Error", http.TrailerPrefix + "X_Request_Id"} {
			h.Set(name, "1")
		}
	})
	res := start(t, up).call(t, "GET", "/proxy/defender/api/x", "")
	for name := range res.trailer {
		if name != "X-Sum" {
			t.Errorf("trailer %s reached the caller", name)
		}
	}
	if res.trailer.Get("X-Sum") != "1" {
		t.Error("the upstream's own trailer is lost")
	}
}

func TestPageOfTheUpstreamIsConfined(t *testing.T) {
	for media, want := range map[string]string{
		"text/html": "sandbox", "Text/HTML; charset=utf-8": "sandbox", "image/svg+xml": "sandbox", "": "sandbox",
		"application/json": "", "text/csv": "", "application/octet-stream": "",
	} {
		up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{media}
			if media == "" {
				w.Header()["Content-Type"] = nil
			}
			_, _ = io.WriteString(w, "<script>")
		})
		res := start(t, up).call(t, "GET", "/proxy/defender/api/x", "")
		if got := res.header.Get("Content-Security-Policy"); got != want || (res.header.Get("X-Content-Type-Options") == "nosniff") != (want != "") {
			t.Errorf("%q: policy %q, want %q", media, got, want)
		}
	}
}

// committing takes the first status for the final one, as echo's writer does.
type committing struct {
	http.ResponseWriter
	status int
}

func (c *committing) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *committing) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
		c.ResponseWriter.WriteHeader(status)
	}
}

func TestInterimAnswersPassWithoutHarmToTheFinalOne(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Link", "</style.css>; rel=preload")
		h.Set("X-Token-Broker-Error", "forged")
		w.WriteHeader(http.StatusEarlyHints)
		clear(h)
		w.WriteHeader(http.StatusContinue) // unasked
		w.WriteHeader(http.StatusAccepted)
	})
	b := start(t, up)
	server := b.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.proxy.ServeHTTP(&committing{ResponseWriter: w}, r)
	}))
	res := raw(t, server.URL, "GET /proxy/defender/api/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
	wantHints := http.Header{"Link": {"</style.css>; rel=preload"}}
	if diff := cmp.Diff(res.header, wantHints); res.status != http.StatusEarlyHints || diff != "" {
		t.Errorf("got %d; header (-got +want):\n%s", res.status, diff)
	}
}

func TestFinalAnswerAfterAnInterimOneIsWhole(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	})
	b := start(t, up)
	server := b.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.proxy.ServeHTTP(&committing{ResponseWriter: w}, r)
	}))
	res := call(t, "GET", server.URL+"/proxy/defender/api/x", "")
	if got := res.header.Get("X-Request-Id"); res.status != http.StatusAccepted || got != "req-1" {
		t.Errorf("got %d with the request id %q, want 202 with req-1", res.status, got)
	}
}

func TestBodyThatIsOnlyOfferedIsNotAskedForBeforeTheUpstreamWantsIt(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			if !wanted {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = io.Copy(w, r.Body)
		})
		b := start(t, up)
		conn := dial(t, b.URL)
		_, _ = io.WriteString(conn, "POST /proxy/defender"+hunt+" HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
		reader := bufio.NewReader(conn)
		var statuses []int
		for len(statuses) == 0 || statuses[len(statuses)-1] == http.StatusContinue {
			res, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			statuses = append(statuses, res.StatusCode)
			if res.StatusCode == http.StatusContinue {
				_, _ = io.WriteString(conn, "{}")
			}
		}
		want := []int{http.StatusContinue, http.StatusOK}
		if !wanted {
			want = []int{http.StatusForbidden}
		}
		if !slices.Equal(statuses, want) {
			t.Errorf("wanted by the upstream %v: got %v, want %v", wanted, statuses, want)
		}
	}
}
