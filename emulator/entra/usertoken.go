package entraemu

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokenbroker/entra"
)

// publicHost is the host in the issuer of tokens that nobody has asked for by
// HTTP.
const publicHost = "login.microsoftonline.com"

// issueUser makes a token for a user, in the version that its resource wants,
// and what goes with it.
func (s *Server) issueUser(g *userGrant, f Faults) (*issued, *refusal) {
	t := s.newIssued(g.audience, f)
	var err error
	if t.token, err = s.sign(g.accessClaims(t)); err != nil {
		return nil, trouble(http.StatusInternalServerError)
	}
	t.scope = strings.Join(g.echo, " ")
	if g.req.version == v2 && g.wish.has("openid") {
		if t.idToken, err = s.sign(g.idClaims(t)); err != nil {
			return nil, trouble(http.StatusInternalServerError)
		}
	}
	if g.req.form.Get("client_info") == "1" {
		t.clientInfo = clientInfo(&g.user)
	}
	if g.wish.has("offline_access") {
		t.refresh = s.remember(g)
	}
	return t, nil
}

// accessClaims are the claims of an access token for a user. See "Access token
// claims reference", learn.microsoft.com/entra/identity-platform/access-token-claims-reference.
func (g *userGrant) accessClaims(t *issued) jwt.MapClaims {
	claims := g.commonClaims(t)
	claims["scp"], claims["sub"] = strings.Join(g.scp, " "), pairwise(g.object, g.resource.Name)
	if g.resource.V2 {
		claims["ver"], claims["aud"], claims["iss"] = "2.0", g.resource.Audiences[0], v2IssuerOf(g.req.host, g.tenant.ID)
		claims["azp"], claims["azpacr"], claims["preferred_username"] = g.app.ClientID, g.session.proof, g.user.UPN
		return claims
	}
	amr := []string{"pwd"}
	if g.session.mfa {
		amr = append(amr, "mfa")
	}
	claims["ver"], claims["aud"], claims["iss"] = "1.0", t.audience, issuerOf(g.tenant.ID)
	claims["appid"], claims["appidacr"], claims["idtyp"] = g.app.ClientID, g.session.proof, "user"
	claims["amr"], claims["acr"], claims["unique_name"] = amr, "1", g.user.UPN
	if g.user.Home == g.tenant.ID {
		claims["upn"] = g.user.UPN
	} else { // a guest's token has no upn
		claims["idp"], claims["email"] = issuerOf(g.user.Home), g.user.UPN
	}
	return claims
}

// idClaims are the claims of an ID token. See "ID token claims reference",
// learn.microsoft.com/entra/identity-platform/id-token-claims-reference.
func (g *userGrant) idClaims(t *issued) jwt.MapClaims {
	claims := g.commonClaims(t)
	claims["ver"], claims["aud"], claims["iss"] = "2.0", g.app.ClientID, v2IssuerOf(g.req.host, g.tenant.ID)
	claims["sub"], claims["preferred_username"] = pairwise(g.object, g.app.ClientID), g.user.UPN
	if g.wish.has("email") {
		claims["email"] = g.user.UPN
	}
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	return claims
}

// commonClaims are those of both.
func (g *userGrant) commonClaims(t *issued) jwt.MapClaims {
	return jwt.MapClaims{
		"iat": t.notBefore.Unix(), "nbf": t.notBefore.Unix(), "exp": t.expires.Unix(),
		"tid": string(g.tenant.ID), "oid": g.object, "name": cmp.Or(g.user.Name, g.user.UPN), "sid": g.session.id,
		"uti": base64.RawURLEncoding.EncodeToString([]byte(rand.Text())),
	}
}

// pairwise is a user's subject as one application sees it.
func pairwise(object, application string) string {
	sum := sha256.Sum256([]byte(object + " " + application))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// clientInfo tells a client whose the tokens are: the user's ids at home, even
// where they are a guest.
func clientInfo(user *User) string {
	b, _ := json.Marshal(map[string]string{"uid": user.ObjectID, "utid": string(user.Home)}) // strings can be marshalled
	return base64.RawURLEncoding.EncodeToString(b)
}

// Delegation is an app that acts in a user's name.
type Delegation struct {
	UPN      string
	Tenant   entra.Tenant // a GUID; empty: the user's home
	ClientID string
	Scope    string // as version 2 has it; what was not consented to is refused
	Host     string // of the authority, in a token of version 2; empty: login.microsoftonline.com
}

// IssueForUser makes the access token that an app gets for a user who has
// signed in now with everything that is asked of them, without a request. A zero
// lifetime is the configuration's. A refusal has Entra's code and number.
func (s *Server) IssueForUser(d Delegation, lifetime time.Duration) (IssuedToken, error) {
	g, no := s.delegated(d)
	if no != nil {
		return IssuedToken{}, no.failure()
	}
	t := s.newIssued(g.audience, Faults{})
	if lifetime != 0 {
		t.expires = t.notBefore.Add(backdated + lifetime)
	}
	access, err := s.sign(g.accessClaims(t))
	if err != nil {
		return IssuedToken{}, entra.Errorf(entra.Internal, "emulator.issue", "sign a token: %w", err)
	}
	s.count(func(stats *Stats) {
		stats.Issued++
		stats.Audiences[t.audience]++
	})
	return IssuedToken{Access: access, NotBefore: t.notBefore, Expires: t.expires}, nil
}

// delegated is the grant behind a Delegation.
func (s *Server) delegated(d Delegation) (*userGrant, *refusal) {
	var tenant *Tenant
	var no *refusal
	if d.Tenant != "" {
		if tenant, no = s.tenant(string(d.Tenant)); no != nil {
			return nil, no
		}
	}
	w, no := parseWish(d.Scope)
	if no != nil {
		return nil, no
	}
	req := &tokenRequest{version: v2, host: cmp.Or(d.Host, publicHost)}
	return s.toUser(req, s.open(session{login: login{upn: d.UPN, mfa: true, at: time.Now()}, client: d.ClientID, proof: byNothing}), tenant, w)
}
