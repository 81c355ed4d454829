package broker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	"tokenbroker/entra"
)

func TestLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		store := newDrawer()
		u := w.user(t, store)
		account := signIn(t, emulated, u, alice)
		store.fail("Delete", entra.Errorf(entra.Misconfigured, "store", "disk full"))
		wantError(t, u.Logout(t.Context()), entra.Misconfigured, "disk full")
		if _, err := u.Account(t.Context()); err != nil {
			t.Errorf("not signed out, and nobody is signed in: %v", err)
		}
		store.fail("Delete", nil)
		for range 2 {
			if err := u.Logout(t.Context()); err != nil {
				t.Error(err)
			}
		}
		_, err := u.Account(t.Context())
		wantLogin(t, err, "nobody is signed in")
		_, err = u.Token(t.Context(), entra.Request{Account: account.ID, Scope: alerts})
		wantLogin(t, err, "nobody is signed in")
	})
}

func TestLogoutEndsTheSignInUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		u := w.user(t, newDrawer())
		_, err := u.Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(p broker.Prompt) {
			if err := u.Logout(t.Context()); err != nil {
				t.Error(err)
			}
			if err := emulated.Approve(p.UserCode, alice); err != nil { // too late
				t.Error(err)
			}
		})
		wantLogin(t, err, "somebody has signed out meanwhile")
		_, err = u.Account(t.Context())
		wantLogin(t, err, "nobody is signed in")
		signIn(t, emulated, u, bob)
	})
}

func TestOneSignInAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		u := w.user(t, newDrawer())
		_, err := u.Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(p broker.Prompt) {
			_, err := u.Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) { t.Error("a second prompt") })
			wantError(t, err, entra.Unavailable, "a sign-in is under way already")
			if err := emulated.Approve(p.UserCode, alice); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Error(err)
		}
		signIn(t, emulated, u, bob)
	})
}

func TestLoginOptionsThatMakeNoSense(t *testing.T) {
	u := newWorld(t).user(t, newDrawer())
	for says, opts := range map[string]broker.LoginOptions{
		"want select_account": {Scope: alerts, Prompt: "none"},
		"there is none":       {},
	} {
		_, err := u.Login(t.Context(), opts, func(broker.Prompt) { t.Error("shown") })
		wantError(t, err, entra.Invalid, says)
	}
	_, err := u.Token(t.Context(), entra.Request{Scope: alerts, Assertion: entra.NewSecret("assertion-canary")})
	wantError(t, err, entra.Invalid, "a user already")
	_, err = u.Token(t.Context(), entra.Request{Scope: alerts, Tenant: "common"})
	wantError(t, err, entra.Invalid, "tenant")
}

func TestStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		var logged bytes.Buffer
		store := newDrawer()
		u := w.user(t, store, func(cfg *broker.UserConfig) { cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
		account := signIn(t, emulated, u, alice)
		req := entra.Request{Account: account.ID, Scope: alerts}

		store.fail("Save", entra.Errorf(entra.Misconfigured, "store", "disk full"))
		tok, err := u.Token(t.Context(), req) // it was given
		wantUsers(t, emulated, tok, err, alice)
		if got := logged.String(); !strings.Contains(got, "refresh token not kept") || !strings.Contains(got, "disk full") {
			t.Errorf("logged: %s", got)
		}
		_, err = u.Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(p broker.Prompt) {
			if err := emulated.Approve(p.UserCode, bob); err != nil {
				t.Error(err)
			}
		})
		wantError(t, err, entra.Misconfigured, "disk full")
		if got, err := u.Account(t.Context()); err != nil || got != account {
			t.Errorf("got %v, %v, want who was signed in before", got, err)
		}
		store.fail("Save", nil)

		store.fail("Load", entra.Errorf(entra.Unavailable, "store", "keychain locked"))
		_, err = u.Token(t.Context(), req)
		wantError(t, err, entra.Unavailable, "keychain locked")
		_, err = u.Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) { t.Error("asked to sign in for nothing") })
		wantError(t, err, entra.Unavailable, "keychain locked")
		store.fail("Load", nil)

		for _, text := range []string{"{", `{"account":{}}`, "[]"} {
			store.put(text)
			_, err := w.user(t, store).Account(t.Context())
			wantLogin(t, err, "cannot be read")
		}
	})
}

// slowDrawer is a store that answers when it is told to.
type slowDrawer struct {
	*drawer
	open chan struct{}
}

func (s *slowDrawer) Load(ctx context.Context, name string) (entra.Secret, error) {
	select {
	case <-s.open:
		return s.drawer.Load(ctx, name)
	case <-ctx.Done():
		return entra.Secret{}, entra.AsError(ctx.Err())
	}
}

func TestWaitingForTheStoreEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowDrawer{newDrawer(), make(chan struct{})}
		u := newWorld(t).user(t, store)
		var all sync.WaitGroup
		all.Go(func() { // it has the store
			_, err := u.Account(t.Context())
			wantLogin(t, err, "nobody is signed in")
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := u.Account(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(store.open)
		all.Wait()
	})
}

func TestNewUserRefusesWhatCannotWork(t *testing.T) {
	w := newWorld(t)
	for says, change := range map[string]func(*broker.UserConfig){
		"client_id":          func(c *broker.UserConfig) { c.App.ClientID = "x" },
		"want http://localh": func(c *broker.UserConfig) { c.RedirectURI = "localhost" },
		"or https":           func(c *broker.UserConfig) { c.RedirectURI = "http://stranger.example" },
	} {
		cfg := broker.UserConfig{App: w.userApp(t), Name: "me"}
		change(&cfg)
		_, err := broker.NewUser(cfg)
		wantError(t, err, entra.Invalid, says)
	}
}
