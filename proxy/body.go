package proxy

import (
	"errors"
	"io"
	"net/http"

	"tokenbroker/entra"
)

// requestBody is a caller's body. That it cannot be read is the caller's
// doing, not the upstream's, which is all that a transport's error would say.
type requestBody struct {
	io.ReadCloser
	in *http.Request
}

// Read reads from the caller. Its errors are [*entra.Error].
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return n, tooLarge(large)
	}
	if gone := b.in.Context().Err(); gone != nil {
		return n, entra.AsError(gone)
	}
	return n, entra.Errorf(entra.Invalid, "proxy.body", "request body: broke off, or is not what the header says")
}

func tooLarge(e *http.MaxBytesError) *entra.Error {
	return entra.Errorf(entra.Invalid, "proxy.body", "request body: more than %d bytes, see limits.request_body: %w", e.Limit, e)
}

// answerBody is an upstream's body. It notes in the trail when it breaks off:
// by then the status has been sent, and the caller sees a broken stream.
type answerBody struct {
	io.ReadCloser
	in       *http.Request
	upstream string
}

// Read reads from the upstream. ReverseProxy calls it in the request's own
// goroutine, where the trail may be written.
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		ctx := b.in.Context()
		entra.TrailOf(ctx).Failure = classify(ctx, b.upstream, err)
	}
	return n, err
}
