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

// Token gets a new token from the authority, in the time of the app's client.
// Where Entra refuses a credential of which there is a newer version by now, it
// gets the token with that.
func (c *Confidential) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	if c.app.HTTP.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.app.HTTP.Timeout)
		defer cancel()
	}
	held, err := c.credential.proof(ctx)
	if err != nil {
		return entra.Token{}, err
	}
	tok, err := c.app.acquire(ctx, &req, &held)
	if held.renew == nil || !refusesKey(err) {
		return tok, err
	}
	newer, failed := held.renew(ctx)
	if failed != nil || newer.version == held.version {
		return tok, err
	}
	return c.app.acquire(ctx, &req, &newer)
}
