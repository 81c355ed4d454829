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
	inBubble(t, source, func(t broker) {
		ways := make([]string, 256)
		var callers sync.WaitGroup
		for i := range ways {
			callers.Go(func() {
				trail := new(entra.Trail)
				token, err := t.Token(entra.WithTrail(t.Context(), trail), ask(xdr))
				if err != nil || token.Access.Reveal() != "t1" {
					t.Errorf("got %s, %v, want t1", token.Access.Reveal(), err)
				}
				ways[i] = trail.Cache
			})
		}
		callers.Wait()
		source.wantCount(t, 1)
		t.want(ask(xdr), "t1")

		slices.Sort(ways)
		want := append([]string{"miss"}, slices.Repeat([]string{"shared"}, 255)...)
		if diff := cmp.Diff(ways, want); diff != "" {
			t.Errorf("trails (-got +want):\n%s", diff)
		}
		if diff := cmp.Diff(t.Stats(), cache.Stats{Hits: 1, Shared: 255, Misses: 1, Fills: 1, Entries: 1}); diff != "" {
			t.Errorf("stats (-got +want):\n%s", diff)
		}
	})
}

func TestCacheFetchesDifferentTokensInParallel(t *testing.T) {
	source := &fake{delay: time.Second}
	inBubble(t, source, func(t broker) {
		start := time.Now()
		var callers sync.WaitGroup
		for i := range 256 {
			callers.Go(func() {
				if _, err := t.Token(t.Context(), ask(entra.Scope(fmt.Sprintf("https://api%d.example/.default", i%8)))); err != nil {
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

func TestConcurrentFetchesAreSharedOnlyForTheSame(t *testing.T) {
	base := entra.Request{Identity: "app", Tenant: "contoso.com", Scope: xdr, Assertion: entra.NewSecret("alice"), Claims: "c", Rejected: "f"}
	tests := []struct {
		name   string
		change func(*entra.Request)
		want   int // requests to the source
	}{
		{"same", func(*entra.Request) {}, 1},
		{"route and use", func(r *entra.Request) { r.Route, r.Use = "defender", entra.Proxy }, 1},
		{"identity", func(r *entra.Request) { r.Identity = "other" }, 2},
		{"tenant", func(r *entra.Request) { r.Tenant = "fabrikam.com" }, 2},
		{"parts that join to the same text", func(r *entra.Request) { r.Identity, r.Tenant = "appcontoso", ".com" }, 2},
		{"scope", func(r *entra.Request) { r.Scope = mde }, 2},
		{"user", func(r *entra.Request) { r.Assertion = entra.NewSecret("bob") }, 2},
		{"claims", func(r *entra.Request) { r.Claims = "d" }, 2},
		{"claims that run into the rejected token", func(r *entra.Request) { r.Claims, r.Rejected = `c" "`, "" }, 2},
		{"rejected token", func(r *entra.Request) { r.Rejected = "e" }, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := &fake{delay: time.Second}
			inBubble(t, source, func(t broker) {
				other := base
				tt.change(&other)
				var callers sync.WaitGroup
				for _, req := range []entra.Request{base, other} {
					callers.Go(func() {
						if _, took, err := t.get(req); err != nil || took != time.Second {
							t.Errorf("got %v after %s, want a token after a second", err, took)
						}
					})
				}
				callers.Wait()
				source.wantCount(t, tt.want)
			})
		})
	}
}

func TestCacheKeepsFetchingWhenTheFirstCallerLeaves(t *testing.T) {
	source := &fake{delay: 3 * time.Second}
	inBubble(t, source, func(t broker) {
		leaver, leave := context.WithCancel(t.Context())
		hasty, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		kinds := make(map[string]entra.Kind)
		var callers sync.WaitGroup
		var mu sync.Mutex
		call := func(ctx context.Context, name string) {
			callers.Go(func() {
				_, err := t.Token(ctx, ask(xdr))
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
		t.want(ask(xdr), "t1")
	})
}

func TestCallerWhoHasLeftStartsNothing(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t broker) {
		ctx, leave := context.WithCancel(t.Context())
		leave()
		if _, err := t.Token(ctx, ask(xdr)); entra.KindOf(err) != entra.Canceled {
			t.Errorf("got %v, want it canceled", err)
		}
		source.wantCount(t, 0)
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
			return entra.Token{}, entra.Errorf(entra.Unavailable, "broker.exchange", "the authority did not answer: a remedy")
		}, 9800 * time.Millisecond, entra.Unavailable, "the authority did not answer: a remedy"},
		{"is late, and says no more than that", func(ctx context.Context, _ entra.Request) (entra.Token, error) {
			<-ctx.Done()
			return entra.Token{}, ctx.Err()
		}, 9800 * time.Millisecond, entra.Unavailable, "deadline"},
		{"is late to say so", func(ctx context.Context, _ entra.Request) (entra.Token, error) {
			<-ctx.Done()
			time.Sleep(100 * time.Millisecond)
			return entra.Token{}, entra.Errorf(entra.Unavailable, "broker.exchange", "a remedy")
		}, 9900 * time.Millisecond, entra.Unavailable, "a remedy"},
		{"hangs and looks at no context", func(context.Context, entra.Request) (entra.Token, error) {
			time.Sleep(time.Minute)
			return entra.Token{}, nil
		}, 10 * time.Second, entra.Unavailable, "entra did not answer within 10s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, tt.next, func(t broker) {
				start := time.Now()
				err := t.failure(ask(xdr), tt.want)
				if took := time.Since(start); took != tt.after {
					t.Errorf("failed after %s, want %s", took, tt.after)
				}
				if !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "canary") {
					t.Errorf("got %q, want %q in it", err, tt.text)
				}
				t.wantError(ask(xdr), tt.want) // remembered
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
	inBubble(t, next, func(t broker) {
		trail := &entra.Trail{RequestID: "r1", Principal: "app"}
		if _, err := t.Token(entra.WithTrail(t.Context(), trail), ask(xdr)); err != nil {
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
