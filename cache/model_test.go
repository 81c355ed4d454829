package cache_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tokenbroker/cache"
	"tokenbroker/entra"
)

// TestPromisesHoldWhateverHappens lets callers and an Entra of changing mood
// do as drawn, and watches the promises on both sides of the cache.
func TestPromisesHoldWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		life := rapid.SampledFrom([]time.Duration{3 * time.Second, 90 * time.Second, time.Hour}).Draw(rt, "life")
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 50).Draw(rt, "steps")
		// Nothing is drawn in the bubble: rapid ends a check by a panic.
		m := &model{life: life, busy: map[string]bool{}, silence: map[string]time.Time{}, last: map[entra.Scope]entra.Token{}}
		synctest.Test(t, func(t *testing.T) {
			b := newBroker(t, m, cache.Config{})
			for _, s := range steps {
				m.take(b, s)
			}
		})
		for _, broken := range m.broken {
			rt.Error(broken)
		}
	})
}

// step is what happens next: time passes, Entra's mood changes, callers call.
type step struct {
	Pause   time.Duration
	Mood    string
	Scope   entra.Scope
	Demand  string
	Callers int
}

func drawStep(t *rapid.T) step {
	unit := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute}).Draw(t, "unit")
	return step{
		Pause:   unit * time.Duration(rapid.IntRange(0, 59).Draw(t, "pause")),
		Mood:    rapid.SampledFrom([]string{"fine", "fine", "slow", "away", "throttles", "refuses", "hangs"}).Draw(t, "mood"),
		Scope:   rapid.SampledFrom([]entra.Scope{xdr, mde}).Draw(t, "scope"),
		Demand:  rapid.SampledFrom([]string{"", "", "", "rejected", "claims"}).Draw(t, "demand"),
		Callers: rapid.IntRange(1, 3).Draw(t, "callers"),
	}
}

// model is the Entra, and remembers what must hold.
type model struct {
	life time.Duration

	mu      sync.Mutex
	mood    string
	issued  int
	busy    map[string]bool             // what is being asked
	silence map[string]time.Time        // until when a Retry-After forbids to ask
	last    map[entra.Scope]entra.Token // what a caller got last: held until it expires
	broken  []string
}

// Token is Entra's side.
func (m *model) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	question := fmt.Sprint(req.Scope, req.Claims)
	flight := question + req.Rejected
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold(!m.busy[flight], "two requests for one token at a time")
	m.hold(!time.Now().Before(m.silence[question]), "a request before the Retry-After")
	m.busy[flight] = true
	mood := m.mood
	m.mu.Unlock()
	switch mood {
	case "slow":
		time.Sleep(3 * time.Second)
	case "hangs":
		<-ctx.Done()
	}
	m.mu.Lock()
	m.busy[flight] = false
	switch mood {
	case "hangs":
		return entra.Token{}, ctx.Err()
	case "away":
		return entra.Token{}, failure(entra.Unavailable)
	case "refuses":
		return entra.Token{}, failure(entra.Misconfigured)
	case "throttles":
		m.silence[question] = time.Now().Add(30 * time.Second)
		return entra.Token{}, throttled(30 * time.Second)
	}
	m.issued++
	return entra.NewToken(fmt.Sprintf("t%d", m.issued), req.Scope, time.Now().Add(m.life), time.Time{})
}

// take takes a step and holds every caller's answer to the promises.
func (m *model) take(b broker, s step) {
	time.Sleep(s.Pause)
	m.mu.Lock()
	m.mood = s.Mood
	held := m.last[s.Scope]
	m.mu.Unlock()

	req := ask(s.Scope)
	switch s.Demand {
	case "rejected":
		req.Rejected = held.Access.Fingerprint()
	case "claims":
		req.Claims = s.Mood
	}
	start := time.Now()
	var callers sync.WaitGroup
	for range s.Callers {
		callers.Go(func() {
			token, err := b.Token(b.Context(), req)
			took := time.Since(start)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.hold(took <= 10*time.Second, "a caller waited %s", took)
			if req.Claims == "" && req.Rejected == "" && held.ValidFor(start, min(2*time.Second, m.life/10)) {
				m.hold(err == nil, "a token was held, and a caller got %v", err)
				m.hold(took <= time.Second, "a token was held, and a caller waited %s", took)
			}
			if err != nil {
				e := entra.AsError(err)
				m.hold(e.RetryAfter > 0, "%v without a Retry-After", e)
				return
			}
			m.hold(token.ValidFor(time.Now(), 0), "an expired token")
			m.hold(token.Scope == s.Scope, "a token for %s where %s was asked for", token.Scope, s.Scope)
			if token.ExpiresOn.After(m.last[s.Scope].ExpiresOn) {
				m.last[s.Scope] = token
			}
		})
	}
	callers.Wait()
}

// hold notes a promise that does not hold. The caller has the lock.
func (m *model) hold(ok bool, format string, args ...any) {
	if !ok {
		m.broken = append(m.broken, fmt.Sprintf(format, args...))
	}
}
