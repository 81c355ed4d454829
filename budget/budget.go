// Package budget keeps the broker's calls below the ceilings of the APIs.
//
// An API counts the calls of an application in a tenant, whoever makes them. So
// do we: everybody who calls with the same application shares one [Ledger], and
// nobody learns of the ceiling by running into it. Who is willing to wait stands
// in line, in turn with the other callers.
package budget

import (
	"context"
	"sync"
	"time"

	"tokenbroker/entra"
)

const (
	// maxHold bounds how long an upstream may hold calls back.
	maxHold = time.Hour
	// lesson is how long it is remembered that there were too many calls.
	lesson = time.Hour
	// maxWaiting bounds how many calls of one caller may wait for one budget.
	maxWaiting = 128
	// maxCallers bounds how many callers may wait for one budget.
	maxCallers = 256
	// crowded is how many budgets there are before those without calls are dropped.
	crowded = 1024
)

// Key is what a budget is for.
type Key struct {
	Application string // its client id
	Tenant      entra.Tenant
	Limit       string // what is limited: an endpoint of the catalogue, "MDE GET /api/machines"
}

// Call is a call that wants to be made.
type Call struct {
	Key      Key
	Ceilings []Ceiling     // none: nothing is known, and calls wait only when an answer has said so
	AtLeast  []Ceiling     // in the place of none, for an hour after such an answer: what the API promises to take, and maybe takes more of
	Caller   string        // who stands in line
	Patience time.Duration // how long it waits; zero: not at all
}

// MaxPatience is how long a caller may wait at most.
const MaxPatience = 5 * time.Minute

// Ledger has the budgets. Its zero value is ready, and it is safe for concurrent
// use.
type Ledger struct {
	mu      sync.Mutex // guards budgets
	budgets map[Key]*budget
}

// Take returns when the call may be made. For a caller that would have to wait
// for longer than it is willing to it returns an error of kind
// [entra.Exhausted] at once, which says how long it would be.
func (l *Ledger) Take(ctx context.Context, c Call) error { return l.budget(c.Key).take(ctx, c) }

// Hold lets no call of the budget go for that long: the upstream has said so. A
// time beyond an hour counts as one.
func (l *Ledger) Hold(key Key, d time.Duration) { l.budget(key).hold(min(d, maxHold)) }

func (l *Ledger) budget(key Key) *budget {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.budgets[key]
	if b == nil {
		if l.budgets == nil {
			l.budgets = map[Key]*budget{}
		}
		l.tidy()
		b = &budget{lines: map[string]*line{}}
		l.budgets[key] = b
	}
	return b
}

// tidy drops budgets that hold nobody back. Applications and tenants come and go
// with configurations.
func (l *Ledger) tidy() {
	if len(l.budgets) < crowded {
		return
	}
	now := time.Now()
	for key, b := range l.budgets {
		if b.idle(now) {
			delete(l.budgets, key)
		}
	}
}

// Standing is how a budget stands.
type Standing struct {
	Key
	Used    int       // calls that count against the ceiling that is nearest
	Of      int       // that ceiling; zero: there is none
	Waiting int       // calls in line
	Held    time.Time // until when the upstream holds calls back; zero: it does not
}

// Standings lists the budgets that count calls, hold them back, or have a line.
func (l *Ledger) Standings() []Standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Standing
	now := time.Now()
	for key, b := range l.budgets {
		if s := b.standing(now); s.Used > 0 || s.Waiting > 0 || !s.Held.IsZero() {
			s.Key = key
			all = append(all, s)
		}
	}
	return all
}
