package proxy_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tokenbroker/emulator"
	"tokenbroker/entra"
	"tokenbroker/proxy"
)

// bubble is a proxy and its upstream on a network in memory, for a synctest
// bubble, whose clock stands still while somebody waits on a socket.
type bubble struct {
	t     *testing.T
	proxy *proxy.Proxy
}

const inMemory = "upstream.example"

func newBubble(t *testing.T, handler http.HandlerFunc, options ...func(*proxy.Config)) *bubble {
	t.Helper()
	return bubbleOver(t, nil, handler, options...)
}

// bubbleOver is a bubble whose upstream speaks these protocols; nil: those of
// net/http.
func bubbleOver(t *testing.T, protocols *http.Protocols, handler http.Handler, options ...func(*proxy.Config)) *bubble {
	t.Helper()
	ca, err := emulator.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	network := emulator.NewNetwork()
	listener, err := network.Listen(inMemory)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, Protocols: protocols, TLSConfig: ca.ServerTLS(inMemory), ErrorLog: log.New(io.Discard, "", 0)}
	var ended sync.WaitGroup
	ended.Go(func() { _ = server.ServeTLS(listener, "", "") })
	transport := proxy.NewTransport(proxy.TransportConfig{Roots: ca.Pool(), DialContext: network.DialContext})
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		ended.Wait()
	})
	cfg := proxy.Config{
		Resolve: visible(table(t, "https://"+inMemory)), Permit: permit, Transport: transport,
		Source: entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
			return entra.NewToken("token-1", req.Scope, time.Now().Add(time.Hour), time.Time{})
		}),
	}
	for _, option := range options {
		option(&cfg)
	}
	p, err := proxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &bubble{t, p}
}

// only is a protocol alone.
func only(set func(*http.Protocols, bool)) *http.Protocols {
	protocols := new(http.Protocols)
	set(protocols, true)
	return protocols
}

// caller is one of the local callers.
type caller struct {
	bubble *bubble
	name   string
}

func (b *bubble) as(name string) caller { return caller{b, name} }

// call sends a request, and reads the answer. Where the connection would break,
// it panics as the handler does.
func (c caller) call(ctx context.Context, method, path, body string, header ...string) answer {
	c.bubble.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(entra.WithTrail(ctx, &entra.Trail{Principal: c.name}), method, path, reader)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	c.bubble.proxy.ServeHTTP(w, r)
	return read(c.bubble.t, w.Result())
}

func (b *bubble) get(path string, header ...string) answer {
	b.t.Helper()
	return b.as("a").call(b.t.Context(), http.MethodGet, path, "", header...)
}
