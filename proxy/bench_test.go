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
	"runtime"
	"strconv"
	"strings"
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

// BenchmarkLargeAnswer compares an answer in which links are sought with one
// that is only copied: 64 MiB of machines, a link after each megabyte, over TLS
// to a caller on a socket. There is one processor, so that time is what all of
// it costs, caller and upstream included; bare is what those cost without us.
func BenchmarkLargeAnswer(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	machine := `{"id":"1e5bc9d7e413ddd7902c2932e418702b84d0cc07","computerDnsName":"pc1.example.test","healthStatus":"Active","aadUser":"user@example.test"},`
	page := []byte(`{"value":[` + strings.Repeat(machine, 1<<20/len(machine)) + `{}],"@odata.nextLink":"https://h/api/machines?$skip=1"}`)
	took := map[string]time.Duration{}
	for _, kind := range []struct{ name, contentType string }{{"bare", "text/csv"}, {"copied", "text/csv"}, {"searched", "application/json"}} {
		up := upstream(b, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind.contentType)
			for range 64 {
				_, _ = w.Write(page)
			}
		})
		transport := transportTo(b, up)
		b.Run(kind.name, func(b *testing.B) {
			front := up
			if kind.name != "bare" {
				front = httptest.NewServer(ours(b, up, transport))
				defer front.Close()
			}
			fetch(b, front)
			took[kind.name] = b.Elapsed() / time.Duration(b.N)
			if kind.name == "searched" && took["copied"] > 0 {
				b.ReportMetric(float64(took["searched"])/float64(took["copied"]), "of-all")
				b.ReportMetric(float64(took["searched"]-took["bare"])/float64(took["copied"]-took["bare"]), "of-ours")
			}
		})
	}
}

// fetch reads answers to their end.
func fetch(b *testing.B, front *httptest.Server) {
	b.Helper()
	buf := make([]byte, 256<<10)
	for b.Loop() {
		req, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, front.URL+"/proxy/defender/api/machines", nil)
		res, err := front.Client().Do(req)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, res.Body, buf)
		if res.Body.Close(); err != nil || n < 64e6 {
			b.Fatalf("%d bytes and %v", n, err)
		}
		b.SetBytes(n)
	}
}
