package broker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

func TestDeviceCodeSignsAUserIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		u := w.user(t, newDrawer())
		_, err := u.Account(t.Context())
		wantLogin(t, err, `identity "me": nobody is signed in`)

		var prompt broker.Prompt
		account, err := u.Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(p broker.Prompt) {
			prompt = p
			time.AfterFunc(time.Minute, func() {
				if err := emulated.Approve(p.UserCode, bob); err != nil {
					t.Error(err)
				}
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		user, _ := emulated.User(bob)
		want := broker.Account{ID: user.ObjectID + "." + string(tenant), Username: bob, Tenant: string(tenant), SignedIn: account.SignedIn}
		if diff := cmp.Diff(account, want); diff != "" || time.Since(account.SignedIn) != 0 {
			t.Errorf("%s signed in at %v", diff, account.SignedIn)
		}
		if got, err := u.Account(t.Context()); err != nil || got != account {
			t.Errorf("got %v, %v, want %v", got, err, account)
		}
		if got := emulated.Stats().Grants[deviceGrant]; got != 12 {
			t.Errorf("polled %d times in a minute, want every 5 s", got)
		}
		if prompt.URL != "https://"+host+"/common/oauth2/deviceauth" || prompt.Answer != nil ||
			!strings.Contains(prompt.Message, prompt.URL) || !strings.Contains(prompt.Message, prompt.UserCode) {
			t.Errorf("shown: %+v", prompt)
		}

		tok, err := u.Token(t.Context(), entra.Request{Account: account.ID, Scope: alerts})
		claims := wantUsers(t, emulated, tok, err, bob)
		if claims.Audience[0] != mdeHost || tok.Scope != alerts {
			t.Errorf("got a token for %v, %s", claims.Audience, tok.Scope)
		}
	})
}

func TestDeviceCodeEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(*entraemu.Server)
		then   func(*testing.T, *entraemu.Server, broker.Prompt, context.CancelFunc)
		kind   entra.Kind
		code   string
		says   string
		after  time.Duration
	}{
		"declined": {
			then: func(t *testing.T, s *entraemu.Server, p broker.Prompt, _ context.CancelFunc) {
				t.Helper()
				if err := s.Decline(p.UserCode); err != nil {
					t.Error(err)
				}
			},
			kind: entra.Challenged, code: broker.LoginRequired, says: `the user of identity "me" declined: run: tokenbroker login me`, after: 5 * time.Second,
		},
		"nobody comes": {kind: entra.Challenged, code: broker.LoginRequired, says: "nobody has signed in in time: run: tokenbroker login me", after: 15 * time.Minute},
		"called off": {
			then: func(_ *testing.T, _ *entraemu.Server, _ broker.Prompt, cancel context.CancelFunc) {
				time.AfterFunc(time.Minute, cancel)
			},
			kind: entra.Canceled, says: "context canceled", after: time.Minute,
		},
		"no public client": {
			then: func(t *testing.T, s *entraemu.Server, p broker.Prompt, _ context.CancelFunc) {
				t.Helper()
				if err := s.Approve(p.UserCode, alice); err != nil {
					t.Error(err)
				}
			},
			kind: entra.Misconfigured, code: "invalid_client", says: "set Allow public client flows to Yes", after: 5 * time.Second,
		},
		"Entra is away": {
			before: func(s *entraemu.Server) {
				s.SetFaults(entraemu.Faults{Endpoint: entraemu.DeviceCodeEndpoint, Status: 503})
			},
			kind: entra.Unavailable, code: "temporarily_unavailable", says: "fails (status 503)",
		},
		"Entra hangs": {
			before: func(s *entraemu.Server) {
				s.SetFaults(entraemu.Faults{Endpoint: entraemu.DeviceCodeEndpoint, Hang: true})
			},
			kind: entra.Unavailable, says: "did not answer in time", after: timeout,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				emulated := w.emulateApp(t, func(app *entraemu.App) { app.Public = name != "no public client" })
				if tc.before != nil {
					tc.before(emulated)
				}
				store := newDrawer()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				began := time.Now()
				_, err := w.user(t, store).Login(ctx, broker.LoginOptions{Scope: alerts}, func(p broker.Prompt) {
					if tc.then != nil {
						tc.then(t, emulated, p, cancel)
					}
				})
				e := wantError(t, err, tc.kind, tc.says)
				if took := time.Since(began).Truncate(time.Second); e.Code != tc.code || took != tc.after {
					t.Errorf("got code %q after %v, want %q after %v", e.Code, took, tc.code, tc.after)
				}
				if !store.kept().IsZero() {
					t.Error("something was kept")
				}
			})
		})
	}
}

// device answers as an authority for device codes, at the token endpoint with
// one answer after the other.
func device(code string, polls ...http.HandlerFunc) (http.HandlerFunc, func() []time.Duration) {
	var began time.Time
	var at []time.Duration
	return func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/devicecode") {
			began = time.Now()
			answer(http.StatusOK, code)(rw, r)
			return
		}
		at = append(at, time.Since(began).Truncate(time.Second)) // MSAL lets 50 ms pass
		polls[min(len(at), len(polls))-1](rw, r)
	}, func() []time.Duration { return at }
}

// deviceCode is a good answer of the device endpoint, deviceAnswer one with any
// interval.
var deviceCode = fmt.Sprintf(deviceAnswer, "5")

const deviceAnswer = `{"user_code":"ABC-123","device_code":"device-canary","verification_uri":"https://login.example/device","expires_in":900,"interval":%s}`

// userAnswer is a token answer for a user.
const userAnswer = `{"token_type":"Bearer","expires_in":3599,"access_token":"access-canary","refresh_token":"refresh-canary",` +
	`"client_info":"eyJ1aWQiOiJ1IiwidXRpZCI6InQifQ","id_token":"e30.eyJvaWQiOiJ1IiwidGlkIjoidCIsInByZWZlcnJlZF91c2VybmFtZSI6ImFsaWNlQGNvbnRvc28uZXhhbXBsZSIsInN1YiI6InMifQ.c2ln"}`

func TestPollsKeepTheAuthoritysPace(t *testing.T) {
	pending, slow := answer(400, `{"error":"authorization_pending"}`), answer(400, `{"error":"slow_down"}`)
	away, hurry := answer(503, "{}"), answer(429, "{}")
	good := answer(200, userAnswer)
	const s = time.Second
	for name, tc := range map[string]struct {
		interval string
		polls    []http.HandlerFunc
		want     []time.Duration
		fails    string
	}{
		"its interval":      {"7", []http.HandlerFunc{pending, pending, good}, []time.Duration{7 * s, 14 * s, 21 * s}, ""},
		"none":              {"0", []http.HandlerFunc{pending, good}, []time.Duration{5 * s, 10 * s}, ""},
		"a negative one":    {"-3", []http.HandlerFunc{pending, good}, []time.Duration{5 * s, 10 * s}, ""},
		"slow_down":         {"5", []http.HandlerFunc{slow, slow, pending, good}, []time.Duration{5 * s, 15 * s, 30 * s, 45 * s}, ""},
		"it fails":          {"5", []http.HandlerFunc{away, hurry, pending, good}, []time.Duration{5 * s, 15 * s, 35 * s, 55 * s}, ""},
		"it fails for good": {"5", []http.HandlerFunc{away}, []time.Duration{5 * s, 15 * s, 35 * s, 75 * s, 155 * s}, "fails (status 503)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				handler, at := device(fmt.Sprintf(deviceAnswer, tc.interval), tc.polls...)
				w.serve(t, host, handler)
				_, err := w.user(t, newDrawer()).Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) {})
				if tc.fails != "" {
					wantError(t, err, entra.Unavailable, tc.fails)
				} else if err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(at(), tc.want); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// What goes to a terminal is in our words, and not what an answer could put there.
func TestDeviceCodeShowsNothingStrange(t *testing.T) {
	for name, edited := range map[string]map[string]any{
		"another scheme":  {"verification_uri": "javascript:alert(1)"},
		"in the clear":    {"verification_uri": "http://login.example/device"},
		"no page":         {"verification_uri": ""},
		"no URL":          {"verification_uri": "https://%zz"},
		"no code":         {"user_code": ""},
		"a control code":  {"user_code": "A\x1b[2J"},
		"a letter of far": {"user_code": "АВС"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var fields map[string]any
				if err := json.Unmarshal([]byte(deviceCode), &fields); err != nil {
					t.Fatal(err)
				}
				for key, value := range edited {
					fields[key] = value
				}
				body, _ := json.Marshal(fields)
				handler, _ := device(string(body))
				w.serve(t, host, handler)
				_, err := w.user(t, newDrawer()).Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(p broker.Prompt) { t.Errorf("shown: %+v", p) })
				wantError(t, err, entra.Unavailable, "no device code")
			})
		})
	}
}

func TestSignInNeedsAnAccountAndARefreshToken(t *testing.T) {
	for name, body := range map[string]string{
		"no refresh token": strings.Replace(userAnswer, `"refresh_token":"refresh-canary",`, "", 1),
		"no account":       `{"token_type":"Bearer","expires_in":3599,"access_token":"access-canary","refresh_token":"refresh-canary"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				handler, _ := device(deviceCode, answer(200, body))
				w.serve(t, host, handler)
				_, err := w.user(t, newDrawer()).Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) {})
				wantError(t, err, entra.Unavailable, "is it an Entra authority?")
			})
		})
	}
}

// Not all that was asked for is not what was asked for: the set is exact.
func TestNarrowerScopeIsNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		handler, _ := device(deviceCode, answer(200, strings.Replace(userAnswer, `{`, `{"scope":"`+mdeHost+`/Machine.Read",`, 1)))
		w.serve(t, host, handler)
		_, err := w.user(t, newDrawer()).Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) {})
		wantError(t, err, entra.Challenged, "not all of "+string(alerts)+" was granted")
	})
}
