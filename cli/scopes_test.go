package cli

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	entraemu "tokenbroker/emulator/entra"
)

const (
	alertRead   = "https://api.securitycenter.microsoft.com/Alert.Read"
	machineRead = "https://api.securitycenter.microsoft.com/Machine.Read"
)

// Several permissions of one API are one scope: asked for as that, remembered
// as that, and answered as that, whatever else the token can do.
func TestSeveralPermissionsOfAUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		both := alertRead + " " + machineRead
		b := w.start(usersApp + "  both: {upstream: 'https://api.securitycenter.microsoft.com', identity: me, scope: '" + machineRead + " " + alertRead + "'}\n" +
			"  one: {upstream: 'https://api.securitycenter.microsoft.com', identity: me, scope: '" + alertRead + "'}\n")
		signIn(t, w, b.reach(w), entraemu.DefaultUser)
		tokens := map[string]string{}
		for name, tt := range map[string]struct {
			form url.Values
			want string
		}{
			"of the route":          {url.Values{"route": {"both"}}, both},
			"in another order":      {url.Values{"identity": {"me"}, "scope": {"openid " + machineRead + " " + alertRead + " offline_access"}}, both},
			"one of them":           {url.Values{"identity": {"me"}, "scope": {alertRead}}, alertRead},
			"all that is consented": {url.Values{"route": {"mine"}}, mdeScope},
		} {
			resp := b.call(http.MethodPost, "/token", tt.form.Encode())
			var answer struct {
				Token string `json:"access_token"`
				Scope string `json:"scope"`
			}
			if err := json.Unmarshal([]byte(text(t, resp)), &answer); err != nil || answer.Scope != tt.want {
				t.Errorf("%s: %d, the scope is %q, want %q", name, resp.StatusCode, answer.Scope, tt.want)
			}
			if before, seen := tokens[tt.want]; seen && before != answer.Token {
				t.Errorf("%s: another token than that of the same permissions", name)
			}
			tokens[tt.want] = answer.Token
		}
		if got := w.entra.Stats().Given["refresh_token"]; got != 3 {
			t.Errorf("%d exchanges for 3 scopes", got)
		}
		for scope, refused := range map[string]string{
			both + " https://graph.microsoft.com/User.Read": "one resource at a time",
			mdeScope + " " + alertRead:                      "stands alone",
			machineRead:                                     "",
		} {
			resp := b.call(http.MethodPost, "/token", url.Values{"identity": {"me"}, "scope": {scope}}.Encode())
			if body := text(t, resp); resp.StatusCode/100 != 4 || !strings.Contains(body, refused) {
				t.Errorf("%s: %d %s", scope, resp.StatusCode, body)
			}
		}

		var claims struct {
			Scp string `json:"scp"`
		}
		must(t, json.Unmarshal([]byte(text(t, b.get("/claims?route=both"))), &claims))
		if held := strings.Fields(claims.Scp); !slices.Contains(held, "Alert.Read") || !slices.Contains(held, "Machine.Read") {
			t.Errorf("the claims have %q", claims.Scp)
		}
	})
}

// Where less is consented to than is asked for there is no token at all, and
// the sign-in that is called for asks for all of it.
func TestPermissionsThatAreNotAllConsentedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(known *entraemu.Config) {
			app := &known.Apps[0]
			for i := range app.Consents {
				app.Consents[i].Scopes = entraemu.Scopes{entraemu.MDE: {"Alert.Read"}}
			}
		})
		b := w.start(usersApp + "  both: {upstream: 'https://api.securitycenter.microsoft.com', identity: me, scope: '" + machineRead + " " + alertRead + "'}\n")
		at := b.reach(w)
		u := begin(t, at, url.Values{"identity": {"me"}, "scope": {alertRead}}.Encode())
		must(t, w.entra.Approve(u.prompt.UserCode, entraemu.DefaultUser))
		u.end()
		resp := b.call(http.MethodPost, "/token", "route=both")
		body := text(t, resp)
		for _, want := range []string{`"code":"login_required"`, "has not consented to " + alertRead + " " + machineRead, "run: tokenbroker login me"} {
			if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, want) {
				t.Errorf("%d %s, want %s", resp.StatusCode, body, want)
			}
		}
		u = begin(t, at, url.Values{"identity": {"me"}, "scope": {alertRead + " " + machineRead}}.Encode())
		must(t, w.entra.Approve(u.prompt.UserCode, entraemu.DefaultUser))
		u.end()
		if got, resp, body := b.tokenOf("route=both"); got != aliceObject {
			t.Errorf("after the consent: %d %s", resp.StatusCode, body)
		}
	})
}
