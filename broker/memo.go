package broker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"tokenbroker/entra"
)

// memoPause is how long something held goes on before it is asked for again,
// after that has failed.
const memoPause = time.Minute

// memo remembers one thing that another place knows. Whoever wants it while it
// is being fetched waits for that one fetch. Where fetching fails, what is held
// goes on for as long as it is good, and that is logged once.
//
// The fetch runs in the first caller's goroutine and time. That caller is a fill
// of the cache, which no impatient client can end; should it be called off all
// the same, the next one in line fetches.
type memo[T any] struct {
	what   string // it is, for the log and for messages
	fetch  func(context.Context) (kept[T], error)
	logger *slog.Logger

	mu     sync.Mutex // guards what follows
	held   kept[T]    // zero: nothing
	fault  string     // why the last fetch failed although something is held; empty: it did not
	flight *flight[T] // nil: nobody fetches
}

// kept is what is remembered.
type kept[T any] struct {
	value   T
	version string    // empty: it has none, and a new one is no news
	fresh   time.Time // until then nobody is asked
	good    time.Time // until then it goes on where asking fails
}

// flight is a fetch that others wait for.
type flight[T any] struct {
	done  chan struct{} // closed when the rest is set
	value T
	err   error
}

// withdrawnError says that what was held must not be used any more: the place
// it comes from has disabled or deleted it.
type withdrawnError struct{ text string }

func (e withdrawnError) Error() string { return e.text }

// get returns what is held, or fetches it.
func (m *memo[T]) get(ctx context.Context) (value T, err error) {
	for {
		m.mu.Lock()
		if time.Now().Before(m.held.fresh) {
			defer m.mu.Unlock()
			return m.held.value, nil
		}
		f := m.flight
		if f == nil {
			f = &flight[T]{done: make(chan struct{})}
			m.flight = f
			m.mu.Unlock()
			m.fly(ctx, f)
			return f.value, f.err
		}
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return value, &entra.Error{Kind: entra.Canceled, Op: opCredential, Err: context.Canceled}
			}
			return value, entra.Errorf(entra.Unavailable, opCredential, "%s: not there in time", m.what)
		case <-f.done:
			if entra.KindOf(f.err) != entra.Canceled {
				return f.value, f.err
			}
		}
	}
}

// renew fetches, however fresh what is held is, and returns what is held then.
func (m *memo[T]) renew(ctx context.Context) (T, error) {
	m.mu.Lock()
	m.held.fresh = time.Time{}
	m.mu.Unlock()
	return m.get(ctx)
}

// forget drops what is held.
func (m *memo[T]) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = kept[T]{}
}

// fly fetches for all who wait.
func (m *memo[T]) fly(ctx context.Context, f *flight[T]) {
	got, err := m.fetch(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	defer close(f.done)
	m.flight = nil
	_, withdrawn := errors.AsType[withdrawnError](err)
	switch {
	case err == nil:
		if m.held.version != "" && (m.held.version != got.version || m.fault != "") {
			m.logger.Info("credential read again", "what", m.what, "version", got.version)
		}
		m.held, m.fault, f.value = got, "", got.value
	case withdrawn:
		m.held, f.err = kept[T]{}, err
	case entra.KindOf(err) != entra.Canceled && time.Now().Before(m.held.good):
		if text := err.Error(); m.fault != text {
			m.logger.Warn("credential not read again, the one of before stays in use", "what", m.what, "err", err)
			m.fault = text
		}
		m.held.fresh, f.value = time.Now().Add(memoPause), m.held.value
	default:
		f.err = err
	}
}
