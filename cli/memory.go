package cli

import (
	"context"
	"errors"
	"time"

	"tokenbroker/cache"
	"tokenbroker/entra"
)

// memory is the broker's memory of tokens. Those that were got for a user's
// assertion stand apart, so that many users push no token of an identity's own
// out.
type memory struct{ own, users *cache.Cache }

func newMemory(next entra.Source, cfg cache.Config) (*memory, error) {
	own, err := cache.New(next, cfg)
	if err != nil {
		return nil, err
	}
	users, err := cache.New(next, cfg)
	if err != nil {
		return nil, err
	}
	return &memory{own, users}, nil
}

// Token returns the token held, or fetches one.
func (m *memory) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	if req.Assertion.IsZero() {
		return m.own.Token(ctx, req)
	}
	return m.users.Token(ctx, req)
}

// holds reports whether the token is one that is held.
func (m *memory) holds(access entra.Secret) bool { return m.own.Holds(access) || m.users.Holds(access) }

// adapt makes the memory fit a configuration.
func (m *memory) adapt(size int, timeout time.Duration, keep func(entra.IdentityID) bool) {
	for _, c := range []*cache.Cache{m.own, m.users} {
		c.Resize(size)
		c.SetFillTimeout(timeout)
		c.Retain(keep)
	}
}

// forgive forgets every failure.
func (m *memory) forgive() {
	m.own.Forgive()
	m.users.Forgive()
}

// forget forgets what is held for an identity, and every failure.
func (m *memory) forget(id entra.IdentityID) {
	m.own.Forget(id)
	m.users.Forget(id)
	m.forgive()
}

// stats are the figures of both.
func (m *memory) stats() cache.Stats {
	a, b := m.own.Stats(), m.users.Stats()
	return cache.Stats{
		Hits: a.Hits + b.Hits, Stale: a.Stale + b.Stale, Shared: a.Shared + b.Shared, Misses: a.Misses + b.Misses,
		Fills: a.Fills + b.Fills, FillErrors: a.FillErrors + b.FillErrors,
		Refreshes: a.Refreshes + b.Refreshes, RefreshErrors: a.RefreshErrors + b.RefreshErrors, Entries: a.Entries + b.Entries,
	}
}

func (m *memory) close(ctx context.Context) error {
	return errors.Join(m.own.Close(ctx), m.users.Close(ctx))
}
