package entraemu

import (
	"strings"
	"time"

	"tokenbroker/entra"
)

// session is one signing in of a user to an app, from which tokens and further
// sessions come.
type session struct {
	login
	id     string
	client string
	proof  string // how the client proved itself: as appidacr has it
	spa    bool
}

// login is a user who has proved who they are.
type login struct {
	upn string
	mfa bool
	at  time.Time // when they gave their password
}

// open remembers a session, so that a token on whose behalf somebody asks can
// be traced to it.
func (s *Server) open(made session) session {
	made.id = newGUID()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[made.id] = made
	return made
}

// standing returns the user of a login, unless that is good no more.
func (s *Server) standing(l login, audience string) (User, *refusal) {
	a, known := s.account(l.upn)
	switch {
	case !known:
		return User{}, noAccount(l.upn)
	case a.Disabled:
		return User{}, disabledUser()
	case l.at.Before(a.validFrom):
		return User{}, revoked(l.at, a.validFrom)
	case a.MFA && !l.mfa:
		return User{}, needsMFA(audience)
	}
	return a.User, nil
}

// userGrant is what a token for a user is made of.
type userGrant struct {
	req     *tokenRequest
	session session
	wish    wish
	nonce   string    // of the authorization request
	expires time.Time // of the refresh token; zero: counted from now
	*delegation
}

// grantToUser gives a token for a user, or says why not.
func (s *Server) grantToUser(req *tokenRequest, f Faults) (*issued, *refusal) {
	app, known := s.app(req.client)
	if !known {
		return nil, noApp(req.client, entra.Tenant(req.name))
	}
	if req.tenant == nil && app.Home != "" {
		return nil, notMultiTenant(req.client)
	}
	req.client = app.ClientID
	grant := map[string]func(*tokenRequest, *App) (*userGrant, *refusal){
		byCodeGrant: s.byCode, byRefreshGrant: s.byRefreshToken, byPasswordGrant: s.byPassword,
		byDeviceGrant: s.byDeviceCode, onBehalfGrant: s.onBehalfOf,
	}[req.grant]
	g, no := grant(req, &app)
	if no != nil {
		return nil, no
	}
	return s.issueUser(g, f)
}

// prove authenticates the client of a grant for a user: by its credential, or,
// where that is allowed, by nothing.
func (s *Server) prove(app *App, req *tokenRequest, public bool) (proof string, no *refusal) {
	switch {
	case req.proven():
		return s.authenticate(app, req)
	case !public:
		return "", noUserCredential()
	}
	return byNothing, nil
}

// toUser checks that the session still stands and that all is consented to. The
// tenant is the user's where the request names none.
func (s *Server) toUser(req *tokenRequest, from session, tenant *Tenant, w wish) (*userGrant, *refusal) {
	user, no := s.standing(from.login, w.audience)
	if no != nil {
		return nil, no
	}
	if tenant == nil {
		tenant = s.tenantOf(user.Home)
	}
	d, no := s.delegate(from.client, user, tenant, w)
	if no != nil {
		return nil, no
	}
	if len(d.lacking) > 0 {
		return nil, unconsented(from.client)
	}
	return &userGrant{req: req, session: from, wish: w, delegation: d}, nil
}

// byPassword is the grant of RFC 6749 §4.3, "Resource Owner Password
// Credentials".
func (s *Server) byPassword(req *tokenRequest, app *App) (*userGrant, *refusal) {
	username, password := req.form.Get("username"), req.form.Get("password")
	w, no := wishOf(req.version, req.form, wish{})
	switch {
	case strings.EqualFold(req.name, "common"):
		return nil, notOverCommon()
	case username == "":
		return nil, missing("username")
	case password == "":
		return nil, missing("password")
	case no != nil:
		return nil, no
	}
	proof, no := s.prove(app, req, app.Public)
	if no != nil {
		return nil, no
	}
	user, no := s.logIn(username, password)
	switch {
	case no != nil:
		return nil, no
	case user.Federation != "":
		return nil, wrongPassword() // Entra does not have it
	}
	return s.toUser(req, s.open(session{login: login{upn: user.UPN, at: time.Now()}, client: app.ClientID, proof: proof}), req.tenant, w)
}
