package proxy

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/route"
)

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
	stripAnswer(res.Trailer)
	confine(res.Header)
	res.Body = &answerBody{ReadCloser: res.Body, res: res, in: e.in, upstream: e.call.Route.Upstream.Host}
	if e.in.Host != "" && rewritesLinks(res) {
		loosen(res.Header) // res.ContentLength stays: ReverseProxy takes it for a hint how to flush
		l := &linker{origin: origin(e.in) + e.prefix, base: basePath(e.call.Route.Upstream), logger: e.cfg.Logger}
		res.Body = &linkReader{body: res.Body, rewrite: func(raw []byte) []byte { return l.raw(ctx, raw) }}
	}
	return nil
}

// fail answers in the upstream's place. A caller who left gets a broken
// connection rather than what net/http makes of a handler that writes nothing:
// a 200, for whoever is there after all.
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
