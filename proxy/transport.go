package proxy

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
)

const (
	// maxReplay is how large a body may be to be kept for a second sending, in
	// bytes. Queries and batches of indicators stay below it.
	maxReplay = 256 << 10

	// A refused answer is read to its end, so that its connection can be used
	// again, but no further and no longer than this.
	maxDrain  = 64 << 10
	drainTime = time.Second
)

// transport carries one call: it puts the token on, and when the upstream
// refuses that token, asks for another and sends the request once more.
type transport struct {
	next   http.RoundTripper
	source entra.Source
	call   *route.Call

	in      *http.Request // the caller's
	body    *requestBody  // its body; nil: none
	interim interim
}

// RoundTrip sends the request. Whatever fails is an [*entra.Error].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	defer t.interim.end()
	ctx := t.in.Context() // see watch
	want := t.call.Request()
	tok, err := t.source.Token(ctx, want)
	if err != nil {
		return nil, err
	}
	req, repeatable, err := t.prepare(req)
	if err != nil {
		return nil, err
	}
	res, err := t.send(ctx, req, tok)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		return res, err
	}

	// Asked even where the request cannot be sent again: the cache drops the
	// refused token, and the next call has a good one.
	want.Rejected, want.Claims = tok.Access.Fingerprint(), claimsChallenge(res.Header)
	fresh, err := t.source.Token(ctx, want)
	if err != nil || fresh.Access.Equal(tok.Access) || !repeatable {
		return res, nil // the upstream's own answer says more than that there is no other token
	}
	drain(res.Body)
	if req.GetBody != nil {
		req.Body, _ = req.GetBody()
	}
	return t.send(ctx, req, fresh)
}

// prepare readies the request for a second sending. It is not repeatable when
// it is an action, or when its body is of unknown or of great length, or only
// offered (Expect: 100-continue): that one is not asked for before the upstream
// wants it. Any other body is kept, in a copy of the request.
func (t *transport) prepare(req *http.Request) (prepared *http.Request, repeatable bool, err error) {
	if t.call.Effect() == defender.Action {
		return req, false, nil
	}
	if req.Body == nil || req.Body == http.NoBody {
		return req, true, nil
	}
	if req.ContentLength < 0 || req.ContentLength > maxReplay || req.Header.Get("Expect") != "" {
		return req, false, nil
	}
	kept := make([]byte, req.ContentLength)
	if _, err := io.ReadFull(req.Body, kept); err != nil {
		return nil, false, err
	}
	prepared = req.WithContext(req.Context())
	prepared.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept)), nil }
	prepared.Body, err = prepared.GetBody()
	return prepared, true, err
}

// send puts the token on a copy of the request and sends that.
func (t *transport) send(ctx context.Context, req *http.Request, tok entra.Token) (*http.Response, error) {
	host := req.URL.Host
	if req.URL.Scheme != "https" {
		return nil, entra.Errorf(entra.Internal, "proxy.send", "upstream %s: a token goes over TLS alone (RFC 6750 §5.3)", host)
	}
	ctx = t.watch(ctx)
	out := req.WithContext(ctx)
	out.Header = maps.Clone(req.Header) // ReverseProxy's map; the values are not written to
	out.Header["Authorization"] = tok.Header()
	res, err := t.next.RoundTrip(out)
	if failure := t.body.failure(); err != nil && failure != nil {
		return nil, failure
	}
	if err != nil {
		return nil, classify(ctx, host, err)
	}
	if res.StatusCode < http.StatusOK {
		// 101: ReverseProxy would join the two connections, raw. Below 100: no status at all.
		res.Body.Close()
		return nil, entra.Errorf(entra.Upstream, "proxy.send", "upstream %s: answered with status %03d, which is no answer", host, res.StatusCode)
	}
	return res, nil
}

// drain reads a body to its end, within bounds, and closes it.
func drain(body io.ReadCloser) {
	late := time.AfterFunc(drainTime, func() { body.Close() })
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, body, maxDrain)
	body.Close()
}
