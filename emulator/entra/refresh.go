package entraemu

import (
	"crypto/rand"
	"slices"
	"time"

	"tokenbroker/entra"
)

const (
	// A refresh token that nobody uses, and one of a single-page application.
	// See "Refresh tokens in the Microsoft identity platform",
	// learn.microsoft.com/entra/identity-platform/refresh-tokens.
	refreshLifetime = 90 * 24 * time.Hour
	spaLifetime     = 24 * time.Hour

	// refreshGrace is how long a refresh token is still good that was exchanged
	// for another: the answer may have got lost. Entra lets it be until it
	// expires; being stricter shows who keeps the old one.
	refreshGrace = time.Hour
)

// refreshToken is what stands behind one.
type refreshToken struct {
	session  session
	wish     wish
	tenant   entra.Tenant
	issued   time.Time
	expires  time.Time
	replaced time.Time // when it was first exchanged; zero: it was not
}

// remember makes a refresh token for a grant.
func (s *Server) remember(g *userGrant) string {
	now := time.Now()
	made := refreshToken{session: g.session, wish: g.wish, tenant: g.tenant.ID, issued: now, expires: g.expires}
	if made.expires.IsZero() {
		made.expires = now.Add(refreshLifetime)
		if g.session.spa {
			made.expires = now.Add(spaLifetime)
		}
	}
	value := "1." + rand.Text() + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh[value] = made
	return value
}

// byRefreshToken is the grant of RFC 6749 §6. The token is good for every
// resource that was consented to, and in every tenant that its user is in.
func (s *Server) byRefreshToken(req *tokenRequest, app *App) (*userGrant, *refusal) {
	value := req.form.Get("refresh_token")
	if value == "" {
		return nil, missing("refresh_token")
	}
	s.mu.Lock()
	token, known := s.refresh[value]
	s.mu.Unlock()
	switch {
	case !known:
		return nil, badRefreshToken("it is malformed or was never issued")
	case token.session.client != app.ClientID:
		return nil, badRefreshToken("it was issued to another client")
	case token.session.spa && req.origin == "":
		return nil, crossOriginOnly()
	}
	if _, no := s.prove(app, req, token.session.proof == byNothing); no != nil {
		return nil, no
	}
	now := time.Now()
	switch {
	case !token.replaced.IsZero() && now.After(token.replaced.Add(refreshGrace)):
		return nil, badRefreshToken("it was replaced by another")
	case !now.Before(token.expires) && token.session.spa:
		return nil, expiredSPA()
	case !now.Before(token.expires):
		return nil, inactive(token.issued)
	}
	w, no := wishOf(req.version, req.form, token.wish)
	if no != nil {
		return nil, no
	}
	tenant := req.tenant
	if tenant == nil {
		tenant = s.tenantOf(token.tenant)
	}
	g, no := s.toUser(req, token.session, tenant, w)
	if no != nil {
		return nil, no
	}
	if !w.has("offline_access") {
		g.wish.openID = append(slices.Clone(w.openID), "offline_access") // it is replaced in any case
	}
	if token.session.spa {
		g.expires = token.expires
	}
	s.replace(value, now)
	return g, nil
}

// replace notes that a refresh token was exchanged for the first time.
func (s *Server) replace(value string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token := s.refresh[value]; token.replaced.IsZero() {
		token.replaced = now
		s.refresh[value] = token
	}
}
