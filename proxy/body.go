package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"

	"tokenbroker/entra"
)

// requestBody is a caller's body. That it cannot be read is the caller's
// doing, not the upstream's, which is all that a transport's error would say;
// so it remembers why.
type requestBody struct {
	io.ReadCloser
	in     *http.Request
	failed atomic.Pointer[entra.Error] // a transport reads in a goroutine of its own
}

// Read reads from the caller. Its errors are [*entra.Error].
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	failure := b.classify(err)
	b.failed.Store(failure)
	return n, failure
}

func (b *requestBody) classify(err error) *entra.Error {
	const op = "proxy.body"
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(large)
	}
	// net/http ends the request's context with whatever ends the connection, a
	// deadline of its own included.
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return entra.Errorf(entra.Invalid, op, "request body: late, see limits.read_timeout")
	}
	if gone := b.in.Context().Err(); gone != nil {
		return entra.Errorf(entra.Canceled, op, "the caller left in the middle of the request: %w", gone)
	}
	return entra.Errorf(entra.Invalid, op, "request body: not what the request's header says")
}

// failure is why the body could not be read, or nil.
func (b *requestBody) failure() *entra.Error {
	if b == nil {
		return nil
	}
	return b.failed.Load()
}

func tooLarge(e *http.MaxBytesError) *entra.Error {
	return entra.Errorf(entra.Invalid, "proxy.body", "request body: more than %d bytes, see limits.request_body: %w", e.Limit, e)
}
