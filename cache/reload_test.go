package cache_test

import (
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/cache"
	"tokenbroker/entra"
)

func askAs(id entra.IdentityID) entra.Request {
	req := ask(xdr)
	req.Identity = id
	return req
}

func TestRetainForgetsTheTokensOfOtherIdentities(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t broker) {
		t.want(askAs("stays"), "t1")
		t.want(askAs("goes"), "t2")
		t.want(askAs("goes"), "t2") // from the table of recent hits too
		t.Retain(func(id entra.IdentityID) bool { return id == "stays" })
		t.want(askAs("stays"), "t1")
		t.want(askAs("goes"), "t3")
	})
}

func TestRetainForgetsTheFailuresOfOtherIdentities(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t broker) {
		source.fails(failure(entra.Misconfigured))
		t.wantError(askAs("stays"), entra.Misconfigured)
		t.wantError(askAs("goes"), entra.Misconfigured)
		t.Retain(func(id entra.IdentityID) bool { return id == "stays" })
		if got := t.Status(); len(got) != 1 || got[0].Identity != "stays" {
			t.Errorf("got %v, want the failure of stays alone", got)
		}
	})
}

func TestForgivenIdentityIsTriedAtOnce(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t broker) {
		source.fails(failure(entra.Misconfigured))
		t.wantError(askAs("mended"), entra.Misconfigured)
		t.wantError(askAs("other"), entra.Misconfigured)
		source.fails(nil)
		t.wantError(askAs("mended"), entra.Misconfigured) // the back-off runs
		t.Forgive("mended")
		t.want(askAs("mended"), "t3")
		t.wantError(askAs("other"), entra.Misconfigured)
	})
}

func TestResize(t *testing.T) {
	source := new(fake)
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, source, cache.Config{Size: 3})
		b.want(ask("a"), "t1")
		time.Sleep(time.Second)
		b.want(ask("b"), "t2")
		b.want(ask("c"), "t3")
		b.Resize(2)
		if got := b.Stats().Entries; got != 2 {
			t.Errorf("%d entries, want 2", got)
		}
		b.want(ask("c"), "t3")
		b.want(ask("a"), "t4")
	})
}
