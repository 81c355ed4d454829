package cache_test

import (
	"testing"
	"time"

	"tokenbroker/entra"
)

func TestHoldsWhatItWouldGive(t *testing.T) {
	inBubble(t, &fake{}, func(t broker) {
		first, err := t.Token(t.Context(), entra.Request{Scope: "a"})
		if err != nil {
			t.Fatal(err)
		}
		want := func(access entra.Secret, held bool, when string) {
			t.Helper()
			if got := t.Holds(access); got != held {
				t.Errorf("%s: got %v, want %v", when, got, held)
			}
		}
		want(first.Access, true, "the token")
		want(entra.NewSecret("t1"), true, "the same bytes")
		want(entra.NewSecret("t2"), false, "another token")
		want(entra.Secret{}, false, "none")
		time.Sleep(time.Minute)
		second, err := t.Token(t.Context(), entra.Request{Scope: "a", Rejected: first.Access.Fingerprint()})
		if err != nil {
			t.Fatal(err)
		}
		want(first.Access, false, "one that was refused")
		want(second.Access, true, "its successor")
		time.Sleep(time.Hour)
		want(second.Access, false, "expired")
	})
}
