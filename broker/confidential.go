package broker

import (
	"context"

	"tokenbroker/entra"
)

// Confidential is the source of an app that acts as itself (RFC 6749 §4.4),
// whichever its credential.
type Confidential struct {
	app        App
	credential Credential
}

// NewConfidential makes the source. The credential is read at every exchange,
// so that a rotation needs no restart.
func NewConfidential(app App, credential Credential) (*Confidential, error) {
	if err := app.validate(); err != nil {
		return nil, err
	}
	return &Confidential{app, credential}, nil
}

// Token gets a new token from the authority.
func (c *Confidential) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	proof, err := c.credential.proof()
	if err != nil {
		return entra.Token{}, err
	}
	return c.app.acquire(ctx, &req, &proof)
}
