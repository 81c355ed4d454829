// Package proxy passes a local caller's HTTP requests on to the upstream of a
// route, with the route's token, and the answers back.
//
// The route decides where a request goes and which token it carries; the
// caller chooses neither. What the caller wrote arrives byte for byte (path,
// query, body), or the request is refused: the rules of a route are worth
// something only while broker and upstream read the same request.
package proxy

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// Config is what a [Proxy] is made from.
type Config struct {
	Resolve        func(route.Target) (route.Call, error)
	Source         entra.Source                             // of the tokens
	Permit         func(context.Context, *route.Call) error // policy by caller, after the route's own rules; nil: every caller may
	Transport      http.RoundTripper                        // to the upstreams; nil: NewTransport's
	MaxRequestBody int64                                    // bytes; 0: 32 MiB
	Logger         *slog.Logger                             // nil: silence
}

// Proxy is the handler of /proxy/{route}[@{tenant}]/{path...}. It is safe for
// concurrent use.
type Proxy struct {
	cfg     Config
	buffers bufferPool
}

// New makes a Proxy.
func New(cfg Config) (*Proxy, error) {
	if cfg.Resolve == nil || cfg.Source == nil {
		return nil, errors.New("proxy: want Resolve and Source")
	}
	if cfg.Permit == nil {
		cfg.Permit = func(context.Context, *route.Call) error { return nil }
	}
	if cfg.Transport == nil {
		cfg.Transport = NewTransport(TransportConfig{})
	}
	if cfg.MaxRequestBody == 0 {
		cfg.MaxRequestBody = 32 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Proxy{cfg: cfg}, nil
}

// ServeHTTP serves /proxy/{route}[@{tenant}]/{path...}.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const mount = "/proxy/"
	path, err := rawPath(r)
	if err == nil && !strings.HasPrefix(path, mount) {
		err = entra.Errorf(entra.NotFound, "proxy.pick", "path %s: want /proxy/ROUTE/PATH", entra.Quote(path))
	}
	if err != nil {
		WriteError(w, r, entra.AsError(err))
		return
	}
	name, _, _ := strings.Cut(path[len(mount):], "/")
	prefix := path[:len(mount)+len(name)]
	routeName, tenant, named := strings.Cut(name, "@")
	if named && tenant == "" {
		WriteError(w, r, entra.Errorf(entra.Invalid, "proxy.pick", "path %s: want a tenant after the @, or no @", entra.Quote(prefix)))
		return
	}
	p.serve(w, r, prefix, route.Target{Route: routeName, Tenant: tenant, Method: r.Method, Path: path[len(prefix):]})
}

// ForRoute returns the handler of a listener that stands for one route, for
// tools that take a host but no base path: the path is the upstream's.
func (p *Proxy) ForRoute(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, err := rawPath(r)
		if err != nil {
			WriteError(w, r, entra.AsError(err))
			return
		}
		p.serve(w, r, "", route.Target{Route: name, Method: r.Method, Path: path})
	})
}

// rawPath returns the request's path as it was sent. It refuses the targets
// that a forward proxy gets (RFC 9112 §3.2.2 to §3.2.4), and a path that
// net/http reads in another way than it was written: what stands before the
// proxy has decided by that reading.
func rawPath(r *http.Request) (string, error) {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") {
		return "", entra.Errorf(entra.Invalid, "proxy.pick", "request target %s: want a path, this is no forward proxy", entra.Quote(path))
	}
	if path != r.URL.EscapedPath() {
		return "", entra.Errorf(entra.Invalid, "proxy.pick", "path %s: want it percent-encoded as RFC 3986 §3.3 says", entra.Quote(path))
	}
	return path, nil
}

// serve resolves the target, decides, and forwards. The prefix is what stood
// before the target's path in the request.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, prefix string, target route.Target) {
	call, err := p.admit(r, target)
	if err != nil {
		WriteError(w, r, entra.AsError(err))
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &requestBody{ReadCloser: http.MaxBytesReader(w, r.Body, p.cfg.MaxRequestBody), in: r}
	}
	e := &exchange{cfg: &p.cfg, call: &call, in: r, prefix: prefix}
	forward := httputil.ReverseProxy{
		Rewrite:        e.aim,
		Transport:      &transport{next: p.cfg.Transport, source: p.cfg.Source, call: &call},
		ModifyResponse: e.answer,
		ErrorHandler:   fail,
		FlushInterval:  -1, // a line that the upstream sends is a line that the caller gets
		BufferPool:     &p.buffers,
		ErrorLog:       log.New(io.Discard, "", 0), // a failure in mid-body is noted in the trail, see answerBody
	}
	forward.ServeHTTP(newAnswerWriter(w), r)
}

// admit refuses what cannot be forwarded or may not be, and notes in the trail
// what the call is.
func (p *Proxy) admit(r *http.Request, target route.Target) (route.Call, error) {
	if err := refuse(r); err != nil {
		return route.Call{}, err
	}
	if target.Path == "" {
		target.Path = "/" // RFC 9110 §4.2.3
	}
	call, err := p.cfg.Resolve(target)
	if err != nil {
		return route.Call{}, err
	}
	trail := entra.TrailOf(r.Context())
	trail.Route, trail.Identity, trail.Tenant, trail.Scope = call.Route.Name, call.Identity.Name, call.Tenant, call.Scope
	if call.Endpoint != nil {
		trail.Endpoint = call.Endpoint.String()
	}
	rule, err := call.Permitted()
	trail.Rule = rule
	if err != nil {
		return route.Call{}, err
	}
	if err := p.cfg.Permit(r.Context(), &call); err != nil {
		return route.Call{}, err
	}
	if r.ContentLength > p.cfg.MaxRequestBody {
		return route.Call{}, tooLarge(&http.MaxBytesError{Limit: p.cfg.MaxRequestBody})
	}
	return call, nil
}

// exchange is one request, and its answer.
type exchange struct {
	cfg    *Config
	call   *route.Call
	in     *http.Request
	prefix string
}

// aim points the outgoing request at the route's upstream. The path is that
// which the rules were matched with, and neither it nor the query is encoded
// again: ReverseProxy has dropped what it could not parse from the query
// (`$expand=a($select=b;$top=1)`), so it is taken from the incoming one.
func (e *exchange) aim(pr *httputil.ProxyRequest) {
	up := e.call.Route.Upstream
	pr.Out.URL = &url.URL{
		Scheme:     up.Scheme,
		Host:       up.Host,
		Opaque:     basePath(up) + e.call.Path.Raw(), // goes out as it stands
		RawQuery:   pr.In.URL.RawQuery,
		ForceQuery: pr.In.URL.ForceQuery,
	}
	pr.Out.Host = up.Host
	pr.Out.Trailer = nil // the values would get lost on the way
	stripRequest(pr.Out.Header)
}

// answer readies the upstream's answer for the caller.
func (e *exchange) answer(res *http.Response) error {
	ctx := e.in.Context()
	trail := entra.TrailOf(ctx)
	trail.Upstream = res.StatusCode
	stripAnswer(res.Header)
	res.Body = &answerBody{ReadCloser: res.Body, in: e.in, upstream: e.call.Route.Upstream.Host}
	if e.in.Host != "" && rewritesLinks(res) {
		loosen(res)
		l := &linker{origin: origin(e.in) + e.prefix, base: basePath(e.call.Route.Upstream), logger: e.cfg.Logger}
		res.Body = &linkReader{body: res.Body, rewrite: func(raw []byte) []byte { return l.raw(ctx, raw) }}
	}
	return nil
}

// fail answers when the upstream could not. A caller who left gets a broken
// connection rather than what net/http makes of a handler that writes nothing,
// which is a 200.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	e := entra.AsError(err)
	WriteError(w, r, e)
	if e.Kind == entra.Canceled {
		panic(http.ErrAbortHandler)
	}
}

// basePath is the path of an upstream's URL, to be put before a call's.
func basePath(up *url.URL) string { return strings.TrimSuffix(up.EscapedPath(), "/") }

// origin is the scheme and host that the caller came by.
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// bufferPool lends the buffers that answers are copied with.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get lends a buffer.
func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[bufferSize]byte); ok {
		return b[:]
	}
	return make([]byte, bufferSize)
}

// Put takes it back.
func (p *bufferPool) Put(b []byte) { p.pool.Put((*[bufferSize]byte)(b)) }
