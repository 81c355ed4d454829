package bridge

import (
	"errors"
	"io"
	"time"

	"tokenbroker/entra"
)

// chunk is how much of an answer is read at once, in bytes.
const chunk = 32 << 10

// Answer returns Graph's answer to a query that went out at began, in the shape
// of the MDE and XDR APIs. It passes on what there is, and holds back names
// alone. Where body breaks off or is something else, reading fails, with an
// error of body's own or of kind Upstream: what has gone out by then is cut off,
// and never looks whole.
func Answer(body io.ReadCloser, began time.Time) io.ReadCloser {
	return &reader{body: body, in: make([]byte, chunk), to: translator{began: began}}
}

type reader struct {
	body io.ReadCloser
	in   []byte
	scan scanner
	to   translator
	read int   // of to.out
	err  error // to be returned after to.out
}

// Close closes the body.
func (r *reader) Close() error { return r.body.Close() }

// Read waits for the body only when it has nothing else to give.
func (r *reader) Read(p []byte) (int, error) {
	for r.read == len(r.to.out) {
		if r.err != nil {
			return 0, r.err
		}
		r.to.out, r.read = r.to.out[:0], 0
		n, err := r.body.Read(r.in)
		if fault := r.feed(r.in[:n]); fault != nil {
			err = fault
		} else if errors.Is(err, io.EOF) {
			err = r.end()
		}
		r.err = err
	}
	n := copy(p, r.to.out[r.read:])
	r.read += n
	return n, nil
}

// feed translates a piece.
func (r *reader) feed(b []byte) error {
	for len(b) > 0 {
		tok, from, to, err := r.scan.next(b)
		if err == nil {
			err = r.pass(tok, b[from:to])
		}
		if err != nil {
			return broken(err)
		}
		b = b[to:]
	}
	return nil
}

// pass passes a token on to the translator.
func (r *reader) pass(tok token, piece []byte) error {
	switch tok {
	case nothing:
		return nil
	case scalar:
		err := r.to.token(tok, r.scan.scalar)
		r.scan.scalar = r.scan.scalar[:0]
		return err
	default:
		return r.to.token(tok, piece)
	}
}

// end returns io.EOF where the answer is whole.
func (r *reader) end() error {
	tok, err := r.scan.end()
	if err == nil {
		err = r.pass(tok, nil)
	}
	switch {
	case err != nil:
		return broken(err)
	case r.to.state != over:
		return broken(io.ErrUnexpectedEOF)
	default:
		return io.EOF
	}
}

func broken(err error) error {
	return entra.Errorf(entra.Upstream, "bridge.answer", "Graph's answer to a hunting query: %w", err)
}
