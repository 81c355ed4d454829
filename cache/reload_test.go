package cache_test

import (
	"context"
	"sync"
	"sync/atomic"
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

func TestForgetForgetsOneIdentityOnce(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t broker) {
		t.want(askAs("stays"), "t1")
		t.want(askAs("goes"), "t2")
		t.Forget("goes")
		t.want(askAs("stays"), "t1")
		t.want(askAs("goes"), "t3")
		t.want(askAs("goes"), "t3") // it is remembered again
	})
}

func TestForgivenFailureIsTriedAtOnce(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t broker) {
		source.fails(failure(entra.Misconfigured))
		t.wantError(ask(xdr), entra.Misconfigured)
		source.fails(nil)
		t.wantError(ask(xdr), entra.Misconfigured) // the back-off runs
		t.Forgive()
		t.want(ask(xdr), "t2")
	})
}

// What was asked for before, with what was wrong then, is neither waited for
// nor remembered.
func TestForgivenFlightSaysNothing(t *testing.T) {
	asked := make(chan chan error)
	next := entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
		answer := make(chan error)
		asked <- answer
		if err := <-answer; err != nil {
			return entra.Token{}, err
		}
		return entra.NewToken("good", req.Scope, time.Now().Add(time.Hour), time.Time{})
	})
	inBubble(t, next, func(t broker) {
		var before, after sync.WaitGroup
		before.Go(func() { t.wantError(ask(xdr), entra.Misconfigured) })
		old := <-asked
		t.Forgive()
		old <- failure(entra.Misconfigured)
		before.Wait()
		after.Go(func() { t.want(ask(xdr), "good") })
		mended := <-asked
		mended <- nil
		after.Wait()
	})
}

func TestForgivenFlightIsNotWaitedFor(t *testing.T) {
	var fetches atomic.Int32
	next := entra.SourceFunc(func(ctx context.Context, req entra.Request) (entra.Token, error) {
		if fetches.Add(1) == 1 {
			<-ctx.Done() // what hangs
			return entra.Token{}, ctx.Err()
		}
		return entra.NewToken("good", req.Scope, time.Now().Add(time.Hour), time.Time{})
	})
	inBubble(t, next, func(t broker) {
		var before sync.WaitGroup
		before.Go(func() { _, _ = t.Token(t.Context(), ask(xdr)) })
		synctest.Wait()
		t.Forgive()
		t.wantAfter(ask(xdr), "good", 0)
		before.Wait()
	})
}

func TestTokenOfAnIdentityThatWentWhileItWasFetchedIsNotKept(t *testing.T) {
	for name, goes := range map[string]func(broker){
		"retain": func(t broker) { t.Retain(func(id entra.IdentityID) bool { return id != "goes" }) },
		"forget": func(t broker) { t.Forget("goes") },
	} {
		t.Run(name, func(t *testing.T) {
			asked, answer := make(chan bool), make(chan bool)
			next := entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
				asked <- true
				<-answer
				return entra.NewToken("late", req.Scope, time.Now().Add(time.Hour), time.Time{})
			})
			inBubble(t, next, func(t broker) {
				var waiter sync.WaitGroup
				waiter.Go(func() { t.want(askAs("goes"), "late") })
				<-asked
				goes(t)
				answer <- true
				waiter.Wait()
				if got := t.Stats().Entries; got != 0 {
					t.Errorf("%d tokens are held, want none", got)
				}
			})
		})
	}
}

func TestFillTimeoutCanChange(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t broker) {
		source.hang()
		t.SetFillTimeout(3 * time.Second)
		t.wantErrorAfter(ask(xdr), entra.Unavailable, 2940*time.Millisecond) // the source ends a fiftieth earlier
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
