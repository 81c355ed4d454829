package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"tokenbroker/bridge"
	"tokenbroker/entra"
	"tokenbroker/route"
)

// cross translates a request whose call has crossed its route's bridge. Its body
// is read here, which the translation bounds. The query is left behind: it was
// for the other API, which documents none.
func cross(r *http.Request, call *route.Call) error {
	if call.Bridge == route.NoBridge {
		return nil
	}
	query, err := bridge.Query(orEmpty(r.Body))
	if err != nil {
		return err
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(query)), int64(len(query)), nil
	u := *r.URL
	u.RawQuery, u.ForceQuery, r.URL = "", false, &u
	h := r.Header
	for _, name := range []string{"Expect", "Content-Encoding", "Content-Md5", "Digest", "Content-Digest"} {
		delete(h, name)
	}
	h.Set("Content-Type", bridge.ContentType)
	h.Set("Accept", "application/json") // which is what can be translated back: a caller could ask for more annotations, or for numbers in strings
	return nil
}

func orEmpty(body io.ReadCloser) io.Reader {
	if body == nil {
		return http.NoBody
	}
	return body
}

// recross translates the answer back. What is no result, every error among it,
// stays as it is: the two APIs have one shape for those.
func (e *exchange) recross(res *http.Response) error {
	if res.StatusCode != http.StatusOK {
		return nil
	}
	if !mayHaveLinks(res) || isCompressed(res.Header) {
		return entra.Errorf(entra.Upstream, "proxy.bridge", "upstream %s: what it answered to a hunting query is not JSON, and cannot be brought into the old shape", e.call.Route.Upstream.Host)
	}
	loosen(res.Header)
	res.Header.Set("Content-Type", bridge.ContentType)
	res.Body = bridge.Answer(res.Body, e.sent)
	return nil
}

// limited says in a hint which of the limits of the bridge's other side a failed
// answer is about, and reports whether it is about any.
func (t *transport) limited(ctx context.Context, res *http.Response) bool {
	if t.call.Bridge == route.NoBridge {
		return false
	}
	if t.hint = ""; res.StatusCode < http.StatusBadRequest { // one of a round before
		return false
	}
	var body []byte
	body, res.Body = peek(res.Body)
	if t.hint = bridge.Limit(res.StatusCode, body); t.hint == "" {
		return false
	}
	t.logHint(ctx, res.StatusCode, false)
	return true
}
