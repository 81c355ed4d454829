package broker_test

import (
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// password is the source of a user whose password is in the file.
func (w *world) password(t *testing.T, path, upn string) *broker.Password {
	t.Helper()
	file, err := broker.OpenPasswordFile(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	source, err := broker.NewPassword(w.userApp(t), upn, file)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestPasswordGetsAUsersToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		user, _ := emulated.User(alice)
		writeFile(t, path, user.Password.Reveal()+"\n")
		source := w.password(t, path, alice)
		for name, tc := range map[string]struct {
			scope    entra.Scope
			claims   string
			audience string
		}{
			"several permissions": {alerts + " " + mdeHost + "/Machine.Read", "", mdeHost},
			"all":                 {mdeHost + "/.default", "", mdeHost},
			"the older host":      {"https://api.securitycenter.windows.com/.default", "", "https://api.securitycenter.windows.com"},
			"a claims challenge":  {alerts, `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`, mdeHost},
		} {
			tok, err := source.Token(t.Context(), entra.Request{Scope: tc.scope, Claims: tc.claims})
			if claims := wantUsers(t, emulated, tok, err, alice); claims.Audience[0] != tc.audience || tok.Scope != tc.scope {
				t.Errorf("%s: got a token for %v", name, claims.Audience)
			}
		}
		if got := emulated.Stats().Given[passwordGrant]; got != 4 {
			t.Errorf("the password was sent %d times for 4 tokens", got)
		}

		edit(t, emulated, alice, func(u *entraemu.User) { u.Password = entra.NewSecret("next-canary") })
		req := entra.Request{Scope: alerts}
		_, err := source.Token(t.Context(), req)
		wantError(t, err, entra.Misconfigured, `wrong user name or password for user "`+alice+`": put the password that they sign in with into file `+path)
		writeFile(t, path, "next-canary")
		tok, err := source.Token(t.Context(), req)
		wantUsers(t, emulated, tok, err, alice)
	})
}

func TestPasswordThatIsNotEnough(t *testing.T) {
	const federation = "https://sts.contoso.example/mex"
	user := func(change func(*entraemu.User)) func(*testing.T, *entraemu.Server) {
		return func(t *testing.T, s *entraemu.Server) {
			t.Helper()
			edit(t, s, alice, change)
		}
	}
	for name, tc := range map[string]struct {
		upn    string
		app    func(*entraemu.App)
		change func(*testing.T, *entraemu.Server)
		scope  entra.Scope
		kind   entra.Kind
		says   string
		asked  int // how often the password was sent
	}{
		"MFA":              {change: user(func(u *entraemu.User) { u.MFA = true }), kind: entra.Challenged, says: "(MFA): sign them in themselves, with a credential of kind device-code or browser (AADSTS50076)", asked: 1},
		"disabled":         {change: user(func(u *entraemu.User) { u.Disabled = true }), kind: entra.Challenged, says: "is disabled", asked: 1},
		"expired":          {change: user(func(u *entraemu.User) { u.PasswordExpired = true }), kind: entra.Challenged, says: "the password of user \"" + alice + "\" has expired", asked: 1},
		"federated":        {change: user(func(u *entraemu.User) { u.Federation = federation }), kind: entra.Misconfigured, says: "is federated), and the password stays there: sign them in themselves"},
		"no such user":     {upn: "nobody@contoso.example", kind: entra.Misconfigured, says: "is not in tenant", asked: 1},
		"no such domain":   {upn: "alice@nowhere.example", kind: entra.Misconfigured, says: "no tenant has that domain"},
		"a name to escape": {upn: "a/../b?c#d%@contoso.example", kind: entra.Misconfigured, says: "is not in tenant", asked: 1},
		"no public client": {app: func(app *entraemu.App) { app.Public = false }, kind: entra.Misconfigured, says: "set Allow public client flows to Yes", asked: 1},
		"no consent":       {app: func(app *entraemu.App) { app.Consents[0].Scopes = nil }, kind: entra.Challenged, says: "has not consented to " + string(alerts), asked: 1},
		"realm away": {change: func(_ *testing.T, s *entraemu.Server) {
			s.SetFaults(entraemu.Faults{Endpoint: entraemu.RealmEndpoint, Status: 500})
		}, kind: entra.Unavailable, says: "fails (status 500)"},
		"realm hangs": {change: func(_ *testing.T, s *entraemu.Server) {
			s.SetFaults(entraemu.Faults{Endpoint: entraemu.RealmEndpoint, Hang: true})
		}, kind: entra.Unavailable, says: "did not answer in time"},
		"realm is garbage": {change: func(_ *testing.T, s *entraemu.Server) {
			s.SetFaults(entraemu.Faults{Endpoint: entraemu.RealmEndpoint, Body: "garbage"})
		}, kind: entra.Unavailable, says: "is a proxy in between?"},
		"no scope": {scope: " ", kind: entra.Invalid, says: "there is none"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "password")
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				emulated := w.emulateApp(t, func(app *entraemu.App) {
					if tc.app != nil {
						tc.app(app)
					}
				})
				edit(t, emulated, alice, func(u *entraemu.User) { u.Password = entra.NewSecret("password-canary") })
				if tc.change != nil {
					tc.change(t, emulated)
				}
				writeFile(t, path, "password-canary")
				req := entra.Request{Scope: alerts}
				if tc.scope != "" {
					req.Scope = tc.scope
				}
				upn := alice
				if tc.upn != "" {
					upn = tc.upn
				}
				_, err := w.password(t, path, upn).Token(t.Context(), req)
				e := wantError(t, err, tc.kind, tc.says)
				if got := emulated.Stats().Grants[passwordGrant]; got != tc.asked || e.Code == broker.LoginRequired || strings.Contains(e.Error(), "tokenbroker login") {
					t.Errorf("sent %d times, want %d; got code %q", got, tc.asked, e.Code)
				}
			})
		})
	}
}

func TestPasswordGoesToTheAuthorityOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	writeFile(t, path, "password-canary")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		authority := w.authority(t, answer(http.StatusOK, `{"account_type":"Federated","domain_name":"x","cloud_instance_name":"x","cloud_audience_urn":"x","federation_protocol":"WSTrust","federation_metadata_url":"https://stranger.example/mex"}`))
		stranger := w.listen(t, "stranger.example")
		defer stranger.Close()
		_, err := w.password(t, path, alice).Token(t.Context(), entra.Request{Scope: alerts})
		wantError(t, err, entra.Misconfigured, "is federated")
		for _, r := range authority.requests() {
			if strings.Contains(r.URL.String()+r.Form.Encode(), "canary") {
				t.Errorf("the password was sent to %s", r.URL)
			}
		}
	})
}

func TestPasswordFileThatIsNoGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	writeFile(t, path, "two\nlines")
	_, err := broker.OpenPasswordFile(path, slog.New(slog.DiscardHandler))
	wantError(t, err, entra.Misconfigured, "has several lines")
	app := newWorld(t).userApp(t)
	app.ClientID = "x"
	_, err = broker.NewPassword(app, alice, nil)
	wantError(t, err, entra.Invalid, "client_id")
}
