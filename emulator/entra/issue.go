package entraemu

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RFC 7517 §4.8: an x5t is a SHA-1
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokenbroker/entra"
)

// backdated is how far before its making a token starts to be valid.
const backdated = 5 * time.Minute

// issued is a token with what its answer says of it.
type issued struct {
	token     string
	audience  string
	notBefore time.Time
	expires   time.Time
	lifetime  time.Duration
	refreshIn time.Duration
}

// issue makes a token in the v1 format, which these resources get from both
// versions of the endpoint. Its audience is spelled as it was asked for.
// See "Access token claims reference", learn.microsoft.com/entra/identity-platform/access-token-claims-reference.
func (s *Server) issue(req *tokenRequest, proof string, roles []string, f Faults) (*issued, *refusal) {
	t := &issued{audience: req.audience, lifetime: s.config.Lifetime, refreshIn: s.config.RefreshIn}
	if f.LifetimeS > 0 {
		t.lifetime = time.Duration(f.LifetimeS) * time.Second
	}
	if f.RefreshInS > 0 {
		t.refreshIn = time.Duration(f.RefreshInS) * time.Second
	}
	now := time.Now().Truncate(time.Second)
	t.notBefore, t.expires = now.Add(-backdated), now.Add(t.lifetime)

	tenant := string(req.tenant.ID)
	sum := sha256.Sum256([]byte(tenant + req.client))
	object := guid([16]byte(sum[:16])) // of the service principal
	claims := jwt.MapClaims{
		"aud": t.audience, "iss": issuerOf(req.tenant.ID), "idp": issuerOf(req.tenant.ID), "tid": tenant,
		"iat": t.notBefore.Unix(), "nbf": t.notBefore.Unix(), "exp": t.expires.Unix(),
		"appid": req.client, "appidacr": proof, "idtyp": "app", "oid": object, "sub": object,
		"uti": base64.RawURLEncoding.EncodeToString([]byte(rand.Text())), "ver": "1.0",
	}
	if len(roles) > 0 {
		claims["roles"] = roles
	}
	var err error
	if t.token, err = s.key.sign(claims); err != nil {
		return nil, trouble(http.StatusInternalServerError)
	}
	return t, nil
}

// Verify checks a token as a resource would: that it was signed here, for a
// tenant of ours, and is within its time. Whether audience and roles suffice
// is for the resource to say.
func (s *Server) Verify(token string) (entra.Claims, error) {
	const op = "emulator.verify"
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired())
	_, err := parser.Parse(token, func(*jwt.Token) (any, error) { return &s.key.private.PublicKey, nil })
	if err != nil {
		return entra.Claims{}, entra.Errorf(entra.Invalid, op, "%w", err)
	}
	parsed, err := entra.ParseJWT(token)
	if err != nil {
		return entra.Claims{}, err
	}
	tenant, no := s.tenant(parsed.Claims.Tenant)
	if no != nil || parsed.Claims.Issuer != issuerOf(tenant.ID) {
		return entra.Claims{}, entra.Errorf(entra.Invalid, op, "token: its issuer is no tenant of this authority")
	}
	return parsed.Claims, nil
}

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
