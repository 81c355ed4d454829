package cli

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"tokenbroker/config"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/proxy"
	"tokenbroker/server"
)

// forwarder calls the upstreams of routes for tools that take it for their
// proxy, and nobody else: which server leads to which route was decided before
// any request came.
type forwarder struct {
	*app
	routes map[string]string // their names, by [config.Authority]
}

// forwardMount is the one mount of a listener that is a forward proxy.
func (a *app) forwardMount(at *config.Listener) server.Mount {
	f := &forwarder{a, a.cfg.Forwarded(at)}
	return server.Mount{Name: "proxy", Path: "/*", Handler: f, Keys: guard.ProxyKeys, WriteError: writeForwardError, Audited: true}
}

// ServeHTTP serves a request whose target is a whole URL, as the guard wants it.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := f.routes[config.Authority(r.URL.Host)]
	if !ok || !f.sees(r.Context(), name) {
		err := entra.Errorf(entra.Denied, "cli.forward", "host %s: this proxy does not call it; it calls for you: %s", entra.Quote(r.URL.Host), f.servers(r.Context()))
		writeForwardError(w, r, guard.RedactError(r.Context(), err))
		return
	}
	f.proxy.ForRoute(name).ServeHTTP(w, originForm(r))
}

// sees reports whether the route exists for the caller.
func (f *forwarder) sees(ctx context.Context, name string) bool {
	_, err := f.visible(ctx).Route(name)
	return err == nil
}

// servers lists the servers that the caller may have called.
func (f *forwarder) servers(ctx context.Context) string {
	servers := slices.DeleteFunc(slices.Sorted(maps.Keys(f.routes)), func(s string) bool { return !f.sees(ctx, f.routes[s]) })
	if len(servers) == 0 {
		return "none"
	}
	return strings.Join(servers, ", ")
}

// originForm is the request as the server itself would get it (RFC 9112 §3.2.1),
// path and query as they were sent. It came as one for http, whatever leads to
// the proxy, and so links in the answer have to be: they come back here.
func originForm(r *http.Request) *http.Request {
	origin := r.WithContext(r.Context())
	_, target, _ := strings.Cut(r.RequestURI, "://")
	origin.RequestURI = "/"
	if i := strings.IndexAny(target, "/?"); i >= 0 {
		origin.RequestURI += strings.TrimPrefix(target[i:], "/")
	}
	origin.TLS = nil
	return origin
}

// withPath gives a request the path that its target may lack: that of http://host
// (RFC 9110 §4.2.3), and of a host to connect to, which is refused behind it.
func withPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/") {
			u := *r.URL
			u.Path, u.RawPath = "/", ""
			r = r.WithContext(r.Context())
			r.URL = &u
		}
		next.ServeHTTP(w, r)
	})
}

// writeForwardError is [proxy.WriteError], with the challenge of a proxy where a
// caller has to prove itself (RFC 9110 §15.5.8).
func writeForwardError(w http.ResponseWriter, r *http.Request, err *entra.Error) {
	if err.Kind == entra.Unadmitted {
		w = challenger{w}
	}
	proxy.WriteError(w, r, err)
}

// challenger asks as a proxy, where the answer asks as a server.
type challenger struct{ http.ResponseWriter }

func (c challenger) WriteHeader(int) {
	c.Header().Del("WWW-Authenticate")
	c.Header().Set("Proxy-Authenticate", `Basic realm="tokenbroker"`)
	c.ResponseWriter.WriteHeader(http.StatusProxyAuthRequired)
}
