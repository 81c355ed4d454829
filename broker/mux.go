package broker

import (
	"context"

	"tokenbroker/entra"
)

// Mux is the innermost source: it passes a request on to its identity's flow.
type Mux map[entra.IdentityID]entra.Source

// Token asks the flow of the request's identity.
func (m Mux) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	flow, ok := m[req.Identity]
	if !ok {
		return entra.Token{}, entra.Errorf(entra.NotFound, "broker.mux", "identity: not one that is configured")
	}
	return flow.Token(ctx, req)
}
