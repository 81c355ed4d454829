package server

import (
	"context"
	"log/slog"
	"net"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// What a record says was decided where policy was not asked: its own words are
// allow and deny.
const (
	denied    = "deny" // at the door, or since nothing is there to be had
	undecided = "none" // malformed, or over before it came to that
)

// appendVerdict appends what a record has beside the request's line: the
// process that called, how it proved who it is, what was decided and why.
func (v *visit) appendVerdict(attrs []slog.Attr) []slog.Attr {
	decision, rule := v.verdict()
	attrs = append(attrs, slog.String("decision", decision))
	if rule != "" {
		attrs = append(attrs, slog.String("rule", rule))
	}
	if v.who.Via != "" {
		attrs = append(attrs, slog.String("via", v.who.Via))
	}
	if peer := guard.PeerIn(v.r.Context()); peer != nil {
		attrs = append(attrs, slog.Int("uid", peer.UID))
		if peer.PID != 0 {
			attrs = append(attrs, slog.Int("pid", peer.PID))
		}
	}
	return attrs
}

// verdict returns what was decided, and the check that decided where it was
// none of policy's rules: those are in the line already.
func (v *visit) verdict() (decision, rule string) {
	t := &v.trail
	if t.Decision != "" {
		return t.Decision, ""
	}
	if f := t.Failure; f != nil {
		switch f.Kind {
		case entra.Unadmitted, entra.Denied, entra.NotFound:
			return denied, f.Op
		}
	}
	return undecided, ""
}

// withPeer asks once for each connection which process is at its other end: for
// the guard, and for the records of those whom it does not admit.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if peer := guard.PeerOf(conn); peer != nil {
		return guard.WithPeer(ctx, peer)
	}
	return ctx
}
