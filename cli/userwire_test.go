package cli

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const peoplesApp = `
log: {level: debug}
identities:
  default:
    tenant: 22222222-2222-2222-2222-222222222222
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: secret, file: 'DIR/client-secret'}
  people:
    tenant: 22222222-2222-2222-2222-222222222222
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: on-behalf-of, credential: {kind: secret, file: 'DIR/client-secret'}}
routes:
  defender: {}
  theirs: {upstream: "https://api.security.microsoft.com", identity: people, scope: "https://api.security.microsoft.com/.default"}
`

// TestOnBehalfOfThroughTheBroker asks for a user's token and makes a call as the
// user; without a user, with somebody else's token, and where no user belongs,
// nothing is asked of Entra.
func TestOnBehalfOfThroughTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.start(peoplesApp)
		shown := w.assertion(t, entraemu.DefaultUser, "", brokerScope, 0).Reveal()

		resp := b.call(http.MethodGet, "/token?route=theirs", "", "X-User-Assertion", shown)
		var answer struct {
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal([]byte(text(t, resp)), &answer); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %v", resp.StatusCode, err)
		}
		jwt, err := entra.ParseJWT(answer.Token)
		if err != nil || jwt.Claims.Object != "aaaaaaaa-0000-4000-8000-000000000001" || len(jwt.Claims.Permissions()) == 0 {
			t.Errorf("%v %+v, want the user's own token", err, jwt.Claims)
		}
		if resp := b.call(http.MethodGet, "/proxy/theirs/api/incidents?$top=1", "", "X-User-Assertion", shown); resp.StatusCode != http.StatusOK {
			t.Errorf("a call as the user: %d %s", resp.StatusCode, text(t, resp))
		}
		exchanges := w.entra.Stats().Given[onBehalfOf]

		for name, tt := range map[string]struct {
			target, assertion string
			status            int
			text              string
		}{
			"nobody":                     {"/token?route=theirs", "", http.StatusBadRequest, "X-User-Assertion"},
			"no token":                   {"/token?route=theirs", "x.y.z", http.StatusBadRequest, ""},
			"forged":                     {"/token?route=theirs", shown[:len(shown)-8] + "AAAAAAAA", http.StatusBadRequest, ""},
			"an identity that is itself": {"/token?route=defender", shown, http.StatusBadRequest, ""},
			"a token for an API":         {"/token?route=theirs", answer.Token, http.StatusBadRequest, ""},
		} {
			header := []string{}
			if tt.assertion != "" {
				header = append(header, "X-User-Assertion", tt.assertion)
			}
			resp := b.call(http.MethodGet, tt.target, "", header...)
			if body := text(t, resp); resp.StatusCode != tt.status || !strings.Contains(body, tt.text) || tt.assertion != "" && strings.Contains(body, tt.assertion) {
				t.Errorf("%s: %d %s, want %d", name, resp.StatusCode, body, tt.status)
			}
		}
		if got := w.entra.Stats().Given[onBehalfOf]; got != exchanges {
			t.Errorf("%d exchanges for what was refused", got-exchanges)
		}
		if log := b.logs.String(); strings.Contains(log, shown) || strings.Contains(log, answer.Token) {
			t.Error("an assertion or a token is in the log")
		}
	})
}

func TestIntrospectThroughTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.start(peoplesApp)
		shown := w.assertion(t, entraemu.DefaultUser, "", brokerScope, 0).Reveal()
		held := text(t, b.call(http.MethodGet, "/token?route=defender", "", "Accept", "text/plain"))
		for name, tt := range map[string]struct{ token, want string }{
			"held":     {held, `"active":true`},
			"a user's": {shown, `"active":true`},
			"forged":   {shown[:len(shown)-8] + "AAAAAAAA", `{"active":false,"reason":"signature"`},
			"opaque":   {"opaque", `{"active":false,"reason":"opaque"`},
		} {
			resp := b.call(http.MethodPost, "/introspect", "token="+url.QueryEscape(tt.token))
			if body := text(t, resp); resp.StatusCode != http.StatusOK || !strings.HasPrefix(strings.TrimSpace(body), tt.want) && !strings.Contains(body, tt.want) {
				t.Errorf("%s: %d %s, want %s", name, resp.StatusCode, body, tt.want)
			}
		}
	})
}

// TestPasswordThroughTheBroker signs a user in by the password in a file, and
// says what is wrong with one that is not right.
func TestPasswordThroughTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var password string
		w := newWorld(t, func(known *entraemu.Config) {
			for _, user := range known.Users {
				if user.UPN == entraemu.DefaultUser {
					password = user.Password.Reveal()
				}
			}
		})
		w.write("password", password+"\n")
		b := w.start(`
identities:
  analyst:
    tenant: 22222222-2222-2222-2222-222222222222
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: password, username: ` + entraemu.DefaultUser + `, password_file: 'DIR/password'}
`)
		body := text(t, b.call(http.MethodGet, "/token?route=mde", "", "Accept", "text/plain"))
		jwt, err := entra.ParseJWT(body)
		if err != nil || jwt.Claims.Object != "aaaaaaaa-0000-4000-8000-000000000001" {
			t.Fatalf("%v %.200s, want the user's token", err, body)
		}
		if resp := b.get("/proxy/defender/api/machines?$top=1"); resp.StatusCode != http.StatusOK {
			t.Errorf("alerts as the user: %d %s", resp.StatusCode, text(t, resp))
		}

		w.write("password", "not-the-password\n")
		resp := b.get("/token?route=defender&path=/api/incidents")
		if said := text(t, resp); resp.StatusCode != http.StatusInternalServerError && resp.StatusCode != http.StatusForbidden || !strings.Contains(said, "AADSTS50126") || strings.Contains(said, "not-the-password") {
			t.Errorf("with a wrong password: %d %s", resp.StatusCode, said)
		}
	})
}

// Whoever has /Validate tell who calls trusts the answer. A token for an API says
// nothing to that: every other app that may call the API has one.
func TestTokenForAnAPIIsNoProofOfWhoCalls(t *testing.T) {
	w := newWorld(t)
	b := w.start(peoplesApp + "protocols: {entra_sidecar: {overrides: true}}\n")
	users := w.assertion(t, entraemu.DefaultUser, "", brokerScope, 0).Reveal()
	apis := text(t, b.call(http.MethodGet, "/token?route=defender", "", "Accept", "text/plain"))
	for _, target := range []string{"/Validate", "/AuthorizationHeader/theirs", "/AuthorizationHeader/defender?optionsOverride.RequestAppToken=true"} {
		if resp := b.call(http.MethodGet, target, "", "Authorization", "Bearer "+users); resp.StatusCode != http.StatusOK {
			t.Errorf("%s with a token for us: %s %s", target, resp.Status, text(t, resp))
		}
		resp := b.call(http.MethodGet, target, "", "Authorization", "Bearer "+apis)
		if body := text(t, resp); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "no application of ours") {
			t.Errorf("%s with a token for an API: %s %.300s", target, resp.Status, body)
		}
	}
}
