package server

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"tokenbroker/entra"
)

// requestID is the caller's own X-Request-Id where it is one that a log can
// bear, so that both sides' logs meet; else a new GUID, which Entra takes for
// its correlation id too.
func requestID(r *http.Request) string {
	if ids := r.Header[requestIDHeader]; len(ids) == 1 && plainID(ids[0]) {
		return ids[0]
	}
	return uuid.NewString()
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

// logAccess writes the request's one line. The path stands in it without its
// query, which may hold what is nobody's business, and no header does. It goes
// past [slog.Logger], which would look up this function's name for each line.
func (s *Server) logAccess(r *http.Request, mount string, status int, size int64, took time.Duration, t *entra.Trail) {
	ctx, handler, level := r.Context(), s.cfg.Logger.Handler(), slog.LevelInfo
	if t.Failure != nil && (t.Failure.Kind == entra.Misconfigured || t.Failure.Kind == entra.Internal) {
		level = slog.LevelWarn
	}
	if !handler.Enabled(ctx, level) {
		return
	}
	line := slog.NewRecord(time.Now(), level, "request", 0)
	line.AddAttrs(appendTrail(append(make([]slog.Attr, 0, 24),
		slog.String("request_id", t.RequestID), slog.String("mount", mount), slog.String("method", cut(r.Method)), slog.String("path", cut(r.URL.EscapedPath())),
		slog.Int("status", status), slog.Int64("bytes", size), slog.Float64("duration_ms", float64(took.Microseconds())/1000),
	), t)...)
	_ = handler.Handle(ctx, line) // there is nowhere to say that the log is full
}

// appendTrail appends what was noted on the request's way.
func appendTrail(attrs []slog.Attr, t *entra.Trail) []slog.Attr {
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	number := func(key string, value int) {
		if value != 0 {
			attrs = append(attrs, slog.Int(key, value))
		}
	}
	text("principal", t.Principal)
	text("identity", t.Identity)
	text("tenant", string(t.Tenant))
	text("scope", string(t.Scope))
	text("route", t.Route)
	text("endpoint", t.Endpoint)
	text("rule", t.Rule)
	text("cache", t.Cache)
	text("token_fp", t.TokenFP)
	number("upstream", t.Upstream)
	if f := t.Failure; f != nil {
		text("kind", f.Kind.String())
		number("aadsts", f.AADSTS)
		text("correlation_id", f.CorrelationID)
		text("err", f.Error())
	}
	return attrs
}

// cut keeps a log line bearable.
func cut(s string) string {
	const most = 512
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
