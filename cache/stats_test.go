package cache_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tokenbroker/cache"
	"tokenbroker/entra"
)

func TestStatsCountFailures(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t broker) {
		source.fails(failure(entra.Unavailable))
		t.wantError(ask(mde), entra.Unavailable)
		t.wantError(ask(mde), entra.Unavailable) // remembered: no request
		source.fails(nil)
		t.want(ask(xdr), "t2")
		source.fails(failure(entra.Unavailable))
		time.Sleep(40 * time.Minute)
		t.want(ask(xdr), "t2")
		synctest.Wait()
		want := cache.Stats{Stale: 1, Misses: 3, Fills: 3, FillErrors: 2, Refreshes: 1, RefreshErrors: 1, Entries: 1}
		if diff := cmp.Diff(t.Stats(), want); diff != "" {
			t.Errorf("stats (-got +want):\n%s", diff)
		}
	})
}

func TestStatus(t *testing.T) {
	source := new(fake)
	inBubble(t, source, func(t broker) {
		start := time.Now()
		user := ask(xdr)
		user.Assertion = entra.NewSecret("alice")
		challenged := ask(mde)
		challenged.Claims = "c"

		t.want(ask(xdr), "t1")
		t.want(user, "t2")
		refusal := &entra.Error{Kind: entra.Misconfigured, AADSTS: 7000215, CorrelationID: "c1", Err: errors.New("the secret is wrong")}
		source.fails(refusal)
		t.wantError(ask("failing"), entra.Misconfigured)
		t.wantError(challenged, entra.Misconfigured)
		user.Scope = mde
		t.wantError(user, entra.Misconfigured)

		told := &entra.Error{Kind: entra.Misconfigured, AADSTS: 7000215, CorrelationID: "c1", RetryAfter: 3 * time.Second, Err: refusal.Err}
		want := []cache.Status{
			{Identity: "app", Tenant: "contoso.com", Scope: "failing", State: cache.Failing, NextTry: start.Add(2 * time.Second), Err: told},
			{Identity: "app", Tenant: "contoso.com", Scope: xdr, State: cache.OK, ExpiresOn: start.Add(time.Hour)},
		}
		diff := func(want []cache.Status) {
			t.Helper()
			// Deadlines are jittered, by a fifth at most.
			if diff := cmp.Diff(t.Status(), want, cmpopts.EquateApproxTime(15*time.Second), cmp.Comparer(sameFailure)); diff != "" {
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
		t.want(ask(xdr), "t1")
		synctest.Wait()
		want[1].State, want[1].NextTry, want[1].Err = cache.Failing, start.Add(45*time.Minute+2*time.Second), told
		diff(want[1:])

		time.Sleep(time.Hour)
		diff(nil)
	})
}

// sameFailure compares the failures themselves; errors.Is would compare pointers.
func sameFailure(a, b *entra.Error) bool {
	return a == b || a != nil && b != nil && *a == *b
}
