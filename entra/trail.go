package entra

import "context"

// Trail collects what was decided on a request's way, for the one line that is
// written at its end. It belongs to the request's goroutine: only code that
// runs there may note something.
type Trail struct {
	RequestID string
	Principal string // the local caller
	Identity  string // its name in the configuration
	Tenant    Tenant
	Scope     Scope
	Route     string
	Endpoint  string // of the catalogue
	Call      string // method and path of the call that the request stands for; empty: its own
	Decision  string // of policy: allow or deny; empty: it was not asked
	Rule      string // the rule of policy that decided
	Cache     string // hit, stale, shared or miss
	TokenFP   string // the token's fingerprint
	Upstream  int    // the upstream's status
	Failure   *Error // what the caller was told; nil: nothing failed
}

type trailKey struct{}

// WithTrail starts a trail.
func WithTrail(ctx context.Context, t *Trail) context.Context {
	return context.WithValue(ctx, trailKey{}, t)
}

// TrailOf returns the request's trail. Where none was started it returns one
// that nobody reads, so that noting never needs a check.
func TrailOf(ctx context.Context) *Trail {
	if t, ok := ctx.Value(trailKey{}).(*Trail); ok {
		return t
	}
	return new(Trail)
}
