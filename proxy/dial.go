package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"

	"tokenbroker/entra"
)

// TransportConfig says how upstreams are reached.
type TransportConfig struct {
	Roots                 *x509.CertPool                                                    // nil: the system's
	ResponseHeaderTimeout time.Duration                                                     // from the request's end to the answer's header; 0: 240 s, since a hunting query may take 200
	DialContext           func(ctx context.Context, network, addr string) (net.Conn, error) // nil: TCP
}

// NewTransport makes the connections to upstreams. What they have in common
// with [http.DefaultTransport] ends where a proxy differs from a client: many
// callers share one host, and bytes are passed on as they come.
func NewTransport(cfg TransportConfig) *http.Transport {
	if cfg.ResponseHeaderTimeout == 0 {
		cfg.ResponseHeaderTimeout = 240 * time.Second
	}
	if cfg.DialContext == nil {
		cfg.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: checkTunnel,
		DialContext:            cfg.DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            cfg.Roots,
			ClientSessionCache: tls.NewLRUClientSessionCache(64),
		},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: cfg.ResponseHeaderTimeout,
		ExpectContinueTimeout: time.Second,
		// The default keeps two idle connections a host. Against an upstream that
		// speaks only HTTP/1.1, 32 callers would then shake hands all the time.
		MaxIdleConnsPerHost: 512,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
		ForceAttemptHTTP2:   true, // a Transport with its own TLS configuration speaks HTTP/1.1 otherwise
		// Without a ping, requests on a connection that died unseen wait for the
		// response header's timeout, all of them.
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		MaxResponseHeaderBytes: 1 << 20,
	}
}

// checkTunnel names the forward proxy that refuses to lead to an upstream.
func checkTunnel(_ context.Context, proxy *url.URL, connect *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return entra.Errorf(entra.Upstream, "proxy.dial", "upstream %s: the proxy %s of HTTPS_PROXY answers CONNECT with %d", connect.Host, proxy.Host, res.StatusCode)
}
