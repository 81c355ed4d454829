package cache

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"tokenbroker/entra"
)

// The sinks keep the compiler from dropping what is measured.
var (
	tokenSink entra.Token
	entrySink *entry
)

// hot is a cache that holds the token of req, the LRU as it would be used bare,
// and the context of a request with a trail.
type hot struct {
	cache *Cache
	bare  *lru.Cache[entra.Key, *entry]
	req   entra.Request
	key   entra.Key
	ctx   context.Context
}

func newHot(tb testing.TB) hot {
	tb.Helper()
	next := entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
		return entra.NewToken("token", req.Scope, time.Now().Add(24*time.Hour), time.Time{})
	})
	c, err := New(next, Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close(context.Background()) })
	h := hot{
		cache: c,
		bare:  c.entries,
		ctx:   entra.WithTrail(context.Background(), new(entra.Trail)),
		req: entra.Request{
			Identity: entra.NewIdentityID("https://login.microsoftonline.com", "22222222-2222-2222-2222-222222222222", "11111111-1111-1111-1111-111111111111", "secret"),
			Tenant:   "22222222-2222-2222-2222-222222222222",
			Scope:    "https://api.security.microsoft.com/.default",
		},
	}
	h.key = h.req.Key()
	for range 2 { // fetched, and then found
		if _, err := c.Token(h.ctx, h.req); err != nil {
			tb.Fatal(err)
		}
	}
	return h
}

// BenchmarkHit is a token held, from Token to its return.
func BenchmarkHit(b *testing.B) {
	h := newHot(b)
	b.ReportAllocs()
	for b.Loop() {
		tokenSink, _ = h.cache.Token(h.ctx, h.req)
	}
}

// BenchmarkBareLRU is the measure for BenchmarkHit: the same key, ready made.
func BenchmarkBareLRU(b *testing.B) {
	h := newHot(b)
	b.ReportAllocs()
	for b.Loop() {
		entrySink, _ = h.bare.Get(h.key)
	}
}

// BenchmarkHitOverBareLRU reports how many bare look-ups a hit costs, for one
// caller and for one on each processor. The two take turns, so that whatever
// else the machine does falls on both.
func BenchmarkHitOverBareLRU(b *testing.B) {
	for name, callers := range map[string]int{"serial": 1, "parallel": runtime.GOMAXPROCS(0)} {
		b.Run(name, func(b *testing.B) {
			h := newHot(b)
			var hits, gets time.Duration
			for b.Loop() {
				hits += turn(callers, func() {
					ctx := entra.WithTrail(h.ctx, new(entra.Trail))
					for range perTurn {
						if token, _ := h.cache.Token(ctx, h.req); token.Access.IsZero() {
							b.Error("no hit")
						}
					}
				})
				gets += turn(callers, func() {
					for range perTurn {
						if e, _ := h.bare.Get(h.key); e == nil {
							b.Error("no entry")
						}
					}
				})
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(hits)/float64(gets), "hit/get")
			b.ReportMetric(float64(hits)/float64(perTurn*callers*b.N), "ns/hit")
			b.ReportMetric(float64(gets)/float64(perTurn*callers*b.N), "ns/get")
		})
	}
}

// perTurn is how often a caller does the one before all do the other.
const perTurn = 10_000

// turn returns how long that many callers at once take for the work each.
func turn(callers int, work func()) time.Duration {
	start := time.Now()
	var all sync.WaitGroup
	for range callers {
		all.Go(work)
	}
	all.Wait()
	return time.Since(start)
}

func TestHitDoesNotAllocate(t *testing.T) {
	h := newHot(t)
	if n := testing.AllocsPerRun(1000, func() { _, _ = h.cache.Token(h.ctx, h.req) }); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}
