package entraemu_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

func TestUserTokenHasTheShapeOfARealOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *entraemu.Config) {
			c.Apps[0].Consents[0].Scopes = entraemu.Scopes{entraemu.MDE: {"Machine.Read", "Alert.Read"}}
		})
		token, claims := w.userToken(t, tokenPath, w.byPassword(t, alice))
		now := entra.Epoch(time.Now().Unix())
		want := entra.Claims{
			Audience: entra.Audience{mdeHost}, Issuer: "https://sts.windows.net/" + tenant + "/", Tenant: tenant,
			AppID: client, Object: "aaaaaaaa-0000-4000-8000-000000000001", User: alice, Scp: "Alert.Read Machine.Read", IDType: "user", Version: "1.0",
			Subject: claims.Subject, TokenID: claims.TokenID, IssuedAt: now - 300, NotBefore: now - 300, Expires: now + 3599,
		}
		if diff := cmp.Diff(claims, want); diff != "" || claims.Subject == claims.Object {
			t.Errorf("claims (-got +want):\n%s", diff)
		}
		access := payload(t, token.Access)
		if diff := cmp.Diff(access["amr"], []any{"pwd"}); diff != "" || access["unique_name"] != alice || access["appidacr"] != "0" || access["sid"] == "" {
			t.Errorf("got %v", access)
		}
		if token.Scope != mdeHost+"/Alert.Read "+mdeHost+"/Machine.Read openid profile" || token.Refresh == "" || token.Family != "" || token.ExpiresIn != 3599 {
			t.Errorf("got %+v", token)
		}
		if uid, utid := info(t, token.ClientInfo); uid != claims.Object || utid != tenant {
			t.Errorf("client_info: got %s.%s", uid, utid)
		}
		id := payload(t, token.ID)
		for name, want := range map[string]any{
			"aud": client, "iss": "https://" + host + "/" + tenant + "/v2.0", "ver": "2.0", "tid": tenant, "oid": claims.Object,
			"preferred_username": alice, "name": "Alice", "exp": float64(now + 3599),
		} {
			if id[name] != want {
				t.Errorf("id token: %s is %v, want %v", name, id[name], want)
			}
		}
		if _, err := w.Verify(token.ID); err != nil || id["sub"] == access["sub"] {
			t.Errorf("id token: %v; its subject is that of another app", err)
		}
		if got := w.Stats(); got.Given["password"] != 1 || got.Audiences[mdeHost] != 1 {
			t.Errorf("statistics: got %+v", got)
		}
	})
}

func TestVersionsOfUserTokens(t *testing.T) {
	w := newWorld(t)
	got := w.post(t, "oauth2/token", w.byPassword(t, alice, "scope", "openid", "resource", "https://api.securitycenter.windows.com"))
	fields := fieldsOf(t, got.body)
	access, _ := fields["access_token"].(string)
	claims, err := w.Verify(access)
	if err != nil || claims.Audience[0] != "https://api.securitycenter.windows.com" || !strings.Contains(claims.Scp, "Alert.Read ") {
		t.Errorf("version 1: got %+v, %v", claims, err)
	}
	if fields["expires_in"] != "3599" || !strings.HasPrefix(fields["scope"].(string), "AdvancedQuery.Read Alert.Read ") || fields["refresh_token"] == nil || fields["id_token"] != nil {
		t.Errorf("version 1: got %v", fields)
	}

	token, claims := w.userToken(t, tokenPath, w.byPassword(t, alice, "client_id", entraemu.FrontEnd, "scope", brokerAPI+"/access_as_user email openid", "client_info", ""))
	if claims.Audience[0] != client || claims.AZP != entraemu.FrontEnd || claims.AppID != "" || claims.Issuer != "https://"+host+"/"+tenant+"/v2.0" || claims.Scp != "access_as_user" || claims.Version != "2.0" {
		t.Errorf("version 2: got %+v", claims)
	}
	if token.Refresh != "" || token.ClientInfo != "" || payload(t, token.ID)["email"] != alice || token.Scope != brokerAPI+"/access_as_user email openid" {
		t.Errorf("version 2: got %+v", token)
	}
}

func TestOneUserInTwoTenants(t *testing.T) {
	w := newWorld(t)
	_, home := w.userToken(t, tokenPath, w.byPassword(t, bob))
	token, guest := w.userToken(t, "/fabrikam.example/"+tokenPath, w.byPassword(t, bob))
	_, any := w.userToken(t, "/organizations/"+tokenPath, w.byPassword(t, bob))
	if home.Tenant != tenant || any.Tenant != tenant || guest.Tenant != fabrikam || home.Object == guest.Object || any.Object != home.Object {
		t.Errorf("got %+v, %+v, %+v", home, guest, any)
	}
	if home.User != bob || guest.User != "" || payload(t, token.Access)["unique_name"] != bob || payload(t, token.Access)["idp"] != home.Issuer {
		t.Errorf("a guest's token: got %v", payload(t, token.Access))
	}
	if uid, utid := info(t, token.ClientInfo); uid != home.Object || utid != tenant {
		t.Errorf("client_info: got %s.%s, want the ids of home", uid, utid)
	}
}

func TestPasswordIsRefused(t *testing.T) {
	const private, homely = "77777777-7777-7777-7777-777777777777", "88888888-8888-8888-8888-888888888888"
	w := newWorld(t, func(c *entraemu.Config) {
		c.Apps = append(c.Apps,
			entraemu.App{ClientID: private, Consents: []entraemu.Consent{{Tenant: tenant, Scopes: entraemu.AllScopes()}}, Secrets: []entraemu.Secret{{Value: entra.NewSecret("good")}}},
			entraemu.App{ClientID: homely, Home: tenant, Public: true, Consents: []entraemu.Consent{{Tenant: tenant, Disabled: true}}},
			entraemu.App{ClientID: stranger, Public: true, Delegates: entraemu.Scopes{entraemu.MDE: {"Alert.Read"}}})
		bad := func(name string, edit func(*entraemu.User)) {
			user := c.Users[0]
			user.UPN = name + "@contoso.example"
			edit(&user)
			c.Users = append(c.Users, user)
		}
		bad("disabled", func(u *entraemu.User) { u.Disabled = true })
		bad("mfa", func(u *entraemu.User) { u.MFA = true })
		bad("expired", func(u *entraemu.User) { u.PasswordExpired = true })
		bad("federated", func(u *entraemu.User) { u.Federation = "https://sts.contoso.example/mex" })
	})
	good := w.byPassword(t, alice)
	by := func(name string) []string { return []string{"username", name + "@contoso.example"} }
	for _, tc := range []struct {
		name   string
		path   string
		pairs  []string
		number int
		code   string
	}{
		{"no user", tokenPath, []string{"username", ""}, 900144, "invalid_request"},
		{"no password", tokenPath, []string{"password", ""}, 900144, "invalid_request"},
		{"no scope", tokenPath, []string{"scope", ""}, 900144, "invalid_request"},
		{"the common endpoint", "/common/" + tokenPath, nil, 9001023, "invalid_request"},
		{"an app of one tenant, for any", "/organizations/" + tokenPath, []string{"client_id", homely}, 50194, "invalid_request"},
		{"an unknown app", tokenPath, []string{"client_id", "12345678-1234-1234-1234-123456789012"}, 700016, "unauthorized_client"},
		{"an app of another tenant", "/" + fabrikam + "/" + tokenPath, []string{"client_id", homely, "username", bob, "password", w.password(t, bob)}, 700016, "unauthorized_client"},
		{"an app that is switched off", tokenPath, []string{"client_id", homely}, 7000112, "unauthorized_client"},
		{"public clients are not allowed", tokenPath, []string{"client_id", private}, 7000218, "invalid_client"},
		{"a wrong secret", tokenPath, []string{"client_id", private, "client_secret", "wrong"}, 7000215, "invalid_client"},
		{"unknown user", tokenPath, by("nobody"), 50034, "invalid_grant"},
		{"wrong password", tokenPath, []string{"password", "wrong"}, 50126, "invalid_grant"},
		{"a federated user", tokenPath, by("federated"), 50126, "invalid_grant"},
		{"a disabled user", tokenPath, by("disabled"), 50057, "invalid_grant"},
		{"an expired password", tokenPath, by("expired"), 50055, "invalid_grant"},
		{"MFA", tokenPath, by("mfa"), 50076, "invalid_grant"},
		{"a tenant that the user is not in", "/" + fabrikam + "/" + tokenPath, nil, 50020, "invalid_grant"},
		{"no consent", tokenPath, []string{"client_id", stranger}, 65001, "invalid_grant"},
		{"no consent to all", tokenPath, []string{"client_id", stranger, "scope", mdeHost + "/.default"}, 65001, "invalid_grant"},
		{"not in the registration", tokenPath, []string{"client_id", stranger, "scope", xdrScope}, 650057, "invalid_resource"},
		{"an application's permission", tokenPath, []string{"scope", mdeHost + "/Alert.Read.All"}, 650053, "invalid_client"},
		{"an unknown resource", tokenPath, []string{"scope", "https://unknown.example/Alert.Read"}, 500011, "invalid_resource"},
		{"two resources", tokenPath, []string{"scope", alertScope + " https://api.security.microsoft.com/Incident.Read"}, 28000, "invalid_scope"},
		{"a permission beside all", tokenPath, []string{"scope", alertScope + " " + mdeHost + "/.default"}, 70011, "invalid_scope"},
		{"a scope of nothing", tokenPath, []string{"scope", "/.default"}, 70011, "invalid_scope"},
		{"a resource without a permission", tokenPath, []string{"scope", mdeHost + "/"}, 70011, "invalid_scope"},
		{"a malformed scope", tokenPath, []string{"scope", `https://"/Alert.Read`}, 70011, "invalid_scope"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := w.refused(t, tc.name, tc.path, form(good, tc.pairs...), tc.number, tc.code)
			if strings.Contains(e.Description, good.Get("password")) {
				t.Error("the answer holds the password")
			}
			suberror := map[int]string{50076: "basic_action", 65001: "consent_required"}[tc.number]
			if challenged := strings.Contains(e.Claims, `"capolids"`); e.Suberror != suberror || challenged != (tc.number == 50076) {
				t.Errorf("got suberror %q, claims %q", e.Suberror, e.Claims)
			}
		})
	}
	w.userToken(t, tokenPath, form(good, "client_id", private, "client_secret", "good"))
}

func TestWrongPasswordsLockTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wrong := w.byPassword(t, alice, "password", "wrong")
		fail := func(times int) {
			for range times {
				w.refused(t, "wrong", tokenPath, wrong, 50126, "invalid_grant")
			}
		}
		fail(9)
		w.userToken(t, tokenPath, w.byPassword(t, alice)) // a right one: counted anew
		fail(10)
		w.refused(t, "locked", tokenPath, w.byPassword(t, alice), 50053, "invalid_grant")
		w.userToken(t, tokenPath, w.byPassword(t, bob))
		time.Sleep(time.Minute)
		w.userToken(t, tokenPath, w.byPassword(t, alice))
	})
}

func TestSpellingsOfDelegatedScopes(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct{ scope, audience, scp, echo string }{
		{"openid profile offline_access", "00000003-0000-0000-c000-000000000000", "openid profile", "openid profile"},
		{"securityalert.read.all", "00000003-0000-0000-c000-000000000000", "SecurityAlert.Read.All", "SecurityAlert.Read.All"},
		{mdeHost + "/.default", mdeHost, "Alert.Read", mdeHost + "/.default"},
		{mdeHost + "//.default", mdeHost + "/", "Alert.Read", mdeHost + "//.default"},
		{"https://api.securitycenter.windows.com/Alert.Read https://api.securitycenter.windows.com/Machine.Read", "https://api.securitycenter.windows.com", "Machine.Read", "https://api.securitycenter.windows.com/Machine.Read"},
		{"fc780465-2017-40d4-a0c5-307022471b92/Alert.Read", "fc780465-2017-40d4-a0c5-307022471b92", "Alert.Read", "fc780465-2017-40d4-a0c5-307022471b92/Alert.Read"},
	} {
		audience := tc.audience
		token, claims := w.userToken(t, tokenPath, w.byPassword(t, alice, "scope", tc.scope))
		if strings.HasSuffix(tc.scope, "//.default") {
			audience = mdeHost + "/"
		}
		if claims.Audience[0] != audience || !strings.Contains(" "+claims.Scp+" ", " "+tc.scp+" ") || !strings.Contains(" "+token.Scope+" ", " "+tc.echo+" ") {
			t.Errorf("%s: got %s, %s, %s", tc.scope, claims.Audience, claims.Scp, token.Scope)
		}
	}
}

func TestUsersThatCannotBe(t *testing.T) {
	w := newWorld(t)
	good, _ := w.User(alice)
	nameless, homeless := good, good
	nameless.UPN = "@contoso.example"
	homeless.Home = stranger
	for name, tc := range map[string]struct {
		err  error
		kind entra.Kind
	}{
		"no name":                    {w.SetUser(nameless), entra.Invalid},
		"no home":                    {w.SetUser(homeless), entra.Invalid},
		"consent in no tenant":       {w.SetUserConsent(alice, entraemu.UserConsent{Tenant: stranger, ClientID: client}), entra.Invalid},
		"consent of nobody":          {w.SetUserConsent("nobody@contoso.example", entraemu.UserConsent{Tenant: tenant}), entra.NotFound},
		"sessions of nobody revoked": {w.RevokeSessions("nobody@contoso.example"), entra.NotFound},
	} {
		if entra.KindOf(tc.err) != tc.kind {
			t.Errorf("%s: got %v, want %v", name, tc.err, tc.kind)
		}
	}
	if _, known := w.User("nobody@contoso.example"); known {
		t.Error("nobody is known")
	}
	if _, known := w.User(strings.ToUpper(alice)); !known {
		t.Error("the case of a name matters")
	}
}

func TestUsersConsentCanBeGivenAndTakenBack(t *testing.T) {
	w := newWorld(t, func(c *entraemu.Config) { c.Apps[0].Consents[0].Scopes, c.Apps[0].Consents[1].Scopes = nil, nil })
	consent := entraemu.UserConsent{Tenant: tenant, ClientID: client, Scopes: entraemu.Scopes{entraemu.MDE: {"Alert.Read"}}}
	w.refused(t, "before", tokenPath, w.byPassword(t, alice), 65001, "invalid_grant")
	if err := w.SetUserConsent(alice, consent); err != nil {
		t.Fatal(err)
	}
	if _, claims := w.userToken(t, tokenPath, w.byPassword(t, alice)); claims.Scp != "Alert.Read" {
		t.Errorf("got %s", claims.Scp)
	}
	w.refused(t, "another permission", tokenPath, w.byPassword(t, alice, "scope", mdeHost+"/Machine.Read"), 65001, "invalid_grant")
	w.refused(t, "another user", tokenPath, w.byPassword(t, bob), 65001, "invalid_grant")
	w.refused(t, "another app", tokenPath, w.byPassword(t, alice, "client_id", entraemu.FrontEnd), 65001, "invalid_grant")
	if err := w.SetUserConsent(bob, consent); err != nil {
		t.Fatal(err)
	}
	w.refused(t, "another tenant", "/"+fabrikam+"/"+tokenPath, w.byPassword(t, bob), 65001, "invalid_grant")
	consent.Scopes = nil
	if err := w.SetUserConsent(alice, consent); err != nil {
		t.Fatal(err)
	}
	w.refused(t, "taken back", tokenPath, w.byPassword(t, alice), 65001, "invalid_grant")
}

func TestDelegationWithoutARequest(t *testing.T) {
	w := newWorld(t)
	w.edit(t, bob, func(u *entraemu.User) { u.MFA = true })
	token, err := w.IssueForUser(entraemu.Delegation{UPN: bob, Tenant: fabrikam, ClientID: entraemu.FrontEnd, Scope: brokerAPI + "/access_as_user"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := w.Verify(token.Access)
	if err != nil || claims.Tenant != fabrikam || claims.Issuer != "https://"+host+"/"+fabrikam+"/v2.0" || claims.Expires.Time() != token.Expires.UTC() || time.Until(token.Expires) > time.Minute {
		t.Errorf("got %+v, %v", claims, err)
	}
	if hour, err := w.IssueForUser(entraemu.Delegation{UPN: alice, ClientID: client, Scope: alertScope}, 0); err != nil || time.Until(hour.Expires) < 3590*time.Second {
		t.Errorf("got %+v, %v", hour, err)
	}
	for name, d := range map[string]entraemu.Delegation{
		"90002":  {UPN: bob, Tenant: stranger, ClientID: client, Scope: alertScope},
		"70011":  {UPN: bob, ClientID: client, Scope: "/"},
		"50034":  {UPN: "nobody@contoso.example", ClientID: client, Scope: alertScope},
		"650053": {UPN: alice, ClientID: client, Scope: alertScope + ".All"},
	} {
		if _, err := w.IssueForUser(d, 0); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
