//go:build unix

package cli

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tokenbroker/entra"
)

// crowd are 32 callers that ask as often as 2,000 times a second, or as the
// machine allows.
type crowd struct {
	broker *served
	calls  epochs
	begun  time.Time
	sent   atomic.Int64
	failed atomic.Int64
	stop   chan struct{}
	all    sync.WaitGroup
}

// crowd begins to send what next says for the nth request of a caller.
func (b *served) crowd(next func(caller, n int) (path, key string)) *crowd {
	l := &crowd{broker: b, begun: time.Now(), stop: make(chan struct{})}
	for caller := range crowdOf {
		l.all.Go(func() {
			tick := time.NewTicker(crowdPace)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-l.stop:
					return
				case <-tick.C:
					l.call(func() (string, string) { return next(caller, n) })
				}
			}
		})
	}
	return l
}

func (l *crowd) call(next func() (path, key string)) {
	defer l.calls.enter()()
	path, key := next()
	l.sent.Add(1)
	status, body, err := l.broker.ask(path, key)
	if (err != nil || status != http.StatusOK) && l.failed.Add(1) <= 5 {
		l.broker.site.t.Errorf("GET %s: %d %v %.300s", path, status, err, body)
	}
}

// end stops the callers and says how much they asked.
func (l *crowd) end() {
	close(l.stop)
	l.all.Wait()
	took := time.Since(l.begun)
	l.broker.site.t.Logf("%d requests in %v, %.0f a second; %d failed", l.sent.Load(), took.Round(time.Millisecond), float64(l.sent.Load())/took.Seconds(), l.failed.Load())
}

// epochs tell when what began before a moment has ended.
type epochs struct {
	mu  sync.Mutex
	now *sync.WaitGroup
}

func (e *epochs) enter() (leave func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now == nil {
		e.now = new(sync.WaitGroup)
	}
	e.now.Add(1)
	return e.now.Done
}

// turn waits until all that has begun so far has ended. One goroutine at a time
// may call it: to another one, what the first waits for has ended.
func (e *epochs) turn() {
	e.mu.Lock()
	before := e.now
	e.now = nil
	e.mu.Unlock()
	if before != nil {
		before.Wait()
	}
}

// source counts the exchanges of a flow.
func (e *epochs) source(next entra.Source) entra.Source {
	return entra.SourceFunc(func(ctx context.Context, req entra.Request) (entra.Token, error) {
		defer e.enter()()
		return next.Token(ctx, req)
	})
}
