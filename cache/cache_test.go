package cache_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/cache"
	"tokenbroker/entra"
)

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
		{"account", func(r *entra.Request) { r.Account = "carol" }, "t2"},
		{"no user", func(r *entra.Request) { r.Assertion = entra.Secret{} }, "t2"},
		{"parts that join to the same text", func(r *entra.Request) { r.Identity, r.Tenant = "appcontoso", ".com" }, "t2"},
		{"route and use", func(r *entra.Request) { r.Route, r.Use = "defender", entra.Proxy }, "t1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, new(fake), func(t broker) {
				other := base
				tt.change(&other)
				t.want(base, "t1")
				for range 3 {
					t.want(other, tt.want)
					t.want(base, "t1")
				}
			})
		})
	}
}

// Many tokens at once, so that every shortcut on the way has collisions.
func TestCacheNeverMixesManyTokens(t *testing.T) {
	vary := map[string]func(r *entra.Request, name string){
		"identity": func(r *entra.Request, name string) { r.Identity = entra.IdentityID(name) },
		"tenant":   func(r *entra.Request, name string) { r.Tenant = entra.Tenant(name) },
		"scope":    func(r *entra.Request, name string) { r.Scope = entra.Scope(name) },
		"account":  func(r *entra.Request, name string) { r.Account = name },
		"user":     func(r *entra.Request, name string) { r.Assertion = entra.NewSecret(name) },
	}
	for field, set := range vary {
		t.Run(field, func(t *testing.T) {
			inBubble(t, new(fake), func(t broker) {
				for range 3 {
					for i := range 200 {
						req := ask(xdr)
						set(&req, fmt.Sprint("name", i))
						t.want(req, fmt.Sprint("t", i+1))
					}
				}
			})
		})
	}
}

// A laptop that slept: the monotonic clock would say that no time went by.
func TestExpiryIsOnTheWallClock(t *testing.T) {
	b := newBroker(t, new(fake), cache.Config{}) // a bubble has no monotonic clock
	token, err := b.Token(t.Context(), ask(xdr))
	if err != nil {
		t.Fatal(err)
	}
	if got := token.ExpiresOn; got != got.Round(0) {
		t.Errorf("expires on %s, want no monotonic reading in it", got)
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

func TestClose(t *testing.T) {
	t.Run("releases waiters and forgets tokens", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t broker) {
			t.want(ask(xdr), "t1")
			t.want(ask(xdr), "t1")
			source.hang()
			var waiter sync.WaitGroup
			waiter.Go(func() { t.wantErrorAfter(ask(mde), entra.Unavailable, time.Second) })
			time.Sleep(time.Second)
			t.want(ask(xdr), "t1")
			for range 2 {
				if err := t.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
			waiter.Wait()
			t.wantError(ask(xdr), entra.Unavailable)
			t.Warm(t.Context(), ask(xdr))
			source.wantCount(t, 2)
			if got := t.Stats(); got.Entries != 0 || got.FillErrors != 0 {
				t.Errorf("got %d entries, %d failed fills, want none", got.Entries, got.FillErrors)
			}
		})
	})
	t.Run("waits for a source that hangs", func(t *testing.T) {
		next := entra.SourceFunc(func(context.Context, entra.Request) (entra.Token, error) {
			time.Sleep(time.Minute)
			return entra.NewToken("late", xdr, time.Now().Add(time.Hour), time.Time{})
		})
		inBubble(t, next, func(t broker) {
			t.wantErrorAfter(ask(xdr), entra.Unavailable, 10*time.Second)
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := t.Close(short); entra.KindOf(err) != entra.Timeout {
				t.Errorf("got %v, want a timeout", err)
			}
			if err := t.Close(t.Context()); err != nil {
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
