package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/verify"
)

// check verifies a token, and says how that ended in a word: "ok", a reason,
// or a kind of failure.
func check(ctx context.Context, v *verify.Verifier, token string) string {
	_, err := v.Verify(ctx, entra.NewSecret(token))
	if err == nil {
		return "ok"
	}
	if reason := verify.ReasonOf(err); reason != "" {
		return string(reason)
	}
	return entra.KindOf(err).String()
}

// want holds how a verification ends, and how often the authority was asked
// since the last time: each fetch is two requests.
func (w *world) want(t *testing.T, v *verify.Verifier, token, ends string, fetches int) {
	t.Helper()
	got := check(t.Context(), v, token)
	synctest.Wait()
	asked := w.asked()
	if got != ends || len(asked) != 2*fetches {
		t.Fatalf("got %s after %d requests, want %s after %d: %q", got, len(asked), ends, 2*fetches, asked)
	}
}

func TestManyFirstVerificationsFetchOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second) // so that all of them wait
			w.publish(rw, r)
		}
		v, shown := w.verifier(), token(v1())
		var wg sync.WaitGroup
		for range 256 {
			wg.Go(func() {
				if got := check(t.Context(), v, shown); got != "ok" {
					t.Errorf("got %s", got)
				}
			})
		}
		wg.Wait()
		if diff := cmp.Diff(w.asked(), []string{discovery, keys}); diff != "" {
			t.Error(diff)
		}
	})
}

// The first of those who wait may leave: the others get what it asked for.
func TestLeavingDoesNotEndTheFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		release := make(chan struct{})
		w.answer = func(rw http.ResponseWriter, r *http.Request) {
			<-release
			w.publish(rw, r)
		}
		v, shown := w.verifier(), token(v1())
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan string, 2)
		go func() { ended <- check(ctx, v, shown) }()
		synctest.Wait()
		leave()
		if got := <-ended; got != "canceled" {
			t.Errorf("the first: got %s, want canceled", got)
		}
		go func() { ended <- check(t.Context(), v, shown) }()
		synctest.Wait()
		close(release)
		if got := <-ended; got != "ok" {
			t.Errorf("the second: got %s, want ok", got)
		}
		if diff := cmp.Diff(w.asked(), []string{discovery, keys}); diff != "" {
			t.Error(diff)
		}
	})
}

func TestUnknownKeysAreFetchedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v, good, rolled := w.verifier(), token(with(v1(), "exp", time.Now().Add(24*time.Hour).Unix())), signed("new", strangerKey(), v1())
		w.want(t, v, good, "ok", 1)
		for i := range 100 {
			w.want(t, v, signed(fmt.Sprint("made up ", i), strangerKey(), v1()), "signature", 0)
		}
		// A wrong signature under a known name is no reason to look.
		time.Sleep(time.Minute)
		w.want(t, v, signed("good", strangerKey(), v1()), "signature", 0)
		w.want(t, v, rolled, "signature", 1)
		w.want(t, v, rolled, "signature", 0)

		w.set(func(a *authority) { a.keys[ours] = []object{jwk("new", strangerKey())} })
		time.Sleep(59 * time.Second)
		w.want(t, v, rolled, "signature", 0)
		time.Sleep(time.Second)
		w.want(t, v, rolled, "ok", 1)
		w.want(t, v, good, "signature", 0) // its key is gone
	})
}

func TestManyUnknownKeysFetchOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := w.verifier()
		w.want(t, v, token(v1()), "ok", 1)
		time.Sleep(2 * time.Minute)
		w.set(func(a *authority) { a.keys[ours] = append(a.keys[ours], jwk("new", strangerKey())) })
		shown := []string{signed("new", strangerKey(), v1()), signed("made up", strangerKey(), v1()), token(v1())}
		want := []string{"ok", "signature", "ok"}
		var wg sync.WaitGroup
		for i := range 256 {
			wg.Go(func() {
				if got := check(t.Context(), v, shown[i%3]); got != want[i%3] {
					t.Errorf("got %s, want %s", got, want[i%3])
				}
			})
		}
		wg.Wait()
		if diff := cmp.Diff(w.asked(), []string{discovery, keys}); diff != "" {
			t.Error(diff)
		}
	})
}

// Keys are looked at again after an hour, behind; one that was withdrawn ends
// then.
func TestWithdrawnKeysEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v, good := w.verifier(), token(with(v1(), "exp", time.Now().Add(24*time.Hour).Unix()))
		w.want(t, v, good, "ok", 1)
		w.set(func(a *authority) { a.keys[ours] = []object{jwk("new", strangerKey())} })
		time.Sleep(time.Hour - time.Second)
		w.want(t, v, good, "ok", 0)
		time.Sleep(time.Second)
		w.want(t, v, good, "ok", 1)
		w.want(t, v, good, "signature", 0)
	})
}

// The authority is away: known keys go on for a day, unknown ones cannot be
// told, and it is asked once a minute at most. The log says so once.
func TestHeldKeysOutliveTheAuthority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var log bytes.Buffer
		w.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		v, good := w.verifier(), token(with(v1(), "exp", time.Now().Add(72*time.Hour).Unix()))
		rolled := signed("new", strangerKey(), with(v1(), "exp", time.Now().Add(72*time.Hour).Unix()))
		w.want(t, v, good, "ok", 1)
		w.network.SetDown(host, true)
		time.Sleep(2 * time.Minute)
		w.want(t, v, good, "ok", 0)
		w.want(t, v, rolled, "unavailable", 0)
		_, err := v.Verify(t.Context(), entra.NewSecret(rolled))
		wantUnavailable(t, err, "does not answer")
		if got := entra.AsError(err).RetryAfter; got != time.Minute {
			t.Errorf("retry after %s, want a minute", got)
		}
		for range 21 {
			time.Sleep(time.Hour)
			w.want(t, v, good, "ok", 0)
		}
		if got := strings.Count(log.String(), "signing keys not read again"); got != 1 {
			t.Errorf("logged %d times, want once:\n%s", got, log.String())
		}

		time.Sleep(3 * time.Hour) // a day and more since they were fetched
		w.want(t, v, good, "unavailable", 0)
		w.network.SetDown(host, false)
		time.Sleep(5 * time.Second)
		w.want(t, v, good, "ok", 1)
		w.want(t, v, rolled, "signature", 0)
	})
}

// Without any keys the authority is tried again after seconds, not a minute.
func TestAuthorityThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.network.SetDown(host, true)
		var log bytes.Buffer
		w.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		v, good := w.verifier(), token(v1())
		for range 10 {
			_, err := v.Verify(t.Context(), entra.NewSecret(good))
			wantUnavailable(t, err, "does not answer")
			if got := entra.AsError(err).RetryAfter; got != 5*time.Second {
				t.Errorf("retry after %s, want 5 s", got)
			}
		}
		w.network.SetDown(host, false)
		time.Sleep(4 * time.Second)
		w.want(t, v, good, "unavailable", 0)
		time.Sleep(time.Second)
		w.want(t, v, good, "ok", 1)
		if log.Len() > 0 {
			t.Errorf("what the callers were told was logged too:\n%s", log.String())
		}
	})
}

// An authority that says nothing holds nobody longer than ten seconds, and a
// caller in a hurry no longer than it waits; several tenants that have to be
// asked take no longer than one.
func TestSilentAuthorityHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.Tenants = []entra.Tenant{"contoso.example", "fabrikam.example", "a.example", "b.example"}
		w.answer = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		v, good := w.verifier(), token(v1())

		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := v.Verify(ctx, entra.NewSecret(good))
		wantUnavailable(t, err, "not there in time")
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("the caller in a hurry waited %s", took)
		}
		_, err = v.Verify(t.Context(), entra.NewSecret(good))
		wantUnavailable(t, err, "deadline exceeded")
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("the callers waited %s together", took)
		}
		if got := w.asked(); len(got) != 4 {
			t.Errorf("asked %q, want each tenant once", got)
		}
	})
}

// A tenant's trouble is its own.
func TestTenantsDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(rw http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, customer) {
				<-r.Context().Done()
				return
			}
			w.publish(rw, r)
		}
		v := w.verifier()
		var wg sync.WaitGroup
		wg.Go(func() {
			shown := signed("customer", customerKey(), with(v1(), "tid", customer, "iss", "https://sts.windows.net/"+customer+"/"))
			if got := check(t.Context(), v, shown); got != "unavailable" {
				t.Errorf("the customer's: got %s", got)
			}
		})
		synctest.Wait()
		start := time.Now()
		if got := check(t.Context(), v, token(v1())); got != "ok" || time.Since(start) != 0 {
			t.Errorf("got %s after %s, want ok at once", got, time.Since(start))
		}
		wg.Wait()
	})
}
