package entraemu

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"tokenbroker/entra"
)

// platform is what a redirect URI is registered for: it decides how a code that
// is sent there has to be redeemed.
type platform uint8

const (
	web platform = iota
	native
	spa
)

// codeLifetime is how long a code can be redeemed.
const codeLifetime = 10 * time.Minute

// challengeSize is the length of a code challenge of method S256 (RFC 7636 §4.2).
const challengeSize = 43

// authorization is an authorization request (RFC 6749 §4.1.1) whose redirect
// URI has been checked: from here on refusals are sent there.
type authorization struct {
	redirect  string
	asked     string // redirect_uri, letter by letter; empty: it was not said
	platform  platform
	mode      string
	state     string
	nonce     string
	challenge string
}

// authCode is what stands behind an authorization code.
type authCode struct {
	authorization
	session  session
	wish     wish
	tenant   entra.Tenant
	expires  time.Time
	redeemed bool
}

// redirect returns the URI that is asked for, where it is one of the app's,
// letter by letter but for the port of a loopback address; of none asked for the
// app's first.
func (a *App) redirect(wanted string) (string, platform, *refusal) {
	registered := [][]string{web: a.RedirectURIs, native: a.NativeRedirectURIs, spa: a.SPARedirectURIs}
	none := true
	for p, uris := range registered {
		for _, uri := range uris {
			none = false
			if wanted == "" || sameRedirect(uri, wanted) {
				return cmp.Or(wanted, uri), platform(p), nil
			}
		}
	}
	if none {
		return "", web, noRedirect(a.ClientID)
	}
	return "", web, otherRedirect(wanted, a.ClientID)
}

// sameRedirect compares as Entra does. See "Redirect URI (reply URL) outline and
// restrictions", learn.microsoft.com/entra/identity-platform/reply-url#localhost-exceptions.
func sameRedirect(registered, wanted string) bool {
	a, errA := url.Parse(registered)
	b, errB := url.Parse(wanted)
	if registered == wanted || errA != nil || errB != nil {
		return registered == wanted
	}
	root := func(path string) string { return cmp.Or(path, "/") }
	loopback := a.Hostname() == "localhost" || a.Hostname() == "127.0.0.1"
	return loopback && a.Scheme == "http" && b.Scheme == "http" && a.Hostname() == b.Hostname() &&
		root(a.EscapedPath()) == root(b.EscapedPath()) && a.RawQuery == b.RawQuery && b.User == nil && b.Fragment == ""
}

// authorizeV1 tells the link by which a partner's customer consents from a
// request for a code: the latter says for which resource.
func (s *Server) authorizeV1(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if prompt := query.Get("prompt"); query.Get("resource") == "" && (prompt == "consent" || prompt == "admin_consent") {
		s.consent(partnerConsent)(w, r)
		return
	}
	s.browsing(s.authorize(v1))(w, r)
}

// authorize begins to sign a user in for an app.
func (s *Server) authorize(v version) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		si, no := s.parseAuthorize(r.PathValue("tenant"), r.Form)
		if no != nil {
			s.refusePage(w, no)
			return
		}
		if no := si.parse(v, r.Form); no != nil {
			s.respond(w, si.auth, failed(no))
			return
		}
		s.advance(w, r, si)
	}
}

// parseAuthorize reads who asks, and where the answer goes.
func (s *Server) parseAuthorize(name string, form url.Values) (*signIn, *refusal) {
	app, tenant, no := s.registration(name, form.Get("client_id"))
	if no != nil {
		return nil, no
	}
	auth := &authorization{
		asked: form.Get("redirect_uri"), mode: cmp.Or(form.Get("response_mode"), "query"),
		state: form.Get("state"), nonce: form.Get("nonce"), challenge: form.Get("code_challenge"),
	}
	if auth.redirect, auth.platform, no = app.redirect(auth.asked); no != nil {
		return nil, no
	}
	if !slices.Contains([]string{"query", "fragment", "form_post"}, auth.mode) {
		return nil, unsupportedResponseMode(auth.mode)
	}
	si := &signIn{auth: auth, client: app.ClientID, tenant: tenant, hint: form.Get("login_hint"), prompt: form.Get("prompt")}
	si.agreed = si.prompt != "consent"
	return si, nil
}

// parse reads what is asked for.
func (si *signIn) parse(v version, form url.Values) (no *refusal) {
	method := form.Get("code_challenge_method")
	switch {
	case form.Get("response_type") == "":
		return missing("response_type")
	case form.Get("response_type") != "code":
		return unsupportedResponseType(form.Get("response_type"))
	case (si.auth.challenge != "" || method != "") && (len(si.auth.challenge) != challengeSize || method != "S256"):
		return badChallenge()
	case !slices.Contains([]string{"", "login", "select_account", "consent", "none"}, si.prompt):
		return unsupportedPrompt(si.prompt)
	}
	// Version 1 may leave it to the token request.
	if v == v1 && form.Get("resource") == "" {
		si.wish = wish{openID: []string{"openid", "offline_access"}}
		return nil
	}
	si.wish, no = wishOf(v, form, wish{})
	return no
}

// failed is a refusal for an app's redirect URI.
func failed(no *refusal) url.Values {
	return url.Values{"error": {no.code}, "error_description": {no.Error()}, "error_uri": {errorURI(no)}}
}

// respond sends the browser back to the app.
func (s *Server) respond(w http.ResponseWriter, auth *authorization, answer url.Values) {
	if auth.state != "" {
		answer.Set("state", auth.state)
	}
	separator := "?"
	switch {
	case auth.mode == "form_post":
		s.page(w, formPostTemplate, struct {
			Action string
			Fields url.Values
		}{auth.redirect, answer})
		return
	case auth.mode == "fragment":
		separator = "#"
	case strings.Contains(auth.redirect, "?"):
		separator = "&"
	}
	w.Header().Set("Location", auth.redirect+separator+answer.Encode())
	w.WriteHeader(http.StatusFound)
}

// giveCode makes a code for a user who has signed in.
func (s *Server) giveCode(si *signIn, from session, tenant *Tenant) url.Values {
	value := "1." + rand.Text() + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[value] = authCode{authorization: *si.auth, session: from, wish: si.wish, tenant: tenant.ID, expires: time.Now().Add(codeLifetime)}
	return url.Values{"code": {value}, "session_state": {from.id}}
}

// byCode is the grant of RFC 6749 §4.1.3, with RFC 7636.
func (s *Server) byCode(req *tokenRequest, app *App) (*userGrant, *refusal) {
	value := req.form.Get("code")
	if value == "" {
		return nil, missing("code")
	}
	s.mu.Lock()
	code, known := s.codes[value]
	s.mu.Unlock()
	if !known || code.session.client != app.ClientID {
		return nil, badCode()
	}
	proof, no := s.proveTo(app, req, &code)
	switch {
	case no != nil:
		return nil, no
	case !time.Now().Before(code.expires):
		return nil, expiredCode()
	case req.tenant != nil && req.tenant.ID != code.tenant:
		return nil, otherTenantsCode()
	case req.form.Get("redirect_uri") != code.asked:
		return nil, otherReplyAddress(req.form.Get("redirect_uri"), code.asked)
	case code.challenge != "" && s256(req.form.Get("code_verifier")) != code.challenge:
		return nil, wrongVerifier()
	case code.platform == spa && code.challenge == "":
		return nil, wantsPKCE()
	}
	w, no := wishOf(req.version, req.form, code.wish)
	if no != nil {
		return nil, no
	}
	if !s.redeem(value) {
		return nil, redeemed()
	}
	code.session.proof, code.session.spa = proof, code.platform == spa
	g, no := s.toUser(req, s.open(code.session), s.tenantOf(code.tenant), w)
	if no == nil {
		g.nonce = code.nonce
	}
	return g, no
}

// proveTo authenticates the client as the platform of the code's redirect URI
// wants it.
func (s *Server) proveTo(app *App, req *tokenRequest, code *authCode) (proof string, no *refusal) {
	switch {
	case code.platform != web && req.proven():
		return "", publicClient()
	case code.platform == spa && req.origin == "":
		return "", crossOriginOnly()
	}
	return s.prove(app, req, code.platform != web)
}

// redeem marks a code, and reports whether nobody was faster.
func (s *Server) redeem(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := s.codes[value]
	first := !code.redeemed
	code.redeemed = true
	s.codes[value] = code
	return first
}

// s256 is the challenge of a verifier.
func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
