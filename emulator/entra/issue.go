package entraemu

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
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

	// Of a token for a user alone.
	scope      string
	refresh    string
	idToken    string
	clientInfo string
}

// newIssued says when a token begins and ends that is made now.
func (s *Server) newIssued(audience string, f Faults) *issued {
	t := &issued{audience: audience, lifetime: s.config.Lifetime, refreshIn: s.config.RefreshIn}
	if f.LifetimeS > 0 {
		t.lifetime = time.Duration(f.LifetimeS) * time.Second
	}
	if f.RefreshInS > 0 {
		t.refreshIn = time.Duration(f.RefreshInS) * time.Second
	}
	now := time.Now().Truncate(time.Second)
	t.notBefore, t.expires = now.Add(-backdated), now.Add(t.lifetime)
	return t
}

// issue makes a token in the v1 format, which these resources get from both
// versions of the endpoint. Its audience is spelled as it was asked for.
// See "Access token claims reference", learn.microsoft.com/entra/identity-platform/access-token-claims-reference.
func (s *Server) issue(req *tokenRequest, proof string, roles []string, f Faults) (*issued, *refusal) {
	t := s.newIssued(req.audience, f)
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
	if t.token, err = s.sign(claims); err != nil {
		return nil, trouble(http.StatusInternalServerError)
	}
	return t, nil
}
