package budget

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"tokenbroker/entra"
)

// budget is what is left of the calls of one key, and who waits for them.
type budget struct {
	mu       sync.Mutex // guards what follows
	limits   []Ceiling  // as they were configured
	ceilings []ceiling
	held     time.Time        // no call goes before
	taught   time.Time        // when the upstream last said that there were too many; zero: never
	atLeast  []Ceiling        // what counts from then on, where nothing does before
	lines    map[string]*line // by caller, of those who wait
	turns    []*line          // whose turn it is, in order
	waiting  int
	next     *time.Timer // for whom waits; nil: nobody ever did
}

// line is the calls of one caller, in the order in which they came.
type line struct {
	caller string
	calls  []chan struct{} // closed when the call may go
}

// fit holds the calls to other ceilings than before, where they differ. What
// went already still counts: a reload gives nobody a second budget, and calls of
// the configuration before it may come in between.
func (b *budget) fit(limits []Ceiling, now time.Time) {
	if slices.Equal(b.limits, limits) {
		return
	}
	var ceilings []ceiling
	for _, limit := range limits {
		ceilings = append(ceilings, limit.after(b.ceilings))
	}
	b.limits, b.ceilings = slices.Clone(limits), ceilings
	b.serve(now)
}

// known returns what calls are held to, of which so much is documented.
func (b *budget) known(documented []Ceiling, now time.Time) []Ceiling {
	if len(documented) == 0 && !b.taught.IsZero() && now.Sub(b.taught) < lesson {
		return b.atLeast
	}
	return documented
}

func (b *budget) take(ctx context.Context, c Call) error {
	b.mu.Lock()
	now := time.Now()
	b.atLeast = c.AtLeast
	b.fit(b.known(c.Ceilings, now), now)
	if b.waiting == 0 && !b.free(now, 0).After(now) {
		b.spend(now)
		b.mu.Unlock()
		return nil
	}
	if wait := b.turn(c.Caller, now).Sub(now); wait > c.Patience || b.crowded(c.Caller) {
		b.mu.Unlock()
		return exhausted(c.Key, wait)
	}
	gone := make(chan struct{})
	b.enqueue(c.Caller, gone)
	b.serve(now)
	b.mu.Unlock()

	impatient := time.NewTimer(c.Patience)
	defer impatient.Stop()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		b.leave(c.Caller, gone)
		return entra.AsError(ctx.Err())
	case <-impatient.C:
		if !b.leave(c.Caller, gone) {
			return nil // its turn came at the last moment
		}
		return exhausted(c.Key, b.wait(c.Caller))
	}
}

// wait is how long a caller would have to wait that came now.
func (b *budget) wait(caller string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	return b.turn(caller, now).Sub(now)
}

// exhausted says how long to wait, in whole seconds as Retry-After has them.
func exhausted(key Key, wait time.Duration) error {
	seconds := max(1, math.Ceil(wait.Seconds()))
	remedy := "come back then"
	if wait <= MaxPatience {
		remedy = fmt.Sprintf("wait, or send Prefer: wait=%.0f to be held in line", seconds)
	}
	err := entra.Errorf(entra.Exhausted, "budget.take", "%s: the calls that the API takes of this application in this tenant are used up for another %.0f s; %s", key.Limit, seconds, remedy)
	err.RetryAfter = time.Duration(seconds) * time.Second
	return err
}

// free returns when the nth call from now on may go.
func (b *budget) free(now time.Time, n int) time.Time {
	at := now
	for _, c := range b.ceilings {
		if t := c.free(now, n); t.After(at) {
			at = t
		}
	}
	if b.held.After(at) {
		at = b.held
	}
	return at
}

func (b *budget) spend(now time.Time) {
	for _, c := range b.ceilings {
		c.spend(now)
	}
}

// turn returns when a call of the caller would have its turn, at the end of the
// caller's line.
func (b *budget) turn(caller string, now time.Time) time.Time {
	mine := 0
	if l := b.lines[caller]; l != nil {
		mine = len(l.calls)
	}
	before := mine
	for _, l := range b.turns {
		if l.caller != caller {
			before += min(len(l.calls), mine+1)
		}
	}
	return b.free(now, before)
}

func (b *budget) crowded(caller string) bool {
	l := b.lines[caller]
	return l == nil && len(b.lines) >= maxCallers || l != nil && len(l.calls) >= maxWaiting
}

func (b *budget) enqueue(caller string, gone chan struct{}) {
	l := b.lines[caller]
	if l == nil {
		l = &line{caller: caller}
		b.lines[caller] = l
		b.turns = append(b.turns, l)
	}
	l.calls = append(l.calls, gone)
	b.waiting++
}

// leave takes a call out of its line; false: its turn has come.
func (b *budget) leave(caller string, gone chan struct{}) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serve(time.Now()) // its turn may be this very moment
	l := b.lines[caller]
	if l == nil {
		return false
	}
	i := slices.Index(l.calls, gone)
	if i < 0 {
		return false
	}
	l.calls = slices.Delete(l.calls, i, i+1)
	b.waiting--
	if len(l.calls) == 0 {
		b.turns = slices.DeleteFunc(b.turns, func(other *line) bool { return other == l })
		delete(b.lines, caller)
	}
	return true
}

// serve lets those go whose turn it is, one call of each caller in turn, and
// sees to it that it is called again for the next.
func (b *budget) serve(now time.Time) {
	for b.waiting > 0 {
		at := b.free(now, 0)
		if at.After(now) {
			b.wake(at.Sub(now))
			return
		}
		l := b.turns[0]
		b.turns = b.turns[1:]
		close(l.calls[0])
		l.calls = l.calls[1:]
		b.waiting--
		b.spend(now)
		if len(l.calls) > 0 {
			b.turns = append(b.turns, l)
		} else {
			delete(b.lines, l.caller)
		}
	}
}

func (b *budget) wake(after time.Duration) {
	if b.next == nil {
		b.next = time.AfterFunc(after, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.serve(time.Now())
		})
		return
	}
	b.next.Reset(after)
}

func (b *budget) hold(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if until := now.Add(d); until.After(b.held) {
		b.held = until
	}
	b.taught = now
	if len(b.limits) == 0 {
		b.fit(b.atLeast, now)
	}
}

func (b *budget) idle(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting == 0 && !b.held.After(now) && !slices.ContainsFunc(b.ceilings, func(c ceiling) bool { return !c.idle(now) })
}

func (b *budget) standing(now time.Time) Standing {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Standing{Waiting: b.waiting}
	left := math.Inf(1)
	for i, c := range b.ceilings {
		used, of := c.used(now), b.limits[i].Calls
		if share := float64(of-used) / float64(of); share < left {
			left, s.Used, s.Of = share, used, of
		}
	}
	if b.held.After(now) {
		s.Held = b.held
	}
	return s
}
