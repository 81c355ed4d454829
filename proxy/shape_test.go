package proxy_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// modified is when what [shapes] serves was last changed.
var modified = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// some stands for a length that is not looked at.
const some = -2

// shapes is an upstream whose answers have whatever form HTTP has for them.
func shapes(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	const js = "application/json"
	switch strings.TrimPrefix(r.URL.Path, "/api/") {
	case "204":
		h.Set("Etag", `"1"`)
		w.WriteHeader(http.StatusNoContent)
	case "304":
		h.Set("Etag", r.Header.Get("If-None-Match"))
		w.WriteHeader(http.StatusNotModified)
	case "ranges":
		h.Set("Content-Type", js)
		http.ServeContent(w, r, "", modified, strings.NewReader(`{"@odata.nextLink":"https://h/api/x"}`))
	case "gzip":
		h.Set("Content-Type", js)
		h.Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, `{"@odata.nextLink":"https://h/api/x"}`)
		z.Close()
	case "length":
		h.Set("Content-Type", "text/csv")
		h.Set("Content-Length", "3")
		_, _ = io.WriteString(w, "a,b")
	case "chunked":
		h.Set("Content-Type", "text/csv")
		for range 3 {
			_, _ = io.WriteString(w, "a,b\n")
			_ = http.NewResponseController(w).Flush()
		}
	case "trailers":
		h.Set("Content-Type", js)
		h.Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, `{"@odata.nextLink":"https://h/api/x"}`)
		h.Set("X-Sum", "1")
	case "hints":
		h.Set("Link", "</a>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusOK)
	case "expect":
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}
}

func TestAnswersKeepTheirShape(t *testing.T) {
	zipped := new(bytes.Buffer)
	z := gzip.NewWriter(zipped)
	_, _ = io.WriteString(z, `{"@odata.nextLink":"https://h/api/x"}`)
	z.Close()
	for _, tc := range []struct {
		name, method, path string
		header             []string
		status             int
		length             int64 // -1: not said
		body               string
		want               map[string]string // in the header
	}{
		{"204", "DELETE", "204", nil, 204, 0, "", map[string]string{"Etag": `"1"`, "Content-Length": ""}},
		{"304", "GET", "304", []string{"If-None-Match", `"1"`}, 304, 0, "", map[string]string{"Etag": `"1"`}},
		{"HEAD", "HEAD", "ranges", nil, 200, 37, "", map[string]string{"Accept-Ranges": "bytes", "Content-Length": "37"}},
		{"a range", "GET", "ranges", []string{"Range", "bytes=2-14"}, 206, 13, "@odata.nextLi", map[string]string{"Content-Range": "bytes 2-14/37"}},
		{"two ranges", "GET", "ranges", []string{"Range", "bytes=0-0,2-3"}, 206, some, "", map[string]string{}},
		{"no such range", "GET", "ranges", []string{"Range", "bytes=99-"}, 416, some, "invalid range: failed to overlap\n", map[string]string{"Content-Range": "bytes */37"}},
		{"a link", "GET", "ranges", nil, 200, some, "", map[string]string{"Accept-Ranges": ""}},
		{"gzip", "GET", "gzip", []string{"Accept-Encoding", "gzip"}, 200, some, zipped.String(), map[string]string{"Content-Encoding": "gzip"}},
		{"a length", "GET", "length", nil, 200, 3, "a,b", map[string]string{"Content-Length": "3"}},
		{"no length", "GET", "chunked", nil, 200, -1, "a,b\na,b\na,b\n", map[string]string{"Content-Length": ""}},
		{"trailers", "GET", "trailers", nil, 200, -1, "", map[string]string{}},
		{"early hints", "GET", "hints", nil, 200, some, "", map[string]string{}},
		{"Expect", "PATCH", "expect", []string{"Expect", "100-continue"}, 200, some, "the body", map[string]string{}},
	} {
		for protocol, options := range map[string][]func(*httptest.Server){"HTTP/1.1": nil, "HTTP/2": {http2}} {
			t.Run(tc.name+" "+protocol, func(t *testing.T) {
				b := start(t, upstream(t, shapes, options...))
				body := ""
				if tc.name == "Expect" {
					body = "the body"
				}
				res := b.call(t, tc.method, "/proxy/defender/api/"+tc.path, body, tc.header...)
				if res.status != tc.status || tc.length != some && res.length != tc.length || tc.body != "" && res.body != tc.body {
					t.Errorf("got %d with length %d and %q", res.status, res.length, res.body)
				}
				for name, want := range tc.want {
					if got := res.header.Get(name); got != want {
						t.Errorf("%s: got %q, want %q", name, got, want)
					}
				}
				if tc.name == "trailers" && (res.trailer.Get("X-Sum") != "1" || !strings.Contains(res.body, b.URL)) {
					t.Errorf("trailers %v after %s", res.trailer, res.body)
				}
				if tc.method == http.MethodHead && res.body != "" {
					t.Errorf("HEAD has a body: %s", res.body)
				}
			})
		}
	}
}
