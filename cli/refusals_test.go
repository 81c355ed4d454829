//go:build unix

package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const (
	byBrowser  = "{kind: browser, redirect_uri: 'https://127.0.0.1'}, store: {file: DIR/sign-ins, key_file: DIR/sign-ins.key}"
	byCode     = "{kind: device-code}, store: {file: DIR/sign-ins, key_file: DIR/sign-ins.key}"
	byPassword = "{kind: password, username: " + entraemu.DefaultUser + ", password_file: DIR/password}"

	runLogin  = "run: tokenbroker login me"
	otherKind = "sign them in themselves, with a credential of kind device-code or browser"
)

// Whatever keeps somebody from signing in, the command says what it is and what
// to do, and ends.
func TestSignInThatIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		credential string
		app        func(*entraemu.App)
		do         func(c *commands, prompt string) (pasted string)
		says       []string
	}{
		"declined by code": {
			byCode, nil,
			func(c *commands, prompt string) string {
				must(c.t, c.entra.Decline(codeOf(prompt)))
				return ""
			},
			[]string{`the user of identity "me" declined: ` + runLogin + ", and accept what is asked", "AADSTS65004"},
		},
		"declined by browser": {
			byBrowser, func(a *entraemu.App) { a.Consents = nil },
			func(c *commands, prompt string) string {
				p := c.person()
				p.Declines = "consent"
				return c.browse(p)(prompt)
			},
			[]string{`declined: ` + runLogin + ", and accept what is asked", "AADSTS65004"},
		},
		"nobody comes": {
			byCode, nil, nil,
			[]string{"nobody has signed in in time: " + runLogin},
		},
		"not a public client": {
			byCode, func(a *entraemu.App) { a.Public = false },
			func(c *commands, prompt string) string {
				must(c.t, c.entra.Approve(codeOf(prompt), entraemu.DefaultUser))
				return ""
			},
			[]string{"AADSTS7000218", "App registrations > Authentication", "Allow public client flows to Yes"},
		},
		"registered under Web": {
			byBrowser, func(a *entraemu.App) {
				a.RedirectURIs, a.NativeRedirectURIs = a.NativeRedirectURIs, nil
			},
			func(c *commands, prompt string) string { return c.browse(c.person())(prompt) },
			[]string{"AADSTS7000218", "App registrations > Authentication", "not under Web"},
		},
		"registered for a single page": {
			byBrowser, func(a *entraemu.App) {
				a.RedirectURIs, a.SPARedirectURIs, a.NativeRedirectURIs = nil, a.NativeRedirectURIs, nil
			},
			func(c *commands, prompt string) string { return c.browse(c.person())(prompt) },
			[]string{"AADSTS9002327", "App registrations > Authentication", "move it to Mobile and desktop applications"},
		},
		"disabled meanwhile": {
			byBrowser, nil,
			func(c *commands, prompt string) string {
				defer change(c.t, c.entra, func(u *entraemu.User) { u.Disabled = true })
				return c.browse(c.person())(prompt)
			},
			[]string{`the account of the user of identity "me" is disabled`, "have an administrator of tenant " + contoso + " enable it", "AADSTS50057"},
		},
		"the app is not in the tenant": {
			"{kind: device-code}, store: memory", func(a *entraemu.App) { a.ClientID = entraemu.FrontEnd[:35] + "7" },
			nil,
			[]string{"app " + entraemu.DefaultClient + " is not in tenant", "AADSTS700016"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCommands(t, tt.credential, tt.app, nil)
			var do func(string) string
			if tt.do != nil {
				do = func(prompt string) string { return tt.do(c, prompt) }
			}
			code, said := c.login(do)
			if code != exitFailed {
				t.Errorf("exit code %d, want %d", code, exitFailed)
			}
			for _, text := range tt.says {
				if !strings.Contains(said, text) {
					t.Errorf("no %q in %s", text, said)
				}
			}
			c.says(exitFailed, "nobody is signed in; "+runLogin, c.running("whoami", "me")...)
		})
	}
}

// A redirect URI that is not registered Entra tells the user, and never us: what
// to do then is said with the address to open.
func TestSignInSaysWhatToDoAboutTheRedirectURI(t *testing.T) {
	c := newCommands(t, byBrowser, func(a *entraemu.App) { a.NativeRedirectURIs = []string{"http://localhost"} }, nil)
	ctx, leave := context.WithCancel(t.Context())
	errs, ended := new(logBuffer), make(chan int, 1)
	go func() {
		ended <- Main(ctx, System{Args: c.running("login", "me"), Out: errs, Err: errs})
	}()
	page := regexp.MustCompile(`(?m)^https://\S+\n`)
	must(t, eventually("the page is shown", func() bool { return page.MatchString(errs.String()) }))
	if said := errs.String(); !strings.Contains(said, "AADSTS50011, add https://127.0.0.1 to the app registration: in the Entra portal under App registrations > Authentication > Add a platform > Mobile and desktop applications") {
		t.Errorf("got %s", said)
	}
	if _, err := c.person().SignIn(t.Context(), strings.TrimSpace(page.FindString(errs.String()))); err == nil || !strings.Contains(err.Error(), "AADSTS50011") {
		t.Errorf("the page says %v", err)
	}
	leave() // Ctrl-C
	if code := <-ended; code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
}

// Whatever ends a sign-in later, or makes a password not enough, is said by
// each command that needs the user, with the remedy.
func TestUserWhoIsRefusedLater(t *testing.T) {
	for name, tt := range map[string]struct {
		credential string
		app        func(*entraemu.App)
		happens    func(s *site)
		says       []string
		status     int
		code       string
	}{
		"revoked": {
			byBrowser, nil, func(s *site) { must(s.t, s.entra.RevokeSessions(entraemu.DefaultUser)) },
			[]string{`the sign-in of the user of identity "me" is over, revoked or expired: ` + runLogin, "AADSTS50173"},
			403, "login_required",
		},
		"another password": {
			byBrowser, nil,
			func(s *site) {
				change(s.t, s.entra, func(u *entraemu.User) { u.Password = entra.NewSecret("another") })
			},
			[]string{"revoked or expired: " + runLogin, "AADSTS50173"},
			403, "login_required",
		},
		"a second factor": {
			byBrowser, nil, func(s *site) { change(s.t, s.entra, func(u *entraemu.User) { u.MFA = true }) },
			[]string{"more than a password (MFA): " + runLogin, "AADSTS50076"},
			403, "login_required",
		},
		"disabled": {
			byBrowser, nil, func(s *site) { change(s.t, s.entra, func(u *entraemu.User) { u.Disabled = true }) },
			[]string{`the account of the user of identity "me" is disabled: have an administrator of tenant ` + contoso + " enable it", "AADSTS50057"},
			403, "invalid_grant",
		},
		"consent taken back": {
			byBrowser, func(a *entraemu.App) { a.Consents = nil },
			func(s *site) {
				must(s.t, s.entra.SetUserConsent(entraemu.DefaultUser, entraemu.UserConsent{Tenant: contoso, ClientID: entraemu.DefaultClient}))
			},
			[]string{"has not consented to https://api.securitycenter.microsoft.com/.default for app " + entraemu.DefaultClient + ": " + runLogin, "an administrator consent at https://", "AADSTS65001"},
			403, "login_required",
		},
		"a wrong password": {
			byPassword, nil, func(s *site) { s.write(s.t, "password", "canary-of-a-password\n") },
			[]string{`wrong user name or password for user "` + entraemu.DefaultUser + `": put the password that they sign in with into`, "AADSTS50126"},
			500, "invalid_grant",
		},
		"a password and a second factor": {
			byPassword, nil, func(s *site) { change(s.t, s.entra, func(u *entraemu.User) { u.MFA = true }) },
			[]string{"more than a password (MFA): " + otherKind, "AADSTS50076"},
			403, "invalid_grant",
		},
		"a password and disabled": {
			byPassword, nil, func(s *site) { change(s.t, s.entra, func(u *entraemu.User) { u.Disabled = true }) },
			[]string{`the account of user "` + entraemu.DefaultUser + `" is disabled: have an administrator`, "AADSTS50057"},
			403, "invalid_grant",
		},
		"an old password": {
			byPassword, nil, func(s *site) {
				change(s.t, s.entra, func(u *entraemu.User) { u.PasswordExpired = true })
			},
			[]string{"has expired: they have to change it", "AADSTS50055"},
			403, "invalid_grant",
		},
		"a password that another service has": {
			byPassword, nil, func(s *site) {
				change(s.t, s.entra, func(u *entraemu.User) { u.Federation = "https://adfs.contoso.example/mex" })
			},
			[]string{"the password stays there: " + otherKind},
			500, "",
		},
		"a password and no public client": {
			byPassword, func(a *entraemu.App) { a.Public = false }, nil,
			[]string{"Allow public client flows to Yes", "AADSTS7000218"},
			500, "invalid_client",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var c *commands
			whoami, whoamiSays := exitDone, entraemu.DefaultUser // it tells who signed in, and asks nobody
			if tt.credential == byPassword {
				whoami, whoamiSays = exitUsage, "nobody signs in to it"
				c = newCommands(t, tt.credential, tt.app, tt.happens)
			} else {
				c = newCommands(t, tt.credential, tt.app, nil)
				if code, said := c.login(c.browse(c.person())); code != exitDone {
					t.Fatalf("login: exit code %d, %s", code, said)
				}
				tt.happens(c.site)
			}
			for _, text := range tt.says {
				c.says(exitFailed, text, c.running("token", "--route", "mine", "--fresh")...)
				c.says(exitFailed, text, "token", "--route", "mine", "--direct", "--config", c.file)
				c.says(exitFailed, text, "check", "--live", "--config", c.file)
			}
			c.says(whoami, whoamiSays, c.running("whoami", "me")...)

			resp, err := c.client.Post("http://"+c.at.Callers[0]+"/token", "application/x-www-form-urlencoded", strings.NewReader("route=mine"))
			must(t, err)
			defer resp.Body.Close()
			var p struct{ Code, Detail string }
			body := text(t, resp)
			if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != tt.status || p.Code != tt.code {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, body, tt.status, tt.code)
			}
			if log := c.logs.String(); strings.Contains(body+log, "canary") {
				t.Error("the password is said")
			}
		})
	}
}

// What keeps an app from acting for a user is said to who showed their token.
func TestUserBehindAnAssertionIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		happens func(w *world)
		says    string
	}{
		"revoked":    {func(w *world) { must(w.t, w.entra.RevokeSessions(entraemu.DefaultUser)) }, "revoked or is too long ago; have the user sign in again (AADSTS50173)"},
		"disabled":   {func(w *world) { change(w.t, w.entra, func(u *entraemu.User) { u.Disabled = true }) }, "the user's account is disabled (AADSTS50057)"},
		"no consent": {func(w *world) { must(w.t, w.entra.Revoke(entraemu.DefaultClient, contoso)) }, "add the delegated permission, and consent at https://"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.start(peoplesApp)
				shown := w.assertion(t, entraemu.DefaultUser, "", brokerScope, 0).Reveal()
				time.Sleep(time.Second) // in the bubble
				tt.happens(w)
				for _, path := range []string{"/token?route=theirs", "/proxy/theirs/api/incidents"} {
					resp := b.call(http.MethodGet, path, "", "X-User-Assertion", shown)
					if body := text(t, resp); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, tt.says) || strings.Contains(body, shown) {
						t.Errorf("%s: %s %s", path, resp.Status, body)
					}
				}
				if strings.Contains(b.logs.String(), shown) {
					t.Error("the assertion is in the log")
				}
			})
		})
	}
}

func change(t *testing.T, s *entraemu.Server, edit func(*entraemu.User)) {
	t.Helper()
	alice, _ := s.User(entraemu.DefaultUser)
	edit(&alice)
	must(t, s.SetUser(alice))
}
