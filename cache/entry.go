package cache

import (
	"sync/atomic"
	"time"

	"tokenbroker/entra"
)

const (
	// bearable is how long callers wait, all in all, for the successor of a
	// token that is close to its expiry: longer than Entra takes on a usual
	// day, and no longer than a call to the API that the token is for.
	bearable = time.Second

	// pause is how soon a demand for another token may fetch again.
	pause = time.Minute

	// leastLife and mostLife bound the lifetime that an answer may claim. A
	// token with less is gone before it is used; Entra's longest live 28 hours.
	leastLife = time.Second
	mostLife  = 7 * 24 * time.Hour
)

// entry is a token and its deadlines. But for the atomic fields it never
// changes: a newer token is a new entry.
//
//	fetched ───────── soft ───────────── last ─────────────── end
//	 answer           │ answer, and      │ wait a moment for  │ wait for the
//	                  │ refresh behind   │ the next one, then │ next one, or
//	                  │                  │ answer             │ fail
//
// The deadlines are compared on the wall clock, since the monotonic one stands
// still while a laptop sleeps and the token ages all the same.
type entry struct {
	key         entra.Key
	token       entra.Token
	fingerprint string
	claims      string // of the challenge it was fetched for; empty: none
	demanded    bool   // fetched because its predecessor would not do

	fetched time.Time // on the monotonic clock too: a clock set back must not prolong the pause
	soft    time.Time // from here on it is refreshed behind its callers
	last    time.Time // from here on a caller would rather have the next one
	end     time.Time // from here on it is not given to anybody

	asked      atomic.Pointer[time.Time] // when its successor was first asked for
	refreshing atomic.Bool               // somebody does that right now
	replaced   atomic.Bool               // it no longer stands in the LRU
}

// newEntry sets the deadlines of a token that was fetched now. All of them
// scale with its life, so that a token of a few seconds is used too.
func newEntry(f flight, token entra.Token, now time.Time) (*entry, error) {
	token.ExpiresOn, token.RefreshOn = token.ExpiresOn.Round(0), token.RefreshOn.Round(0)
	life := token.ExpiresOn.Sub(now)
	switch {
	case token.Access.IsZero():
		return nil, entra.Errorf(entra.Unavailable, "cache.fill", "the authority answered without a token")
	case life < leastLife:
		return nil, entra.Errorf(entra.Unavailable, "cache.fill", "the authority answered with a token that has expired: compare this machine's clock with the authority's")
	case life > mostLife:
		return nil, entra.Errorf(entra.Unavailable, "cache.fill", "the authority answered with a token for %s: want at most %s", life.Round(time.Hour), mostLife)
	}
	// Two seconds are what a token needs to reach the API that judges it. They
	// also cover that the life is counted from when the answer came, not from
	// when the token was made.
	end := token.ExpiresOn.Add(-min(2*time.Second, life/10))
	last := token.ExpiresOn.Add(-min(time.Minute, life/10))
	return &entry{
		key:         f.key,
		token:       token,
		fingerprint: token.Access.Fingerprint(),
		claims:      f.req.Claims,
		demanded:    f.demanding(),
		fetched:     now,
		soft:        softDeadline(&token, now, last),
		last:        last,
		end:         end,
	}, nil
}

// softDeadline is when the authority wants a refresh, or at two thirds of the
// life, and up to a tenth earlier, so that replicas which started together do
// not come back together. It is a second away at least: an authority that
// wants a refresh at once would otherwise be asked by every call.
func softDeadline(token *entra.Token, now, last time.Time) time.Time {
	wait := token.ExpiresOn.Sub(now) * 2 / 3
	if !token.RefreshOn.IsZero() {
		wait = min(max(token.RefreshOn.Sub(now), time.Second), last.Sub(now))
	}
	return now.Round(0).Add(wait - jitter(wait/10))
}

// usable reports whether the token may be given to a caller.
func (e *entry) usable(now time.Time) bool { return e != nil && now.Before(e.end) }

// answers reports whether e, being usable, is what f asks for, so that nothing
// has to be fetched.
func (e *entry) answers(f flight, now time.Time) bool {
	switch {
	case !f.demanding():
		return now.Before(e.soft)
	case f.req.Claims != "" && f.req.Claims != e.claims:
		// An upstream that varies its claims must not drive Entra.
		return e.claims != "" && now.Sub(e.fetched) < pause
	case f.req.Rejected != "" && f.req.Rejected != e.fingerprint:
		return true // it is another one already
	default:
		return now.Sub(e.fetched) < pause
	}
}

// patience is how long a caller may wait for the successor of e. It runs out
// once for all callers, a moment after the first of them asked: whether Entra
// then hangs, refuses or throttles, none of them notices.
func (e *entry) patience(now time.Time) time.Duration {
	if now.Before(e.last) {
		return 0
	}
	return e.askedOn(now).Add(bearable).Sub(now)
}

// askedOn notes that the successor is asked for now, and returns when it first was.
func (e *entry) askedOn(now time.Time) time.Time {
	e.asked.CompareAndSwap(nil, &now)
	return *e.asked.Load()
}
