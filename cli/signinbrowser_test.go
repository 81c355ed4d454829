package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"tokenbroker/broker"
	"tokenbroker/config"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// A browser comes to a socket, so this takes place outside of a bubble.
func TestUserSignsInByBrowser(t *testing.T) {
	for _, pasted := range []bool{false, true} {
		t.Run(fmt.Sprintf("pasted %v", pasted), func(t *testing.T) {
			w := newWorld(t)
			b := w.start(strings.Replace(usersApp, "device-code", "browser", 1))
			at := b.reach(w)
			u := begin(t, at, "identity=me&browser=true")
			person := w.person(t, entraemu.DefaultUser)
			back, err := person.SignIn(t.Context(), u.prompt.URL)
			must(t, err)
			if pasted {
				resp := b.call(http.MethodPost, "/login/answer", url.Values{"identity": {"me"}, "url": {"http://localhost/?code=c0de-canary&state=x"}}.Encode())
				if body := text(t, resp); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "another sign-in") || strings.Contains(body, "canary") {
					t.Errorf("a strange address: %d %s", resp.StatusCode, body)
				}
				resp = b.call(http.MethodPost, "/login/answer", url.Values{"identity": {"me"}, "url": {back.URL.String()}}.Encode())
				if resp.StatusCode != http.StatusOK {
					t.Errorf("pasted: %d %s", resp.StatusCode, text(t, resp))
				}
			} else {
				resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(back)
				must(t, err)
				_ = resp.Body.Close()
			}
			if got := u.end(); got.Account == nil || got.Account.Username != entraemu.DefaultUser {
				t.Fatalf("got %+v", got)
			}
			if got, resp, body := b.tokenOf("route=mine"); got != aliceObject {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if log := b.logs.String(); strings.Contains(log, back.URL.Query().Get("code")) || strings.Contains(log, back.URL.Query().Get("state")) {
				t.Error("the code or the state is in the log")
			}
		})
	}
}

// person is somebody at a browser of their own.
func (w *world) person(t *testing.T, upn string) *entraemu.Person {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(w.dir, "ca.pem"))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	jar, err := cookiejar.New(nil)
	must(t, err)
	transport := &http.Transport{DialContext: w.network.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	user, _ := w.entra.User(upn)
	return &entraemu.Person{HTTP: &http.Client{Transport: transport, Jar: jar}, User: upn, Password: user.Password.Reveal()}
}

// A sign-in outlives reloads: in memory those that leave the identity as it is,
// or give it another redirect URI; and in a file the broker.
func TestSignInOutlivesConfigurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.write("key", strings.Repeat("0123456789abcdefghijklmnop", 2)+"\n")
		b := w.start(usersApp)
		signIn(t, w, b.reach(w), entraemu.DefaultUser)
		me := func(a *app) *user {
			identity := a.cfg.Identities["me"]
			return a.users[identity.ID(a.cfg.Authority)]
		}
		next := func(settings string, before *app) *app {
			t.Helper()
			file := w.write("next.yaml", strings.ReplaceAll("ca_file: 'DIR/ca.pem'\n"+settings, "DIR", w.dir))
			cfg, err := config.Load(config.Options{Catalogue: catalogue(t), File: file})
			must(t, err)
			a, err := build(cfg, surroundings{catalogue: catalogue(t), logger: newLogger(b.logs, cfg.Log), dial: w.network.DialContext, before: before})
			must(t, err)
			return a
		}
		same := next(usersApp+"  more: {upstream: https://api.security.microsoft.com}\n", b.app)
		if me(same) != me(b.app) {
			t.Error("another user")
		}
		moved := next(strings.Replace(usersApp, "device-code", "device-code, redirect_uri: 'https://127.0.0.1'", 1), same)
		if account, err := me(moved).Account(t.Context()); err != nil || account.Username != entraemu.DefaultUser || me(moved) == me(same) {
			t.Errorf("with another redirect URI: %+v, %v", account, err)
		}

		inFile := strings.Replace(usersApp, "{kind: device-code}", "{kind: device-code}\n    store: {file: 'DIR/sign-ins', key_file: 'DIR/key'}", 1)
		first := next(inFile, moved)
		if _, err := me(first).Account(t.Context()); err == nil {
			t.Error("another store has the sign-in")
		}
		must(t, me(first).keepFor(t, w, entraemu.GuestUser))
		second := next(inFile, nil)
		t.Cleanup(func() { second.close(context.WithoutCancel(t.Context())) })
		second.warm(t.Context())
		synctest.Wait()
		if second.cache.stats().Entries == 0 {
			t.Error("no warm start for who is signed in")
		}
		for _, live := range []bool{false, true} {
			for _, v := range second.verdicts(t.Context(), live) {
				if v.Route == "mine" && (live && (v.OK == nil || !*v.OK) || !live && v.Verdict != "valid; signed in: "+entraemu.GuestUser) {
					t.Errorf("live %v: %+v", live, v)
				}
			}
		}
		for _, v := range same.verdicts(t.Context(), true) {
			if v.Route == "mine" && (v.OK != nil || !strings.Contains(v.Verdict, "tokenbroker login me")) {
				t.Errorf("in memory: %+v", v)
			}
		}
		must(t, me(second).Logout(t.Context()))
		verdicts := second.verdicts(t.Context(), true)
		for _, v := range verdicts {
			if v.Route == "mine" && (v.OK != nil || !strings.Contains(v.Verdict, "nobody is signed in; run: tokenbroker login me")) {
				t.Errorf("nobody: %+v", v)
			}
		}
		if second.failed(verdicts) {
			t.Error("check fails since nobody is signed in")
		}
		must(t, me(second).keepFor(t, w, entraemu.GuestUser))

		w.write("key", strings.Repeat("another0123456789abcdefghi", 2)+"\n")
		cfg, err := config.Load(config.Options{Catalogue: catalogue(t), File: filepath.Join(w.dir, "next.yaml")})
		must(t, err)
		_, err = build(cfg, surroundings{catalogue: catalogue(t), logger: newLogger(b.logs, cfg.Log), dial: w.network.DialContext})
		if err == nil || entra.KindOf(err) != entra.Invalid && !strings.Contains(err.Error(), "another key") {
			t.Errorf("with a wrong key: %v", err)
		}
		if text := faults(err); !strings.Contains(text, "identities.me: store: ") || !strings.Contains(text, "sealed with another key than that of") {
			t.Errorf("with a wrong key: %s", text)
		}
	})
}

// keepFor signs a user in.
func (u *user) keepFor(t *testing.T, w *world, upn string) error {
	t.Helper()
	_, err := u.signIn(t.Context(), broker.LoginOptions{Scope: mdeScope}, func(p broker.Prompt) { must(t, w.entra.Approve(p.UserCode, upn)) })
	return err
}
