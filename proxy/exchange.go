package proxy

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// exchange is one request, and its answer.
type exchange struct {
	*Proxy
	call   *route.Call
	in     *http.Request
	prefix string
	hint   string    // why the upstream refused the call; empty: it did not
	sent   time.Time // last
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
	e.announce(res.Header)
	if e.hint != "" {
		res.Header.Set("X-Token-Broker-Hint", e.hint)
	}
	if e.call.Bridge != route.NoBridge {
		if err := e.recross(res); err != nil {
			return err
		}
	}
	res.Body = &answerBody{ReadCloser: res.Body, res: res, in: e.in, upstream: e.call.Route.Upstream.Host}
	switch {
	case e.in.Host == "" || e.call.Bridge != route.NoBridge || !mayHaveLinks(res):
	case isCompressed(res.Header):
		e.cfg.Logger.WarnContext(ctx, "answer compressed though nobody asked for it, paging links in it left as they are", "route", e.call.Route.Name)
	default:
		loosen(res.Header) // res.ContentLength stays: ReverseProxy takes it for a hint how to flush
		l := &linker{origin: origin(e.in) + e.prefix, route: e.call.Route.Name, base: basePath(e.call.Route.Upstream), logger: e.cfg.Logger}
		res.Body = &linkReader{body: res.Body, rewrite: func(raw []byte) []byte { return l.raw(ctx, raw) }}
	}
	return nil
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
