// Package cache is the broker's one memory of tokens: a bounded LRU around a
// source.
//
// A token is fetched once, whoever and how many ask for it; different tokens
// are fetched in parallel. While a token is usable its callers see nothing of
// what the source does: a refresh runs behind them, early, and its failures
// are theirs only when the token has come to its end. Failures are remembered
// too, so that a source in trouble is asked rarely, see backoff.go.
//
// A token is used until two seconds before its expiry, a short-lived one until
// a tenth of its life before. Nothing is refreshed that nobody asks for.
package cache

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"tokenbroker/entra"
)

// Config is what a [Cache] needs to know.
type Config struct {
	Size        int           // how many tokens are held; zero: 10,000
	FillTimeout time.Duration // how long the source may take for one token; zero: 10 s
	Logger      *slog.Logger  // hears of failures that no caller hears of; nil: nobody does
}

// Cache is an [entra.Source] that remembers what the source behind it gave.
type Cache struct {
	next    entra.Source
	timeout atomic.Int64  // a time.Duration
	epoch   atomic.Uint64 // how often failures were forgiven, and identities forgotten
	log     *slog.Logger

	recent   recent
	entries  *lru.Cache[entra.Key, *entry]
	failures *lru.Cache[question, *trouble] // apart, so that scopes that fail push no token out
	flights  singleflight.Group
	counters counters

	// mu guards the step from one entry of a key to the next, and that nothing
	// starts once closing is closed. Nothing slow happens under it.
	mu        sync.Mutex
	kept      func(entra.IdentityID) bool // whose tokens are kept; nil: everybody's
	forgotten map[entra.IdentityID]uint64 // the epoch that began when an identity was last forgotten
	closing   chan struct{}
	running   sync.WaitGroup // every goroutine of ours
}

// New returns a cache around next.
func New(next entra.Source, cfg Config) (*Cache, error) {
	if cfg.Size < 0 {
		return nil, entra.Errorf(entra.Invalid, "cache.new", "cache size %d: want a positive number", cfg.Size)
	}
	if cfg.FillTimeout < 0 {
		return nil, entra.Errorf(entra.Invalid, "cache.new", "fill timeout %s: want a positive duration", cfg.FillTimeout)
	}
	if cfg.Size == 0 {
		cfg.Size = 10_000
	}
	if cfg.FillTimeout == 0 {
		cfg.FillTimeout = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	entries, err := lru.New[entra.Key, *entry](cfg.Size)
	if err != nil {
		return nil, entra.Errorf(entra.Internal, "cache.new", "tokens: %w", err)
	}
	failures, err := lru.New[question, *trouble](cfg.Size)
	if err != nil {
		return nil, entra.Errorf(entra.Internal, "cache.new", "failures: %w", err)
	}
	c := &Cache{
		next:      next,
		log:       cfg.Logger,
		recent:    recent{seed: maphash.MakeSeed()},
		entries:   entries,
		failures:  failures,
		forgotten: map[entra.IdentityID]uint64{},
		closing:   make(chan struct{}),
	}
	c.SetFillTimeout(cfg.FillTimeout)
	return c, nil
}

// Token returns the token held, or fetches one. It notes in the request's
// trail how it came by it.
//
// A request with Claims or Rejected demands another token than the one held,
// and waits for it. It gets the held one where that is another one than the
// rejected already, or was fetched for such a demand under a minute ago; and
// where fetching fails, unless there are Claims, which a token held does not meet.
//
// A caller that leaves gets [entra.Canceled] or [entra.Timeout]; what it
// waited for goes on for the others.
func (c *Cache) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	// Inlined, the trail that stands in for none stays on the stack.
	trail := entra.TrailOf(ctx)
	if e := c.recent.get(&req); e != nil {
		trail.Cache = c.counters.count(hit)
		return e.token, nil
	}
	token, how, err := c.look(ctx, req)
	trail.Cache = c.counters.count(how)
	return token, err
}

// look finds the token in the LRU, or gets it.
func (c *Cache) look(ctx context.Context, req entra.Request) (entra.Token, way, error) {
	f := c.flightOf(req)
	now := time.Now()
	e, _ := c.entries.Get(f.key)
	switch {
	case !e.usable(now):
		return c.wait(ctx, f)
	case e.answers(f, now):
		c.recent.put(&req, e, now)
		return e.token, hit, nil
	case f.demanding():
		token, how, err := c.wait(ctx, f)
		if err != nil && !f.challenged && e.usable(time.Now()) {
			return e.token, stale, nil
		}
		return token, how, err
	default:
		token, how := c.stale(ctx, f, e, now)
		return token, how, nil
	}
}

// Close drops every token, breaks off what is being fetched and waits for all
// goroutines. It returns an error when ctx ends first. Token fails from then on.
func (c *Cache) Close(ctx context.Context) error {
	c.shut()
	idle := make(chan struct{})
	go func() {
		c.running.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return entra.Errorf(entra.KindOf(ctx.Err()), "cache.close", "the source is still at work: %w", ctx.Err())
	}
}

// shut lets nothing start any more and forgets every token.
func (c *Cache) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed() {
		return
	}
	close(c.closing)
	for _, e := range c.entries.Values() {
		e.replaced.Store(true)
	}
	c.entries.Purge()
}

func (c *Cache) closed() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// begin reports whether something may start. Who gets true calls
// c.running.Done when it ends.
func (c *Cache) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed() {
		return false
	}
	c.running.Add(1)
	return true
}
