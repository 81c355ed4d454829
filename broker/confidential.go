package broker

import (
	"context"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"

	"tokenbroker/entra"
)

// Confidential is the source of an app that proves itself with a client
// secret (RFC 6749 §4.4).
type Confidential struct {
	app    App
	secret Credential
}

// NewConfidential makes the source. The secret is read at every exchange, so
// that a rotation needs no restart.
func NewConfidential(app App, secret Credential) (*Confidential, error) {
	if err := app.validate(); err != nil {
		return nil, err
	}
	return &Confidential{app, secret}, nil
}

// Token gets a new token from the authority.
func (c *Confidential) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	cred, err := confidential.NewCredFromSecret(c.secret.Secret().Reveal())
	if err != nil {
		return entra.Token{}, entra.Errorf(entra.Misconfigured, opCredential, "%s: holds no secret", c.secret)
	}
	return c.app.acquire(ctx, &req, cred, c.secret.String())
}
