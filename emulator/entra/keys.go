package entraemu

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RFC 7517 §4.8: an x5t is a SHA-1
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokenbroker/entra"
)

// Verify checks a token as a resource would: that it was signed here, for a
// tenant of ours, and is within its time. Whether audience and roles suffice
// is for the resource to say.
func (s *Server) Verify(token string) (entra.Claims, error) {
	const op = "emulator.verify"
	if err := s.checkSignature(token); err != nil {
		return entra.Claims{}, entra.Errorf(entra.Invalid, op, "%w", err)
	}
	parsed, err := entra.ParseJWT(token)
	if err != nil {
		return entra.Claims{}, err
	}
	tenant, no := s.tenant(parsed.Claims.Tenant)
	if no != nil || !isIssuerOf(parsed.Claims.Issuer, tenant.ID) {
		return entra.Claims{}, entra.Errorf(entra.Invalid, op, "token: its issuer is no tenant of this authority")
	}
	return parsed.Claims, nil
}

// checkSignature checks that a token was signed with a key of the ring, and is
// within its time.
func (s *Server) checkSignature(token string) error {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired())
	_, err := parser.Parse(token, func(*jwt.Token) (any, error) {
		var keys jwt.VerificationKeySet
		for _, key := range s.published() {
			keys.Keys = append(keys.Keys, &key.private.PublicKey)
		}
		return keys, nil
	})
	return err
}

// isIssuerOf reports whether an issuer is a tenant's, in either version. The
// host of version 2 is that which was asked.
func isIssuerOf(issuer string, tenant entra.Tenant) bool {
	return issuer == issuerOf(tenant) || strings.HasPrefix(issuer, "https://") && strings.HasSuffix(issuer, "/"+string(tenant)+"/v2.0")
}

// RotateKey signs with another key from now on; nil: it makes one. The keys of
// before stay published, so that the tokens signed with them can be verified.
func (s *Server) RotateKey(next *rsa.PrivateKey) error {
	key, err := newSigningKey(next)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring = append([]*signingKey{key}, s.ring...)
	return nil
}

// published returns the keys that tokens are verified with, the one that signs
// first.
func (s *Server) published() []*signingKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ring
}

// sign makes a token of claims.
func (s *Server) sign(claims jwt.MapClaims) (string, error) { return s.published()[0].sign(claims) }

// signingKey is the key that tokens are signed with, and its certificate, by
// which it is named.
type signingKey struct {
	private *rsa.PrivateKey
	cert    []byte // DER
	id      string // the certificate's SHA-1: kid and x5t in one
}

// newSigningKey names a key; it makes one if it is given none.
func newSigningKey(private *rsa.PrivateKey) (*signingKey, error) {
	const op = "emulator.entra"
	var err error
	if private == nil {
		if private, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, entra.Errorf(entra.Internal, op, "make a key: %w", err)
		}
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "accounts.accesscontrol.windows.net"},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(5 * 365 * 24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, entra.Errorf(entra.Invalid, op, "certify the signing key: %w", err)
	}
	sum := sha1.Sum(cert) //nolint:gosec // see the import
	return &signingKey{private, cert, base64.RawURLEncoding.EncodeToString(sum[:])}, nil
}

func (k *signingKey) sign(claims jwt.MapClaims) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"], token.Header["x5t"] = k.id, k.id
	return token.SignedString(k.private)
}

// jwk is the public half as RFC 7517 has it.
func (k *signingKey) jwk() map[string]any {
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	return map[string]any{
		"kty": "RSA", "use": "sig", "kid": k.id, "x5t": k.id,
		"n": number(k.private.N), "e": number(big.NewInt(int64(k.private.E))),
		"x5c": []string{base64.StdEncoding.EncodeToString(k.cert)},
	}
}
