package entraemu

import (
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokenbroker/entra"
)

// FederatedIssuer signs tokens as a Kubernetes API server does for projected
// service account volumes.
type FederatedIssuer struct {
	url string
	kid string
	key *rsa.PrivateKey
}

// NewFederatedIssuer returns an issuer with a new key.
func NewFederatedIssuer(url string) (*FederatedIssuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, entra.Errorf(entra.Internal, "emulator.issuer", "make a key: %w", err)
	}
	return &FederatedIssuer{url: url, kid: rand.Text(), key: key}, nil
}

// Issuer returns what a [Config] needs to check the issuer's tokens.
func (f *FederatedIssuer) Issuer() Issuer {
	return Issuer{URL: f.url, Keys: map[string]*rsa.PublicKey{f.kid: &f.key.PublicKey}}
}

// Trust returns a credential that trusts the issuer's tokens for a subject,
// such as system:serviceaccount:NAMESPACE:NAME.
func (f *FederatedIssuer) Trust(subject string) FederatedCredential {
	return FederatedCredential{Issuer: f.url, Subject: subject}
}

// Token makes a token for a subject; an empty audience is the one that
// [FederatedCredential] takes for empty. A negative lifetime makes one that has
// expired.
func (f *FederatedIssuer) Token(subject, audience string, lifetime time.Duration) (string, error) {
	if audience == "" {
		audience = tokenExchange
	}
	now := time.Now().Truncate(time.Second)
	begin := now
	if lifetime < 0 {
		begin = now.Add(2 * lifetime)
	}
	claims := jwt.MapClaims{
		"iss": f.url, "sub": subject, "aud": []string{audience}, "jti": newGUID(),
		"iat": begin.Unix(), "nbf": begin.Unix(), "exp": now.Add(lifetime).Unix(),
	}
	if account, ok := strings.CutPrefix(subject, "system:serviceaccount:"); ok {
		namespace, name, _ := strings.Cut(account, ":")
		claims["kubernetes.io"] = map[string]any{
			"namespace":      namespace,
			"pod":            map[string]any{"name": name + "-0", "uid": newGUID()},
			"serviceaccount": map[string]any{"name": name, "uid": newGUID()},
		}
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = f.kid
	signed, err := token.SignedString(f.key)
	if err != nil {
		return "", entra.Errorf(entra.Internal, "emulator.issuer", "sign a token: %w", err)
	}
	return signed, nil
}
