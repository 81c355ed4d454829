package broker

import (
	"context"
	"sync/atomic"

	"tokenbroker/entra"
)

// Flows are the sources of the identities.
type Flows map[entra.IdentityID]entra.Source

// Mux is the innermost source: it passes a request on to its identity's flow.
// A reload replaces the flows while they are in use.
type Mux struct{ flows atomic.Pointer[Flows] }

// NewMux makes a mux of the flows, which nobody may change any more.
func NewMux(flows Flows) *Mux {
	m := new(Mux)
	m.Replace(flows)
	return m
}

// Replace takes other flows, which nobody may change any more. What is being
// fetched goes on with the flow that it began with.
func (m *Mux) Replace(flows Flows) { m.flows.Store(&flows) }

// Token asks the flow of the request's identity.
func (m *Mux) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	flow, ok := (*m.flows.Load())[req.Identity]
	if !ok {
		return entra.Token{}, entra.Errorf(entra.NotFound, "broker.mux", "identity: not one that is configured")
	}
	return flow.Token(ctx, req)
}
