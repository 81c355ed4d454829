// Package broker turns credentials into tokens, and is the one door to them.
//
// A [Broker] checks policy and asks the next source, the cache; behind the
// cache a [Mux] picks the flow of the identity. Each flow is an [entra.Source]
// around one way of MSAL to get a token, and speaks to Entra at every call:
// remembering is the cache's work.
package broker

import (
	"context"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// Broker is the source that callers meet: it denies what policy does not
// allow, before the cache is asked.
type Broker struct {
	next   entra.Source
	policy *guard.Policy
}

// New puts policy before next.
func New(next entra.Source, policy *guard.Policy) *Broker {
	return &Broker{next, policy}
}

// Token returns a token that the context's principal may have. A context
// without a principal is denied: the request passed no admission.
func (b *Broker) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	who, ok := guard.PrincipalOf(ctx)
	if !ok {
		return entra.Token{}, entra.Errorf(entra.Denied, "broker.token", "no admitted caller asks")
	}
	decision, trail := b.policy.Decide(who, guard.Ask{Request: req}), entra.TrailOf(ctx)
	if !decision.Allowed || trail.Decision == "" { // a call was decided about before, by a rule that says more
		decision.Note(trail)
	}
	if !decision.Allowed {
		return entra.Token{}, decision.Err()
	}
	tok, err := b.next.Token(ctx, req)
	if err == nil {
		trail.TokenFP = tok.Access.Fingerprint()
	}
	return tok, err
}
