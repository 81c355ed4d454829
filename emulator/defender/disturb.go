package defenderemu

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// disturb lets the faults of the network come to pass. It reports whether the
// request has been dealt with.
func (s *Server) disturb(w *watched, r *http.Request) bool {
	if f, ok := s.faults.take(Slow, r); ok {
		w.delay = time.Duration(f.DelayMS) * time.Millisecond
	}
	if f, ok := s.faults.take(Drip, r); ok {
		w.pause, w.piece = time.Duration(f.DelayMS)*time.Millisecond, int(f.Bytes)
	}
	if f, ok := s.faults.take(Redirect, r); ok {
		w.Header().Set("Location", "https://"+f.Host+r.URL.RequestURI())
		w.WriteHeader(http.StatusFound)
		return true
	}
	if f, ok := s.faults.take(Reset, r); ok {
		w.cut, w.left = true, f.Bytes
	}
	return false
}

// refuse lets the faults come to pass that answer in the API's place.
func (s *Server) refuse(r *http.Request, e *defender.Endpoint) error {
	if f, ok := s.faults.take(Unauthorized, r); ok {
		err := unauthorized()
		err.challenge = f.challenge()
		return err
	}
	if f, ok := s.faults.take(Forbidden, r); ok {
		err := forbidden(e.App, &entra.Claims{})
		err.challenge = f.challenge()
		return err
	}
	if f, ok := s.faults.take(Throttled, r); ok {
		err := throttled(time.Duration(f.RetryAfter) * time.Second)
		err.retryAs = f.RetryAs
		return err
	}
	if _, ok := s.faults.take(ServerError, r); ok {
		return refuse(http.StatusInternalServerError, "InternalServerError", "")
	}
	return nil
}

// challenge is the fault's WWW-Authenticate; empty: none. Its form is that of
// "Claims challenges, claims requests, and client capabilities",
// learn.microsoft.com/entra/identity-platform/claims-challenge.
func (f *Fault) challenge() string {
	if f.Challenge != "" || f.Claims == "" {
		return f.Challenge
	}
	return fmt.Sprintf(`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", `+
		`error="insufficient_claims", claims="%s"`, f.Claims)
}

// watched is a response whose status is remembered, and which comes late or
// breaks off where a fault says so.
type watched struct {
	http.ResponseWriter
	gone   <-chan struct{} // closed when the caller has left
	status int
	delay  time.Duration // before the first byte; what was asked for is done by then
	pause  time.Duration // before each piece of the body; zero: it comes as it is
	piece  int           // bytes of a piece
	cut    bool
	left   int64 // bytes before the cut
}

// WriteHeader implements [http.ResponseWriter].
func (w *watched) WriteHeader(status int) {
	w.wait(w.delay)
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// wait lets time pass while the caller is there. What is written to one who has
// left reaches nobody.
func (w *watched) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.gone:
	}
}

// Write implements [http.ResponseWriter].
func (w *watched) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.pause == 0 {
		return w.send(b)
	}
	sent := 0
	for piece := range slices.Chunk(b, w.piece) {
		w.wait(w.pause)
		n, err := w.send(piece)
		if sent += n; err != nil {
			return sent, err
		}
		_ = http.NewResponseController(w.ResponseWriter).Flush()
	}
	return sent, nil
}

// send writes on to the caller. At the cut it sends what it has and aborts the
// connection, as net/http has it for a handler that cannot go on.
func (w *watched) send(b []byte) (int, error) {
	if !w.cut || int64(len(b)) < w.left {
		w.left -= int64(len(b))
		return w.ResponseWriter.Write(b)
	}
	_, _ = w.ResponseWriter.Write(b[:w.left])
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}
