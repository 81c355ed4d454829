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

// transport carries one call: it waits for its turn, puts the token on, and
// where the upstream refuses that token or has had enough, sends the request
// once more if it may.
type transport struct {
	*exchange
	pace    *pace
	body    *requestBody // the caller's; nil: none
	interim interim
}

// RoundTrip sends the request. Whatever fails is an [*entra.Error].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	defer t.interim.end()
	ctx := t.in.Context() // see watch
	// First: a caller who leaves while it waits is noticed when its body has been read.
	req, repeatable, err := t.prepare(req)
	if err != nil {
		return nil, err
	}
	if applied := t.pace.applied(); applied != "" {
		t.interim.w.Header()["Preference-Applied"] = []string{applied}
	}
	var throttled *http.Response
	for {
		tok, err := t.turn(ctx)
		if throttled != nil && entra.KindOf(err) == entra.Exhausted {
			return throttled, nil // the upstream's own answer, since there is one
		}
		if throttled != nil {
			drain(throttled.Body)
		}
		if err != nil {
			return nil, err
		}
		res, err := t.try(ctx, rewound(req), tok, repeatable)
		if err != nil || !t.pace.throttled(res) || !repeatable || !t.pace.again() {
			return res, err
		}
		throttled = res
	}
}

// turn returns the token when it is the call's turn. It is asked for first: one
// that is not to be had must not cost the budget anything. After a wait it is
// asked for again, since it has grown old in line.
func (t *transport) turn(ctx context.Context) (entra.Token, error) {
	tok, err := t.cfg.Source.Token(ctx, t.call.Request())
	if err != nil {
		return tok, err
	}
	waited, err := t.pace.take(ctx)
	if err == nil && waited {
		return t.cfg.Source.Token(ctx, t.call.Request())
	}
	return tok, err
}

// try sends the request with the token, and once more with another where that
// may be let in. What was not let in does not count against the API's ceilings.
func (t *transport) try(ctx context.Context, req *http.Request, tok entra.Token, repeatable bool) (*http.Response, error) {
	res, err := t.send(ctx, req, tok)
	if err != nil {
		return nil, err
	}
	if fresh, ok := t.other(ctx, res, tok); ok && repeatable {
		drain(res.Body)
		tok = fresh
		if res, err = t.send(ctx, rewound(req), tok); err != nil {
			return nil, err
		}
	}
	t.explain(ctx, res, tok)
	return res, nil
}

// other returns the token to try after the upstream has refused this one. It is
// asked for even where the request cannot be sent again: the cache drops the
// refused token, at most once a minute, and the next call has a good one.
//
// A 403 is a token's doing only where it lacks the permission, which may have
// been granted since. Where there is no other token, the upstream's own answer
// says more than that.
func (t *transport) other(ctx context.Context, res *http.Response, tok entra.Token) (fresh entra.Token, ok bool) {
	want := t.call.Request()
	want.Rejected = tok.Access.Fingerprint()
	switch {
	case res.StatusCode == http.StatusUnauthorized:
		want.Claims = claimsChallenge(res.Header)
	case res.StatusCode != http.StatusForbidden || !t.lacks(tok):
		return fresh, false
	}
	fresh, err := t.cfg.Source.Token(ctx, want)
	if err != nil || fresh.Access.Equal(tok.Access) {
		return fresh, false
	}
	return fresh, res.StatusCode == http.StatusUnauthorized || !t.lacks(fresh)
}

// prepare readies the request for a second sending. It is not repeatable when
// it is an action, or when its body is of unknown or of great length, or only
// offered (Expect: 100-continue): that one is not asked for before the upstream
// wants it. Any other body is kept, in a copy of the request.
//
// An action's body is read too, though never sent again: it would otherwise go
// out after a wait although its caller has long left, and maybe come back. One
// that is too large for that does not wait.
func (t *transport) prepare(req *http.Request) (prepared *http.Request, repeatable bool, err error) {
	action := t.call.Effect() == defender.Action
	if req.Body == nil || req.Body == http.NoBody {
		return req, !action, nil
	}
	if req.ContentLength > maxReplay || req.Header.Get("Expect") != "" || req.ContentLength < 0 && !t.pace.patient() {
		t.pace.dropPatience(action)
		return req, false, nil
	}
	kept, err := io.ReadAll(io.LimitReader(req.Body, maxReplay+1))
	if err != nil {
		return nil, false, err
	}
	prepared = req.WithContext(req.Context())
	if large := len(kept) > maxReplay; action || large {
		t.pace.dropPatience(action && large)
		prepared.Body = io.NopCloser(io.MultiReader(bytes.NewReader(kept), req.Body))
		return prepared, false, nil
	}
	prepared.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept)), nil }
	return prepared, true, nil
}

// rewound returns the request with its body at the beginning.
func rewound(req *http.Request) *http.Request {
	if req.GetBody != nil {
		req.Body, _ = req.GetBody() // in memory: it cannot fail
	}
	return req
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
	t.sent = time.Now()
	res, err := t.cfg.Transport.RoundTrip(out)
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
