package cache_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/entra"
)

func TestDemandForAnotherToken(t *testing.T) {
	rejected := func(token string) entra.Request {
		req := ask(xdr)
		req.Rejected = entra.NewSecret(token).Fingerprint()
		return req
	}
	claims := func(claims, token string) entra.Request {
		req := rejected(token)
		req.Claims = claims
		return req
	}
	nobody := ""
	tests := []struct {
		name string
		do   func(b broker, f *fake)
		want int // requests to the source
	}{
		{"the rejected one is replaced", func(b broker, _ *fake) {
			b.want(ask(xdr), "t1")
			time.Sleep(time.Minute)
			b.want(ask(xdr), "t1")
			b.want(rejected("t1"), "t2")
			b.want(ask(xdr), "t2")
		}, 2},
		{"another one is held already", func(b broker, _ *fake) {
			b.want(ask(xdr), "t1")
			time.Sleep(time.Minute)
			b.want(rejected("t0"), "t1")
		}, 1},
		{"none is held", func(b broker, _ *fake) {
			b.want(rejected("t0"), "t1")
		}, 1},
		{"once a minute", func(b broker, _ *fake) {
			b.want(ask(xdr), "t1")
			time.Sleep(59 * time.Second)
			b.want(rejected("t1"), "t1")
			time.Sleep(time.Second)
			b.want(rejected("t1"), "t2")
			b.want(rejected("t2"), "t2")
		}, 2},
		{"the held one comes back when that fails", func(b broker, f *fake) {
			b.want(ask(xdr), "t1")
			time.Sleep(time.Minute)
			f.fails(failure(entra.Unavailable))
			b.want(rejected("t1"), "t1")
			b.want(rejected("t1"), "t1")
			b.want(ask(xdr), "t1")
		}, 2},
		{"claims are fetched for at once", func(b broker, _ *fake) {
			b.want(ask(xdr), "t1")
			b.want(claims("c", "t1"), "t2")
			b.want(ask(xdr), "t2")
		}, 2},
		{"claims without a rejected token", func(b broker, _ *fake) {
			b.want(ask(xdr), "t1")
			b.want(claims("c", nobody), "t2")
			b.want(claims("c", nobody), "t2")
			time.Sleep(time.Minute)
			b.want(claims("c", nobody), "t3")
		}, 3},
		{"the held one was fetched for the claims already", func(b broker, _ *fake) {
			b.want(ask(xdr), "t1")
			b.want(claims("c", "t1"), "t2")
			time.Sleep(time.Minute)
			b.want(claims("c", "t1"), "t2")
		}, 2},
		{"the held one was fetched for other claims", func(b broker, _ *fake) {
			b.want(claims("c", nobody), "t1")
			time.Sleep(time.Minute)
			b.want(claims("d", "t1"), "t2")
			b.want(claims("d", "t0"), "t2")
		}, 2},
		{"claims that vary, once a minute", func(b broker, _ *fake) {
			b.want(ask(xdr), "t1")
			b.want(claims("c", "t1"), "t2")
			for i := range 100 {
				b.want(claims(string(rune('d'+i)), "t2"), "t2")
			}
		}, 2},
		{"claims that vary and cannot be met share a back-off", func(b broker, f *fake) {
			b.want(ask(xdr), "t1")
			f.fails(failure(entra.Challenged))
			for i := range 100 {
				b.wantError(claims(string(rune('d'+i)), "t1"), entra.Challenged)
			}
		}, 2},
		{"another one is held, without the claims", func(b broker, _ *fake) {
			b.want(ask(xdr), "t1")
			b.want(claims("c", "t0"), "t2")
		}, 2},
		{"claims that cannot be met", func(b broker, f *fake) {
			b.want(ask(xdr), "t1")
			f.fails(failure(entra.Challenged))
			b.wantError(claims("c", "t1"), entra.Challenged)
			b.wantError(claims("c", "t1"), entra.Challenged)
			b.want(ask(xdr), "t1")
		}, 2},
		{"a challenge is no trouble of the token's", func(b broker, f *fake) {
			b.want(ask(xdr), "t1")
			f.fails(failure(entra.Unavailable))
			b.wantError(claims("c", "t1"), entra.Unavailable)
			f.fails(nil)
			time.Sleep(time.Minute)
			b.want(rejected("t1"), "t3")
		}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := new(fake)
			inBubble(t, source, func(t broker) {
				tt.do(t, source)
				source.wantCount(t, tt.want)
			})
		})
	}

	t.Run("many callers share one", func(t *testing.T) {
		source := &fake{delay: time.Second}
		inBubble(t, source, func(t broker) {
			t.wantAfter(ask(xdr), "t1", time.Second)
			var callers sync.WaitGroup
			for range 64 {
				callers.Go(func() { t.wantAfter(claims("c", "t1"), "t2", time.Second) })
			}
			callers.Wait()
			source.wantCount(t, 2)
			if got := source.asked[1]; got.Claims != "c" || got.Rejected != entra.NewSecret("t1").Fingerprint() {
				t.Errorf("the source got claims %q, rejected %q, want the caller's", got.Claims, got.Rejected)
			}
		})
	})

	t.Run("different demands get a token each, and the later stays", func(t *testing.T) {
		next := entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
			time.Sleep(map[string]time.Duration{"c": time.Second, "d": 2 * time.Second}[req.Claims])
			return entra.NewToken("for-"+req.Claims, req.Scope, time.Now().Add(time.Hour), time.Time{})
		})
		inBubble(t, next, func(t broker) {
			var callers sync.WaitGroup
			callers.Go(func() { t.wantAfter(claims("c", nobody), "for-c", time.Second) })
			callers.Go(func() { t.wantAfter(claims("d", nobody), "for-d", 2*time.Second) })
			callers.Wait()
			t.want(ask(xdr), "for-d")
		})
	})

	// The refresh began first and ends last: what was demanded meanwhile stays.
	t.Run("an older fetch does not undo it", func(t *testing.T) {
		var n int
		next := entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
			n++
			name := []string{"first", "old", "demanded", "newest"}[n-1]
			if name == "old" {
				time.Sleep(5 * time.Second)
			}
			return entra.NewToken(name, req.Scope, time.Now().Add(time.Hour), time.Time{})
		})
		inBubble(t, next, func(t broker) {
			t.want(ask(xdr), "first")
			time.Sleep(40 * time.Minute)
			t.want(ask(xdr), "first")
			synctest.Wait()
			t.want(claims("c", "first"), "demanded")
			time.Sleep(5 * time.Second)
			synctest.Wait()
			t.want(ask(xdr), "demanded")
			time.Sleep(40 * time.Minute)
			t.want(ask(xdr), "demanded")
			synctest.Wait()
			t.want(ask(xdr), "newest")
		})
	})
}
