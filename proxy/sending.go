package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http/httptrace"
	"sync/atomic"

	"tokenbroker/defender"
)

// errSentOnce is why an action's context ends before a second sending.
var errSentOnce = errors.New("the action was sent once")

// connectedKey is where the context of a sending, and of a dial on its behalf,
// has an *atomic.Bool that is set while the sending has a connection.
type connectedKey struct{}

// watch returns the context of one sending of the call. In it a dial sees
// whether it is still needed, interim answers go to the caller, and an action
// is sent at most once.
//
// The context that it is made from is the caller's, not that of ReverseProxy's
// request, which has a trace of interim answers already: two traces are joined
// by reflection at each call, and that one would spoil the final answer, see
// [interim].
func (t *transport) watch(ctx context.Context) context.Context {
	var connected atomic.Bool
	ctx = context.WithValue(ctx, connectedKey{}, &connected)
	trace := &httptrace.ClientTrace{
		Got1xxResponse: t.interim.pass,
		GetConn:        func(string) { connected.Store(false) }, // called again when a stale connection has failed
		GotConn:        func(httptrace.GotConnInfo) { connected.Store(true) },
	}
	if t.call.Effect() == defender.Action {
		ctx = once(ctx, trace)
	}
	return httptrace.WithClientTrace(ctx, trace)
}

// once makes http.Transport send a request at most once.
//
// Over HTTP/1.1 it keeps to that by itself for an action, which is neither GET,
// HEAD, OPTIONS nor TRACE, carries no Idempotency-Key and has no GetBody: it
// sends again only if not a byte of it went out (net/http: shouldRetryRequest).
// Over HTTP/2 it also sends a request without a body again when the upstream
// resets the stream with REFUSED_STREAM, or with PROTOCOL_ERROR, which does
// not say that nothing was done (net/http: http2canRetryError). So there a
// second connection ends the context once the header is out. Between the two,
// http.Transport looks at the context before it writes.
func once(ctx context.Context, trace *httptrace.ClientTrace) context.Context {
	ctx, cancel := context.WithCancelCause(ctx) // ends with the caller's
	var written atomic.Bool
	trace.WroteHeaders = func() { written.Store(true) }
	connected := trace.GotConn
	trace.GotConn = func(info httptrace.GotConnInfo) {
		connected(info)
		conn, ok := info.Conn.(*tls.Conn)
		if ok && conn.ConnectionState().NegotiatedProtocol == "h2" && written.Load() {
			cancel(errSentOnce)
		}
	}
	return ctx
}
