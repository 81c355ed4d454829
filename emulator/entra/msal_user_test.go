package entraemu_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	msalerrors "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"

	entraemu "tokenbroker/emulator/entra"
)

// newPublic is MSAL as a public client of a tenant.
func (w *world) newPublic(t *testing.T, in string) public.Client {
	t.Helper()
	c, err := public.New(client, public.WithAuthority("https://"+host+"/"+in), public.WithHTTPClient(w.http), public.WithInstanceDiscovery(false))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// msalCodes are the numbers in the answer that made MSAL fail.
func msalCodes(t *testing.T, err error) []int {
	t.Helper()
	failed, ok := errors.AsType[msalerrors.CallErr](err)
	if !ok {
		t.Fatalf("got %v, want an error of a call", err)
	}
	var body struct {
		Codes []int `json:"error_codes"`
	}
	if err := json.NewDecoder(failed.Resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body.Codes
}

// isFor checks whose token MSAL got, and under which account it files it.
func (w *world) isFor(t *testing.T, got public.AuthResult, upn string) {
	t.Helper()
	user, _ := w.User(upn)
	claims, err := w.Verify(got.AccessToken)
	if err != nil || claims.User != upn || got.Account.HomeAccountID != user.ObjectID+"."+tenant || got.Account.PreferredUsername != upn || got.IDToken.Oid != user.ObjectID {
		t.Errorf("got %+v of %+v, %v, want %s's", claims, got.Account, err, upn)
	}
}

func TestMSALByPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, in := range []string{tenant, "contoso.example", "organizations"} {
			got, err := w.newPublic(t, in).AcquireTokenByUsernamePassword(t.Context(), []string{alertScope, mdeHost + "/Machine.Read"}, alice, w.password(t, alice)) //nolint:staticcheck // the documentation's samples still do it
			if err != nil {
				t.Fatalf("%s: %v", in, err)
			}
			w.isFor(t, got, alice)
		}
		_, err := w.newPublic(t, tenant).AcquireTokenByUsernamePassword(t.Context(), []string{alertScope}, alice, "wrong") //nolint:staticcheck // as above
		if got := msalCodes(t, err); len(got) != 1 || got[0] != 50126 {
			t.Errorf("got %v, want 50126", got)
		}
		w.edit(t, bob, func(u *entraemu.User) { u.Federation = "https://sts.contoso.example/mex" })
		if _, err := w.newPublic(t, tenant).AcquireTokenByUsernamePassword(t.Context(), []string{alertScope}, bob, "x"); err == nil || !strings.Contains(err.Error(), "mex") { //nolint:staticcheck // as above
			t.Errorf("a federated user: got %v, want MSAL to ask the federation service", err)
		}
	})
}

func TestMSALByDeviceCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.newPublic(t, "organizations")
		begin := func() public.DeviceCode {
			t.Helper()
			code, err := c.AcquireTokenByDeviceCode(t.Context(), []string{alertScope})
			if err != nil {
				t.Fatal(err)
			}
			return code
		}
		code := begin()
		go func() {
			time.Sleep(time.Minute)
			if err := w.Approve(code.Result.UserCode, bob); err != nil {
				t.Error(err)
			}
		}()
		got, err := code.AuthenticationResult(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.isFor(t, got, bob)
		if code.Result.Interval != 5 || code.Result.VerificationURL != devicePage {
			t.Errorf("got %+v", code.Result)
		}

		declined := begin()
		if err := w.Decline(declined.Result.UserCode); err != nil {
			t.Fatal(err)
		}
		if _, err := declined.AuthenticationResult(t.Context()); err == nil || !strings.Contains(err.Error(), "authorization_declined") {
			t.Errorf("declined: got %v", err)
		}
		if _, err := begin().AuthenticationResult(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody comes: got %v", err)
		}
	})
}

// MSAL listens on a socket, so this takes place outside of a bubble.
func TestMSALInteractive(t *testing.T) {
	w := newWorld(t)
	w.edit(t, alice, func(u *entraemu.User) { u.MFA = true })
	transport := &http.Transport{DisableKeepAlives: true}
	browse := func(p *entraemu.Person) func(string) error {
		return func(page string) error {
			req, err := p.SignIn(t.Context(), page)
			if err != nil {
				return err
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}
	}
	got, err := w.newPublic(t, tenant).AcquireTokenInteractive(t.Context(), []string{alertScope}, public.WithOpenURL(browse(w.person(t, alice))))
	if err != nil {
		t.Fatal(err)
	}
	w.isFor(t, got, alice)

	p := w.person(t, bob)
	p.Declines = "password"
	if _, err := w.newPublic(t, tenant).AcquireTokenInteractive(t.Context(), []string{alertScope}, public.WithOpenURL(browse(p))); err == nil || !strings.Contains(err.Error(), "AADSTS65004") {
		t.Errorf("declined: got %v", err)
	}
}

func TestMSALByCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.newPublic(t, tenant)
		page, err := c.AuthCodeURL(t.Context(), client, localhost, []string{alertScope}, public.WithLoginHint(alice))
		if err != nil {
			t.Fatal(err)
		}
		pkce := url.Values{"code_challenge": {challenge}, "code_challenge_method": {"S256"}}.Encode()
		_, answer := goes(t, w.person(t, alice), page+"&"+pkce)
		got, err := c.AcquireTokenByAuthCode(t.Context(), answer.Get("code"), localhost, []string{alertScope}, public.WithChallenge(verifier))
		if err != nil {
			t.Fatal(err)
		}
		w.isFor(t, got, alice)

		for name, credential := range credentials(t, w) {
			confidentially := newClient(t, "https://"+host+"/organizations", credential, confidential.WithHTTPClient(w.http), confidential.WithInstanceDiscovery(false))
			page, err := confidentially.AuthCodeURL(t.Context(), client, portal, []string{alertScope})
			if err != nil {
				t.Fatal(err)
			}
			_, answer := goes(t, w.person(t, bob), page)
			got, err := confidentially.AcquireTokenByAuthCode(t.Context(), answer.Get("code"), portal, []string{alertScope})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if claims, err := w.Verify(got.AccessToken); err != nil || claims.User != bob {
				t.Errorf("%s: got %+v, %v", name, claims, err)
			}
		}
	})
}

func TestMSALRefreshesSilentlyUntilRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.newPublic(t, tenant)
		first, err := c.AcquireTokenByUsernamePassword(t.Context(), []string{alertScope}, bob, w.password(t, bob)) //nolint:staticcheck // the quickest way in
		if err != nil {
			t.Fatal(err)
		}
		before := first.AccessToken
		for day := range 100 { // longer than one refresh token lives
			time.Sleep(24 * time.Hour)
			got, err := c.AcquireTokenSilent(t.Context(), []string{alertScope}, public.WithSilentAccount(first.Account))
			if err != nil {
				t.Fatalf("day %d: %v", day, err)
			}
			w.isFor(t, got, bob)
			if got.AccessToken == before {
				t.Fatal("got the token of before")
			}
			before = got.AccessToken
		}
		if got := w.Stats().Given["refresh_token"]; got != 100 {
			t.Errorf("refreshed %d times, want 100", got)
		}
		// In the other tenant that he is in, with the same refresh token.
		got, err := c.AcquireTokenSilent(t.Context(), []string{alertScope}, public.WithSilentAccount(first.Account), public.WithTenantID(fabrikam))
		if err != nil {
			t.Fatal(err)
		}
		if claims, err := w.Verify(got.AccessToken); err != nil || claims.Tenant != fabrikam {
			t.Errorf("got %+v, %v", claims, err)
		}

		if err := w.RevokeSessions(bob); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		_, err = c.AcquireTokenSilent(t.Context(), []string{alertScope}, public.WithSilentAccount(first.Account))
		if got := msalCodes(t, err); len(got) != 1 || got[0] != 50173 {
			t.Errorf("revoked: got %v", got)
		}
	})
}

func TestMSALOnBehalfOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for name, credential := range credentials(t, w) {
			c := newClient(t, "https://"+host+"/"+tenant, credential, confidential.WithHTTPClient(w.http), confidential.WithInstanceDiscovery(false))
			for _, upn := range []string{alice, bob} {
				assertion := w.forBroker(t, upn, tenant)
				var first confidential.AuthResult
				for range 2 {
					got, err := c.AcquireTokenOnBehalfOf(t.Context(), assertion, []string{alertScope})
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if claims, err := w.Verify(got.AccessToken); err != nil || claims.User != upn || first.AccessToken != "" && got.AccessToken != first.AccessToken {
						t.Errorf("%s: got %+v, %v", name, claims, err)
					}
					first = got
				}
			}
			_, err := c.AcquireTokenOnBehalfOf(t.Context(), w.forBroker(t, alice, tenant)+"x", []string{alertScope})
			if got := msalCodes(t, err); got[0] != 50013 && got[0] != 50027 {
				t.Errorf("%s: got %v", name, got)
			}
		}
		if got := w.Stats().Given[onBehalf]; got != 6 {
			t.Errorf("got %d exchanges, want 6", got)
		}
	})
}
