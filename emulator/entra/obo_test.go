package entraemu_test

import (
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	entraemu "tokenbroker/emulator/entra"
)

// forBroker is a user's token for the app's own API.
func (w *world) forBroker(tb testing.TB, upn, in string) string {
	tb.Helper()
	token, _ := w.userToken(tb, "/"+in+"/"+tokenPath, w.byPassword(tb, upn, "client_id", entraemu.FrontEnd, "scope", brokerAPI+"/access_as_user openid"))
	return token.Access
}

// onBehalf is a good request for a token on behalf of a user.
func (w *world) onBehalf(assertion string, pairs ...string) url.Values {
	return form(url.Values{
		"grant_type": {onBehalf}, "client_id": {client}, "client_secret": {w.secret}, "assertion": {assertion},
		"requested_token_use": {"on_behalf_of"}, "scope": {alertScope + " openid offline_access"}, "client_info": {"1"},
	}, pairs...)
}

func TestTokenOnBehalfOfAUser(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct{ upn, in, asked string }{
		{alice, tenant, tenant}, {bob, tenant, "contoso.example"}, {bob, fabrikam, fabrikam}, {alice, tenant, "organizations"},
	} {
		assertion := w.forBroker(t, tc.upn, tc.in)
		token, claims := w.userToken(t, "/"+tc.asked+"/"+tokenPath, w.onBehalf(assertion))
		if claims.Tenant != tc.in || claims.AppID != client || claims.Audience[0] != mdeHost || claims.Object != payload(t, assertion)["oid"] || payload(t, token.Access)["unique_name"] != tc.upn {
			t.Errorf("%+v: got %+v", tc, claims)
		}
		if payload(t, token.Access)["appidacr"] != "1" || payload(t, token.ID)["aud"] != client || token.Refresh == "" {
			t.Errorf("%+v: got %+v", tc, token)
		}
		w.userToken(t, "/"+tc.in+"/"+tokenPath, byRefresh(token.Refresh, "client_secret", w.secret))
		w.refused(t, "refreshed by nobody", tokenPath, byRefresh(token.Refresh), 7000218, "invalid_client")
	}
	// By a certificate too.
	byCertificate := form(w.onBehalf(w.forBroker(t, alice, tenant)), "client_secret", "", "client_assertion", w.assertion().sign(t), "client_assertion_type", jwtBearer)
	if token, _ := w.userToken(t, tokenPath, byCertificate); payload(t, token.Access)["appidacr"] != "2" {
		t.Errorf("got %v", payload(t, token.Access))
	}
	if got := w.Stats().Given[onBehalf]; got != 5 {
		t.Errorf("got %d tokens on behalf, want 5", got)
	}
}

func TestAssertionIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, elsewhere := newWorld(t), newWorldElsewhere(t)
		good := w.forBroker(t, alice, tenant)
		id, _ := w.userToken(t, tokenPath, w.byPassword(t, alice, "scope", "openid"))
		app, _ := w.token(t, w.bySecret("scope", brokerAPI+"/.default"))
		graph, _ := w.userToken(t, tokenPath, w.byPassword(t, alice))
		short, err := w.IssueForUser(entraemu.Delegation{UPN: alice, ClientID: entraemu.FrontEnd, Scope: brokerAPI + "/access_as_user"}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		resigned := func(edit func(jwt.MapClaims)) string {
			claims := jwt.MapClaims(payload(t, good))
			edit(claims)
			return (&assertion{method: jwt.SigningMethodRS256, key: signingKey(), claims: claims}).sign(t)
		}
		set := func(name string, value any) string {
			return resigned(func(c jwt.MapClaims) { c[name] = value })
		}
		time.Sleep(time.Minute)
		for _, tc := range []struct {
			name      string
			assertion string
			pairs     []string
			number    int
			code      string
		}{
			{"none", "", []string{"assertion", ""}, 900144, "invalid_request"},
			{"no use", good, []string{"requested_token_use", ""}, 900144, "invalid_request"},
			{"another use", good, []string{"requested_token_use", "for_fun"}, 9002313, "invalid_request"},
			{"no scope", good, []string{"scope", ""}, 900144, "invalid_request"},
			{"no credential", good, []string{"client_secret", ""}, 7000218, "invalid_client"},
			{"a wrong credential", good, []string{"client_secret", "wrong"}, 7000215, "invalid_client"},
			{"garbage", "garbage", nil, 50027, "invalid_request"},
			{"claims of odd types", set("tid", 7), nil, 50027, "invalid_request"},
			{"another signature", elsewhere.forBroker(t, alice, tenant), nil, 50013, "invalid_grant"},
			{"no signature", (&assertion{method: jwt.SigningMethodNone, key: jwt.UnsafeAllowNoneSignatureType, claims: payload(t, good)}).sign(t), nil, 50013, "invalid_grant"},
			{"another issuer", set("iss", "https://sts.windows.net/"+fabrikam+"/"), nil, 50013, "invalid_grant"},
			{"a tenant of nobody's", set("tid", stranger), nil, 50013, "invalid_grant"},
			{"another tenant's endpoint", w.forBroker(t, bob, fabrikam), nil, 50013, "invalid_grant"},
			{"nobody's session", set("sid", "x"), nil, 50013, "invalid_grant"},
			{"nobody's object", set("oid", stranger), nil, 50013, "invalid_grant"},
			{"another user's session", set("sid", payload(t, w.forBroker(t, bob, tenant))["sid"]), nil, 50013, "invalid_grant"},
			{"expired", short.Access, nil, 500133, "invalid_grant"},
			{"not yet valid", set("nbf", time.Now().Add(time.Minute).Unix()), nil, 500133, "invalid_grant"},
			{"without expiry", resigned(func(c jwt.MapClaims) { delete(c, "exp") }), nil, 500133, "invalid_grant"},
			{"for another API", graph.Access, nil, 500131, "invalid_grant"},
			{"for another app", good, []string{"client_id", entraemu.FrontEnd, "client_secret", "front"}, 500131, "invalid_grant"},
			{"of an application", app.Access, nil, 7000114, "invalid_grant"},
			{"an ID token", id.ID, nil, 240002, "invalid_grant"},
			{"no consent", good, []string{"scope", "https://graph.microsoft.com/User.Read"}, 65001, "invalid_grant"},
		} {
			if tc.name == "for another app" {
				if err := w.SetSecrets(entraemu.FrontEnd, entraemu.Secret{Value: newSecret("front")}); err != nil {
					t.Fatal(err)
				}
			}
			e := w.refused(t, tc.name, tokenPath, w.onBehalf(tc.assertion, tc.pairs...), tc.number, tc.code)
			if tc.assertion != "" && strings.Contains(e.Description, tc.assertion) && len(tc.assertion) > 20 {
				t.Errorf("%s: the answer holds the assertion", tc.name)
			}
		}
	})
}

func TestUserMayHaveChangedSinceTheAssertion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		assertion := w.forBroker(t, alice, tenant)
		w.edit(t, alice, func(u *entraemu.User) { u.MFA = true })
		e := w.refused(t, "MFA", tokenPath, w.onBehalf(assertion), 50076, "interaction_required")
		if !strings.Contains(e.Claims, `{"access_token":{"capolids":`) || e.Suberror != "basic_action" {
			t.Errorf("got %+v, want claims", e)
		}
		strong, err := w.IssueForUser(entraemu.Delegation{UPN: alice, ClientID: entraemu.FrontEnd, Scope: brokerAPI + "/access_as_user"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if token, _ := w.userToken(t, tokenPath, w.onBehalf(strong.Access)); len(payload(t, token.Access)["amr"].([]any)) != 2 {
			t.Errorf("amr: got %v", payload(t, token.Access)["amr"])
		}
		time.Sleep(time.Second)
		if err := w.RevokeSessions(alice); err != nil {
			t.Fatal(err)
		}
		w.refused(t, "revoked", tokenPath, w.onBehalf(strong.Access), 50173, "invalid_grant")
		w.edit(t, alice, func(u *entraemu.User) { u.Disabled = true })
		w.refused(t, "disabled", tokenPath, w.onBehalf(strong.Access), 50057, "invalid_grant")
	})
}
