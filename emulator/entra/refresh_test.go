package entraemu_test

import (
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

func TestRefreshTokenRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, _ := w.userToken(t, tokenPath, w.byPassword(t, alice))
		second, claims := w.userToken(t, tokenPath, byRefresh(first.Refresh))
		if second.Refresh == "" || second.Refresh == first.Refresh || second.Access == first.Access || claims.User != alice {
			t.Errorf("got %+v, %+v", second, claims)
		}
		// The old one stays for a grace, from its first use on.
		time.Sleep(time.Hour)
		w.userToken(t, tokenPath, byRefresh(first.Refresh))
		time.Sleep(time.Second)
		e := w.refused(t, "after the grace", tokenPath, byRefresh(first.Refresh), 70000, "invalid_grant")
		if e.Suberror != "bad_token" {
			t.Errorf("got %+v", e)
		}
		w.userToken(t, tokenPath, byRefresh(second.Refresh))

		third, _ := w.userToken(t, tokenPath, byRefresh(second.Refresh))
		time.Sleep(90 * 24 * time.Hour)
		w.refused(t, "inactive", tokenPath, byRefresh(third.Refresh), 700082, "invalid_grant")
	})
}

func TestRefreshTokenIsForEveryResourceAndTenantOfItsUser(t *testing.T) {
	w := newWorld(t)
	token, _ := w.userToken(t, tokenPath, w.byPassword(t, bob))
	if _, claims := w.userToken(t, "/"+fabrikam+"/"+tokenPath, byRefresh(token.Refresh, "scope", "https://api.security.microsoft.com/Incident.Read")); claims.Tenant != fabrikam || claims.Scp == "" || claims.Audience[0] != "https://api.security.microsoft.com" {
		t.Errorf("got %+v", claims)
	}
	// Without a scope it is the one of before, and without a tenant too.
	if again, claims := w.userToken(t, "/organizations/"+tokenPath, byRefresh(token.Refresh, "scope", "")); claims.Tenant != tenant || claims.Audience[0] != mdeHost || again.ID == "" {
		t.Errorf("got %+v", claims)
	}
	// Entra's version 1 takes it too.
	got := w.post(t, "oauth2/token", byRefresh(token.Refresh, "scope", "", "resource", "https://api.securitycenter.windows.com"))
	if fields := fieldsOf(t, got.body); fields["resource"] != "https://api.securitycenter.windows.com" {
		t.Errorf("got %v", fields)
	}
}

func TestRefreshTokenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *entraemu.Config) {
			c.Apps[0].Secrets = []entraemu.Secret{{Value: entra.NewSecret("good")}}
		})
		token, _ := w.userToken(t, tokenPath, w.byPassword(t, alice))
		confidential, _ := w.userToken(t, tokenPath, w.byPassword(t, alice, "client_secret", "good"))
		good := byRefresh(token.Refresh)
		do := func(change func()) func() { return change }
		edit := func(edit func(*entraemu.User)) func() { return do(func() { w.edit(t, alice, edit) }) }
		for _, tc := range []struct {
			name   string
			before func()
			form   url.Values
			number int
			code   string
		}{
			{"none", nil, form(good, "refresh_token", ""), 900144, "invalid_request"},
			{"garbage", nil, form(good, "refresh_token", "garbage"), 70000, "invalid_grant"},
			{"another client's", nil, form(good, "client_id", entraemu.FrontEnd), 70000, "invalid_grant"},
			{"of a confidential client without its credential", nil, byRefresh(confidential.Refresh), 7000218, "invalid_client"},
			{"with a wrong credential", nil, form(good, "client_secret", "wrong"), 7000215, "invalid_client"},
			{"no consent", nil, form(good, "scope", "https://graph.microsoft.com/User.Read"), 65001, "invalid_grant"},
			{"two resources", nil, form(good, "scope", alertScope+" "+xdrScope), 28000, "invalid_scope"},
			{"MFA since", edit(func(u *entraemu.User) { u.MFA = true }), good, 50076, "invalid_grant"},
			{"disabled since", edit(func(u *entraemu.User) { u.MFA, u.Disabled = false, true }), good, 50057, "invalid_grant"},
			{"password reset since", edit(func(u *entraemu.User) { u.Disabled, u.Password = false, entra.NewSecret("next") }), good, 50173, "invalid_grant"},
		} {
			time.Sleep(time.Second)
			if tc.before != nil {
				tc.before()
			}
			w.refused(t, tc.name, tokenPath, tc.form, tc.number, tc.code)
		}

		next, _ := w.userToken(t, tokenPath, w.byPassword(t, alice, "client_secret", "good"))
		time.Sleep(time.Second)
		if err := w.RevokeSessions(alice); err != nil {
			t.Fatal(err)
		}
		w.edit(t, alice, func(u *entraemu.User) { u.Name = "Alice B." }) // changes nothing about it
		e := w.refused(t, "revoked", tokenPath, byRefresh(next.Refresh, "client_secret", "good"), 50173, "invalid_grant")
		if e.Suberror != "bad_token" {
			t.Errorf("got %+v", e)
		}
		if _, err := w.Verify(next.Access); err != nil {
			t.Errorf("an access token was revoked: %v", err)
		}
		after, _ := w.userToken(t, tokenPath, w.byPassword(t, alice))
		w.userToken(t, tokenPath, byRefresh(after.Refresh))
	})
}

func TestRefreshedByManyAtOnce(t *testing.T) {
	w := newWorld(t)
	token, _ := w.userToken(t, tokenPath, w.byPassword(t, alice))
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() { w.post(t, tokenPath, byRefresh(token.Refresh)) })
	}
	group.Wait()
	if got := w.Stats().Given["refresh_token"]; got != 16 {
		t.Errorf("got %d tokens, want 16", got)
	}
}
