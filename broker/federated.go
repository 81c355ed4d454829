package broker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"

	"tokenbroker/entra"
)

// expiryGrace is how long past its expiry a workload identity token is still
// sent: Entra's clock decides, ours only names what is certain.
const expiryGrace = 5 * time.Minute

// TokenFile is a token of another issuer, such as the service account token
// that a kubelet projects into the pod. It is read at every exchange, as it is
// replaced long before it expires.
type TokenFile struct{ path string }

// OpenTokenFile takes the file. It must hold a token, which may have expired.
func OpenTokenFile(path string) (*TokenFile, error) {
	f := &TokenFile{path}
	if _, err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// Federated is the source of an app that proves itself with a token of another
// issuer (RFC 7523 §2.2).
type Federated struct {
	app  App
	file *TokenFile
}

// NewFederated makes the source.
func NewFederated(app App, file *TokenFile) (*Federated, error) {
	if err := app.validate(); err != nil {
		return nil, err
	}
	return &Federated{app, file}, nil
}

// Token gets a new token from the authority.
func (f *Federated) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	assertion, err := f.file.read()
	if err != nil {
		return entra.Token{}, err
	}
	if exp := assertion.claims.Expires.Time(); !exp.IsZero() && time.Since(exp) > expiryGrace {
		return entra.Token{}, entra.Errorf(entra.Misconfigured, opCredential,
			"workload identity token %s: expired at %s: is the projected volume mounted with subPath, which never updates?", f.file.path, exp.Format(time.RFC3339))
	}
	cred := confidential.NewCredFromAssertionCallback(func(context.Context, confidential.AssertionRequestOptions) (string, error) {
		return assertion.token.Reveal(), nil
	})
	return f.app.acquire(ctx, &req, cred, fmt.Sprintf("workload identity token %s (issuer %s, subject %s, audience %s)", f.file.path,
		entra.Quote(assertion.claims.Issuer), entra.Quote(assertion.claims.Subject), entra.Quote(strings.Join(assertion.claims.Audience, " "))))
}

// assertion is a token that proves the app, and what it says of itself.
type assertion struct {
	token  entra.Secret
	claims entra.Claims
}

func (f *TokenFile) read() (assertion, error) {
	token, err := readCredential(f.path)
	if err != nil {
		return assertion{}, err
	}
	jwt, err := entra.ParseJWT(token.Reveal())
	if err != nil {
		return assertion{}, entra.Errorf(entra.Misconfigured, opCredential,
			"workload identity token %s: %s: name the file of a projected service account token", f.path, entra.AsError(err).Message())
	}
	return assertion{token, jwt.Claims}, nil
}
