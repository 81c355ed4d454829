package cache

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"tokenbroker/entra"
)

// BenchmarkHitAmongTenants reports what a hit costs where tokens of so many
// tenants are held and asked for in turn, as a multiple of what it costs where
// there are ten; and the memory that a tenant takes. The two take turns, so that
// whatever else the machine does falls on both.
func BenchmarkHitAmongTenants(b *testing.B) {
	for _, tenants := range []int{10, 100, 500, 5000} {
		b.Run(fmt.Sprint(tenants), func(b *testing.B) {
			ten := newPartner(b, 10)
			before := liveBytes()
			many := newPartner(b, tenants)
			perTenant := float64(liveBytes()-before) / float64(tenants)
			var few, among time.Duration
			for b.Loop() {
				few += turn(1, func() { ten.hit(b) })
				among += turn(1, func() { many.hit(b) })
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(among)/float64(few), "times-ten")
			b.ReportMetric(float64(among)/float64(perTurn*b.N), "ns/hit")
			b.ReportMetric(perTenant, "B/tenant")
		})
	}
}

// partner is a cache that holds a token of each of its customers' tenants.
type partner struct {
	cache *Cache
	ctx   context.Context
	reqs  []entra.Request
}

func newPartner(b *testing.B, tenants int) partner {
	b.Helper()
	signature := strings.Repeat("s", 1600) // a token's usual size
	next := entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
		return entra.NewToken(string(req.Tenant)+signature, req.Scope, time.Now().Add(24*time.Hour), time.Time{})
	})
	c, err := New(next, Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	p := partner{cache: c, ctx: entra.WithTrail(context.Background(), new(entra.Trail))}
	for i := range tenants {
		p.reqs = append(p.reqs, entra.Request{
			Identity: "https://login.microsoftonline.com|22222222-2222-2222-2222-222222222222|11111111-1111-1111-1111-111111111111|secret",
			Tenant:   entra.Tenant(fmt.Sprintf("22222222-2222-2222-2222-%012d", i)),
			Scope:    "https://api.security.microsoft.com/.default",
		})
	}
	p.hit(b)
	return p
}

// hit asks perTurn times, for the tenants in turn.
func (p *partner) hit(b *testing.B) {
	b.Helper()
	for i := range max(perTurn, len(p.reqs)) {
		if token, err := p.cache.Token(p.ctx, p.reqs[i%len(p.reqs)]); token.Access.IsZero() {
			b.Error(err)
		}
	}
}

// liveBytes are the bytes of the heap that are in use.
func liveBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
