package server

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// WriteError writes a failure in the shape of one mount, and notes it in the
// request's trail.
type WriteError func(w http.ResponseWriter, r *http.Request, err *entra.Error)

// Mount is a handler at a path, with the manners of its protocol.
type Mount struct {
	Name       string   // in logs and metrics: "proxy", "token"
	Path       string   // as echo routes: exact, or with /* at its end
	Methods    []string // nil: any
	Handler    http.Handler
	Keys       guard.KeysOf // how a caller shows its key here
	WriteError WriteError
	Open       bool // admits everybody: for /healthz, which says nothing
}

// Handler answers at the mounts' paths, and whatever else with 404 as
// [WriteProblem] has it.
func (s *Server) Handler(mounts ...Mount) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = writeEchoError
	// Odd paths reach the mounts as they were sent: each refuses what it must.
	for _, m := range mounts {
		if m.Methods == nil {
			e.Any(m.Path, s.observe(m))
			continue
		}
		e.Match(m.Methods, m.Path, s.observe(m))
	}
	e.RouteNotFound("/*", s.observe(Mount{
		Name: "none", Keys: guard.HeaderKeys, WriteError: WriteProblem, Handler: http.HandlerFunc(notFound),
	}))
	return e
}

// admit lets a request through to the mount when the guard knows its caller.
func (s *Server) admit(m Mount) echo.HandlerFunc {
	return func(c echo.Context) error {
		w, r := c.Response(), c.Request()
		if !m.Open {
			who, err := s.cfg.Guard.Admit(r, m.Keys)
			if err != nil {
				m.WriteError(w, r, entra.AsError(err))
				return nil
			}
			entra.TrailOf(r.Context()).Principal = who.Name
			r = r.WithContext(guard.WithPrincipal(r.Context(), who))
		}
		m.Handler.ServeHTTP(w, r)
		return nil
	}
}

// observe gives the request its id and its trail, and at its end writes the
// access line and counts. It is the outermost layer of a mount.
func (s *Server) observe(m Mount) echo.HandlerFunc {
	counts := s.metrics.mount(m.Name)
	// echo's recovery lets http.ErrAbortHandler through, by which ReverseProxy
	// breaks off an answer whose upstream broke off.
	next := middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableErrorHandler: true,
		LogErrorFunc: func(_ echo.Context, err error, stack []byte) error {
			s.cfg.Logger.Error("panic", "mount", m.Name, "stack", string(stack))
			return &entra.Error{Kind: entra.Internal, Op: "server.recover", Err: err}
		},
	})(s.admit(m))
	return func(c echo.Context) error {
		start := time.Now()
		w, r := c.Response(), c.Request()
		trail := &entra.Trail{RequestID: requestID(r)}
		w.Header()["X-Request-Id"] = []string{trail.RequestID}
		r = r.WithContext(entra.WithTrail(r.Context(), trail))
		c.SetRequest(r)
		defer func() {
			took, status := time.Since(start), w.Status
			if !w.Committed && trail.Failure != nil && trail.Failure.Kind == entra.Canceled {
				status = statusClientClosed
			}
			counts.observe(status, took, trail)
			s.logAccess(r, m.Name, status, w.Size, took, trail)
		}()
		if err := next(c); err != nil {
			if w.Committed {
				panic(http.ErrAbortHandler) // a half answer must not look whole
			}
			m.WriteError(w, r, entra.AsError(err))
		}
		return nil
	}
}

// statusClientClosed is nginx's number for a caller that left before its
// answer; it stands in logs and metrics and is never sent.
const statusClientClosed = 499

// requestID is the caller's own X-Request-Id where it is one that a log can
// bear, so that both sides' logs meet; else a new one.
func requestID(r *http.Request) string {
	if ids := r.Header["X-Request-Id"]; len(ids) == 1 && plainID(ids[0]) {
		return ids[0]
	}
	return rand.Text()
}

func plainID(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c|0x20 && c|0x20 <= 'z', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return len(s) >= 8 && len(s) <= 64
}

// logAccess writes the request's one line: the path without its query, which
// may hold what is nobody's business.
func (s *Server) logAccess(r *http.Request, mount string, status int, size int64, took time.Duration, t *entra.Trail) {
	level := slog.LevelInfo
	if t.Failure != nil && (t.Failure.Kind == entra.Misconfigured || t.Failure.Kind == entra.Internal) {
		level = slog.LevelWarn
	}
	ctx := r.Context()
	if !s.cfg.Logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 24)
	attrs = append(attrs,
		slog.String("request_id", t.RequestID), slog.String("mount", mount), slog.String("method", r.Method),
		slog.String("path", cut(r.URL.EscapedPath())), slog.Int("status", status), slog.Int64("bytes", size),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000))
	for _, a := range [...]slog.Attr{
		slog.String("principal", t.Principal), slog.String("identity", t.Identity), slog.String("tenant", string(t.Tenant)),
		slog.String("scope", string(t.Scope)), slog.String("route", t.Route), slog.String("endpoint", t.Endpoint),
		slog.String("rule", t.Rule), slog.String("cache", t.Cache), slog.String("token_fp", t.TokenFP),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if t.Upstream != 0 {
		attrs = append(attrs, slog.Int("upstream", t.Upstream))
	}
	if f := t.Failure; f != nil {
		attrs = append(attrs, slog.String("kind", f.Kind.String()), slog.String("err", f.Error()))
		if f.AADSTS != 0 {
			attrs = append(attrs, slog.Int("aadsts", f.AADSTS))
		}
		if f.CorrelationID != "" {
			attrs = append(attrs, slog.String("correlation_id", f.CorrelationID))
		}
	}
	s.cfg.Logger.LogAttrs(ctx, level, "request", attrs...)
}

// cut keeps a log line bearable.
func cut(path string) string {
	const most = 512
	if len(path) > most {
		return path[:most] + "…"
	}
	return path
}
