package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"tokenbroker/entra"
)

const (
	connectTime = 10 * time.Second // for TCP and TLS, each
	dialGrace   = time.Millisecond // what a dial waits for a connection that is just coming free
	dialsAtOnce = 32
	dialDelay   = 250 * time.Millisecond // what a dial beyond these waits, at most
)

// TransportConfig says how upstreams are reached.
type TransportConfig struct {
	Roots                 *x509.CertPool // nil: the system's
	ResponseHeaderTimeout time.Duration  // from the request's end to the answer's header; 0: 240 s, since a hunting query may take 200
	DialContext           dialFunc       // nil: TCP
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// NewTransport makes the connections to upstreams. It differs from
// [http.DefaultTransport] as a proxy differs from a client: many callers share
// one host, and what comes is passed on as it is.
func NewTransport(cfg TransportConfig) *http.Transport {
	if cfg.ResponseHeaderTimeout == 0 {
		cfg.ResponseHeaderTimeout = 240 * time.Second
	}
	if cfg.DialContext == nil {
		cfg.DialContext = (&net.Dialer{Timeout: connectTime, KeepAlive: 30 * time.Second}).DialContext
	}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: checkTunnel,
		DialContext:            cfg.DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            cfg.Roots,
			ClientSessionCache: tls.NewLRUClientSessionCache(64),
		},
		TLSHandshakeTimeout:   connectTime,
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
	t.DialTLSContext = dialTLS(t)
	return t
}

// dialTLS dials upstreams, a bounded number at a time.
//
// http.Transport dials for every request that finds no idle connection, and
// goes on dialing when the request has got one that came free meanwhile. While
// a crowd of callers waits for the first handshakes, each connection that is
// ready serves several of them in turn, and each turn starts a dial that nobody
// will need. So a dial waits a moment, and its turn where many are under way,
// and is dropped if its request has got another connection by then. It never
// waits long: an upstream that is away must not make its callers queue for the
// news.
func dialTLS(t *http.Transport) dialFunc {
	turns := make(chan struct{}, dialsAtOnce)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		<-time.After(dialGrace)
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		case <-time.After(dialDelay):
		}
		if connected, ok := ctx.Value(connectedKey{}).(*atomic.Bool); ok && connected.Load() {
			return nil, errNotNeeded
		}
		conn, err := t.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		config := t.TLSClientConfig.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr)
		secured := tls.Client(conn, config)
		ctx, cancel := context.WithTimeout(ctx, t.TLSHandshakeTimeout)
		defer cancel()
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secured, nil
	}
}

var errNotNeeded = errors.New("the request has got another connection")

// checkTunnel names the forward proxy that refuses to lead to an upstream.
func checkTunnel(_ context.Context, proxy *url.URL, connect *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return entra.Errorf(entra.Upstream, "proxy.dial", "upstream %s: the proxy %s of HTTPS_PROXY answers CONNECT with %d", connect.Host, proxy.Host, res.StatusCode)
}
