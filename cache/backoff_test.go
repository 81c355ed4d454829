package cache_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/entra"
)

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
		{"invalid is the caller's own", failure(entra.Invalid), 32 * 750, 32 * 750},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := new(fake)
			source.fails(tt.err)
			inBubble(t, source, func(t broker) {
				var callers sync.WaitGroup
				for i := range 32 {
					callers.Go(func() {
						time.Sleep(time.Duration(i) * 150 * time.Millisecond)
						for range 750 {
							t.wantError(ask(xdr), entra.KindOf(tt.err))
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
	inBubble(t, source, func(t broker) {
		source.fails(throttled(45 * time.Second))
		err := t.failure(ask(xdr), entra.Throttled)
		if err.RetryAfter < 45*time.Second || err.RetryAfter > 54*time.Second {
			t.Errorf("retry after %s, want 45 s and up to a fifth more", err.RetryAfter)
		}
		source.fails(nil)
		time.Sleep(20 * time.Second)
		again := t.failure(ask(xdr), entra.Throttled)
		if got, want := again.RetryAfter, err.RetryAfter-20*time.Second; got != want {
			t.Errorf("retry after %s, want the %s that remain", got, want)
		}
		time.Sleep(again.RetryAfter)
		t.want(ask(xdr), "t2")
	})
}

func TestRetryAfterBeyondReasonIsCutToAnHour(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t broker) {
		source.fails(throttled(1000 * time.Hour))
		if got := t.failure(ask(xdr), entra.Throttled).RetryAfter; got < time.Hour || got > 72*time.Minute {
			t.Errorf("retry after %s, want an hour and up to a fifth more", got)
		}
	})
}

func TestBackOffStartsOverAfterARest(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t broker) {
		source.fails(failure(entra.Unavailable))
		for range 8 {
			time.Sleep(t.failure(ask(xdr), entra.Unavailable).RetryAfter)
		}
		time.Sleep(15 * time.Minute)
		if got := t.failure(ask(xdr), entra.Unavailable).RetryAfter; got > 2*time.Second {
			t.Errorf("retry after %s, want the first back-off again", got)
		}
	})
}

// With 40 s left a refresh fails: the back-off of a minute would let the token
// expire without another try.
func TestRefreshIsTriedAgainBeforeTheTokenExpires(t *testing.T) {
	source := &fake{life: 2 * time.Minute}
	inBubble(t, source, func(t broker) {
		t.want(ask(xdr), "t1")
		source.fails(failure(entra.Unavailable))
		for range 11799 { // until it ends, two seconds before its expiry
			t.want(ask(xdr), "t1")
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait() // the last try may be on its way
		first, last := source.times[0], source.times[len(source.times)-1]
		if last.Sub(first) < 110*time.Second {
			t.Errorf("the last try was %s after the first, want one shortly before the end", last.Sub(first))
		}
		if n := source.count(); n > 11 {
			t.Errorf("the source was asked %d times, want at most 11", n)
		}
	})
}
