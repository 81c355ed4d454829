package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"testing"
	"time"

	"tokenbroker/entra"
	"tokenbroker/proxy"
)

// BenchmarkProxy compares the proxy with the least that a proxy can be, a bare
// ReverseProxy, over one and the same transport: 32 callers, an answer of 4 KB
// over TLS. As JSON the answer ends in a link that is rewritten.
func BenchmarkProxy(b *testing.B) {
	value := bytes.Repeat([]byte("x"), 4000)
	for contentType, body := range map[string][]byte{
		"text/plain":       value,
		"application/json": fmt.Appendf(nil, `{"value":"%s","@odata.nextLink":"https://h/api/incidents?$skip=1"}`, value),
	} {
		up := upstream(b, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body)
		})
		transport := transportTo(b, up)
		b.Run(contentType+"/bare", func(b *testing.B) { benchmark(b, bare(b, up, transport)) })
		b.Run(contentType+"/ours", func(b *testing.B) { benchmark(b, ours(b, up, transport)) })
	}
}

func bare(b *testing.B, up *httptest.Server, transport http.RoundTripper) http.Handler {
	b.Helper()
	target, err := url.Parse(up.URL)
	if err != nil {
		b.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header["Authorization"] = []string{"Bearer x"}
		},
		Transport:  transport,
		BufferPool: make(pool, 64),
		ErrorLog:   log.New(io.Discard, "", 0),
	}
}

func ours(b *testing.B, up *httptest.Server, transport http.RoundTripper) http.Handler {
	b.Helper()
	tok, err := entra.NewToken("token-1", scope, time.Now().Add(time.Hour), time.Time{})
	if err != nil {
		b.Fatal(err)
	}
	p, err := proxy.New(proxy.Config{
		Resolve: visible(table(b, up.URL)), Permit: permit, Transport: transport,
		Source: entra.SourceFunc(func(context.Context, entra.Request) (entra.Token, error) { return tok, nil }),
	})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func benchmark(b *testing.B, handler http.Handler) {
	b.Helper()
	front := httptest.NewServer(handler)
	defer front.Close()
	local := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer local.CloseIdleConnections()
	b.ReportAllocs()
	b.SetParallelism(16) // times two cores, as in CI
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, front.URL+"/proxy/defender/api/incidents?$top=5", nil)
			res, err := local.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				b.Errorf("got %d", res.StatusCode)
			}
		}
	})
}

// pool lends buffers to the bare proxy.
type pool chan []byte

func (p pool) Get() []byte {
	select {
	case b := <-p:
		return b
	default:
		return make([]byte, 32<<10)
	}
}

func (p pool) Put(b []byte) {
	select {
	case p <- b:
	default:
	}
}
