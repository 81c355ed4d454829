package proxy

import (
	"bytes"
	"io"
	"time"
)

const (
	maxPeek  = 64 << 10        // bytes; errors of the APIs have some hundred
	peekTime = 2 * time.Second // how long an upstream has to send that much
)

// peeked is a body whose start has been looked at. Nothing of it is lost, and
// what comes slowly is passed on just as slowly.
type peeked struct {
	body  io.ReadCloser
	ready chan struct{} // closed when start is complete
	start bytes.Reader
	err   error // with which the body broke off in start
}

// peek returns the start of a body, or nothing where that is slow to come, and
// the body in its place. A goroutine reads it, which has ended when the body was
// read or closed.
func peek(body io.ReadCloser) (start []byte, whole io.ReadCloser) {
	p := &peeked{body: body, ready: make(chan struct{})}
	var read []byte
	go func() {
		defer close(p.ready)
		read, p.err = io.ReadAll(io.LimitReader(body, maxPeek))
		p.start.Reset(read)
	}()
	late := time.NewTimer(peekTime)
	defer late.Stop()
	select {
	case <-p.ready:
		return read, p
	case <-late.C:
		return nil, p
	}
}

// Read returns what was read already, then the rest.
func (p *peeked) Read(b []byte) (int, error) {
	<-p.ready
	switch {
	case p.start.Len() > 0:
		return p.start.Read(b)
	case p.err != nil:
		return 0, p.err
	}
	return p.body.Read(b)
}

// Close closes the body.
func (p *peeked) Close() error {
	err := p.body.Close()
	<-p.ready
	return err
}
