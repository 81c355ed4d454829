package server

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// uploadPause is how long a body may pause where no time is set for the whole.
const uploadPause = time.Minute

// upload is a request's body that has to keep coming: a caller that stops
// sending would hold its connection, and a drain, for good. The deadline ends
// with the body: net/http lifts it when the end has been read.
type upload struct {
	io.ReadCloser
	conn *http.ResponseController

	mu    sync.Mutex // guards the others; held while the deadline is set
	ended bool       // the connection is the next request's: whoever reads may outlive the handler
	until time.Time  // when the body has to be whole; zero: it has to keep coming, no more
}

// receive puts a deadline to the request's body, if it has one and
// [http.Server.ReadTimeout] does not. The handler's end has to be the upload's.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) *upload {
	if s.cfg.ReadTimeout > 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	u := &upload{ReadCloser: r.Body, conn: http.NewResponseController(w)}
	u.extend() // also for net/http, which reads what a handler leaves
	r.Body = u
	return u
}

// Read reads from the caller.
func (u *upload) Read(p []byte) (int, error) {
	u.extend()
	return u.ReadCloser.Read(p)
}

func (u *upload) extend() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return
	}
	deadline := u.until
	if deadline.IsZero() {
		deadline = time.Now().Add(uploadPause)
	}
	_ = u.conn.SetReadDeadline(deadline) // fails without a connection, as in a test
}

// hurry has the body come by a time, for who is not admitted yet may not hold a
// connection by single bytes; zero: it has time again.
func (u *upload) hurry(until time.Time) {
	if u == nil {
		return
	}
	u.mu.Lock()
	u.until = until
	u.mu.Unlock()
	u.extend()
}

// end leaves the connection's deadline to net/http.
func (u *upload) end() {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
}
