package proxy

import (
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"sync"

	"tokenbroker/entra"
)

// answerBody is an upstream's body. It notes in the trail when it breaks off:
// by then the status has been sent, and the caller sees a broken stream.
type answerBody struct {
	io.ReadCloser
	res      *http.Response // whose trailers are there when the body has been read
	in       *http.Request
	upstream string
}

// Read reads from the upstream. ReverseProxy calls it in the request's own
// goroutine, where the trail may be written.
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch err {
	case nil:
	case io.EOF:
		stripAnswer(b.res.Trailer)
	default:
		ctx := b.in.Context()
		entra.TrailOf(ctx).Failure = classify(ctx, b.upstream, err)
	}
	return n, err
}

// answerWriter writes to the caller, and notes in the trail when that fails.
type answerWriter struct {
	http.ResponseWriter
	in *http.Request
}

// Unwrap is for [http.ResponseController], which flushes.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write writes to the caller, in the request's own goroutine.
func (w *answerWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	if err != nil {
		entra.TrailOf(w.in.Context()).Failure = entra.Errorf(entra.Canceled, "proxy.answer", "the caller left in the middle of the answer: %w", err)
	}
	return n, err
}

// interim passes on interim answers (1xx), as RFC 9110 §15.2 wants of a proxy.
// ReverseProxy would too, but it clears the header after each, what stood there
// before included, and writers that wrap net/http's own take the first status
// that they see for the final one, echo's among them.
type interim struct {
	w http.ResponseWriter

	mu   sync.Mutex // http.Transport calls pass in a goroutine of its own, and may after it has returned
	over bool       // the final answer is under way: the header is ReverseProxy's
}

// pass sends one on. 100 (Continue) is left to net/http, which sends it when
// the body is first read.
func (i *interim) pass(status int, header textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.over || status == http.StatusContinue {
		return nil
	}
	h := i.w.Header()
	before := maps.Clone(h)
	clear(h)
	maps.Copy(h, header)
	stripAnswer(h)
	innermost(i.w).WriteHeader(status)
	clear(h)
	maps.Copy(h, before)
	return nil
}

// end lets no more pass.
func (i *interim) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
}

// innermost returns the writer that w wraps in the end.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = outer.Unwrap()
	}
}
