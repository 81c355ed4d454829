package broker_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	"tokenbroker/entra"
)

func TestAccountsSayWhoseTokenItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		u := w.user(t, newDrawer())
		var asked []string
		source := broker.NewAccounts(entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
			asked = append(asked, req.Account)
			return entra.Token{}, nil
		}), func(id entra.IdentityID) *broker.User {
			if id == "me" {
				return u
			}
			return nil
		})
		token := func(id entra.IdentityID) error {
			_, err := source.Token(t.Context(), entra.Request{Identity: id, Scope: alerts})
			return err
		}
		wantLogin(t, token("me"), "nobody is signed in")
		first := signIn(t, emulated, u, alice)
		for _, id := range []entra.IdentityID{"me", "app"} {
			if err := token(id); err != nil {
				t.Error(err)
			}
		}
		second := signIn(t, emulated, u, bob)
		if err := token("me"); err != nil {
			t.Error(err)
		}
		if want := [3]string{first.ID, "", second.ID}; len(asked) != 3 || [3]string(asked) != want {
			t.Errorf("asked for %q, want %q", asked, want)
		}
	})
}

// countingDrawer counts how often it is opened.
type countingDrawer struct {
	*drawer
	loads atomic.Int64
}

func (c *countingDrawer) Load(ctx context.Context, name string) (entra.Secret, error) {
	c.loads.Add(1)
	return c.drawer.Load(ctx, name)
}

// What another process does with the store is seen within seconds, and while
// the store fails the one who is known goes on. However many ask, it is opened
// once in that time.
func TestAnotherProcessSignsSomebodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		store := &countingDrawer{drawer: newDrawer()}
		u, other := w.user(t, store), w.user(t, store)
		is := func(when, upn string) {
			t.Helper()
			got, err := u.Account(t.Context())
			if upn == "" {
				wantLogin(t, err, "nobody is signed in")
			} else if err != nil || got.Username != upn {
				t.Errorf("%s: got %v, %v, want %s", when, got.Username, err, upn)
			}
		}
		is("before", "")
		signIn(t, emulated, other, alice)
		is("at once", alice)
		signIn(t, emulated, other, bob)
		time.Sleep(5 * time.Second)
		is("5 s after another signed in", bob)

		before := store.loads.Load()
		for range 10 {
			var all sync.WaitGroup
			for range 64 {
				all.Go(func() { is("in a crowd", bob) })
			}
			all.Wait()
			time.Sleep(time.Second)
		}
		if got := store.loads.Load() - before; got != 1 {
			t.Errorf("opened %d times in 10 s", got)
		}

		store.fail("Load", entra.Errorf(entra.Unavailable, "store", "keychain locked"))
		time.Sleep(time.Minute)
		is("while the store fails", bob)
		store.fail("Load", nil)
		if err := other.Logout(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		is("5 s after they signed out", "")
	})
}

// A store that hangs holds nobody up for long.
func TestStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		store := &slowDrawer{newDrawer(), make(chan struct{})}
		close(store.open)
		u := w.user(t, store)
		signIn(t, emulated, u, alice)
		store.open = make(chan struct{})
		time.Sleep(time.Minute)
		began := time.Now()
		if got, err := u.Account(t.Context()); err != nil || got.Username != alice {
			t.Errorf("got %v, %v", got, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
