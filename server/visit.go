package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

const requestIDHeader = "X-Request-Id"

// place is a mount in its server, with what admits callers there.
type place struct {
	Mount
	server  *Server
	guard   *guard.Guard
	counts  *mountMetrics
	allowed string // the methods of the path; only the first of its mounts has to know
}

func (s *Server) at(listener *guard.Guard, m Mount) *place {
	return &place{Mount: m, server: s, guard: cmp.Or(m.Guard, listener), counts: s.metrics.mount(m.Name)}
}

// visit is a request's way through a mount.
type visit struct {
	*place
	w     *echo.Response
	r     *http.Request
	begun time.Time
	body  *upload // nil: there is none, or it has another deadline
	trail entra.Trail
	who   guard.Principal // zero: not admitted, or everybody is
}

// serve gives a request its id and its trail, and has it handled. At the end it
// is counted, logged and recorded, however it ended.
func (p *place) serve(c echo.Context) error {
	w, r := c.Response(), c.Request()
	v := &visit{place: p, w: w, begun: time.Now()}
	v.trail.RequestID = requestID(r, p.guard)
	w.Header()[requestIDHeader] = []string{v.trail.RequestID}
	v.r = r.WithContext(p.guard.WithRedaction(entra.WithTrail(r.Context(), &v.trail)))
	p.server.inFlight.Add(1)
	defer v.end()
	w.Writer = &download{ResponseWriter: w.Writer, conn: http.NewResponseController(w.Writer)}
	v.body = p.server.receive(w, v.r)
	defer v.body.end()
	defer v.survive()
	v.handle()
	if v.left() {
		// net/http would make a 200 of it, and maybe there is somebody after
		// all: requests are canceled at the end of a drain too.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// handle lets a request through to the mount when the guard knows its caller
// and the mount its method.
func (v *visit) handle() {
	if !v.Open {
		v.body.hurry(v.begun.Add(v.server.cfg.ReadHeaderTimeout)) // a key may stand in the body: then it is part of the header, as it were
		who, err := v.guard.Admit(v.r, v.Keys)
		if err != nil {
			if v.r.Body != http.NoBody {
				// net/http would wait for the body before it answers.
				v.w.Header().Set("Connection", "close")
			}
			v.WriteError(v.w, v.r, v.guard.RedactError(entra.AsError(err)))
			return
		}
		v.body.hurry(time.Time{})
		v.who, v.trail.Principal = who, who.Name
		v.r = v.r.WithContext(guard.WithPrincipal(v.r.Context(), who))
	}
	if !v.serves(v.r.Method) {
		v.w.Header().Set("Allow", v.allowed) // RFC 9110 §15.5.6
		v.WriteError(v.w, v.r, entra.Errorf(entra.Invalid, opMethod, "method %s: not served at this path; it takes %s", entra.Quote(v.r.Method), v.allowed))
		return
	}
	v.Handler.ServeHTTP(v.w, v.r)
}

// survive answers for a mount that panicked. It is deferred.
func (v *visit) survive() {
	cause := recover()
	switch cause {
	case nil:
		return
	case http.ErrAbortHandler:
		panic(cause) // by which ReverseProxy breaks off an answer whose upstream broke off
	}
	v.server.cfg.Logger.ErrorContext(v.r.Context(), "panic", "request_id", v.trail.RequestID, "mount", v.Name, "stack", string(debug.Stack()))
	failure := entra.Errorf(entra.Internal, "server.survive", "panic: %s", textOf(cause))
	if v.w.Committed {
		v.trail.Failure = failure
		panic(http.ErrAbortHandler) // half an answer must not look whole
	}
	h := v.w.Header()
	clear(h) // what was meant for another answer, such as its length
	h[requestIDHeader] = []string{v.trail.RequestID}
	v.WriteError(v.w, v.r, failure)
}

// textOf describes a panic. The value stands in it only where the runtime made
// it: a library's may hold what it was working on.
func textOf(cause any) string {
	if err, ok := cause.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", cause)
}

// end counts and writes down a request that has ended.
func (v *visit) end() {
	v.server.inFlight.Add(-1)
	took, status := time.Since(v.begun), v.ending()
	v.counts.observe(status, took, &v.trail)
	v.writeDown(status, took)
}

// statusClientClosed is nginx's number for a caller that left before its
// answer; it stands in logs and metrics and is never sent.
const statusClientClosed = 499

// ending returns the status for log and metrics, and puts right who is to
// blame: whom the drain cut off did not leave. The 503 is never sent either.
func (v *visit) ending() int {
	gone, t := v.left(), &v.trail
	cut := t.Failure != nil && t.Failure.Kind == entra.Canceled && errors.Is(context.Cause(v.r.Context()), errCutOff)
	if cut {
		t.Failure = &entra.Error{Kind: entra.Unavailable, Op: "server.drain", Err: errCutOff}
	}
	switch {
	case !gone:
		return v.w.Status
	case cut:
		return http.StatusServiceUnavailable
	default:
		return statusClientClosed
	}
}

// left reports whether the caller was gone before it got an answer.
func (v *visit) left() bool {
	return !v.w.Committed && v.trail.Failure != nil && v.trail.Failure.Kind == entra.Canceled
}
