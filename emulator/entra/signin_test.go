package entraemu_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// redeemedBy is whose token a code is good for.
func (w *world) redeemedBy(t *testing.T, code string) string {
	t.Helper()
	_, claims := w.userToken(t, "/organizations/"+tokenPath, byCode(code))
	return claims.User
}

func TestBrowserRemembersWhoSignedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.person(t, alice)
		w.code(t, p)
		p.Password = "forgotten"
		if got := w.redeemedBy(t, w.code(t, p)); got != alice {
			t.Errorf("without a prompt: got %s", got)
		}
		if got := w.redeemedBy(t, w.code(t, p, "prompt", "none", "tenant", "common")); got != alice {
			t.Errorf("prompt=none: got %s", got)
		}
		if got := w.redeemedBy(t, w.code(t, p, "prompt", "select_account")); got != alice {
			t.Errorf("the account picked: got %s", got)
		}
		if _, err := p.SignIn(t.Context(), authorizeURL("prompt", "login")); err == nil || !strings.Contains(err.Error(), "50126") {
			t.Errorf("prompt=login: got %v, want it to ask for the password", err)
		}

		// A second user of the same browser.
		p.User, p.Password = bob, w.password(t, bob)
		if got := w.redeemedBy(t, w.code(t, p)); got != alice {
			t.Errorf("nobody is asked: got %s, want who is signed in", got)
		}
		if got := w.redeemedBy(t, w.code(t, p, "prompt", "select_account")); got != bob {
			t.Errorf("another account: got %s", got)
		}
		if got := w.redeemedBy(t, w.code(t, p, "login_hint", strings.ToUpper(alice))); got != alice {
			t.Errorf("a hint: got %s", got)
		}
		if got := w.redeemedBy(t, w.code(t, p)); got != bob {
			t.Errorf("of two, the one picked: got %s", got)
		}
		if _, answer := goes(t, p, authorizeURL("prompt", "none")); answer.Get("error") != "login_required" {
			t.Errorf("of two, nobody picks: got %v", answer)
		}

		// A session that was revoked is over, and one that was signed out of.
		time.Sleep(time.Second)
		if err := w.RevokeSessions(bob); err != nil {
			t.Fatal(err)
		}
		if got := w.redeemedBy(t, w.code(t, p, "prompt", "none")); got != alice {
			t.Errorf("after the revocation: got %s", got)
		}
		p.User = "nobody@contoso.example"
		if _, err := p.SignIn(t.Context(), authorizeURL("login_hint", bob)); err == nil {
			t.Error("a hint of somebody else is taken for who is signed in")
		}
		cookies := p.HTTP.Jar.Cookies(&url.URL{Scheme: "https", Host: host, Path: "/"})
		resp, err := p.HTTP.Get("https://" + host + "/common/oauth2/v2.0/logout")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if _, answer := goes(t, p, authorizeURL("prompt", "none")); answer.Get("error") != "login_required" || answer.Get("error_uri") == "" {
			t.Errorf("after the logout: got %v", answer)
		}
		p.HTTP.Jar.SetCookies(&url.URL{Scheme: "https", Host: host, Path: "/"}, cookies)
		if _, answer := goes(t, p, authorizeURL("prompt", "none")); answer.Get("error") != "login_required" {
			t.Errorf("after the logout, with the cookie of before: got %v", answer)
		}
	})
}

func TestLogoutGoesBackToTheApp(t *testing.T) {
	w := newWorld(t)
	for to, want := range map[string]string{localhost: localhost, "https://evil.example": "", "": ""} {
		got := w.get(t, "/"+tenant+"/oauth2/v2.0/logout?post_logout_redirect_uri="+url.QueryEscape(to))
		if got.Header.Get("Location") != want || want == "" && !strings.Contains(got.body, "signed out") {
			t.Errorf("%s: got %s %s", to, got.Status, got.Header.Get("Location"))
		}
	}
}

func TestSecondFactor(t *testing.T) {
	w := newWorld(t)
	p := w.person(t, alice)
	w.code(t, p)
	w.edit(t, alice, func(u *entraemu.User) { u.MFA = true })
	if _, answer := goes(t, p, authorizeURL("prompt", "none")); answer.Get("error") != "interaction_required" || !strings.Contains(answer.Get("error_description"), "50076") {
		t.Errorf("prompt=none: got %v", answer)
	}
	p.MFACode = "wrong"
	if _, err := p.SignIn(t.Context(), authorizeURL()); err == nil || !strings.Contains(err.Error(), "AADSTS500121") {
		t.Errorf("a wrong code: got %v", err)
	}
	p.MFACode = ""
	token, _ := w.userToken(t, tokenPath, byCode(w.code(t, p)))
	if amr, _ := payload(t, token.Access)["amr"].([]any); len(amr) != 2 || amr[1] != "mfa" {
		t.Errorf("amr: got %v", amr)
	}
	w.userToken(t, tokenPath, byRefresh(token.Refresh))
	w.code(t, p, "prompt", "none") // the browser remembers that too
	p.Declines = "mfa"
	if _, answer := goes(t, p, authorizeURL("prompt", "login")); answer.Get("error") != "access_denied" || !strings.Contains(answer.Get("error_description"), "65004") {
		t.Errorf("declined: got %v", answer)
	}
}

func TestPasswordPageRefuses(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		name   string
		user   func(*entraemu.User)
		number string
	}{
		{"disabled", func(u *entraemu.User) { u.Disabled = true }, "50057"},
		{"expired", func(u *entraemu.User) { u.Disabled, u.PasswordExpired = false, true }, "50055"},
		{"another password", func(u *entraemu.User) { u.PasswordExpired, u.Password = false, entra.NewSecret("next") }, "50126"},
	} {
		p := w.person(t, alice)
		w.edit(t, alice, tc.user)
		if _, err := p.SignIn(t.Context(), authorizeURL()); err == nil || !strings.Contains(err.Error(), "AADSTS"+tc.number+":") || strings.Contains(err.Error(), p.Password) {
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.number)
		}
	}
	if got := w.Stats().Refused; got[50057] != 1 || got[50126] != 1 {
		t.Errorf("statistics: got %v", got)
	}
	w.edit(t, bob, func(u *entraemu.User) { u.Federation = "https://sts.contoso.example/mex" })
	w.code(t, w.person(t, bob)) // in the place of the federation's page
}

func TestUserConsents(t *testing.T) {
	without := func(c *entraemu.Config) {
		c.Apps[0].Consents = nil
		c.Apps[0].Delegates = entraemu.Scopes{entraemu.MDE: {"Machine.Read", "Score.Read"}}
	}
	w := newWorld(t, without)
	p := w.person(t, alice)
	p.Declines = "consent"
	if to, answer := goes(t, p, authorizeURL()); to != localhost || answer.Get("error") != "access_denied" {
		t.Errorf("declined: got %v", answer)
	}
	if _, answer := goes(t, p, authorizeURL("prompt", "none")); answer.Get("error") != "consent_required" || !strings.Contains(answer.Get("error_description"), "65001") {
		t.Errorf("prompt=none: got %v", answer)
	}
	p.Declines, p.Organisation = "", true // she may not: she is no administrator
	if _, claims := w.userToken(t, tokenPath, byCode(w.code(t, p))); claims.Scp != "Alert.Read" {
		t.Errorf("got %s", claims.Scp)
	}
	w.code(t, p, "prompt", "none")
	if _, claims := w.userToken(t, tokenPath, byCode(w.code(t, p, "scope", mdeHost+"/Machine.Read offline_access"))); claims.Scp != "Alert.Read Machine.Read" {
		t.Errorf("one more: got %s", claims.Scp)
	}
	if got := w.Stats().Consents; got != 2 {
		t.Errorf("got %d consents, want 2", got)
	}
	before := w.Stats().Consents
	w.code(t, p, "prompt", "consent")
	if got := w.Stats().Consents; got != before+1 {
		t.Error("prompt=consent: nobody was asked")
	}
	w.refused(t, "another user", tokenPath, w.byPassword(t, bob), 65001, "invalid_grant")

	// An administrator, for everybody; .default is what the app is registered for.
	w.edit(t, bob, func(u *entraemu.User) { u.Admin = true })
	admin := w.person(t, bob)
	if _, claims := w.userToken(t, tokenPath, byCode(w.code(t, admin, "scope", mdeHost+"/.default"))); claims.Scp != "Machine.Read Score.Read" {
		t.Errorf("for himself: got %s", claims.Scp)
	}
	admin.Organisation = true
	w.code(t, admin, "scope", "https://api.security.microsoft.com/Incident.Read")
	w.code(t, admin)
	w.userToken(t, tokenPath, w.byPassword(t, alice, "scope", "https://api.security.microsoft.com/Incident.Read"))
	if _, claims := w.userToken(t, tokenPath, w.byPassword(t, alice)); claims.Scp != "Alert.Read Machine.Read" {
		t.Errorf("hers and everybody's: got %s", claims.Scp)
	}
	// Elsewhere nobody has consented.
	w.refused(t, "another tenant", "/"+fabrikam+"/"+tokenPath, w.byPassword(t, bob), 65001, "invalid_grant")
}

func TestAdministratorsAloneConsent(t *testing.T) {
	w := newWorld(t, func(c *entraemu.Config) {
		c.Tenants[0].AdminsConsent = true
		c.Apps[0].Consents = nil
	})
	if _, err := w.person(t, alice).SignIn(t.Context(), authorizeURL()); err == nil || !strings.Contains(err.Error(), "AADSTS90094") {
		t.Errorf("got %v, want 90094", err)
	}
	p := w.person(t, alice)
	if _, err := p.SignIn(t.Context(), authorizeURL("prompt", "login")); err == nil {
		t.Error("a user consented")
	}
	if _, answer := goes(t, p, authorizeURL("prompt", "none")); answer.Get("error") != "consent_required" || !strings.Contains(answer.Get("error_description"), "90094") {
		t.Errorf("prompt=none: got %v", answer)
	}
	if err := w.Approve(w.device(t, devicePath).UserCode, alice); err == nil || !strings.Contains(err.Error(), "90094") {
		t.Errorf("got %v, want 90094", err)
	}
	w.edit(t, bob, func(u *entraemu.User) { u.Admin = true })
	admin := w.person(t, bob)
	admin.Organisation = true
	w.code(t, admin)
	w.code(t, w.person(t, alice))
}

// The partners' and administrators' links grant what users are asked for too.
func TestAdministratorsLinkConsentsForUsers(t *testing.T) {
	w := newWorld(t, withoutConsent, func(c *entraemu.Config) { c.Apps[0].Delegates = entraemu.Scopes{entraemu.MDE: {"Alert.Read"}} })
	if page := w.get(t, consentLink); !strings.Contains(page.body, "in the name of users: Alert.Read") {
		t.Errorf("got %s", page.body)
	}
	w.refused(t, "before", "/"+fabrikam+"/"+tokenPath, w.byPassword(t, bob), 65001, "invalid_grant")
	w.post(t, consentLink, url.Values{"answer": {"accept"}})
	w.userToken(t, "/"+fabrikam+"/"+tokenPath, w.byPassword(t, bob))
}

func TestPageOfASignInIsGoodOnceAndForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		link := strings.TrimPrefix(authorizeURL("login_hint", alice), "https://"+host)
		open := func() url.Values {
			page := w.get(t, link)
			if !strings.Contains(page.body, `value="`+alice+`"`) || page.Header.Get("X-Frame-Options") != "DENY" {
				t.Errorf("got %v %s", page.Header, page.body)
			}
			return url.Values{"flow": {between(page.body, `name="flow" value="`, `"`)}, "login": {alice}, "passwd": {w.password(t, alice)}}
		}
		answer := open()
		if got := w.post(t, "/common/login", answer); got.StatusCode != http.StatusFound || !strings.Contains(got.Header.Get("Set-Cookie"), "Secure") {
			t.Errorf("got %s %v", got.Status, got.Header)
		}
		if got := w.post(t, "/common/login", answer); !strings.Contains(got.body, "AADSTS50089") {
			t.Errorf("again: got %s %s", got.Status, got.body)
		}
		late := open()
		time.Sleep(15 * time.Minute)
		for name, answer := range map[string]url.Values{"late": late, "none": {}} {
			if got := w.post(t, "/common/login", answer); !strings.Contains(got.body, "AADSTS50089") {
				t.Errorf("%s: got %s %s", name, got.Status, got.body)
			}
		}
	})
}

// What changes while somebody looks at the page that asks them to consent.
func TestChangesWhileAPageWaits(t *testing.T) {
	w := newWorld(t, func(c *entraemu.Config) { c.Apps[0].Consents[0].Scopes = nil })
	link := strings.TrimPrefix(authorizeURL(), "https://"+host)
	flow := func(page answer) string { return between(page.body, `name="flow" value="`, `"`) }
	ask := func(user string) string {
		page := w.post(t, "/common/login", url.Values{"flow": {flow(w.get(t, link))}, "login": {user}, "passwd": {w.password(t, user)}})
		if !strings.Contains(page.body, `<form id="consent"`) {
			t.Fatalf("got %s", page.body)
		}
		return flow(page)
	}
	first, second := ask(alice), ask(bob)
	w.edit(t, alice, func(u *entraemu.User) { u.MFA = true })
	if got := w.post(t, "/common/login", url.Values{"flow": {first}, "answer": {"accept"}}); !strings.Contains(got.body, `<form id="mfa"`) {
		t.Errorf("MFA since: got %s", got.body)
	}
	w.edit(t, bob, func(u *entraemu.User) { u.Disabled = true })
	if got := w.post(t, "/common/login", url.Values{"flow": {second}, "answer": {"accept"}}); !strings.Contains(got.body, "AADSTS50057") {
		t.Errorf("disabled since: got %s", got.body)
	}
	if w.Stats().Consents != 0 {
		t.Error("a consent counted that nobody could give")
	}
}

func TestPersonNamesWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	p := w.person(t, alice)
	for page, want := range map[string]string{
		"https://" + host + "/elsewhere": "no form",
		"://":                            "missing protocol",
		"https://unknown.example/":       "unknown.example",
		"https://" + host + "/common/oauth2/token": "no form",
	} {
		if _, err := p.SignIn(t.Context(), page); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", page, err, want)
		}
	}
}
