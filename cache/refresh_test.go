package cache_test

import (
	"runtime"
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
	inBubble(t, source, func(t broker) {
		t.wantAfter(ask(xdr), "t1", 5*time.Second)
		time.Sleep(40 * time.Minute) // two thirds of an hour
		idle := runtime.NumGoroutine()
		for range 100 {
			t.want(ask(xdr), "t1")
		}
		source.wantCount(t, 2)
		if n := runtime.NumGoroutine() - idle; n > 5 {
			t.Errorf("%d goroutines refresh one token", n)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		t.want(ask(xdr), "t2")
		source.wantCount(t, 2)
		if diff := cmp.Diff(t.Stats(), cache.Stats{Hits: 1, Stale: 100, Misses: 1, Fills: 2, Refreshes: 1, Entries: 1}); diff != "" {
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
				inBubble(t, source, func(t broker) {
					t.want(ask(xdr), "t1")
					time.Sleep(tt.soonest - 1)
					t.want(ask(xdr), "t1")
					source.wantCount(t, 1)
					step := (tt.latest - tt.soonest) / 20
					for n := range 22 {
						if t.want(ask(xdr), "t1"); t.Stats().Stale > 0 {
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
				inBubble(t, source, func(t broker) {
					t.want(ask(xdr), "t1")
					fetched := time.Now()
					strike(source)
					end := fetched.Add(life - min(2*time.Second, life/10))
					for time.Now().Before(end) {
						t.want(ask(xdr), "t1")
						time.Sleep(50 * time.Millisecond)
					}
					synctest.Wait()
					got, _, err := t.get(ask(xdr))
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
	rest := func(t broker) {
		t.Helper()
		t.want(ask(xdr), "t1")
		time.Sleep(time.Hour - 30*time.Second)
	}
	t.Run("waits for the next token", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t broker) {
			rest(t)
			source.delay = 300 * time.Millisecond
			t.wantAfter(ask(xdr), "t2", 300*time.Millisecond)
			t.want(ask(xdr), "t2")
		})
	})
	t.Run("serves the held one when that fails", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t broker) {
			rest(t)
			source.delay = 300 * time.Millisecond
			source.fails(failure(entra.Unavailable))
			t.wantAfter(ask(xdr), "t1", 300*time.Millisecond)
			t.want(ask(xdr), "t1")
			source.wantCount(t, 2)
		})
	})
	t.Run("waits a second for all callers together when it hangs", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t broker) {
			rest(t)
			source.hang()
			var callers sync.WaitGroup
			callers.Go(func() { t.wantAfter(ask(xdr), "t1", time.Second) })
			time.Sleep(400 * time.Millisecond)
			callers.Go(func() { t.wantAfter(ask(xdr), "t1", 600*time.Millisecond) })
			callers.Wait()
			for range 27 * 10 {
				t.want(ask(xdr), "t1")
				time.Sleep(100 * time.Millisecond)
			}
			if n := source.count(); n > 4 {
				t.Errorf("the source was asked %d times, want at most 4", n)
			}
		})
	})
	t.Run("takes the token that comes late", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t broker) {
			rest(t)
			source.delay = 5 * time.Second
			t.wantAfter(ask(xdr), "t1", time.Second)
			t.want(ask(xdr), "t1")
			time.Sleep(4 * time.Second)
			synctest.Wait()
			t.want(ask(xdr), "t2")
			source.wantCount(t, 2)
		})
	})
	t.Run("waits as long as it takes once the token has expired", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t broker) {
			rest(t)
			time.Sleep(28 * time.Second)
			source.delay = 5 * time.Second
			t.wantAfter(ask(xdr), "t2", 5*time.Second)
		})
	})
}
