package broker_test

import (
	"context"
	"testing"
	"testing/synctest"

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
