package entraemu

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"
)

// sessionCookie tells a browser.
const sessionCookie = "ESTSAUTH"

// signInLifetime is how long a page waits for its user.
const signInLifetime = 15 * time.Minute

// step is the page that a sign-in is at.
type step uint8

const (
	askAccount step = iota
	askPassword
	askMFA
	askConsent
	complete
)

// signIn is a user's way through the pages, for an app or for a device.
type signIn struct {
	auth   *authorization // nil: for a device
	device string         // the device code; empty: for an app
	client string
	tenant *Tenant // nil: the user's
	wish   wish
	prompt string
	hint   string

	step    step
	login   login // nobody yet: the zero value
	agreed  bool  // to everything, where prompt asks for that
	expires time.Time
}

// browsing counts, lets faults happen, and reads the form of a page.
func (s *Server) browsing(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		formErr := r.ParseForm()
		f, changed := s.takeFault(SignInEndpoint)
		if s.fail(w, r, f, changed) {
			return
		}
		if formErr != nil {
			s.refusePage(w, malformed("the body is no form, or too large"))
			return
		}
		next(w, r)
	}
}

// advance goes on with a sign-in as far as it goes without the user, and then
// asks them.
func (s *Server) advance(w http.ResponseWriter, r *http.Request, si *signIn) {
	d, no := s.next(r, si)
	switch {
	case no != nil && si.prompt == "none" && si.auth != nil:
		s.respond(w, si.auth, failed(no))
	case no != nil:
		s.refusePage(w, no)
	case si.step == complete:
		s.finish(w, si, d)
	case si.prompt == "none":
		s.respond(w, si.auth, failed(si.silently()))
	default:
		s.ask(w, r, si, d, nil)
	}
}

// silently is why a sign-in without a page cannot be.
func (si *signIn) silently() *refusal {
	switch si.step {
	case askMFA:
		return needsMFA(si.wish.audience).as("interaction_required")
	case askConsent:
		return unconsented(si.client).as("consent_required")
	default:
		return nobodySignedIn()
	}
}

// next finds the step that a sign-in is at, and, from the consent on, what is
// consented to.
func (s *Server) next(r *http.Request, si *signIn) (*delegation, *refusal) {
	if si.login.upn == "" {
		if si.step = s.pick(r, si); si.login.upn == "" {
			return nil, nil
		}
	}
	user, no := s.standing(si.login, si.wish.audience)
	if no != nil && no.number == 50076 {
		si.step = askMFA
		return nil, nil
	}
	if no != nil {
		return nil, no
	}
	tenant := si.tenant
	if tenant == nil {
		tenant = s.tenantOf(user.Home)
	}
	d, no := s.delegate(si.client, user, tenant, si.wish)
	if no != nil {
		return nil, no
	}
	si.step = complete
	if len(d.lacking) > 0 || !si.agreed {
		si.step = askConsent
	}
	if len(d.lacking) > 0 && tenant.AdminsConsent && !user.governs(tenant) {
		return nil, adminsOnly(si.client)
	}
	return d, nil
}

// pick takes the user whom the browser is signed in as, where there is no
// choice to make.
func (s *Server) pick(r *http.Request, si *signIn) step {
	known := s.signedIn(r)
	hinted := slices.IndexFunc(known, func(l login) bool { return strings.EqualFold(l.upn, si.hint) })
	switch {
	case si.prompt == "login", len(known) == 0:
		return askPassword
	case si.prompt == "select_account":
		return askAccount
	case hinted >= 0:
		si.login = known[hinted]
	case si.hint != "":
		return askPassword
	case len(known) > 1:
		return askAccount
	default:
		si.login = known[0]
	}
	return complete
}

// signedIn returns who has signed in with the browser, and still may.
func (s *Server) signedIn(r *http.Request) []login {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	known := slices.Clone(s.browsers[cookie.Value])
	s.mu.Unlock()
	return slices.DeleteFunc(known, func(l login) bool {
		_, no := s.standing(l, "")
		return no != nil && no.number != 50076 // that can be made good for
	})
}

// keep makes the browser remember a login.
func (s *Server) keep(w http.ResponseWriter, r *http.Request, l login) {
	value := rand.Text()
	if cookie, err := r.Cookie(sessionCookie); err == nil && len(s.signedIn(r)) > 0 {
		value = cookie.Value
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	s.mu.Lock()
	defer s.mu.Unlock()
	same := func(other login) bool { return strings.EqualFold(other.upn, l.upn) }
	s.browsers[value] = append(slices.DeleteFunc(slices.Clone(s.browsers[value]), same), l)
}

// continueSignIn takes what a user sent from a page.
func (s *Server) continueSignIn(w http.ResponseWriter, r *http.Request) {
	si, ok := s.takeSignIn(r.PostForm.Get("flow"))
	if !ok {
		s.refusePage(w, flowExpired())
		return
	}
	if r.PostForm.Get("answer") == "cancel" {
		s.abandon(w, &si)
		return
	}
	if no := s.take(w, r, &si); no != nil {
		s.count(func(stats *Stats) { stats.Refused[no.number]++ })
		s.ask(w, r, &si, nil, no)
		return
	}
	s.advance(w, r, &si)
}

// takeSignIn ends the life of a page, and returns the sign-in that it was of.
func (s *Server) takeSignIn(flow string) (signIn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	si, ok := s.signIns[flow]
	delete(s.signIns, flow)
	return si, ok && time.Now().Before(si.expires)
}

// take does what the user answered. A refusal is shown on the page that they
// answered from.
func (s *Server) take(w http.ResponseWriter, r *http.Request, si *signIn) *refusal {
	switch si.step {
	case askAccount:
		known := s.signedIn(r)
		chosen := slices.IndexFunc(known, func(l login) bool { return l.upn == r.PostForm.Get("login") })
		si.prompt, si.hint = "login", ""
		if chosen >= 0 {
			si.login = known[chosen]
		}
	case askPassword:
		user, no := s.logIn(r.PostForm.Get("login"), r.PostForm.Get("passwd"))
		if no != nil {
			si.hint = r.PostForm.Get("login")
			return no
		}
		si.login = login{upn: user.UPN, at: time.Now()}
		s.keep(w, r, si.login)
	case askMFA:
		if strings.TrimSpace(r.PostForm.Get("otc")) != MFACode {
			return wrongMFACode()
		}
		si.login.mfa = true
		s.keep(w, r, si.login)
	case askConsent:
		if d, no := s.next(r, si); no == nil && d != nil { // else something has changed while they read
			s.consentTo(d, d.user.governs(d.tenant) && r.PostForm.Get("organisation") != "")
			si.agreed = true
		}
	case complete: // has no page
	}
	return nil
}

// finish gives the app or the device what it waits for.
func (s *Server) finish(w http.ResponseWriter, si *signIn, d *delegation) {
	s.count(func(stats *Stats) { stats.SignIns++ })
	from := s.open(session{login: si.login, client: si.client})
	if si.auth != nil {
		s.respond(w, si.auth, s.giveCode(si, from, d.tenant))
		return
	}
	if no := s.settle(si.device, signedInto(from, d.tenant)); no != nil {
		s.refusePage(w, no)
		return
	}
	s.page(w, doneTemplate, "You have signed in to the application on your device.")
}

// abandon tells the app or the device that the user does not want to.
func (s *Server) abandon(w http.ResponseWriter, si *signIn) {
	if si.auth != nil {
		s.respond(w, si.auth, failed(userDeclined()))
		return
	}
	if no := s.settle(si.device, func(device *deviceCode) { device.declined = true }); no != nil {
		s.refusePage(w, no)
		return
	}
	s.page(w, doneTemplate, "You declined. The application on your device has been told.")
}

// logout forgets who has signed in with the browser.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		delete(s.browsers, cookie.Value)
		s.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	if to := r.URL.Query().Get("post_logout_redirect_uri"); s.isRedirect(to) {
		http.Redirect(w, r, to, http.StatusFound) //nolint:gosec // to a redirect URI of an app's registration
		return
	}
	s.page(w, doneTemplate, "You signed out of your account.")
}

// isRedirect reports whether a URI is one of any app's.
func (s *Server) isRedirect(uri string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uri != "" && slices.ContainsFunc(s.apps, func(a App) bool {
		_, _, no := a.redirect(uri)
		return no == nil
	})
}
