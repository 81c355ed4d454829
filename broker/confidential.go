package broker

import (
	"context"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"

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
	return c.app.prove(ctx, c.credential, func(ctx context.Context, p *proof) (entra.Token, error) { return c.acquire(ctx, &req, p) })
}

// acquire trades the app's credential for a token.
func (c *Confidential) acquire(ctx context.Context, req *entra.Request, p *proof) (entra.Token, error) {
	x := c.app.exchange(ctx, req, p)
	if err := x.validate(req); err != nil {
		return entra.Token{}, err
	}
	client, err := c.app.msal(&x, p)
	if err != nil {
		return entra.Token{}, err
	}
	var options []confidential.AcquireByCredentialOption
	if req.Claims != "" {
		options = append(options, confidential.WithClaims(req.Claims))
	}
	result, err := client.AcquireTokenByCredential(x.in(ctx), x.scope.Names(), options...)
	if err != nil {
		return entra.Token{}, x.classify(ctx, err)
	}
	return x.token(&result, time.Time{})
}
