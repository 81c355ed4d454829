package broker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"tokenbroker/entra"
)

const (
	defaultTimeout = 10 * time.Second
	idleTimeout    = 90 * time.Second
	maxAnswer      = 1 << 20  // bytes; MSAL reads without a limit
	maxHeader      = 64 << 10 // bytes
)

// ClientConfig says how an authority is reached.
type ClientConfig struct {
	Authority entra.Authority
	Roots     *x509.CertPool // whose certificates to trust; nil: the system's
	Timeout   time.Duration  // of an exchange, from dialing to the last byte; zero: 10 s

	// DialContext replaces the network, and with it the environment's proxy.
	// Nil: TCP, through HTTPS_PROXY unless NO_PROXY names the authority.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// NewClient returns the HTTP client for [App]. A credential leaves it for one
// place only, the token endpoint of the tenant that is asked, over TLS 1.2 or
// later; a redirect is an answer, never an address.
func NewClient(cfg ClientConfig) *http.Client {
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	return newClient(&pinned{authority: cfg.Authority, next: cfg.transport("the authority")}, cfg.Timeout)
}

// newClient returns a client that never follows a redirect.
func newClient(transport http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport:     transport,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// transport returns the way to a host, which messages call so.
//
// HTTP/1.1 on purpose: an exchange that runs late takes its connection with it,
// where HTTP/2 would send the next one down the same dead line.
func (cfg *ClientConfig) transport(host string) *http.Transport {
	transport := &http.Transport{
		DialContext:            cfg.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    cfg.Timeout, // a dial goes on behind a request that gave up
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		// It names the status by which a proxy refuses to connect us.
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			return entra.Errorf(entra.Unavailable, opExchange,
				"the proxy refuses to connect to %s (status %d): check HTTPS_PROXY, its user and password, and NO_PROXY", host, resp.StatusCode)
		},
	}
	if cfg.DialContext == nil {
		transport.DialContext = (&net.Dialer{Timeout: cfg.Timeout}).DialContext
		transport.Proxy = http.ProxyFromEnvironment
	}
	return transport
}

// bounded is a client whose answers have an end: neither MSAL nor the Azure SDK
// reads with a limit.
type bounded struct{ *http.Client }

// Do sends the request.
func (b bounded) Do(req *http.Request) (*http.Response, error) {
	resp, err := b.Client.Do(req) //nolint:gosec // the library has made it, from our configuration or Azure's environment
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}

// pinned is the transport between MSAL and the authority. It knows from the
// context which [exchange] a request belongs to and lets nothing else pass.
type pinned struct {
	authority entra.Authority
	next      *http.Transport
}

// RoundTrip answers MSAL's question where the token endpoint is, and sends
// what goes to exactly that endpoint.
func (p *pinned) RoundTrip(req *http.Request) (*http.Response, error) {
	x, ok := exchangeOf(req.Context())
	switch endpoint := req.URL.Scheme + "://" + req.URL.Host + req.URL.EscapedPath(); {
	case !ok:
	case req.Method == http.MethodGet && endpoint == p.authority.Tenant(x.tenant)+"/v2.0/.well-known/openid-configuration":
		return p.discovery(req, x.tenant), nil
	case req.Method == http.MethodPost && endpoint == p.authority.TokenEndpoint(x.tenant) && req.URL.RawQuery == "":
		return p.send(req, x.id)
	}
	if req.Body != nil {
		_ = req.Body.Close() // RoundTrip closes it whatever happens
	}
	return nil, entra.Errorf(entra.Internal, opExchange,
		"%s %s at %s is not the token endpoint of the tenant asked for: nothing was sent", req.Method, entra.Quote(req.URL.Path), entra.Quote(req.URL.Host))
}

// CloseIdleConnections makes http.Client's method of that name work.
func (p *pinned) CloseIdleConnections() { p.next.CloseIdleConnections() }

// discovery answers for the tenant's openid-configuration, in which MSAL looks
// up the token endpoint. That is settled ("Microsoft identity platform and the
// OAuth 2.0 client credentials flow"); to ask would cost a round trip, fail
// whenever the document is down, and let it say where the credential goes.
func (p *pinned) discovery(req *http.Request, tenant entra.Tenant) *http.Response {
	doc, _ := json.Marshal(map[string]string{
		"issuer":                 p.authority.Tenant(tenant) + "/v2.0",
		"authorization_endpoint": p.authority.Tenant(tenant) + "/oauth2/v2.0/authorize",
		"token_endpoint":         p.authority.TokenEndpoint(tenant),
	})
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}},
		Body:          io.NopCloser(bytes.NewReader(doc)),
		ContentLength: int64(len(doc)),
		Request:       req,
	}
}

func (p *pinned) send(req *http.Request, id string) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("client-request-id", id) // MSAL draws its own and has no option
	resp, err := p.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}
