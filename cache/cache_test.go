package cache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/cache"
	"tokenbroker/entra"
)

func TestCacheFetchesOnceForManyCallers(t *testing.T) {
	source := &fake{delay: time.Second}
	inBubble(t, source, func(t *testing.T, b broker) {
		ways := make([]string, 256)
		var callers sync.WaitGroup
		for i := range ways {
			callers.Go(func() {
				trail := new(entra.Trail)
				token, err := b.Token(entra.WithTrail(t.Context(), trail), ask(xdr))
				if err != nil || token.Access.Reveal() != "t1" {
					t.Errorf("got %s, %v, want t1", token.Access.Reveal(), err)
				}
				ways[i] = trail.Cache
			})
		}
		callers.Wait()
		source.wantCount(t, 1)
		b.want(ask(xdr), "t1")

		slices.Sort(ways)
		want := append([]string{"miss"}, slices.Repeat([]string{"shared"}, 255)...)
		if diff := cmp.Diff(ways, want); diff != "" {
			t.Errorf("trails (-got +want):\n%s", diff)
		}
		if diff := cmp.Diff(b.Stats(), cache.Stats{Hits: 1, Shared: 255, Misses: 1, Fills: 1, Entries: 1}); diff != "" {
			t.Errorf("stats (-got +want):\n%s", diff)
		}
	})
}

func TestCacheFetchesDifferentTokensInParallel(t *testing.T) {
	source := &fake{delay: time.Second}
	inBubble(t, source, func(t *testing.T, b broker) {
		start := time.Now()
		var callers sync.WaitGroup
		for i := range 256 {
			callers.Go(func() {
				if _, err := b.Token(t.Context(), ask(entra.Scope(fmt.Sprintf("https://api%d.example/.default", i%8)))); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		source.wantCount(t, 8)
		if took := time.Since(start); took != time.Second {
			t.Errorf("eight tokens took %s, want the second that one takes", took)
		}
	})
}

func TestCacheKeepsFetchingWhenTheFirstCallerLeaves(t *testing.T) {
	source := &fake{delay: 3 * time.Second}
	inBubble(t, source, func(t *testing.T, b broker) {
		leaver, leave := context.WithCancel(t.Context())
		hasty, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		kinds := make(map[string]entra.Kind)
		var callers sync.WaitGroup
		var mu sync.Mutex
		call := func(ctx context.Context, name string) {
			callers.Go(func() {
				_, err := b.Token(ctx, ask(xdr))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					kinds[name] = entra.KindOf(err)
				}
			})
		}
		call(leaver, "leaver")
		synctest.Wait()
		call(hasty, "hasty")
		call(t.Context(), "patient")
		time.Sleep(time.Second)
		leave()
		callers.Wait()
		if diff := cmp.Diff(kinds, map[string]entra.Kind{"leaver": entra.Canceled, "hasty": entra.Timeout}); diff != "" {
			t.Errorf("failures (-got +want):\n%s", diff)
		}
		source.wantCount(t, 1)
		b.want(ask(xdr), "t1")
	})
}

func TestCacheNeverMixesTokens(t *testing.T) {
	base := entra.Request{Identity: "app", Tenant: "contoso.com", Scope: xdr, Assertion: entra.NewSecret("alice")}
	tests := []struct {
		name   string
		change func(*entra.Request)
		want   string
	}{
		{"same", func(*entra.Request) {}, "t1"},
		{"identity", func(r *entra.Request) { r.Identity = "other" }, "t2"},
		{"tenant", func(r *entra.Request) { r.Tenant = "fabrikam.com" }, "t2"},
		{"scope", func(r *entra.Request) { r.Scope = mde }, "t2"},
		{"wider scope", func(r *entra.Request) { r.Scope = "https://a.example/a https://a.example/b" }, "t2"},
		{"user", func(r *entra.Request) { r.Assertion = entra.NewSecret("bob") }, "t2"},
		{"no user", func(r *entra.Request) { r.Assertion = entra.Secret{} }, "t2"},
		{"parts that join to the same text", func(r *entra.Request) { r.Identity, r.Tenant = "appcontoso", ".com" }, "t2"},
		{"route and use", func(r *entra.Request) { r.Route, r.Use = "defender", entra.Proxy }, "t1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, new(fake), func(_ *testing.T, b broker) {
				other := base
				tt.change(&other)
				b.want(base, "t1")
				for range 3 {
					b.want(other, tt.want)
					b.want(base, "t1")
				}
			})
		})
	}
}

func TestCacheIsBounded(t *testing.T) {
	source := new(fake)
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, source, cache.Config{Size: 2})
		b.want(ask("a"), "t1")
		b.want(ask("b"), "t2")
		time.Sleep(time.Second)
		b.want(ask("a"), "t1")
		b.want(ask("c"), "t3") // pushes b out, which rested longest
		b.want(ask("a"), "t1")
		b.want(ask("b"), "t4")
		if got := b.Stats().Entries; got != 2 {
			t.Errorf("%d entries, want 2", got)
		}
	})
}

func TestFailuresPushNoTokenOut(t *testing.T) {
	source := new(fake)
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, source, cache.Config{Size: 2})
		b.want(ask(xdr), "t1")
		source.fails(failure(entra.Misconfigured))
		for i := range 100 {
			b.wantError(ask(entra.Scope(fmt.Sprint(i))), entra.Misconfigured)
		}
		time.Sleep(time.Second)
		b.want(ask(xdr), "t1")
		if got := len(b.Status()); got != 3 {
			t.Errorf("%d tokens and failures are remembered, want 3", got)
		}
	})
}

func TestCacheSurvivesItsSource(t *testing.T) {
	tests := []struct {
		name  string
		next  entra.SourceFunc
		after time.Duration
		want  entra.Kind
		text  string
	}{
		{"panic", func(context.Context, entra.Request) (entra.Token, error) { panic("secret-canary") }, 0, entra.Internal, "panicked"},
		{"runtime panic", func(context.Context, entra.Request) (entra.Token, error) { return *(*entra.Token)(nil), nil }, 0, entra.Internal, "panicked"},
		{"exit", func(context.Context, entra.Request) (entra.Token, error) { runtime.Goexit(); return entra.Token{}, nil }, 0, entra.Internal, "ended without an answer"},
		{"no token", func(context.Context, entra.Request) (entra.Token, error) { return entra.Token{}, nil }, 0, entra.Unavailable, "without a token"},
		{"expired token", lives(-time.Second), 0, entra.Unavailable, "has expired"},
		{"token that expires at once", lives(time.Second - 1), 0, entra.Unavailable, "has expired"},
		{"token without an end", lives(10 * 365 * 24 * time.Hour), 0, entra.Unavailable, "want at most"},
		{"foreign error", func(context.Context, entra.Request) (entra.Token, error) {
			return entra.Token{}, errors.New("x")
		}, 0, entra.Internal, "x"},
		{"canceled", func(context.Context, entra.Request) (entra.Token, error) {
			return entra.Token{}, context.Canceled
		}, 0, entra.Unavailable, "canceled"},
		{"timeout of its own", func(context.Context, entra.Request) (entra.Token, error) {
			return entra.Token{}, context.DeadlineExceeded
		}, 0, entra.Unavailable, "deadline"},
		{"hangs", func(ctx context.Context, _ entra.Request) (entra.Token, error) {
			<-ctx.Done()
			return entra.Token{}, ctx.Err()
		}, 10 * time.Second, entra.Unavailable, "entra did not answer within 10s"},
		{"hangs and looks at no context", func(context.Context, entra.Request) (entra.Token, error) {
			time.Sleep(time.Minute)
			return entra.Token{}, nil
		}, 10 * time.Second, entra.Unavailable, "entra did not answer within 10s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, tt.next, func(t *testing.T, b broker) {
				err := b.wantErrorAfter(ask(xdr), tt.want, tt.after)
				if !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "canary") {
					t.Errorf("got %q, want %q in it", err, tt.text)
				}
				b.wantError(ask(xdr), tt.want) // remembered
			})
		})
	}
}

// lives gives tokens of that life.
func lives(life time.Duration) entra.SourceFunc {
	return func(_ context.Context, req entra.Request) (entra.Token, error) {
		return entra.NewToken("t1", req.Scope, time.Now().Add(life), time.Time{})
	}
}

// A fill's own trail keeps what a flow notes away from a request that may be over.
func TestFillHasATrailOfItsOwn(t *testing.T) {
	var seen entra.Trail
	next := entra.SourceFunc(func(ctx context.Context, req entra.Request) (entra.Token, error) {
		trail := entra.TrailOf(ctx)
		seen = *trail
		trail.Identity = "noted by the flow"
		return lives(time.Hour)(ctx, req)
	})
	inBubble(t, next, func(t *testing.T, b broker) {
		trail := &entra.Trail{RequestID: "r1", Principal: "app"}
		if _, err := b.Token(entra.WithTrail(t.Context(), trail), ask(xdr)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*trail, entra.Trail{RequestID: "r1", Principal: "app", Cache: "miss"}); diff != "" {
			t.Errorf("the request's trail (-got +want):\n%s", diff)
		}
		if diff := cmp.Diff(seen, entra.Trail{RequestID: "r1"}); diff != "" {
			t.Errorf("the fill's trail (-got +want):\n%s", diff)
		}
	})
}

func TestClose(t *testing.T) {
	t.Run("releases waiters and forgets tokens", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t *testing.T, b broker) {
			b.want(ask(xdr), "t1")
			b.want(ask(xdr), "t1")
			source.hang()
			var waiter sync.WaitGroup
			waiter.Go(func() { b.wantErrorAfter(ask(mde), entra.Unavailable, time.Second) })
			time.Sleep(time.Second)
			for range 2 {
				if err := b.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
			waiter.Wait()
			b.wantError(ask(xdr), entra.Unavailable)
			b.Warm(t.Context(), ask(xdr))
			source.wantCount(t, 2)
			if got := b.Stats(); got.Entries != 0 || got.FillErrors != 0 {
				t.Errorf("got %d entries, %d failed fills, want none", got.Entries, got.FillErrors)
			}
		})
	})
	t.Run("waits for a source that hangs", func(t *testing.T) {
		next := entra.SourceFunc(func(context.Context, entra.Request) (entra.Token, error) {
			time.Sleep(time.Minute)
			return entra.NewToken("late", xdr, time.Now().Add(time.Hour), time.Time{})
		})
		inBubble(t, next, func(t *testing.T, b broker) {
			b.wantErrorAfter(ask(xdr), entra.Unavailable, 10*time.Second)
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := b.Close(short); entra.KindOf(err) != entra.Timeout {
				t.Errorf("got %v, want a timeout", err)
			}
			if err := b.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestNewRefusesNonsense(t *testing.T) {
	for _, cfg := range []cache.Config{{Size: -1}, {FillTimeout: -1}} {
		if _, err := cache.New(new(fake), cfg); entra.KindOf(err) != entra.Invalid {
			t.Errorf("%+v: got %v, want it refused as invalid", cfg, err)
		}
	}
}
