package emulator

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// window is how many bytes a connection holds in each direction before a
// writer has to wait, as a socket's buffers do. It is why this is not net.Pipe:
// that has none, and both ends of a TLS handshake may write before they read.
const window = 64 << 10

// conn is one end of a connection in memory.
type conn struct {
	in, out       *stream
	local, remote net.Addr
	closed        func(*conn) // called at every Close
}

// newConns returns both ends of a new connection.
func newConns(clientAddr, serverAddr net.Addr, closed func(*conn)) (client, server *conn) {
	up, down := newStream(), newStream()
	client = &conn{in: down, out: up, local: clientAddr, remote: serverAddr, closed: closed}
	server = &conn{in: up, out: down, local: serverAddr, remote: clientAddr, closed: closed}
	return client, server
}

// Read takes what has arrived, at least one byte.
func (c *conn) Read(b []byte) (int, error) { return c.in.read(b) }

// Write sends all of b; it waits while the other end does not read.
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

// Close ends both directions. The other end can still read what was sent.
func (c *conn) Close() error {
	c.in.leave(&c.in.reader)
	c.out.leave(&c.out.writer)
	c.closed(c)
	return nil
}

// LocalAddr returns the address of this end.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other end.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline bounds reads and writes, those that wait already included; the
// zero time takes the bound away.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline bounds reads.
func (c *conn) SetReadDeadline(t time.Time) error { return c.in.bound(&c.in.reader, t) }

// SetWriteDeadline bounds writes.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.out.bound(&c.out.writer, t) }

// stream is one direction of a connection.
type stream struct {
	mu             sync.Mutex // guards everything below; never held while waiting
	changed        sync.Cond  // said after every change that somebody may wait for
	buf            []byte
	reader, writer side
}

// side is one of the two users of a stream.
type side struct {
	left     bool
	deadline time.Time
	wake     *time.Timer // wakes those who wait when the deadline comes
}

func newStream() *stream {
	s := new(stream)
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch err := s.reader.err(); {
		case err != nil:
			return 0, err
		case len(s.buf) > 0 || len(b) == 0:
			n := copy(b, s.buf)
			s.buf = s.buf[n:]
			s.changed.Broadcast()
			return n, nil
		case s.writer.left:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(b []byte) (sent int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := s.writer.err(); err != nil {
			return sent, err
		}
		if s.reader.left {
			return sent, io.ErrClosedPipe
		}
		n := min(len(b)-sent, window-len(s.buf))
		s.buf = append(s.buf, b[sent:sent+n]...)
		sent += n
		s.changed.Broadcast()
		if sent == len(b) {
			return sent, nil
		}
		s.changed.Wait()
	}
}

// leave says that one side will not use the stream any more.
func (s *stream) leave(who *side) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who.stopWaking()
	who.left = true
	s.changed.Broadcast()
}

// bound sets a side's deadline.
func (s *stream) bound(who *side, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if who.left {
		return net.ErrClosed
	}
	who.stopWaking()
	who.deadline = t
	if !t.IsZero() {
		wait := time.Until(t)
		who.deadline = time.Now().Add(wait) // on the monotonic clock, as the timer is
		if wait <= 0 {
			// Who waits is woken below. A timer that fires where it is made would in a
			// bubble crash the race detector (go.dev/issue/78156).
			s.changed.Broadcast()
			return nil
		}
		who.wake = time.AfterFunc(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changed.Broadcast()
		})
	}
	s.changed.Broadcast()
	return nil
}

func (d *side) stopWaking() {
	if d.wake != nil {
		d.wake.Stop()
	}
}

// err says why a side can go no further by itself.
func (d *side) err() error {
	switch {
	case d.left:
		return net.ErrClosed
	case !d.deadline.IsZero() && !time.Now().Before(d.deadline):
		return os.ErrDeadlineExceeded
	}
	return nil
}
