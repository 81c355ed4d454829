package entraemu

import (
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RFC 7515 §4.1.7: an x5t is a SHA-1
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokenbroker/entra"
)

// How an app proved itself, in the words of the token's appidacr.
const (
	byNothing   = "0" // it is a public client
	bySecret    = "1"
	byAssertion = "2"
)

// authenticate checks the client's credential and says of which kind it was.
func (s *Server) authenticate(app *App, req *tokenRequest) (proof string, no *refusal) {
	if req.secret != "" {
		return bySecret, app.checkSecret(entra.NewSecret(req.secret))
	}
	return byAssertion, s.checkAssertion(app, req)
}

func (a *App) checkSecret(secret entra.Secret) *refusal {
	i := slices.IndexFunc(a.Secrets, func(own Secret) bool { return own.Value.Equal(secret) })
	switch {
	case i < 0:
		return wrongSecret(a.ClientID)
	case !a.Secrets[i].Expires.IsZero() && !time.Now().Before(a.Secrets[i].Expires):
		return expiredSecret(a.ClientID)
	}
	return nil
}

// checkAssertion checks a client assertion (RFC 7523 §3): one that the app
// signed with a registered certificate, or the token of a federated issuer,
// which is told by its issuer being a URL. The latter may come again until it
// expires.
func (s *Server) checkAssertion(app *App, req *tokenRequest) *refusal {
	var claims jwt.RegisteredClaims
	parser := jwt.NewParser()
	assertion, parts, err := parser.ParseUnverified(req.assertion, &claims)
	if err != nil {
		return malformedAssertion("it cannot be parsed")
	}
	federated := strings.HasPrefix(claims.Issuer, "https://")

	var key *rsa.PublicKey
	var no *refusal
	if federated {
		key, no = s.federatedKey(app, assertion, &claims)
	} else {
		key, no = app.certificateKey(assertion, &claims)
	}
	if no != nil {
		return no
	}
	signature, err := parser.DecodeSegment(parts[2])
	if err != nil {
		return malformedAssertion("its signature is not base64url")
	}
	if assertion.Method.Verify(parts[0]+"."+parts[1], signature, key) != nil {
		return badSignature("The key was found, and does not verify the signature")
	}

	if federated {
		return inTime(&claims)
	}
	if len(claims.Audience) != 1 || !req.isAudience(claims.Audience[0]) {
		return otherAudience()
	}
	if no := inTime(&claims); no != nil {
		return no
	}
	return s.spend(app, &claims)
}

// certificateKey finds the certificate that an app's own assertion says it was
// signed with. See "Microsoft identity platform application authentication
// certificate credentials", learn.microsoft.com/entra/identity-platform/certificate-credentials.
func (a *App) certificateKey(assertion *jwt.Token, claims *jwt.RegisteredClaims) (*rsa.PublicKey, *refusal) {
	sha256Print, sha1Print := thumbprint(assertion, "x5t#S256"), thumbprint(assertion, "x5t")
	switch {
	case assertion.Method.Alg() != "PS256" && assertion.Method.Alg() != "RS256":
		return nil, malformedAssertion("its algorithm is not supported")
	case !strings.EqualFold(claims.Issuer, a.ClientID):
		return nil, otherClient()
	case claims.Subject != claims.Issuer:
		return nil, otherSubject()
	case sha256Print == nil && sha1Print == nil:
		return nil, malformedAssertion("its header has no thumbprint of a certificate")
	}
	for _, cert := range a.Certificates {
		full, short := sha256.Sum256(cert.Raw), sha1.Sum(cert.Raw) //nolint:gosec // see the import
		if sha256Print != nil && !slices.Equal(sha256Print, full[:]) || sha1Print != nil && !slices.Equal(sha1Print, short[:]) {
			continue
		}
		key, ok := cert.PublicKey.(*rsa.PublicKey)
		switch now := time.Now(); {
		case !ok:
			return nil, malformedAssertion("the certificate's key is not RSA")
		case now.Before(cert.NotBefore) || now.After(cert.NotAfter):
			return nil, badSignature("The key used is expired")
		}
		return key, nil
	}
	return nil, badSignature("The key was not found")
}

// thumbprint decodes a thumbprint of the header; nil where there is none. MSAL
// writes it in the standard alphabet, RFC 7515 §4.1.7 wants the other.
func thumbprint(assertion *jwt.Token, name string) []byte {
	text, _ := assertion.Header[name].(string)
	text = strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(text)
	sum, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || text == "" {
		return nil
	}
	return sum
}

// isAudience reports whether an assertion with that audience is meant for the
// tenant that was asked: its token endpoint or its issuer, of either version.
func (req *tokenRequest) isAudience(audience string) bool {
	if req.tenant != nil && audience == issuerOf(req.tenant.ID) {
		return true
	}
	rest, ours := strings.CutPrefix(audience, "https://"+req.host+"/")
	name, place, _ := strings.Cut(rest, "/")
	named := strings.EqualFold(name, req.name) || req.tenant != nil && req.tenant.goesBy(entra.Tenant(strings.ToLower(name)))
	return ours && named && slices.Contains([]string{v1.tokenPath, v2.tokenPath, "/v2.0", "/"}, "/"+place)
}

// federatedKey finds the key of a federated token whose issuer, audience and
// subject one of the app's credentials trusts. All three are compared exactly.
func (s *Server) federatedKey(app *App, assertion *jwt.Token, claims *jwt.RegisteredClaims) (*rsa.PublicKey, *refusal) {
	if assertion.Method.Alg() != "RS256" {
		return nil, malformedAssertion("its algorithm is not supported")
	}
	if len(app.Federated) == 0 {
		return nil, noFederation(app.ClientID)
	}
	trusted := slices.Clone(app.Federated)
	keep := func(matches func(FederatedCredential) bool) (some bool) {
		trusted = slices.DeleteFunc(trusted, func(c FederatedCredential) bool { return !matches(c) })
		return len(trusted) > 0
	}
	switch {
	case !keep(func(c FederatedCredential) bool { return c.Issuer == claims.Issuer }):
		return nil, noFederatedIssuer(claims.Issuer)
	case !keep(func(c FederatedCredential) bool { return slices.Contains(claims.Audience, c.audience()) }):
		return nil, noFederatedAudience(strings.Join(claims.Audience, " "))
	case !keep(func(c FederatedCredential) bool { return c.Subject == claims.Subject }):
		return nil, noFederatedSubject(claims.Subject)
	}
	kid, _ := assertion.Header["kid"].(string)
	if key := s.issuerKey(claims.Issuer, kid); key != nil {
		return key, nil
	}
	return nil, noFederatedKey(kid, claims.Issuer)
}

func inTime(claims *jwt.RegisteredClaims) *refusal {
	if claims.ExpiresAt == nil {
		return malformedAssertion("it has no exp")
	}
	from, until, now := time.Time{}, claims.ExpiresAt.Time, time.Now()
	if claims.NotBefore != nil {
		from = claims.NotBefore.Time
	}
	if now.Before(from) || !now.Before(until) {
		return outOfTime(now, from, until)
	}
	return nil
}

// spend takes an assertion once: its id is refused until it has expired. Entra
// documents no number for a replay; 50027 is the one of its reasons for
// calling an assertion invalid that comes closest.
func (s *Server) spend(app *App, claims *jwt.RegisteredClaims) *refusal {
	if claims.ID == "" {
		return nil // RFC 7523 §3 asks for none
	}
	id, now := app.ClientID+" "+claims.ID, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.used, func(_ string, until time.Time) bool { return !now.Before(until) })
	if _, spent := s.used[id]; spent {
		return malformedAssertion("its jti was used before")
	}
	s.used[id] = claims.ExpiresAt.Time
	return nil
}
