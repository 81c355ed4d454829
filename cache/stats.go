package cache

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"tokenbroker/entra"
)

// way is how a caller came by its answer.
type way uint8

const (
	hit    way = iota // a fresh token was held
	stale             // a token was held whose time to refresh had come
	shared            // it waited for a fetch that somebody else had started
	miss              // it waited for a fetch that it started
)

var ways = [...]string{hit: "hit", stale: "stale", shared: "shared", miss: "miss"}

// counters count since the start. They never go down.
type counters struct {
	calls                                       [len(ways)]atomic.Uint64
	fills, fillErrors, refreshes, refreshErrors atomic.Uint64
}

// count counts a caller and returns the word for its trail.
func (c *counters) count(w way) string {
	c.calls[w].Add(1)
	return ways[w]
}

// filled counts a request to the source.
func (c *counters) filled(refresh bool, err error) {
	c.fills.Add(1)
	if refresh {
		c.refreshes.Add(1)
	}
	if err == nil {
		return
	}
	c.fillErrors.Add(1)
	if refresh {
		c.refreshErrors.Add(1)
	}
}

// Stats are counters since the start, but for Entries. Every caller is one of
// Hits, Stale, Shared and Misses.
type Stats struct {
	Hits          uint64 // a fresh token was held
	Stale         uint64 // a token was held whose time to refresh had come
	Shared        uint64 // waited for a fetch that another caller had started
	Misses        uint64 // started a fetch and waited for it
	Fills         uint64 // requests to the source that ended
	FillErrors    uint64 // those of them that failed
	Refreshes     uint64 // fills while a usable token was held
	RefreshErrors uint64 // those of them that failed
	Entries       int    // tokens held now, expired ones included
}

// Stats returns the counters.
func (c *Cache) Stats() Stats {
	n := &c.counters
	return Stats{
		Hits:          n.calls[hit].Load(),
		Stale:         n.calls[stale].Load(),
		Shared:        n.calls[shared].Load(),
		Misses:        n.calls[miss].Load(),
		Fills:         n.fills.Load(),
		FillErrors:    n.fillErrors.Load(),
		Refreshes:     n.refreshes.Load(),
		RefreshErrors: n.refreshErrors.Load(),
		Entries:       c.entries.Len(),
	}
}

// State is how it stands with one token.
type State string

// The states of a token.
const (
	OK      State = "ok"      // held and fresh
	Stale   State = "stale"   // held, to be refreshed by the next call
	Failing State = "failing" // the last fetch failed; it may still be held, see Status.ExpiresOn
)

// Status says of one token how it stands with it, without the token.
type Status struct {
	Identity  entra.IdentityID
	Tenant    entra.Tenant
	Scope     entra.Scope
	State     State
	ExpiresOn time.Time    // zero: none is held
	NextTry   time.Time    // when failing: nobody asks before; it can be past
	Err       *entra.Error // when failing: the last failure
}

// Status lists the tokens held and the ones that cannot be had, sorted. Users'
// tokens are left out: one user's refusal says nothing about the broker.
func (c *Cache) Status() []Status {
	now := time.Now()
	all := make(map[entra.Key]Status)
	for _, key := range c.entries.Keys() {
		if e, _ := c.entries.Peek(key); e.usable(now) && !ofUser(key) {
			s := Status{Identity: key.Identity, Tenant: key.Tenant, Scope: key.Scope, State: OK, ExpiresOn: e.token.ExpiresOn}
			if !now.Before(e.soft) {
				s.State = Stale
			}
			all[key] = s
		}
	}
	for _, q := range c.failures.Keys() {
		if t, ok := c.failures.Peek(q); ok && !t.over(now) && !q.challenged && !ofUser(q.key) {
			s := all[q.key]
			s.Identity, s.Tenant, s.Scope = q.key.Identity, q.key.Tenant, q.key.Scope
			s.State, s.NextTry, s.Err = Failing, t.until, t.report(now)
			all[q.key] = s
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Identity, b.Identity), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Scope, b.Scope))
	})
}

// ofUser reports whether the key is of a token made from a user's.
func ofUser(key entra.Key) bool { return key.Assertion != entra.Key{}.Assertion }
