package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
)

// errSentOnce is why an action's context ends before a second sending.
var errSentOnce = errors.New("the action was sent once")

// once returns a context in which http.Transport sends a request at most once.
//
// Over HTTP/1.1 it keeps to that by itself for an action, which is neither GET,
// HEAD, OPTIONS nor TRACE, carries no Idempotency-Key and has no GetBody: it
// sends again only if not a byte of it went out (net/http: shouldRetryRequest).
// Over HTTP/2 it also sends a request without a body again when the upstream
// resets the stream with REFUSED_STREAM, or with PROTOCOL_ERROR, which does
// not say that nothing was done (net/http: http2canRetryError). So there a
// second connection is refused once the header is out. Between the two,
// http.Transport looks at the context before it writes.
func once(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(ctx) // ends with the request's
	var sent atomic.Bool
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
		GotConn: func(info httptrace.GotConnInfo) {
			conn, ok := info.Conn.(*tls.Conn)
			if ok && conn.ConnectionState().NegotiatedProtocol == "h2" && sent.Load() {
				cancel(errSentOnce)
			}
		},
	})
}
