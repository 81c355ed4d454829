package proxy_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/proxy"
	"tokenbroker/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	home     = entra.Tenant("22222222-2222-2222-2222-222222222222")
	customer = entra.Tenant("contoso.example")
	scope    = entra.Scope("https://api.securitycenter.microsoft.com/.default")
	isolate  = "/api/machines/1/isolate"     // an action of the catalogue
	hunt     = "/api/advancedhunting/run"    // a POST that reads
	refused  = `{"error":{"code":"Denied"}}` // what a test's upstream says with a 401
)

// upstream starts an API over TLS.
func upstream(tb testing.TB, handler http.HandlerFunc, options ...func(*httptest.Server)) *httptest.Server {
	tb.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	for _, option := range options {
		option(server)
	}
	server.StartTLS()
	tb.Cleanup(server.Close)
	return server
}

func http2(server *httptest.Server) { server.EnableHTTP2 = true }

// transportTo makes the proxy's own transport, which trusts the upstream.
func transportTo(tb testing.TB, up *httptest.Server) *http.Transport {
	tb.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(up.Certificate())
	transport := proxy.NewTransport(proxy.TransportConfig{Roots: roots, ResponseHeaderTimeout: time.Minute})
	tb.Cleanup(transport.CloseIdleConnections)
	return transport
}

// table has the routes defender, based (whose upstream has a path of its own),
// readonly, and users, whose identity acts on behalf of them.
func table(tb testing.TB, upstreamURL string) *route.Table {
	tb.Helper()
	catalogue, err := defender.Load()
	if err != nil {
		tb.Fatal(err)
	}
	to := func(path string) *url.URL {
		u, err := url.Parse(upstreamURL + path)
		if err != nil {
			tb.Fatal(err)
		}
		return u
	}
	routes, err := route.NewTable(route.Config{
		Catalogue: catalogue,
		Identities: []route.Identity{
			{Name: "default", ID: "id-1", Tenant: home, Tenants: []entra.Tenant{customer}},
			{Name: "people", ID: "id-2", Tenant: home, OnBehalfOf: true},
		},
		Routes: []route.Route{
			{Name: "defender", Upstream: to(""), Scope: scope},
			{Name: "based", Upstream: to("/base/v%201/"), Scope: scope},
			{Name: "readonly", Upstream: to(""), Scope: scope, Access: route.ReadOnly},
			{Name: "users", Upstream: to(""), Scope: scope, Identity: "people"},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return routes
}

// tokens is a source that gives "token-1" until that is rejected, then
// "token-2", and so on, and keeps what it was asked.
type tokens struct {
	mu    sync.Mutex
	asked []entra.Request
	fail  error // on asking again
}

func (s *tokens) Token(_ context.Context, req entra.Request) (entra.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, req)
	if req.Rejected != "" && s.fail != nil {
		return entra.Token{}, s.fail
	}
	for i := 1; ; i++ {
		tok, err := entra.NewToken("token-"+string(rune('0'+i)), req.Scope, time.Now().Add(time.Hour), time.Time{})
		if err != nil || tok.Access.Fingerprint() != req.Rejected && !s.rejectedLater(tok) {
			return tok, err
		}
	}
}

func (s *tokens) rejectedLater(tok entra.Token) bool {
	for _, req := range s.asked {
		if req.Rejected == tok.Access.Fingerprint() {
			return true
		}
	}
	return false
}

// permit is policy by the route's own rules alone.
func permit(ctx context.Context, call *route.Call) error {
	rule, err := call.Permitted()
	entra.TrailOf(ctx).Rule = rule
	return err
}

// broker is a proxy with a listener before it.
type broker struct {
	*httptest.Server
	proxy  *proxy.Proxy
	trails chan *entra.Trail // one for each request that is over
}

// start starts a broker before the upstream.
func start(t *testing.T, up *httptest.Server, options ...func(*proxy.Config)) *broker {
	t.Helper()
	cfg := proxy.Config{Resolve: visible(table(t, up.URL)), Source: &tokens{}, Permit: permit, Transport: transportTo(t, up)}
	for _, option := range options {
		option(&cfg)
	}
	p, err := proxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{proxy: p, trails: make(chan *entra.Trail, 10_000)}
	b.Server = b.listen(t, p)
	return b
}

// listen gives a handler a listener of its own, and does around it what package
// server does.
func (b *broker) listen(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(b.around(handler))
	t.Cleanup(server.Close)
	return server
}

func (b *broker) around(handler http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		trail := &entra.Trail{RequestID: "req-1"}
		w.Header().Set("X-Request-Id", trail.RequestID)
		defer func() { b.trails <- trail }()
		handler.ServeHTTP(w, r.WithContext(entra.WithTrail(r.Context(), trail)))
	}
}

// client is a caller's HTTP client, which follows nothing and adds nothing.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is an HTTP answer that was read to its end.
type answer struct {
	status          int
	header, trailer http.Header
	length          int64
	body            string
}

// kind is what an answer of the broker's own says of itself; empty: it is the
// upstream's.
func (a answer) kind() string { return a.header.Get("X-Token-Broker-Error") }

func read(t *testing.T, res *http.Response) answer {
	t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, res.Trailer, res.ContentLength, string(body)}
}

// call sends a request to the broker.
func (b *broker) call(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	return call(t, method, b.URL+path, body, header...)
}

func call(t *testing.T, method, target, body string, header ...string) answer {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	// What would be sent for ever is to fail, not to hang.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header[header[i]] = append(req.Header[header[i]], header[i+1])
	}
	res, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return read(t, res)
}

// raw sends bytes to a server and reads the answer to them.
func raw(t *testing.T, serverURL, request string) answer {
	t.Helper()
	conn := dial(t, serverURL)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return read(t, res)
}

func dial(t *testing.T, serverURL string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(serverURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// sameToken gives one token, whatever was refused.
func sameToken(_ context.Context, req entra.Request) (entra.Token, error) {
	return entra.NewToken("token-1", req.Scope, time.Now().Add(time.Hour), time.Time{})
}

// failing gives no token.
func failing(kind entra.Kind) entra.SourceFunc {
	return func(context.Context, entra.Request) (entra.Token, error) {
		return entra.Token{}, entra.Errorf(kind, "test", "as the test wants it")
	}
}

// visible shows every caller the whole table.
func visible(table *route.Table) func(context.Context, route.Target) (route.Call, error) {
	return func(_ context.Context, target route.Target) (route.Call, error) { return table.Resolve(target) }
}

// inClear resolves to upstreams without TLS.
func inClear(resolve func(context.Context, route.Target) (route.Call, error)) func(context.Context, route.Target) (route.Call, error) {
	return func(ctx context.Context, target route.Target) (route.Call, error) {
		call, err := resolve(ctx, target)
		if err != nil {
			return call, err
		}
		r, up := *call.Route, *call.Route.Upstream
		up.Scheme = "http"
		r.Upstream, call.Route = &up, &r
		return call, nil
	}
}

// sameSecret compares secrets by their bytes: Equal takes two zero ones for different.
var sameSecret = cmp.Comparer(func(a, b entra.Secret) bool { return a.Reveal() == b.Reveal() })
