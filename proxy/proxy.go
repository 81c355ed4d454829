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
	"strings"
	"time"

	"tokenbroker/budget"
	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
)

// flushDelay is how long what has come may wait for more. Were it not to wait
// at all, every answer would go out in two pieces, header and body, with system
// calls for each, here and at the caller. An answer without a length never waits.
const flushDelay = time.Millisecond

// Config is what a [Proxy] is made from.
type Config struct {
	Resolve        func(context.Context, route.Target) (route.Call, error) // with what exists for the caller
	Source         entra.Source                                            // of the tokens
	Permit         func(context.Context, *route.Call) error                // policy: whether the caller may make the call; it notes the rule in the trail
	Transport      http.RoundTripper                                       // to the upstreams; nil: NewTransport's
	Budgets        *budget.Ledger                                          // nil: nothing is paced
	Catalogue      *defender.Catalogue                                     // nil: what is said of audiences and counterparts is left out
	Hints          Hints                                                   // for who is refused by an upstream
	Retiring       func(*defender.Endpoint)                                // counts a call to an endpoint whose end is settled; nil: nobody does
	Redact         func(context.Context, *entra.Error) *entra.Error        // takes callers' keys out of what is answered; nil: there are none
	MaxRequestBody int64                                                   // bytes; 0: 32 MiB
	Logger         *slog.Logger                                            // nil: silence
}

// Proxy is the handler of /proxy/{route}[@{tenant}]/{path...}. It is safe for
// concurrent use.
type Proxy struct {
	cfg     Config
	said    sayings
	buffers bufferPool
	silent  *log.Logger // ReverseProxy's: a failure in mid-body is noted in the trail instead, see answerBody
}

// New makes a Proxy.
func New(cfg Config) (*Proxy, error) {
	if cfg.Resolve == nil || cfg.Source == nil || cfg.Permit == nil {
		return nil, errors.New("proxy: want Resolve, Source and Permit")
	}
	if cfg.Transport == nil {
		cfg.Transport = NewTransport(TransportConfig{})
	}
	if cfg.MaxRequestBody == 0 {
		cfg.MaxRequestBody = 32 << 20
	}
	if cfg.Retiring == nil {
		cfg.Retiring = func(*defender.Endpoint) {}
	}
	if cfg.Redact == nil {
		cfg.Redact = func(_ context.Context, e *entra.Error) *entra.Error { return e }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Proxy{cfg: cfg, silent: log.New(io.Discard, "", 0)}, nil
}

// ServeHTTP serves /proxy/{route}[@{tenant}]/{path...}.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const mount = "/proxy/"
	path, err := rawPath(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if !strings.HasPrefix(path, mount) {
		p.fail(w, r, entra.Errorf(entra.NotFound, "proxy.pick", "path %s: want /proxy/ROUTE/PATH", entra.Quote(path)))
		return
	}
	name, _, _ := strings.Cut(path[len(mount):], "/")
	prefix := path[:len(mount)+len(name)]
	routeName, tenant, named := strings.Cut(name, "@")
	if named && tenant == "" {
		p.fail(w, r, entra.Errorf(entra.Invalid, "proxy.pick", "path %s: want a tenant after the @, or no @", entra.Quote(prefix)))
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
			p.fail(w, r, err)
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
		p.fail(w, r, err)
		return
	}
	var body *requestBody
	if r.Body != nil && r.Body != http.NoBody {
		body = &requestBody{ReadCloser: http.MaxBytesReader(w, r.Body, p.cfg.MaxRequestBody), in: r}
		r.Body = body
	}
	if err := cross(r, &call); err != nil {
		p.fail(w, r, err)
		return
	}
	e := &exchange{Proxy: p, call: &call, in: r, prefix: prefix}
	forward := httputil.ReverseProxy{
		Rewrite:        e.aim,
		Transport:      &transport{exchange: e, pace: p.paceOf(r, &call), body: body, interim: interim{w: w}},
		ModifyResponse: e.answer,
		ErrorHandler:   p.fail,
		FlushInterval:  flushDelay,
		BufferPool:     &p.buffers,
		ErrorLog:       p.silent,
	}
	forward.ServeHTTP(&answerWriter{w, r}, r)
}

// fail answers in the upstream's place. A caller who left gets a broken
// connection rather than what net/http makes of a handler that writes nothing:
// a 200, for whoever is there after all.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := p.cfg.Redact(r.Context(), entra.AsError(err))
	WriteError(w, r, e)
	if e.Kind == entra.Canceled {
		panic(http.ErrAbortHandler)
	}
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
	var err error
	if target.Assertion, err = route.UserAssertion(r.Header); err != nil {
		return route.Call{}, err
	}
	call, err := p.cfg.Resolve(r.Context(), target)
	if err != nil {
		return route.Call{}, err
	}
	trail := entra.TrailOf(r.Context())
	trail.Route, trail.Identity, trail.Tenant, trail.Scope = call.Route.Name, call.Identity.Name, call.Tenant, call.Scope
	if call.Endpoint != nil {
		trail.Endpoint = call.Endpoint.String()
	}
	if err := p.cfg.Permit(r.Context(), &call); err != nil {
		return route.Call{}, err
	}
	call = call.Cross() // judged as the caller wrote it
	trail.Scope = call.Scope
	if r.ContentLength > p.cfg.MaxRequestBody {
		return route.Call{}, tooLarge(&http.MaxBytesError{Limit: p.cfg.MaxRequestBody})
	}
	return call, nil
}
