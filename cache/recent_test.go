package cache

import (
	"testing"
	"testing/synctest"

	"tokenbroker/entra"
)

// What the benchmarks of a hit measure is the table, not the LRU.
func TestHitIsAnsweredFromTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHot(t)
		if h.cache.recent.get(&h.req) == nil {
			t.Error("a token in use is not in the table")
		}
		user := h.req
		user.Assertion = entra.NewSecret("alice")
		if h.cache.recent.get(&user) != nil {
			t.Error("a user got the application's token from the table")
		}
	})
}

// A caller who found nothing may reach its flight after another one landed.
func TestFlightThatComesLateAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHot(t)
		before := h.cache.Stats()
		token, _, err := h.cache.wait(t.Context(), h.cache.flightOf(h.req))
		if err != nil || token.Access.IsZero() {
			t.Errorf("got %v, want the token that landed", err)
		}
		if after := h.cache.Stats(); after != before {
			t.Errorf("got %+v, want no request more than in %+v", after, before)
		}
	})
}
