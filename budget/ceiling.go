package budget

import (
	"time"

	"golang.org/x/time/rate"
)

// Ceiling is how many calls there may be in which time. Without a Burst all of
// them may come at once, as the documented ceilings are counted. With one they
// are spread over the time, but for so many.
type Ceiling struct {
	Calls int
	Per   time.Duration
	Burst int
}

// ceiling is one that calls are held to. Its times are monotonic.
type ceiling interface {
	// free returns when the nth call from now on may go, n from 0.
	free(now time.Time, n int) time.Time
	// spend counts a call that goes now.
	spend(now time.Time)
	// idle reports whether no call counts any more.
	idle(now time.Time) bool
	// used returns how many calls count.
	used(now time.Time) int
}

// after makes the ceiling. What counted against one of the same length before it
// counts on.
func (c Ceiling) after(before []ceiling) ceiling {
	if c.Burst > 0 {
		return &bucket{limit: rate.NewLimiter(rate.Limit(float64(c.Calls)/c.Per.Seconds()), c.Burst), size: c.Burst}
	}
	next := &window{calls: c.Calls, per: c.Per + margin}
	for _, old := range before {
		if w, ok := old.(*window); ok && w.per == next.per {
			next.went = w.went
		}
	}
	return next
}

// margin is how much longer than documented a call counts. It is on the way for
// some time, and the next one may be faster: without it an upstream could see
// one more in its minute than we do.
const margin = time.Second

// window lets through so many calls in any stretch of time. A token bucket would
// not do: filled at the documented rate it lets through twice as many in its
// first minute, and filled slower it makes a script wait that is far below.
type window struct {
	calls int
	per   time.Duration
	went  []time.Time // those that still count, and maybe some that do not, in order
}

func (w *window) free(now time.Time, n int) time.Time {
	w.forget(now)
	rounds := n / w.calls // whole windows that those before it fill
	n %= w.calls
	at := now
	if full := len(w.went) + n - w.calls; full >= 0 {
		at = w.went[full].Add(w.per)
	}
	return at.Add(time.Duration(rounds) * w.per)
}

func (w *window) spend(now time.Time) { w.went = append(w.went, now) }

func (w *window) idle(now time.Time) bool { return w.used(now) == 0 }

func (w *window) used(now time.Time) int {
	w.forget(now)
	return len(w.went)
}

// forget drops what does not count any more.
func (w *window) forget(now time.Time) {
	n := 0
	for n < len(w.went) && now.Sub(w.went[n]) >= w.per {
		n++
	}
	w.went = w.went[n:] // append moves them when it has to
}

// bucket spreads the calls.
type bucket struct {
	limit *rate.Limiter
	size  int
}

func (b *bucket) free(now time.Time, n int) time.Time {
	missing := float64(n+1) - b.limit.TokensAt(now)
	if missing <= 0 {
		return now
	}
	return now.Add(time.Duration(missing / float64(b.limit.Limit()) * float64(time.Second)))
}

func (b *bucket) spend(now time.Time) { b.limit.AllowN(now, 1) }

func (b *bucket) idle(now time.Time) bool { return b.limit.TokensAt(now) >= float64(b.size) }

func (b *bucket) used(now time.Time) int { return b.size - int(b.limit.TokensAt(now)) }
