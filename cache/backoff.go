package cache

import (
	"math/rand/v2"
	"time"

	"tokenbroker/entra"
)

const (
	// longestRetryAfter bounds what an answer can make us wait. Entra says
	// seconds or minutes; more is a mistake, and must not silence us for days.
	longestRetryAfter = time.Hour

	// forgetAfter is how long after its back-off a run of failures counts.
	forgetAfter = 10 * time.Minute
)

// trouble is a run of failures to fetch one thing. It never changes: the next
// failure is a new trouble.
type trouble struct {
	err   *entra.Error // the last failure
	times int          // how many in a row
	until time.Time    // nobody asks again before
}

// next returns the trouble after one more failure, t being what was before, or
// nil. It waits the longer of our own back-off and the Retry-After received.
//
// While a token is held, remaining is its life until the end. Its next refresh
// is then tried at half of that at the latest, so that there are always some
// tries more; a Retry-After is obeyed even so.
func (t *trouble) next(err *entra.Error, remaining time.Duration, now time.Time) *trouble {
	times := 0
	if t != nil && !t.over(now) {
		times = t.times
	}
	first, most := backoff(err.Kind)
	wait := min(first<<min(times, 10), most)
	if remaining > 0 {
		wait = min(wait, max(first, remaining/2))
	}
	wait = max(wait, min(err.RetryAfter, longestRetryAfter))
	return &trouble{err: err, times: times + 1, until: now.Add(wait + jitter(wait/5))}
}

// running reports whether it is too early to ask again.
func (t *trouble) running(now time.Time) bool { return t != nil && now.Before(t.until) }

// over reports whether the run is too long ago to say anything about today.
func (t *trouble) over(now time.Time) bool { return now.After(t.until.Add(forgetAfter)) }

// report returns the failure as a caller gets it now: with the time that
// remains, in whole seconds, rounded up so that who waits as told comes late enough.
func (t *trouble) report(now time.Time) *entra.Error {
	err := *t.err
	err.RetryAfter = max(t.until.Sub(now)+time.Second-1, time.Second).Truncate(time.Second)
	return &err
}

// backoff returns the first and the longest back-off after a failure of the
// kind; it doubles in between.
func backoff(kind entra.Kind) (first, most time.Duration) {
	switch kind {
	case entra.Challenged:
		// A person acts on it, and wants to see that it helped.
		return 2 * time.Second, 2 * time.Second
	case entra.Misconfigured, entra.Denied, entra.NotFound, entra.Invalid, entra.Unadmitted:
		// A mended secret or a new consent takes effect soon.
		return 2 * time.Second, 30 * time.Second
	default:
		return time.Second, time.Minute
	}
}

// passing reports whether a failure of the kind is the request's own fault,
// and says nothing about the next one.
func passing(kind entra.Kind) bool { return kind == entra.Invalid || kind == entra.Unadmitted }

// jitter returns a random part of d, to keep replicas from acting in step.
func jitter(d time.Duration) time.Duration {
	return rand.N(d + 1) //nolint:gosec // spreads load, guards nothing
}
