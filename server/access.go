package server

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// requestID is the caller's own X-Request-Id where it is one that a log can
// bear, so that both sides' logs meet; else a new GUID, which Entra takes for
// its correlation id too.
func requestID(r *http.Request, g *guard.Guard) string {
	if ids := r.Header[requestIDHeader]; len(ids) == 1 && plainID(ids[0]) && !g.HoldsKey(ids[0]) {
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

// writeDown writes the request's line in the log, and where its mount is
// audited its record. Both go past [slog.Logger], which would look up this
// function's name for each, and would not write a record below the log's level.
func (v *visit) writeDown(status int, took time.Duration) {
	ctx, log, audit := v.r.Context(), v.server.cfg.Logger.Handler(), v.server.cfg.Audit
	level := slog.LevelInfo
	if f := v.trail.Failure; f != nil && (f.Kind == entra.Misconfigured || f.Kind == entra.Internal) {
		level = slog.LevelWarn
	}
	logged := log.Enabled(ctx, level)
	if v.Audited && audit == nil {
		logged, audit = false, log // the record says all that the line would
	}
	if !logged && !v.Audited {
		return
	}
	attrs := v.appendRequest(make([]slog.Attr, 0, 32), status, took)
	if logged {
		line := slog.NewRecord(time.Now(), level, "request", 0)
		line.AddAttrs(attrs...)
		_ = log.Handle(ctx, line) // there is nowhere to say that the log is full
	}
	if v.Audited {
		record := slog.NewRecord(time.Now(), level, "audit", 0)
		record.AddAttrs(v.appendVerdict(attrs)...)
		_ = audit.Handle(ctx, record) // it counts itself what it could not write
	}
}

// appendRequest appends what the request was and how it ended. The path stands
// there without its query, which may hold what is nobody's business, and no
// header does. A caller key that the caller sent in the place of something else
// is kept out.
func (v *visit) appendRequest(attrs []slog.Attr, status int, took time.Duration) []slog.Attr {
	return v.appendTrail(append(attrs,
		slog.String("request_id", v.trail.RequestID), slog.String("mount", v.Name), slog.String("method", cut(v.guard.Redact(v.r.Method))), slog.String("path", v.written(v.r.URL.EscapedPath())),
		slog.Int("status", status), slog.Int64("bytes", v.w.Size), slog.Float64("duration_ms", float64(took.Microseconds())/1000),
	))
}

// written is a path for log and record. One that holds a caller key is kept out
// of them, whatever check refused the request.
func (v *visit) written(path string) string {
	if v.guard.HoldsKey(path) {
		return "(not written down)"
	}
	return cut(path)
}

// appendTrail appends what was noted on the request's way. Only of one that
// failed may it be what the caller made up.
func (v *visit) appendTrail(attrs []slog.Attr) []slog.Attr {
	t := &v.trail
	text := func(key, value string) {
		if value == "" {
			return
		}
		if t.Failure != nil {
			value = v.guard.Redact(value)
		}
		attrs = append(attrs, slog.String(key, value))
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
	text("call", v.written(t.Call))
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
