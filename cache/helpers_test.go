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

// fake is an Entra that counts. The token it gives is named after the number
// of the request: t1, t2, …
type fake struct {
	life      time.Duration // of its tokens; zero: an hour
	refreshIn time.Duration // zero: not said
	delay     time.Duration // before it answers

	mu    sync.Mutex
	err   error // what it fails with; nil: it does not
	hangs bool
	asked []entra.Request
	times []time.Time
}

func (f *fake) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	f.mu.Lock()
	f.asked, f.times = append(f.asked, req), append(f.times, time.Now())
	n, err, hangs := len(f.asked), f.err, f.hangs
	f.mu.Unlock()

	if hangs {
		<-ctx.Done()
		return entra.Token{}, ctx.Err()
	}
	select {
	case <-time.After(f.delay):
	case <-ctx.Done():
		return entra.Token{}, ctx.Err()
	}
	if err != nil {
		return entra.Token{}, err
	}
	var refreshOn time.Time
	if f.refreshIn > 0 {
		refreshOn = time.Now().Add(f.refreshIn)
	}
	life := f.life
	if life == 0 {
		life = time.Hour
	}
	return entra.NewToken(fmt.Sprintf("t%d", n), req.Scope, time.Now().Add(life), refreshOn)
}

// fails makes it fail with err from now on; nil: it answers again.
func (f *fake) fails(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// hang makes it never answer again.
func (f *fake) hang() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hangs = true
}

// count is how many requests it got.
func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// wantCount holds it to a number of requests.
func (f *fake) wantCount(tb testing.TB, want int) {
	tb.Helper()
	synctest.Wait()
	if got := f.count(); got != want {
		tb.Errorf("the source was asked %d times, want %d", got, want)
	}
}

// throttled is a 429 with a Retry-After.
func throttled(after time.Duration) error {
	return &entra.Error{Kind: entra.Throttled, Op: "broker.confidential", RetryAfter: after}
}

// failure is a failure of the kind without a Retry-After.
func failure(kind entra.Kind) error {
	return entra.Errorf(kind, "broker.confidential", "refused")
}

// broker is a cache and the test that it is in.
type broker struct {
	*cache.Cache
	*testing.T
}

// inBubble runs a test on a cache around next, with a clock of its own.
func inBubble(t *testing.T, next entra.Source, test func(t broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(newBroker(t, next, cache.Config{}))
	})
}

func newBroker(t *testing.T, next entra.Source, cfg cache.Config) broker {
	t.Helper()
	c, err := cache.New(next, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return broker{c, t}
}

const (
	xdr entra.Scope = "https://api.security.microsoft.com/.default"
	mde entra.Scope = "https://api.securitycenter.microsoft.com/.default"
)

func ask(scope entra.Scope) entra.Request {
	return entra.Request{Identity: "app", Tenant: "contoso.com", Scope: scope}
}

// get asks for the token and returns it with how long that took.
func (b broker) get(req entra.Request) (string, time.Duration, error) {
	start := time.Now()
	token, err := b.Token(b.Context(), req)
	return token.Access.Reveal(), time.Since(start), err
}

// want asks for the token, and wants that one, at once.
func (b broker) want(req entra.Request, want string) {
	b.Helper()
	b.wantAfter(req, want, 0)
}

// wantAfter asks for the token, and wants that one, after that time.
func (b broker) wantAfter(req entra.Request, want string, after time.Duration) {
	b.Helper()
	got, took, err := b.get(req)
	if err != nil {
		b.Errorf("got error %v, want %s", err, want)
	} else if got != want || took != after {
		b.Errorf("got %s after %s, want %s after %s", got, took, want, after)
	}
}

// wantError asks for the token, and wants a failure of that kind, at once.
func (b broker) wantError(req entra.Request, want entra.Kind) {
	b.Helper()
	b.wantErrorAfter(req, want, 0)
}

// wantErrorAfter asks for the token, and wants a failure of that kind, after that time.
func (b broker) wantErrorAfter(req entra.Request, want entra.Kind, after time.Duration) {
	b.Helper()
	start := time.Now()
	err := b.failure(req, want)
	if took := time.Since(start); took != after {
		b.Errorf("got %v after %s, want it after %s", err, took, after)
	}
}

// failure asks for the token, and returns the failure, which is of that kind.
func (b broker) failure(req entra.Request, want entra.Kind) *entra.Error {
	b.Helper()
	got, _, err := b.get(req)
	if err == nil {
		b.Errorf("got %s, want an error that is %s", got, want)
		return new(entra.Error)
	}
	e := entra.AsError(err)
	if e.Kind != want {
		b.Errorf("got %s (%v), want %s", e.Kind, e, want)
	}
	if (e.Kind == entra.Unavailable || e.Kind == entra.Throttled) && (e.RetryAfter < time.Second || e.RetryAfter%time.Second != 0) {
		b.Errorf("retry after %s, want whole seconds, one at least", e.RetryAfter)
	}
	return e
}
