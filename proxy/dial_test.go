package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tokenbroker/proxy"
)

func TestProxySharesUpstreamConnections(t *testing.T) {
	const (
		callers, requests = 32, 2000
		most              = 64
	)
	for _, protocol := range []struct {
		name    string
		options []func(*httptest.Server)
	}{{"HTTP/1.1", nil}, {"HTTP/2.0", []func(*httptest.Server){http2}}} {
		t.Run(protocol.name, func(t *testing.T) {
			var handshakes atomic.Int32
			counting := func(server *httptest.Server) {
				server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
					handshakes.Add(1)
					return nil, nil
				}}
			}
			up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.Proto)
			}, append(protocol.options, counting)...)
			b := start(t, up)
			local := client(t)
			var (
				next atomic.Int32
				wait sync.WaitGroup
			)
			for range callers {
				wait.Go(func() {
					for next.Add(1) <= requests {
						req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL+"/proxy/defender/api/incidents", nil)
						res, err := local.Do(req)
						if err != nil {
							t.Error(err)
							return
						}
						if body, _ := io.ReadAll(res.Body); res.StatusCode != 200 || string(body) != protocol.name {
							t.Errorf("got %d %s", res.StatusCode, body)
						}
						res.Body.Close()
					}
				})
			}
			wait.Wait()
			if got := handshakes.Load(); got > most {
				t.Errorf("%d handshakes for %d requests of %d callers, want at most %d", got, requests, callers, most)
			}
		})
	}
}

func TestUpstreamFailures(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(refusing.Close)
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		change  func(*http.Transport)
		status  int
		kind    string
		message string
	}{
		{"late", silent, func(transport *http.Transport) {
			transport.ResponseHeaderTimeout = 10 * time.Millisecond
		}, 504, "timeout", "timeout awaiting response headers"},
		{"not there", nil, func(transport *http.Transport) {
			transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connection refused")}
			}
		}, 502, "upstream", "connection refused"},
		{"not trusted", nil, func(transport *http.Transport) {
			transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		}, 502, "upstream", "name the issuer's certificate in ca_file"},
		{"too old a TLS", nil, func(transport *http.Transport) {
			transport.TLSClientConfig.MaxVersion = tls.VersionTLS11
		}, 502, "upstream", "the connection broke off"},
		{"hanging up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, 502, "upstream", "the connection broke off"},
		{"not speaking HTTP", hijacked("canary: canary\r\n\r\n"), nil, 502, "upstream", "was no HTTP"},
		{"switching protocols", hijacked("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), nil, 502, "upstream", "status 101, which is no answer"},
		{"a status that is none", hijacked("HTTP/1.1 099 Nought\r\nContent-Length: 0\r\n\r\n"), nil, 502, "upstream", "status 099, which is no answer"},
		{"behind a proxy that refuses", nil, func(transport *http.Transport) {
			transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(refusing.URL) }
		}, 502, "upstream", "answers CONNECT with 407"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.handler == nil {
				tc.handler = func(http.ResponseWriter, *http.Request) { t.Error("reached") }
			}
			up := upstream(t, tc.handler)
			transport := transportTo(t, up)
			if tc.change != nil {
				tc.change(transport)
			}
			b := start(t, up, func(cfg *proxy.Config) { cfg.Transport = transport })
			res := b.call(t, "GET", "/proxy/defender/api/incidents", "")
			if res.status != tc.status || res.kind() != tc.kind || !strings.Contains(res.body, tc.message) {
				t.Errorf("got %d %s %s, want %d %s with %q", res.status, res.kind(), res.body, tc.status, tc.kind, tc.message)
			}
			if strings.Contains(res.body, "canary") || strings.Contains(res.body, "token-1") {
				t.Errorf("the answer repeats what it must not: %s", res.body)
			}
			if trail := <-b.trails; trail.Failure == nil || trail.Failure.Kind.String() != tc.kind {
				t.Errorf("trail: %+v", trail)
			}
		})
	}
}

func TestTunnelThroughAForwardProxy(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
	var connects atomic.Int32
	tunnel := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connects.Add(1)
		if r.Method != http.MethodConnect || r.Header.Get("Authorization") != "" {
			t.Errorf("the forward proxy got %s %v", r.Method, r.Header)
		}
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		var both sync.WaitGroup
		both.Go(func() { _, _ = io.Copy(there, buffered); there.Close() })
		both.Go(func() { _, _ = io.Copy(here, there); here.Close() })
		both.Wait()
	}))
	t.Cleanup(tunnel.Close)
	transport := transportTo(t, up)
	transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(tunnel.URL) }
	b := start(t, up, func(cfg *proxy.Config) { cfg.Transport = transport })
	res := b.call(t, "GET", "/proxy/defender/api/incidents", "")
	if res.status != 200 || res.body != "fine" || connects.Load() != 1 {
		t.Errorf("got %d %s after %d CONNECTs", res.status, res.body, connects.Load())
	}
	transport.CloseIdleConnections()
}

// hijacked answers with bytes of its own.
func hijacked(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, answer)
	}
}
