package defenderemu

import (
	"fmt"
	"io"
	"net/http"
	"strings"
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
		if f.Claims != "" {
			// "Claims challenges, claims requests, and client capabilities",
			// learn.microsoft.com/entra/identity-platform/claims-challenge.
			err.challenge = fmt.Sprintf(`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", `+
				`error="insufficient_claims", claims="%s"`, f.Claims)
		}
		return err
	}
	if _, ok := s.faults.take(Forbidden, r); ok {
		return forbidden(e.App, &entra.Claims{})
	}
	if f, ok := s.faults.take(Throttled, r); ok {
		return throttled(time.Duration(f.RetryAfter) * time.Second)
	}
	if _, ok := s.faults.take(ServerError, r); ok {
		return refuse(http.StatusInternalServerError, "InternalServerError", "")
	}
	return nil
}

// stream sends a list of so many bytes, give or take an element, piece by piece.
func stream(w http.ResponseWriter, size int64) {
	w.Header().Set("Content-Type", "application/json")
	piece := `{"pad":"` + strings.Repeat("x", 32<<10) + `"},`
	if _, err := io.WriteString(w, `{"value":[`); err != nil {
		return
	}
	for sent := int64(0); sent < size; sent += int64(len(piece)) {
		if _, err := io.WriteString(w, piece); err != nil {
			return // the caller has left
		}
	}
	_, _ = io.WriteString(w, `{}]}`)
}

// watched is a response whose status is remembered, and which comes late or
// breaks off where a fault says so.
type watched struct {
	http.ResponseWriter
	gone   <-chan struct{} // closed when the caller has left
	status int
	delay  time.Duration // before the first byte; what was asked for is done by then
	cut    bool
	left   int64 // bytes before the cut
}

// WriteHeader implements [http.ResponseWriter].
func (w *watched) WriteHeader(status int) {
	if w.delay > 0 {
		timer := time.NewTimer(w.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-w.gone: // what is written now reaches nobody
		}
	}
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter]. At the cut it sends what it has and
// aborts the connection, as net/http has it for a handler that cannot go on.
func (w *watched) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.cut || int64(len(b)) < w.left {
		w.left -= int64(len(b))
		return w.ResponseWriter.Write(b)
	}
	_, _ = w.ResponseWriter.Write(b[:w.left])
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}
