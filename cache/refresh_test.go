package cache_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/cache"
	"tokenbroker/entra"
)

func TestCacheServesStaleWhileRefreshing(t *testing.T) {
	source := &fake{delay: 5 * time.Second}
	inBubble(t, source, func(t *testing.T, b broker) {
		b.wantAfter(ask(xdr), "t1", 5*time.Second)
		time.Sleep(40 * time.Minute) // two thirds of an hour
		for range 100 {
			b.want(ask(xdr), "t1")
		}
		source.wantCount(t, 2)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		b.want(ask(xdr), "t2")
		source.wantCount(t, 2)
		if diff := cmp.Diff(b.Stats(), cache.Stats{Hits: 1, Stale: 100, Misses: 1, Fills: 1, Refreshes: 1, Entries: 1}); diff != "" {
			t.Errorf("stats (-got +want):\n%s", diff)
		}
	})
}

func TestRefreshTime(t *testing.T) {
	tests := []struct {
		name            string
		life, refreshIn time.Duration
		soonest, latest time.Duration
	}{
		{"two thirds of an hour", time.Hour, 0, 36 * time.Minute, 40 * time.Minute},
		{"two thirds of a minute", time.Minute, 0, 36 * time.Second, 40 * time.Second},
		{"two thirds of a second", time.Second, 0, 600 * time.Millisecond, 667 * time.Millisecond},
		{"when the authority says", 24 * time.Hour, 12 * time.Hour, 648 * time.Minute, 12 * time.Hour},
		{"when the authority says, soon", time.Hour, 2 * time.Second, 1800 * time.Millisecond, 2 * time.Second},
		{"not at once", time.Hour, time.Nanosecond, 900 * time.Millisecond, time.Second},
		{"not after the token", time.Hour, 2 * time.Hour, 53 * time.Minute, 59 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spread := make(map[time.Duration]bool)
			for range 50 {
				source := &fake{life: tt.life, refreshIn: tt.refreshIn}
				inBubble(t, source, func(t *testing.T, b broker) {
					b.want(ask(xdr), "t1")
					time.Sleep(tt.soonest - 1)
					b.want(ask(xdr), "t1")
					source.wantCount(t, 1)
					step := (tt.latest - tt.soonest) / 20
					for n := range 22 {
						if b.want(ask(xdr), "t1"); b.Stats().Stale > 0 {
							spread[time.Duration(n)] = true
							return
						}
						time.Sleep(step)
					}
					t.Errorf("no refresh between %s and %s", tt.soonest, tt.latest)
				})
			}
			if len(spread) < 5 {
				t.Errorf("50 replicas refreshed at %d different times, want them spread", len(spread))
			}
		})
	}
}

func TestNoCallerSeesAnOutageWhileTheTokenLives(t *testing.T) {
	outages := map[string]func(*fake){
		"refuses":   func(f *fake) { f.fails(failure(entra.Misconfigured)) },
		"throttles": func(f *fake) { f.fails(throttled(time.Hour)) },
		"fails":     func(f *fake) { f.fails(failure(entra.Unavailable)) },
		"hangs":     func(f *fake) { f.hang() },
		"rejects":   func(f *fake) { f.fails(failure(entra.Invalid)) },
	}
	for name, strike := range outages {
		for _, life := range []time.Duration{time.Hour, time.Minute, 20 * time.Second, 5 * time.Second} {
			t.Run(name+" "+life.String(), func(t *testing.T) {
				source := &fake{life: life}
				inBubble(t, source, func(t *testing.T, b broker) {
					b.want(ask(xdr), "t1")
					fetched := time.Now()
					strike(source)
					end := fetched.Add(life - min(2*time.Second, life/10))
					for time.Now().Before(end) {
						b.want(ask(xdr), "t1")
						time.Sleep(50 * time.Millisecond)
					}
					synctest.Wait()
					got, _, err := b.get(ask(xdr))
					if err == nil {
						t.Errorf("got %s with the token at its end, want an error", got)
					}
					if n, most := source.count(), 60; n > most {
						t.Errorf("the source was asked %d times, want at most %d", n, most)
					}
				})
			})
		}
	}
}

// A key that rested until its token is close to its end.
func TestCloseToExpiry(t *testing.T) {
	rest := func(t *testing.T, b broker) {
		t.Helper()
		b.want(ask(xdr), "t1")
		time.Sleep(time.Hour - 30*time.Second)
	}
	t.Run("waits for the next token", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t *testing.T, b broker) {
			rest(t, b)
			source.delay = 300 * time.Millisecond
			b.wantAfter(ask(xdr), "t2", 300*time.Millisecond)
			b.want(ask(xdr), "t2")
		})
	})
	t.Run("serves the held one when that fails", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t *testing.T, b broker) {
			rest(t, b)
			source.delay = 300 * time.Millisecond
			source.fails(failure(entra.Unavailable))
			b.wantAfter(ask(xdr), "t1", 300*time.Millisecond)
			b.want(ask(xdr), "t1")
			source.wantCount(t, 2)
		})
	})
	t.Run("waits a second for all callers together when it hangs", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t *testing.T, b broker) {
			rest(t, b)
			source.hang()
			var callers sync.WaitGroup
			callers.Go(func() { b.wantAfter(ask(xdr), "t1", time.Second) })
			time.Sleep(400 * time.Millisecond)
			callers.Go(func() { b.wantAfter(ask(xdr), "t1", 600*time.Millisecond) })
			callers.Wait()
			for range 27 * 10 {
				b.want(ask(xdr), "t1")
				time.Sleep(100 * time.Millisecond)
			}
			if n := source.count(); n > 4 {
				t.Errorf("the source was asked %d times, want at most 4", n)
			}
		})
	})
	t.Run("takes the token that comes late", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t *testing.T, b broker) {
			rest(t, b)
			source.delay = 5 * time.Second
			b.wantAfter(ask(xdr), "t1", time.Second)
			b.want(ask(xdr), "t1")
			time.Sleep(4 * time.Second)
			synctest.Wait()
			b.want(ask(xdr), "t2")
			source.wantCount(t, 2)
		})
	})
	t.Run("waits as long as it takes once the token has expired", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t *testing.T, b broker) {
			rest(t, b)
			time.Sleep(28 * time.Second)
			source.delay = 5 * time.Second
			b.wantAfter(ask(xdr), "t2", 5*time.Second)
		})
	})
}

// Requests to the source while 32 callers poll for an hour, one after the other.
func TestRequestsAreBoundedByTheBackOff(t *testing.T) {
	tests := []struct {
		name        string
		err         error
		least, most int
	}{
		{"unavailable: a second, doubling to a minute", failure(entra.Unavailable), 55, 66},
		{"internal as unavailable", failure(entra.Internal), 55, 66},
		{"misconfigured: every half minute", failure(entra.Misconfigured), 95, 125},
		{"denied as misconfigured", failure(entra.Denied), 95, 125},
		{"challenged: a person acts", failure(entra.Challenged), 800, 1800},
		{"retry-after is obeyed", throttled(10 * time.Minute), 5, 6},
		{"retry-after below the back-off", throttled(time.Second), 55, 66},
		{"retry-after beyond reason", throttled(1000 * time.Hour), 1, 1},
		{"invalid is the caller's own", failure(entra.Invalid), 32 * 750, 32 * 750},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := new(fake)
			source.fails(tt.err)
			inBubble(t, source, func(t *testing.T, b broker) {
				var callers sync.WaitGroup
				for i := range 32 {
					callers.Go(func() {
						time.Sleep(time.Duration(i) * 150 * time.Millisecond)
						for range 750 {
							b.wantError(ask(xdr), entra.KindOf(tt.err))
							time.Sleep(32 * 150 * time.Millisecond)
						}
					})
				}
				callers.Wait()
				if got := source.count(); got < tt.least || got > tt.most {
					t.Errorf("the source was asked %d times, want %d to %d", got, tt.least, tt.most)
				}
			})
		})
	}
}

func TestWhoWaitsAsToldIsAnsweredAfterAnOutage(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t *testing.T, b broker) {
		source.fails(throttled(45 * time.Second))
		err := b.wantError(ask(xdr), entra.Throttled)
		if err.RetryAfter < 45*time.Second || err.RetryAfter > 54*time.Second {
			t.Errorf("retry after %s, want 45 s and up to a fifth more", err.RetryAfter)
		}
		source.fails(nil)
		time.Sleep(20 * time.Second)
		again := b.wantError(ask(xdr), entra.Throttled)
		if got, want := again.RetryAfter, err.RetryAfter-20*time.Second; got != want {
			t.Errorf("retry after %s, want the %s that remain", got, want)
		}
		time.Sleep(again.RetryAfter)
		b.want(ask(xdr), "t2")
	})
}

func TestBackOffStartsOverAfterARest(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t *testing.T, b broker) {
		source.fails(failure(entra.Unavailable))
		for range 8 {
			time.Sleep(b.wantError(ask(xdr), entra.Unavailable).RetryAfter)
		}
		time.Sleep(15 * time.Minute)
		if got := b.wantError(ask(xdr), entra.Unavailable).RetryAfter; got > 2*time.Second {
			t.Errorf("retry after %s, want the first back-off again", got)
		}
	})
}

// With 40 s left a refresh fails: the back-off of a minute would let the token
// expire without another try.
func TestRefreshIsTriedAgainBeforeTheTokenExpires(t *testing.T) {
	source := &fake{life: 2 * time.Minute}
	inBubble(t, source, func(t *testing.T, b broker) {
		b.want(ask(xdr), "t1")
		source.fails(failure(entra.Unavailable))
		for range 1170 {
			b.want(ask(xdr), "t1")
			time.Sleep(100 * time.Millisecond)
		}
		first, last := source.times[1], source.times[len(source.times)-1]
		if last.Sub(source.times[0]) < 110*time.Second {
			t.Errorf("the last try was %s after the first, want one shortly before the end", last.Sub(first))
		}
		if n := source.count(); n > 15 {
			t.Errorf("the source was asked %d times, want at most 15", n)
		}
	})
}

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
			b.want(claims("d", "t1"), "t2")
			b.want(claims("d", "t0"), "t2")
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
			inBubble(t, source, func(t *testing.T, b broker) {
				tt.do(b, source)
				source.wantCount(t, tt.want)
			})
		})
	}

	t.Run("many callers share one", func(t *testing.T) {
		source := &fake{delay: time.Second}
		inBubble(t, source, func(t *testing.T, b broker) {
			b.wantAfter(ask(xdr), "t1", time.Second)
			var callers sync.WaitGroup
			for range 64 {
				callers.Go(func() { b.wantAfter(claims("c", "t1"), "t2", time.Second) })
			}
			callers.Wait()
			source.wantCount(t, 2)
			if got := source.asked[1]; got.Claims != "c" || got.Rejected != entra.NewSecret("t1").Fingerprint() {
				t.Errorf("the source got claims %q, rejected %q, want the caller's", got.Claims, got.Rejected)
			}
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
		inBubble(t, next, func(_ *testing.T, b broker) {
			b.want(ask(xdr), "first")
			time.Sleep(40 * time.Minute)
			b.want(ask(xdr), "first")
			synctest.Wait()
			b.want(claims("c", "first"), "demanded")
			time.Sleep(5 * time.Second)
			synctest.Wait()
			b.want(ask(xdr), "demanded")
			time.Sleep(40 * time.Minute)
			b.want(ask(xdr), "demanded")
			synctest.Wait()
			b.want(ask(xdr), "newest")
		})
	})
}
