package broker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

func TestSignInOutlivesRestartsAndItsRefreshTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		store := newDrawer()
		account := signIn(t, emulated, w.user(t, store), bob)
		for range 100 { // days: longer than one refresh token lives
			time.Sleep(24 * time.Hour)
			before := store.kept()
			u := w.user(t, store)
			if got, err := u.Account(t.Context()); err != nil || got != account {
				t.Fatalf("got %v, %v, want %v", got, err, account)
			}
			tok, err := u.Token(t.Context(), entra.Request{Account: account.ID, Scope: alerts})
			wantUsers(t, emulated, tok, err, bob)
			if store.kept().Equal(before) {
				t.Fatal("the new refresh token was not kept")
			}
			if strings.Contains(store.kept().Reveal(), tok.Access.Reveal()) {
				t.Fatal("the access token was kept")
			}
		}
		if got := emulated.Stats().Given[refreshGrant]; got != 100 {
			t.Errorf("refreshed %d times, want 100", got)
		}
	})
}

func TestUsersTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		u := w.user(t, newDrawer())
		account := signIn(t, emulated, u, bob)
		for name, tc := range map[string]struct {
			scope    entra.Scope
			tenant   entra.Tenant
			claims   string
			audience string
		}{
			"several permissions":    {alerts + " " + mdeHost + "/Machine.Read", "", "", mdeHost},
			"all that was consented": {mdeHost + "/.default", "", "", mdeHost},
			"the older host":         {"https://api.securitycenter.windows.com/Alert.Read", "", "", "https://api.securitycenter.windows.com"},
			"another API":            {"https://api.security.microsoft.com/Incident.Read", "", "", "https://api.security.microsoft.com"},
			"where they are a guest": {alerts, fabrikam, "", mdeHost},
			"a claims challenge":     {alerts, "", `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`, mdeHost},
		} {
			tok, err := u.Token(t.Context(), entra.Request{Account: account.ID, Scope: tc.scope, Tenant: tc.tenant, Claims: tc.claims})
			claims := wantUsers(t, emulated, tok, err, bob)
			if claims.Audience[0] != tc.audience || tc.tenant != "" && claims.Tenant != string(tc.tenant) || tok.Scope != tc.scope {
				t.Errorf("%s: got a token for %v in %s", name, claims.Audience, claims.Tenant)
			}
		}
	})
}

func TestUserHasToSignInAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*testing.T, *entraemu.Server)
		scope  entra.Scope
		says   string
		login  bool // cures it
		kind   entra.Kind
	}{
		"revoked": {
			change: func(t *testing.T, s *entraemu.Server) {
				t.Helper()
				if err := s.RevokeSessions(alice); err != nil {
					t.Error(err)
				}
			},
			says: `the sign-in of the user of identity "me" is over`, login: true,
		},
		"disabled": {
			change: func(t *testing.T, s *entraemu.Server) {
				t.Helper()
				edit(t, s, alice, func(u *entraemu.User) { u.Disabled = true })
			},
			says: "is disabled: have an administrator", kind: entra.Challenged,
		},
		"forgotten for long": {
			change: func(*testing.T, *entraemu.Server) { time.Sleep(91 * 24 * time.Hour) },
			says:   "is over, revoked or expired", login: true,
		},
		"no such permission": {scope: mdeHost + "/Alert.Reed", says: "a permission that its API does not have", kind: entra.Misconfigured},
		"no such API":        {scope: "https://nowhere.example/.default", says: "is not in tenant", kind: entra.Misconfigured},
		"Entra is away": {
			change: func(_ *testing.T, s *entraemu.Server) { s.SetFaults(entraemu.Faults{Status: 503}) },
			says:   "fails (status 503)", kind: entra.Unavailable,
		},
		"Entra hangs": {
			change: func(_ *testing.T, s *entraemu.Server) { s.SetFaults(entraemu.Faults{Hang: true}) },
			says:   "did not answer in time", kind: entra.Unavailable,
		},
		"no scope": {scope: " ", says: "scope: there is none", kind: entra.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				emulated := w.emulateApp(t, func(app *entraemu.App) { app.Public = true })
				u := w.user(t, newDrawer())
				account := signIn(t, emulated, u, alice)
				time.Sleep(time.Second)
				if tc.change != nil {
					tc.change(t, emulated)
				}
				req := entra.Request{Account: account.ID, Scope: alerts}
				if tc.scope != "" {
					req.Scope = tc.scope
				}
				_, err := u.Token(t.Context(), req)
				if !tc.login {
					if e := wantError(t, err, tc.kind, tc.says); e.Code == broker.LoginRequired {
						t.Error("told to sign in, which does not help")
					}
					return
				}
				wantLogin(t, err, tc.says)
				time.Sleep(time.Second)
				req.Account = signIn(t, emulated, u, alice).ID
				tok, err := u.Token(t.Context(), req)
				wantUsers(t, emulated, tok, err, alice)
			})
		})
	}
}

// Numbers are as Microsoft publishes them; what is not known is decided by RFC
// 6749's error.
func TestRefusalsInWordsForAUser(t *testing.T) {
	for _, tc := range []struct {
		code   string
		number int
		kind   entra.Kind
		login  bool
		says   string
	}{
		{"invalid_grant", 999, entra.Challenged, true, "invalid_grant (AADSTS999); run:"},
		{"interaction_required", 0, entra.Challenged, true, "interaction_required; run:"},
		{"access_denied", 0, entra.Challenged, true, "declined: run:"},
		{"expired_token", 0, entra.Challenged, true, "the code has expired"},
		{"invalid_grant", 50076, entra.Challenged, true, "more than a password (MFA): run:"},
		{"invalid_grant", 50079, entra.Challenged, true, "(MFA)"},
		{"invalid_grant", 53003, entra.Challenged, true, "Conditional Access keeps the user of identity \"me\" out of " + string(alerts)},
		{"invalid_grant", 50173, entra.Challenged, true, "revoked or expired: run:"},
		{"invalid_grant", 700082, entra.Challenged, true, "revoked or expired: run:"},
		{"invalid_grant", 65001, entra.Challenged, true, "or have an administrator consent at https://login.example/" + string(tenant) + "/adminconsent?client_id=" + client},
		{"consent_required", 90094, entra.Challenged, false, "only an administrator of tenant " + string(tenant)},
		{"invalid_grant", 50020, entra.Challenged, true, "no guest there"},
		{"invalid_grant", 50053, entra.Challenged, false, "is locked out"},
		{"invalid_grant", 50055, entra.Challenged, false, "has expired: they have to change it"},
		{"invalid_grant", 50105, entra.Challenged, false, "is not assigned to app " + client},
		{"invalid_grant", 54005, entra.Challenged, true, "used before"},
		{"invalid_client", 7000218, entra.Misconfigured, false, "Allow public client flows"},
		{"invalid_client", 50011, entra.Misconfigured, false, "Mobile and desktop applications"},
		{"invalid_request", 9002327, entra.Misconfigured, false, "single-page application"},
		{"invalid_client", 700016, entra.Misconfigured, false, "app " + client + " is not in tenant"},
	} {
		t.Run(fmt.Sprint(tc.code, " ", tc.number), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				handler, _ := device(deviceCode, answer(200, userAnswer))
				authority := w.authority(t, handler)
				u := w.user(t, newDrawer())
				account, err := u.Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) {})
				if err != nil {
					t.Fatal(err)
				}
				authority.answer = answer(400, fmt.Sprintf(`{"error":%q,"error_description":"refresh-canary","error_codes":[%d],"correlation_id":"00000000-0000-4000-8000-00000000000a","claims":"{\"id_token\":{}}"}`, tc.code, tc.number))
				_, err = u.Token(t.Context(), entra.Request{Account: account.ID, Scope: alerts})
				e := wantError(t, err, tc.kind, tc.says)
				if (e.Code == broker.LoginRequired) != tc.login || e.AADSTS != tc.number || e.Claims == "" || e.CorrelationID != "00000000-0000-4000-8000-00000000000a" {
					t.Errorf("got %+v", e)
				}
			})
		})
	}
}

// A token of one account never answers for another.
func TestSecondUserNeverMeetsTheFirstOnesTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		store := newDrawer()
		u, other := w.user(t, store), w.user(t, store) // the other in another process
		first := signIn(t, emulated, u, alice)
		if _, err := other.Account(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := signIn(t, emulated, u, bob)
		if first.ID == second.ID {
			t.Fatal("both users have one id")
		}
		if user, _ := emulated.User(alice); strings.Contains(store.kept().Reveal(), user.ObjectID) {
			t.Error("something of the first user is still kept")
		}
		for _, account := range []string{first.ID, ""} {
			_, err := u.Token(t.Context(), entra.Request{Account: account, Scope: alerts})
			wantError(t, err, entra.Unavailable, `identity "me": somebody else has signed in by now`)
		}
		tok, err := u.Token(t.Context(), entra.Request{Account: second.ID, Scope: alerts})
		wantUsers(t, emulated, tok, err, bob)

		_, err = other.Token(t.Context(), entra.Request{Account: first.ID, Scope: alerts})
		wantError(t, err, entra.Unavailable, "ask again")
		if got, err := other.Account(t.Context()); err != nil || got != second {
			t.Errorf("the other process has %v, %v, want %v", got, err, second)
		}
	})
}

// An answer that names another account is not used.
func TestTokenOfAnotherAccountIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		handler, _ := device(deviceCode, answer(200, userAnswer))
		authority := w.authority(t, handler)
		u := w.user(t, newDrawer())
		account, err := u.Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) {})
		if err != nil {
			t.Fatal(err)
		}
		authority.answer = answer(200, strings.Replace(userAnswer, "eyJ1aWQiOiJ1IiwidXRpZCI6InQifQ", "eyJ1aWQiOiJ4IiwidXRpZCI6InQifQ", 1))
		_, err = u.Token(t.Context(), entra.Request{Account: account.ID, Scope: alerts})
		wantError(t, err, entra.Unavailable, "the token of another user")

		authority.answer = answer(200, strings.Replace(userAnswer, "3599", "0", 1))
		_, err = u.Token(t.Context(), entra.Request{Account: account.ID, Scope: alerts})
		wantError(t, err, entra.Unavailable, "expired already")
	})
}

// What was under way for a user when somebody signed in or out does not undo
// that.
func TestRenewalUnderWayLeavesTheNextSignInAlone(t *testing.T) {
	for _, next := range []string{bob, alice, ""} {
		t.Run(next, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				emulated := w.emulate(t)
				store := newDrawer()
				u := w.user(t, store)
				account := signIn(t, emulated, u, alice)
				emulated.SetFaults(entraemu.Faults{Hang: true, Times: 1})
				done := make(chan error, 1)
				go func() {
					_, err := u.Token(t.Context(), entra.Request{Account: account.ID, Scope: alerts})
					done <- err
				}()
				synctest.Wait()
				var after entra.Secret
				if next == "" {
					if err := u.Logout(t.Context()); err != nil {
						t.Error(err)
					}
				} else {
					signIn(t, emulated, u, next)
					after = store.kept()
				}
				emulated.SetFaults(entraemu.Faults{})
				if err := <-done; err != nil {
					t.Error(err)
				}
				if got := store.kept(); got != after {
					t.Error("the sign-in of before was written over it")
				}
			})
		})
	}
}

// busyDrawer is a store that another process changes just before it is written to.
type busyDrawer struct {
	*drawer
	first func()
}

func (b *busyDrawer) Save(ctx context.Context, name string, signIn entra.Secret) error {
	b.first()
	return b.drawer.Save(ctx, name, signIn)
}

func (b *busyDrawer) Update(ctx context.Context, name string, edit func(entra.Secret) entra.Secret) error {
	b.first()
	return b.drawer.Update(ctx, name, edit)
}

func TestRenewalDoesNotUndoWhatAnotherProcessDid(t *testing.T) {
	for _, next := range []string{bob, alice, ""} {
		t.Run(next, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				emulated := w.emulate(t)
				store := &busyDrawer{newDrawer(), func() {}}
				u, other := w.user(t, store), w.user(t, store.drawer)
				account := signIn(t, emulated, u, alice)
				var after entra.Secret
				store.first = func() {
					if next == "" {
						if err := other.Logout(t.Context()); err != nil {
							t.Error(err)
						}
						return
					}
					signIn(t, emulated, other, next)
					after = store.kept()
				}
				if _, err := u.Token(t.Context(), entra.Request{Account: account.ID, Scope: alerts}); err != nil {
					t.Error(err)
				}
				if got := store.kept(); got != after {
					t.Error("the sign-in of before was written over it")
				}
				if got, err := u.Account(t.Context()); next != "" && (err != nil || got.Username != next) {
					t.Errorf("got %v, %v, want %s, who has signed in", got, err, next)
				}
			})
		})
	}
}

// A renewal that brings less than was asked for brings nothing; one that brings
// more is a token of what was asked for.
func TestRenewalOfOtherPermissions(t *testing.T) {
	const both = alerts + " " + mdeHost + "/Machine.Read"
	for granted, ok := range map[entra.Scope]bool{
		alerts:                              false,
		both:                                true,
		both + " " + mdeHost + "/File.Read": true,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			handler, _ := device(deviceCode, answer(200, userAnswer))
			authority := w.authority(t, handler)
			u := w.user(t, newDrawer())
			account, err := u.Login(t.Context(), broker.LoginOptions{Scope: both}, func(broker.Prompt) {})
			if err != nil {
				t.Fatal(err)
			}
			authority.answer = answer(200, strings.Replace(userAnswer, "{", `{"scope":"`+string(granted)+`",`, 1))
			tok, err := u.Token(t.Context(), entra.Request{Account: account.ID, Scope: both})
			if !ok {
				wantLogin(t, err, "not all of "+string(both)+" was granted")
			} else if err != nil || tok.Scope != both {
				t.Errorf("granted %s: got a token for %q, %v", granted, tok.Scope, err)
			}
		})
	}
}
