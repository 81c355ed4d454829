package broker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"

	"tokenbroker/entra"
)

// expiryGrace is how long past its expiry a credential is still sent, and how
// long before its time: Entra's clock decides, ours only names what is certain.
const expiryGrace = 5 * time.Minute

// TokenFile is a token of another issuer (RFC 7523 §2.2), such as the service
// account token that a kubelet projects into the pod and replaces long before
// it expires. Of a file that has become bad the last token stays in use until
// it expires, and that is logged once.
type TokenFile struct{ *files[assertion] }

// OpenTokenFile reads the file for the first time. It must hold a token, which
// may have expired.
func OpenTokenFile(path string, logger *slog.Logger) (*TokenFile, error) {
	parse := func(contents [][]byte) (assertion, error) { return parseAssertion(path, contents[0]) }
	held, err := openFiles("workload identity token", logger, parse, path)
	if err != nil {
		return nil, err
	}
	return &TokenFile{held}, nil
}

func (f *TokenFile) proof(context.Context) (proof, error) {
	held, fault := f.now()
	if exp := held.claims.Expires.Time(); !exp.IsZero() && time.Since(exp) > expiryGrace {
		if fault != nil {
			return proof{}, fault // mending it brings a new token
		}
		return proof{}, entra.Errorf(entra.Misconfigured, opCredential,
			"workload identity token %s: expired at %s: is the projected volume mounted with subPath, which never updates?", f.paths[0], exp.Format(time.RFC3339))
	}
	return proof{
		credential: confidential.NewCredFromAssertionCallback(func(context.Context, confidential.AssertionRequestOptions) (string, error) {
			return held.token.Reveal(), nil
		}),
		name: fmt.Sprintf("workload identity token %s (issuer %s, subject %s, audience %s)", f.paths[0],
			entra.Quote(held.claims.Issuer), entra.Quote(held.claims.Subject), entra.Quote(strings.Join(held.claims.Audience, " "))),
		unknown: "is its issuer's discovery document the current one?",
	}, nil
}

// assertion is a token that proves the app, and what it says of itself.
type assertion struct {
	token  entra.Secret
	claims entra.Claims
}

func parseAssertion(path string, content []byte) (assertion, error) {
	token, err := parseCredential(path, content)
	if err != nil {
		return assertion{}, err
	}
	jwt, err := entra.ParseJWT(token.Reveal())
	if err != nil {
		return assertion{}, entra.Errorf(entra.Misconfigured, opCredential,
			"workload identity token %s: %s: name the file of a projected service account token", path, entra.AsError(err).Message())
	}
	return assertion{token, jwt.Claims}, nil
}
