package server

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// uploadIdle is how long a body may pause where no time is set for the whole.
const uploadIdle = time.Minute

// upload is a request's body that has to keep coming: a caller that stops
// sending would hold its connection, and a drain, for good. The deadline ends
// with the body, unlike that of [http.Server.ReadTimeout].
type upload struct {
	io.ReadCloser
	conn  *http.ResponseController
	pause time.Duration // how long each Read may wait; zero: the deadline of the whole stands

	mu    sync.Mutex // guards ended, and the deadline: whoever reads may outlive the handler
	ended bool       // the connection is the next request's
}

// receive puts a deadline to the request's body, if it has one. The handler's
// end is the upload's: see [upload.end].
func (s *Server) receive(w http.ResponseWriter, r *http.Request) *upload {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	u := &upload{ReadCloser: r.Body, conn: http.NewResponseController(w)}
	if s.cfg.ReadTimeout > 0 {
		u.deadline(time.Now().Add(s.cfg.ReadTimeout))
	} else {
		u.pause = uploadIdle
		u.deadline(time.Now().Add(u.pause)) // also for net/http, which reads what a handler leaves
	}
	r.Body = u
	return u
}

// Read reads from the caller.
func (u *upload) Read(p []byte) (int, error) {
	if u.pause > 0 {
		u.deadline(time.Now().Add(u.pause))
	}
	n, err := u.ReadCloser.Read(p)
	if err == io.EOF {
		u.deadline(time.Time{})
	}
	return n, err
}

func (u *upload) deadline(t time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.ended {
		_ = u.conn.SetReadDeadline(t) // fails where there is no connection: in a test without a listener
	}
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
