package guard

import (
	"context"

	"tokenbroker/entra"
)

// HoldsKey reports whether there is a good key anywhere in text, percent-encoded
// or not, so that it is not written down.
func (g *Guard) HoldsKey(text string) bool {
	return g.secrets != nil && g.secrets.good.Load().within(text)
}

// Redact returns text without the good keys in it: for what a caller sent, before
// it is written down.
func (g *Guard) Redact(text string) string {
	if g.secrets == nil {
		return text
	}
	return g.secrets.good.Load().redact(text)
}

// RedactError returns err with its text redacted; err itself where nothing was
// to be redacted.
func (g *Guard) RedactError(err *entra.Error) *entra.Error {
	if g.secrets == nil || err.Err == nil {
		return err
	}
	text := err.Err.Error()
	clean := g.Redact(text)
	if clean == text {
		return err
	}
	other := *err
	other.Err = redacted{clean, err.Err}
	return &other
}

// redacted is an error with another text.
type redacted struct {
	text  string
	cause error
}

func (e redacted) Error() string { return e.text }
func (e redacted) Unwrap() error { return e.cause }

type guardKey struct{}

// WithRedaction notes whose keys [RedactError] keeps out of what is answered.
// Where there are none it costs nothing.
func (g *Guard) WithRedaction(ctx context.Context) context.Context {
	if g.secrets == nil {
		return ctx
	}
	return context.WithValue(ctx, guardKey{}, g)
}

// HoldsKey is [Guard.HoldsKey] of the guard that [Guard.WithRedaction] noted;
// without one nothing is a key.
func HoldsKey(ctx context.Context, text string) bool {
	g, ok := ctx.Value(guardKey{}).(*Guard)
	return ok && g.HoldsKey(text)
}

// RedactError is [Guard.RedactError] of the guard that [Guard.WithRedaction]
// noted; without one it returns err.
func RedactError(ctx context.Context, err *entra.Error) *entra.Error {
	if g, ok := ctx.Value(guardKey{}).(*Guard); ok {
		return g.RedactError(err)
	}
	return err
}
