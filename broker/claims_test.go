package broker_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	"tokenbroker/entra"
)

const (
	entrasClaims = `{"access_token":{"capolids":{"essential":true,"values":["p1"]}}}`
	apisClaims   = `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`
)

// stepUp refuses to renew with Entra's claims, if it has any.
func stepUp(claims string) http.HandlerFunc {
	return answer(http.StatusBadRequest, fmt.Sprintf(`{"error":"invalid_grant","error_codes":[50076],"claims":%q}`, claims))
}

// A challenge that a renewal cannot meet goes to the caller, and along with the
// next sign-in: once, unless nobody came to that.
func TestNextSignInMeetsTheChallenge(t *testing.T) {
	for name, tc := range map[string]struct{ entras, apis, want string }{
		"Entra's":            {entrasClaims, "", entrasClaims},
		"the API's":          {"", apisClaims, apisClaims},
		"Entra's come first": {entrasClaims, apisClaims, entrasClaims},
		"none":               {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var handler http.HandlerFunc
				authority := w.authority(t, func(rw http.ResponseWriter, r *http.Request) {
					if r.Form.Get("grant_type") == refreshGrant {
						stepUp(tc.entras)(rw, r)
						return
					}
					handler(rw, r)
				})
				u := w.user(t, newDrawer())
				sent := func(ctx context.Context, poll http.HandlerFunc) (claims []string, account broker.Account, err error) {
					t.Helper()
					handler, _ = device(deviceCode, poll)
					before := len(authority.requests())
					account, err = u.Login(ctx, broker.LoginOptions{Scope: alerts}, func(broker.Prompt) {})
					for _, r := range authority.requests()[before:] {
						claims = append(claims, r.Form.Get("claims"))
					}
					return claims, account, err
				}
				all := func(when string, got []string, want string) {
					t.Helper()
					for _, claims := range got {
						if claims != want {
							t.Errorf("%s: asked for %q, want %q", when, claims, want)
						}
					}
					if len(got) < 2 {
						t.Errorf("%s: asked %d times, want for the code and for the token", when, len(got))
					}
				}
				good, pending, refused := answer(200, userAnswer), answer(400, `{"error":"authorization_pending"}`), answer(400, `{"error":"invalid_grant"}`)
				challenge := func(account broker.Account) {
					t.Helper()
					_, err := u.Token(t.Context(), entra.Request{Account: account.ID, Scope: alerts, Claims: tc.apis})
					wantLogin(t, err, "(MFA)")
					if got := entra.AsError(err).Claims; got != tc.want {
						t.Errorf("the caller is told of %q, want %q", got, tc.want)
					}
				}

				claims, account, err := sent(t.Context(), good)
				if err != nil {
					t.Fatal(err)
				}
				all("at first", claims, "")
				challenge(account)
				impatient, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				claims, _, _ = sent(impatient, pending)
				all("nobody came", claims, tc.want)
				claims, account, err = sent(t.Context(), good)
				if err != nil {
					t.Fatal(err)
				}
				all("after the challenge", claims, tc.want)
				claims, _, _ = sent(t.Context(), good)
				all("after it was met", claims, "")

				challenge(account)
				claims, _, _ = sent(t.Context(), refused)
				all("refused", claims, tc.want)
				claims, _, _ = sent(t.Context(), good)
				all("after the refusal", claims, "")

				challenge(account)
				if err := u.Logout(t.Context()); err != nil {
					t.Error(err)
				}
				claims, _, _ = sent(t.Context(), good)
				all("after a logout", claims, "")
			})
		})
	}
}

// The next sign-in may be another process's: login --direct, or the broker's
// after a restart.
func TestChallengeIsMetByAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		authority := w.authority(t, func(rw http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/devicecode"):
				answer(200, deviceCode)(rw, r)
			case r.Form.Get("grant_type") == refreshGrant:
				stepUp(entrasClaims)(rw, r)
			default:
				answer(200, userAnswer)(rw, r)
			}
		})
		store := newDrawer()
		asked := func(u *broker.User) (claims []string, account broker.Account) {
			t.Helper()
			before := len(authority.requests())
			account, err := u.Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) {})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range authority.requests()[before:] {
				claims = append(claims, r.Form.Get("claims"))
			}
			return claims, account
		}
		u := w.user(t, store)
		_, account := asked(u)
		_, err := u.Token(t.Context(), entra.Request{Account: account.ID, Scope: alerts})
		wantLogin(t, err, "(MFA)")
		if claims, _ := asked(w.user(t, store)); fmt.Sprint(claims) != fmt.Sprint([]string{entrasClaims, entrasClaims}) {
			t.Errorf("another process asked for %q, want the claims of the challenge for the code and for the token", claims)
		}
		if claims, _ := asked(u); fmt.Sprint(claims) != fmt.Sprint([]string{"", ""}) {
			t.Errorf("asked for %q again, after they were met", claims)
		}
	})
}

// By browser the challenge is in the page's address, and where the code is
// redeemed.
func TestBrowserMeetsTheChallenge(t *testing.T) {
	w := newWorld(t)
	authority := w.authority(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Form.Get("grant_type") == refreshGrant {
			stepUp(entrasClaims)(rw, r)
			return
		}
		answer(200, userAnswer)(rw, r)
	})
	u := w.user(t, newDrawer(), byBrowser)
	signIn := func() (page, redeemed string, account broker.Account) {
		t.Helper()
		b := browse(t.Context(), t, u, broker.LoginOptions{Scope: alerts})
		at, err := url.Parse(b.prompt.URL)
		if err != nil {
			t.Fatal(err)
		}
		q := at.Query()
		get(t, http.MethodGet, q.Get("redirect_uri")+"/?code=c&state="+q.Get("state"))
		if err := <-b.done; err != nil {
			t.Fatal(err)
		}
		asked := authority.requests()
		return q.Get("claims"), asked[len(asked)-1].Form.Get("claims"), b.got
	}
	page, redeemed, account := signIn()
	if page != "" || redeemed != "" {
		t.Errorf("asked for %q and %q before there was a challenge", page, redeemed)
	}
	_, err := u.Token(t.Context(), entra.Request{Account: account.ID, Scope: alerts})
	wantLogin(t, err, "(MFA)")
	if page, redeemed, _ = signIn(); page != entrasClaims || redeemed != entrasClaims {
		t.Errorf("asked for %q and %q, want %s", page, redeemed, entrasClaims)
	}
}

// What every flow of a user's is refused with carries the claims on.
func TestRefusalsOfEveryFlowCarryTheClaims(t *testing.T) {
	path := t.TempDir() + "/password"
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		writeFile(t, path, "password-canary")
		w.authority(t, func(rw http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/devicecode"):
				answer(200, deviceCode)(rw, r)
			case strings.Contains(r.URL.Path, "/UserRealm/"):
				answer(200, `{"account_type":"Managed","domain_name":"contoso.example","cloud_instance_name":"login.example","cloud_audience_urn":"urn:federation:example"}`)(rw, r)
			default:
				stepUp(entrasClaims)(rw, r)
			}
		})
		_, byCode := w.user(t, newDrawer()).Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) {})
		_, byPassword := w.password(t, path, alice).Token(t.Context(), entra.Request{Scope: alerts})
		for flow, err := range map[string]error{"device code": byCode, "password": byPassword} {
			if e := entra.AsError(err); e == nil || e.Kind != entra.Challenged || e.Claims != entrasClaims {
				t.Errorf("%s: got %+v, want the claims", flow, e)
			}
		}
	})
}
