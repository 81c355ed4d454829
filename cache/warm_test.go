package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tokenbroker/cache"
	"tokenbroker/entra"
)

func TestWarm(t *testing.T) {
	t.Run("fetches behind, eight at a time", func(t *testing.T) {
		source := &fake{delay: time.Second}
		inBubble(t, source, func(t *testing.T, b broker) {
			var reqs []entra.Request
			for i := range 20 {
				reqs = append(reqs, ask(entra.Scope(fmt.Sprint(i))))
			}
			start := time.Now()
			b.Warm(t.Context(), reqs...)
			if took := time.Since(start); took != 0 {
				t.Errorf("Warm took %s, want it behind", took)
			}
			source.wantCount(t, 8)
			time.Sleep(3 * time.Second)
			source.wantCount(t, 20)
			if _, took, err := b.get(reqs[19]); err != nil || took != 0 {
				t.Errorf("got %v after %s, want a token at once", err, took)
			}
		})
	})
	t.Run("goes on after an outage", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t *testing.T, b broker) {
			source.fails(failure(entra.Unavailable))
			b.Warm(t.Context(), ask(xdr))
			time.Sleep(time.Hour)
			if n := source.count(); n < 50 || n > 70 {
				t.Errorf("the source was asked %d times in an hour, want about 60", n)
			}
			source.fails(nil)
			time.Sleep(2 * time.Minute)
			n := source.count()
			b.want(ask(xdr), fmt.Sprintf("t%d", n))
			source.wantCount(t, n)
		})
	})
	t.Run("gives up on what can never be answered", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t *testing.T, b broker) {
			source.fails(failure(entra.Invalid))
			b.Warm(t.Context(), ask(xdr))
			time.Sleep(time.Hour)
			source.wantCount(t, 1)
		})
	})
	t.Run("ends with its context", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t *testing.T, b broker) {
			source.fails(failure(entra.Unavailable))
			ctx, stop := context.WithCancel(t.Context())
			b.Warm(ctx, ask(xdr))
			source.wantCount(t, 1)
			stop()
			time.Sleep(time.Hour)
			source.wantCount(t, 1)
		})
	})
	t.Run("ends with the cache", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t *testing.T, b broker) {
			source.fails(failure(entra.Unavailable))
			b.Warm(t.Context(), ask(xdr), ask(mde))
			synctest.Wait()
			source.hang()
			time.Sleep(5 * time.Second)
			if err := b.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestStatus(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t *testing.T, b broker) {
		start := time.Now()
		user := ask(xdr)
		user.Assertion = entra.NewSecret("alice")
		challenged := ask(mde)
		challenged.Claims = "c"

		b.want(ask(xdr), "t1")
		b.want(user, "t2")
		refusal := &entra.Error{Kind: entra.Misconfigured, AADSTS: 7000215, CorrelationID: "c1", Err: errors.New("the secret is wrong")}
		source.fails(refusal)
		b.wantError(ask("failing"), entra.Misconfigured)
		b.wantError(challenged, entra.Misconfigured)
		user.Scope = mde
		b.wantError(user, entra.Misconfigured)

		told := &entra.Error{Kind: entra.Misconfigured, AADSTS: 7000215, CorrelationID: "c1", RetryAfter: 3 * time.Second, Err: refusal.Err}
		want := []cache.Status{
			{Identity: "app", Tenant: "contoso.com", Scope: "failing", State: cache.Failing, NextTry: start.Add(2 * time.Second), Err: told},
			{Identity: "app", Tenant: "contoso.com", Scope: xdr, State: cache.OK, ExpiresOn: start.Add(time.Hour)},
		}
		diff := func(want []cache.Status) {
			t.Helper()
			// Deadlines are jittered, by a fifth at most.
			if diff := cmp.Diff(b.Status(), want, cmpopts.EquateApproxTime(15*time.Second), cmp.Comparer(sameFailure)); diff != "" {
				t.Errorf("status (-got +want):\n%s", diff)
			}
		}
		diff(want)

		// What nobody asks for again is forgotten, and a token unused until
		// its refresh is stale.
		time.Sleep(45 * time.Minute)
		want[1].State = cache.Stale
		diff(want[1:])

		// Held and failing.
		b.want(ask(xdr), "t1")
		synctest.Wait()
		want[1].State, want[1].NextTry, want[1].Err = cache.Failing, start.Add(45*time.Minute+2*time.Second), told
		diff(want[1:])

		time.Sleep(time.Hour)
		diff(nil)
	})
}

func TestLogTellsWhatNoCallerHears(t *testing.T) {
	var log bytes.Buffer
	source := &fake{life: 2 * time.Minute}
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, source, cache.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		refusal := &entra.Error{Kind: entra.Misconfigured, AADSTS: 7000215, CorrelationID: "c1", Err: errors.New("the secret is wrong")}

		source.fails(refusal)
		b.wantError(ask(mde), entra.Misconfigured) // its caller hears it
		source.fails(nil)
		b.want(ask(xdr), "t2")
		source.fails(refusal)
		time.Sleep(80 * time.Second)
		b.want(ask(xdr), "t2")
		synctest.Wait()
		source.fails(nil)
		time.Sleep(5 * time.Second)
		b.want(ask(xdr), "t2")
		synctest.Wait()
		source.fails(refusal)
		b.Warm(t.Context(), ask("warmed"))
		synctest.Wait()

		var got []string
		for line := range strings.Lines(log.String()) {
			_, line, _ = strings.Cut(line, " ") // the time
			got = append(got, line)
		}
		want := []string{
			`level=WARN msg="token refresh failed" identity=app tenant=contoso.com scope=https://api.security.microsoft.com/.default expires_in_s=38 kind=misconfigured aadsts=7000215 correlation_id=c1 retry_in_s=3 error="the secret is wrong"` + "\n",
			`level=INFO msg="token fetched again" identity=app tenant=contoso.com scope=https://api.security.microsoft.com/.default` + "\n",
			`level=WARN msg="token not fetched ahead" identity=app tenant=contoso.com scope=warmed kind=misconfigured aadsts=7000215 correlation_id=c1 retry_in_s=3 error="the secret is wrong"` + "\n",
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("log (-got +want):\n%s", diff)
		}
	})
}

// sameFailure compares the failures themselves; errors.Is would compare pointers.
func sameFailure(a, b *entra.Error) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// The value of a panic can be anything, a token included.
func TestLogTellsOfAPanicWithoutItsValue(t *testing.T) {
	var log bytes.Buffer
	next := entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
		if req.Scope == xdr {
			panic("canary")
		}
		return []entra.Token{}[len(req.Scope)], nil
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, next, cache.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		b.wantError(ask(xdr), entra.Internal)
		b.wantError(ask(mde), entra.Internal)
	})
	for _, want := range []string{"type=string", "type=runtime.boundsError", "index out of range", "TestLogTellsOfAPanicWithoutItsValue"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log", want)
		}
	}
	if strings.Contains(log.String(), "canary") {
		t.Error("the panic's value is in the log")
	}
}
