package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const (
	incidentRead = "https://api.security.microsoft.com/Incident.Read"
	huntingRead  = "https://api.security.microsoft.com/AdvancedHunting.Read"
)

// userSample is a documented way of getting a token for a user and of using it.
type userSample struct {
	credential string
	redirect   string // where the browser is sent after the sign-in; empty: there is none
	settings   string // beside the identity
	form       string // of the token request
	audience   string
	answered   string   // the scope of the answer
	scp        []string // what the token has among its permissions
	grant      string   // how it was got
	calls      []string // with the token, at the API itself
	proxied    []string
}

// userSamples are those of "Create an app to access Microsoft Defender XDR APIs
// on behalf of a user" (api-create-app-user-context), of "Use Microsoft Defender
// for Endpoint APIs" (exposed-apis-create-app-nativeapp), and of their editions
// of before.
var userSamples = map[string]userSample{
	"ADAL.PS, XDR": {
		credential: "{kind: browser, redirect_uri: 'https://127.0.0.1'}", redirect: "https://127.0.0.1",
		form: "resource=https://api.security.microsoft.com", audience: "https://api.security.microsoft.com",
		answered: xdrScope, scp: []string{"Incident.Read"}, grant: "refresh_token",
		calls:   []string{"https://api.security.microsoft.com/api/incidents"},
		proxied: []string{"/proxy/defender/api/incidents"},
	},
	"ADAL.PS, Defender for Endpoint, the portal's address": {
		credential: "{kind: browser, redirect_uri: 'https://portal.azure.com'}", redirect: "https://portal.azure.com",
		form: "resource=https://api.securitycenter.windows.com/", audience: "https://api.securitycenter.windows.com",
		answered: legacyScope, scp: []string{"Alert.Read"}, grant: "refresh_token",
		calls:   []string{"https://api.securitycenter.windows.com/api/alerts", "https://api.securitycenter.microsoft.com/api/alerts"},
		proxied: []string{"/proxy/mde-legacy/api/alerts", "/proxy/mde/api/alerts"},
	},
	"MSAL.PS, two permissions": {
		credential: "{kind: device-code}",
		settings:   "routes: {own: {upstream: 'https://api.security.microsoft.com', scope: '" + incidentRead + " " + huntingRead + "'}}\n",
		form:       "scope=offline_access+" + incidentRead + "+" + huntingRead,
		audience:   "https://api.security.microsoft.com", answered: huntingRead + " " + incidentRead,
		scp: []string{"Incident.Read", "AdvancedHunting.Read"}, grant: "refresh_token",
		calls:   []string{"https://api.security.microsoft.com/api/incidents"},
		proxied: []string{"/proxy/own/api/incidents"},
	},
	"C#, user name and password": {
		credential: "{kind: password, username: " + entraemu.DefaultUser + ", password_file: 'DIR/password'}",
		form:       "resource=https://api.securitycenter.windows.com", audience: "https://api.securitycenter.windows.com",
		answered: legacyScope, scp: []string{"Alert.Read"}, grant: "password",
		calls:   []string{"https://api.securitycenter.windows.com/api/alerts"},
		proxied: []string{"/proxy/mde-legacy/api/alerts"},
	},
}

// newSampleWorld has the public client of the documentation.
func newSampleWorld(t *testing.T) *azure {
	t.Helper()
	a := newAzure(t, func(c *entraemu.Config) {
		app := &c.Apps[0]
		app.RedirectURIs, app.NativeRedirectURIs = nil, []string{"https://portal.azure.com", "https://127.0.0.1"}
	})
	alice, _ := a.entra.User(entraemu.DefaultUser)
	a.write("password", alice.Password.Reveal()+"\n")
	return a
}

// as starts a broker whose one identity is a user, who has signed in.
func (a *azure) as(t *testing.T, sample *userSample) *running {
	t.Helper()
	b := a.start("log: {level: debug}\nidentities:\n" + registered("me", entraemu.DefaultClient, sample.credential) + sample.settings)
	switch at := b.reach(a.world); {
	case sample.redirect != "":
		u := begin(t, at, "identity=me")
		back, err := a.person(t, entraemu.DefaultUser).SignIn(t.Context(), u.prompt.URL)
		must(t, err)
		if !strings.HasPrefix(back.URL.String(), sample.redirect+"?") {
			t.Errorf("the browser was sent to %s", back.URL)
		}
		if resp := b.call(http.MethodPost, "/login/answer", url.Values{"identity": {"me"}, "url": {back.URL.String()}}.Encode()); resp.StatusCode != http.StatusOK {
			t.Errorf("pasted: %d %s", resp.StatusCode, text(t, resp))
		}
		if got := u.end(); got.Account == nil || got.Account.Username != entraemu.DefaultUser {
			t.Fatalf("%+v", got)
		}
	case sample.grant == "refresh_token":
		signIn(t, a.world, at, entraemu.DefaultUser)
	}
	return b
}

func TestDocumentedSamplesOfUsersWorkWithTheBrokersTokens(t *testing.T) {
	for name, sample := range userSamples {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newSampleWorld(t)
				b := a.as(t, &sample)
				before := a.entra.Stats().Grants[sample.grant]
				for _, resp := range []*http.Response{b.call(http.MethodPost, "/token", sample.form), b.get("/token?" + sample.form)} {
					var answer struct {
						Access string `json:"access_token"`
						Type   string `json:"token_type"`
						Scope  string `json:"scope"`
					}
					body := text(t, resp)
					if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.StatusCode != http.StatusOK || answer.Type != "Bearer" || answer.Scope != sample.answered {
						t.Fatalf("%s %.300s, want scope %s", resp.Status, body, sample.answered)
					}
					claims, err := a.entra.Verify(answer.Access)
					must(t, err)
					a.checkAlices(t, &claims, sample.audience, sample.scp)
					for _, call := range sample.calls {
						if status, body := a.direct(call, answer.Access); status != http.StatusOK || !strings.Contains(body, `"value":[{`) {
							t.Errorf("GET %s: %d %.300s", call, status, body)
						}
					}
				}
				if got := a.entra.Stats().Grants[sample.grant] - before; got != 1 {
					t.Errorf("%d requests to Entra, want 1", got)
				}
				for _, path := range sample.proxied {
					if resp := b.get(path); resp.StatusCode != http.StatusOK {
						t.Errorf("GET %s: %s %.300s", path, resp.Status, text(t, resp))
					}
				}
				if got := a.entra.Stats().Grants["client_credentials"]; got != 0 {
					t.Errorf("%d tokens for the application itself", got)
				}
			})
		})
	}
}

// checkAlices checks that a token is Alice's, for one audience, and has the
// permissions.
func (a *azure) checkAlices(t *testing.T, claims *entra.Claims, audience string, scp []string) {
	t.Helper()
	if wrong := fault(claims, entraemu.DefaultClient, contoso, entra.Scope(audience+"/.default")); wrong != "" {
		t.Error(wrong)
	}
	if claims.Object != aliceObject || claims.User != entraemu.DefaultUser || !claims.Delegated() || len(claims.Roles) > 0 || claims.Version != "1.0" {
		t.Errorf("%+v, want the user's own token, in version 1", claims)
	}
	for _, permission := range scp {
		if !slices.Contains(claims.Permissions(), permission) {
			t.Errorf("no %s among %v", permission, claims.Permissions())
		}
	}
}

// The C# sample asks Entra itself, at the endpoint of version 1. What it gets
// and what the broker gives are the same.
func TestPasswordSampleGetsWhatTheBrokerGives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSampleWorld(t)
		alice, _ := a.entra.User(entraemu.DefaultUser)
		form := url.Values{
			"grant_type": {"password"}, "client_id": {entraemu.DefaultClient}, "resource": {"https://api.securitycenter.windows.com"},
			"username": {alice.UPN}, "password": {alice.Password.Reveal()},
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://login.windows.net/"+contoso+"/oauth2/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer := httptest.NewRecorder()
		a.entra.ServeHTTP(answer, r)
		sample := userSamples["C#, user name and password"]
		b := a.as(t, &sample)
		theirs, err := a.claims(answer.Body.String())
		must(t, err)
		ours, err := a.claims(text(t, b.get("/token?"+sample.form)))
		must(t, err)
		for _, claims := range []*entra.Claims{&theirs, &ours} {
			a.checkAlices(t, claims, sample.audience, sample.scp)
			claims.TokenID = ""
		}
		if theirs.Scp != ours.Scp || theirs.Subject != ours.Subject || theirs.Issuer != ours.Issuer {
			t.Errorf("got %+v, want %+v", ours, theirs)
		}
	})
}

// A set of permissions is asked for as it is, in one request: its order and
// what OpenID Connect adds are no difference, and any other set is.
func TestSetOfPermissionsIsAskedForAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSampleWorld(t)
		sample := userSamples["MSAL.PS, two permissions"]
		sample.settings += "tokens: {scopes: ['" + incidentRead + "']}\n"
		b := a.as(t, &sample)
		exchanges := 0
		for _, tt := range []struct {
			scope, answered string
			asked           int
		}{
			{incidentRead + " " + huntingRead, sample.answered, 1},
			{huntingRead + " openid " + incidentRead + " " + huntingRead, sample.answered, 0},
			{incidentRead, incidentRead, 1},
			{xdrScope, xdrScope, 1},
		} {
			resp := b.get("/token?identity=me&scope=" + url.QueryEscape(tt.scope))
			var answer struct{ Scope string }
			if body := text(t, resp); json.Unmarshal([]byte(body), &answer) != nil || answer.Scope != tt.answered {
				t.Errorf("%s: %s %.300s, want scope %s", tt.scope, resp.Status, body, tt.answered)
			}
			exchanges += tt.asked
			if got := a.entra.Stats().Grants["refresh_token"]; got != exchanges {
				t.Errorf("%s: %d requests to Entra, want %d", tt.scope, got, exchanges)
			}
		}
		resp := b.get("/token?scope=" + url.QueryEscape(incidentRead+" https://api.securitycenter.microsoft.com/Alert.Read"))
		if p := readProblem(t, resp); resp.StatusCode != http.StatusBadRequest || !strings.Contains(p.Detail, "one resource at a time") {
			t.Errorf("two resources: %s %+v", resp.Status, p)
		}
	})
}
