package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// WriteError writes a failure in the shape of one mount, and notes it in the
// request's trail. For a caller that left ([entra.Canceled]) it notes only.
type WriteError func(w http.ResponseWriter, r *http.Request, err *entra.Error)

// Mount is a handler at a path, with the manners of its protocol.
type Mount struct {
	Name       string   // in logs and metrics: "proxy", "token"
	Path       string   // as echo routes: exact, or with /* at its end
	Methods    []string // GET stands for HEAD too. Nil: every method there is, also those that are nobody's
	Handler    http.Handler
	Keys       guard.KeysOf // how a caller shows its key here
	WriteError WriteError
	Open       bool // admits everybody: for /healthz, which says nothing
}

func (m *Mount) serves(method string) bool {
	return m.Methods == nil || slices.Contains(m.Methods, method) ||
		method == http.MethodHead && slices.Contains(m.Methods, http.MethodGet)
}

// Handler answers at the mounts' paths, and everywhere else with 404 as
// [WriteProblem] has it. Paths reach the mounts as they were sent, odd ones
// too: each refuses what it must.
func (s *Server) Handler(mounts ...Mount) http.Handler {
	e := echo.New()
	for _, m := range mounts {
		// Of echo's ways to add a route, this one alone takes every method: Any
		// knows eleven, and for the others echo would answer without admission.
		e.RouteNotFound(m.Path, s.serve(m))
	}
	elsewhere := s.serve(Mount{Name: "none", Handler: http.HandlerFunc(notFound), Keys: guard.HeaderKeys, WriteError: WriteProblem})
	// No handler of ours returns an error: here it is the router's, for a path
	// of no mount.
	e.HTTPErrorHandler = func(_ error, c echo.Context) { _ = elsewhere(c) }
	return e
}

const requestIDHeader = "X-Request-Id"

// serve is a request's way through a mount: it gets its id and its trail, is
// handled, and at the end is logged and counted, however it ended.
func (s *Server) serve(m Mount) echo.HandlerFunc {
	counts := s.metrics.mount(m.Name)
	return func(c echo.Context) error {
		start := time.Now()
		w, r := c.Response(), c.Request()
		trail := &entra.Trail{RequestID: requestID(r)}
		w.Header()[requestIDHeader] = []string{trail.RequestID}
		r = r.WithContext(entra.WithTrail(r.Context(), trail))
		s.inFlight.Add(1)
		defer func() {
			s.inFlight.Add(-1)
			took, status := time.Since(start), ending(r.Context(), w, trail)
			counts.observe(status, took, trail)
			s.logAccess(r, m.Name, status, w.Size, took, trail)
		}()
		w.Writer = &download{ResponseWriter: w.Writer, conn: http.NewResponseController(w.Writer)}
		defer s.receive(w, r).end()
		defer s.survive(m, w, r)
		s.handle(m, w, r)
		if left(w, trail) {
			// net/http would make a 200 of it, and maybe there is somebody after
			// all: requests are canceled at the end of a drain too.
			panic(http.ErrAbortHandler)
		}
		return nil
	}
}

// statusClientClosed is nginx's number for a caller that left before its
// answer; it stands in logs and metrics and is never sent.
const statusClientClosed = 499

// ending returns the status for log and metrics, and puts right who is to
// blame: whom the drain cut off did not leave. The 503 is never sent either.
func ending(ctx context.Context, w *echo.Response, t *entra.Trail) int {
	gone := left(w, t)
	cut := t.Failure != nil && t.Failure.Kind == entra.Canceled && errors.Is(context.Cause(ctx), errCutOff)
	if cut {
		t.Failure = &entra.Error{Kind: entra.Unavailable, Op: "server.drain", Err: errCutOff}
	}
	switch {
	case !gone:
		return w.Status
	case cut:
		return http.StatusServiceUnavailable
	default:
		return statusClientClosed
	}
}

// left reports whether the caller was gone before it got an answer.
func left(w *echo.Response, t *entra.Trail) bool {
	return !w.Committed && t.Failure != nil && t.Failure.Kind == entra.Canceled
}

// handle lets a request through to the mount when the guard knows its caller
// and the mount its method.
func (s *Server) handle(m Mount, w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if !m.Open {
		who, err := s.cfg.Guard.Admit(r, m.Keys)
		if err != nil {
			if r.Body != http.NoBody {
				// net/http would wait for the body before it answers.
				w.Header().Set("Connection", "close")
			}
			m.WriteError(w, r, entra.AsError(err))
			return
		}
		entra.TrailOf(ctx).Principal = who.Name
		r = r.WithContext(guard.WithPrincipal(ctx, who))
	}
	if !m.serves(r.Method) {
		writeMethodNotAllowed(w, r, m)
		return
	}
	m.Handler.ServeHTTP(w, r)
}

// survive answers for a mount that panicked. It is deferred.
func (s *Server) survive(m Mount, w *echo.Response, r *http.Request) {
	cause := recover()
	switch cause {
	case nil:
		return
	case http.ErrAbortHandler:
		panic(cause) // by which ReverseProxy breaks off an answer whose upstream broke off
	}
	trail := entra.TrailOf(r.Context())
	s.cfg.Logger.ErrorContext(r.Context(), "panic", "request_id", trail.RequestID, "mount", m.Name, "stack", string(debug.Stack()))
	failure := entra.Errorf(entra.Internal, "server.survive", "panic: %s", textOf(cause))
	if w.Committed {
		trail.Failure = failure
		panic(http.ErrAbortHandler) // half an answer must not look whole
	}
	h := w.Header()
	clear(h) // what was meant for another answer, such as its length
	h[requestIDHeader] = []string{trail.RequestID}
	m.WriteError(w, r, failure)
}

// textOf describes a panic. The value stands in it only where the runtime made
// it: a library's may hold what it was working on.
func textOf(cause any) string {
	if err, ok := cause.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", cause)
}

// writeMethodNotAllowed answers 405, with the header that RFC 9110 §15.5.6 wants.
func writeMethodNotAllowed(w http.ResponseWriter, r *http.Request, m Mount) {
	allowed := slices.Clone(m.Methods)
	if m.serves(http.MethodHead) && !slices.Contains(allowed, http.MethodHead) {
		allowed = append(allowed, http.MethodHead)
	}
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	writeProblem(w, r, http.StatusMethodNotAllowed, entra.Errorf(entra.Invalid, "server.method", "method %s: not served at this path; it takes %s", entra.Quote(r.Method), list))
}

func notFound(w http.ResponseWriter, r *http.Request) {
	WriteProblem(w, r, entra.Errorf(entra.NotFound, "server.path", "path %s: nothing is served here; see /routes, or call an API at /proxy/<route>/", entra.Quote(r.URL.Path)))
}
