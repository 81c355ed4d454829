package budget_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"tokenbroker/budget"
	"tokenbroker/entra"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const contoso = entra.Tenant("22222222-2222-2222-2222-222222222222")

func call(caller string, patience time.Duration, ceilings ...budget.Ceiling) budget.Call {
	return budget.Call{Key: budget.Key{Application: "app", Tenant: contoso, Limit: "MDE GET /api/machines"}, Ceilings: ceilings, Caller: caller, Patience: patience}
}

func perMinute(n int) budget.Ceiling { return budget.Ceiling{Calls: n, Per: time.Minute} }

// refused returns how long a refusal says that it would be; the test fails where
// it is none.
func refused(t *testing.T, err error) time.Duration {
	t.Helper()
	e, ok := errors.AsType[*entra.Error](err)
	if !ok || e.Kind != entra.Exhausted {
		t.Fatalf("%v, want a refusal", err)
	}
	return e.RetryAfter
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWholeBudgetAtOnceAndThenTheTruth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		c := call("a", 0, perMinute(3), budget.Ceiling{Calls: 5, Per: time.Hour})
		for range 3 {
			must(t, l.Take(t.Context(), c))
		}
		time.Sleep(20 * time.Second)
		if got := refused(t, l.Take(t.Context(), c)); got != 41*time.Second {
			t.Errorf("%v, want 41 s: a minute from the first, a second for the way, 20 s gone", got)
		}
		time.Sleep(41 * time.Second)
		must(t, l.Take(t.Context(), c))
		must(t, l.Take(t.Context(), c))
		if got := refused(t, l.Take(t.Context(), c)); got != time.Hour+time.Second-61*time.Second {
			t.Errorf("%v, want what is left of the hour", got)
		}
	})
}

func TestEveryoneElseGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		mine := call("a", 0, perMinute(1))
		must(t, l.Take(t.Context(), mine))
		refused(t, l.Take(t.Context(), mine))
		for name, other := range map[string]budget.Key{
			"tenant":      {Application: "app", Tenant: "contoso.com", Limit: mine.Key.Limit},
			"application": {Application: "other", Tenant: contoso, Limit: mine.Key.Limit},
			"limit":       {Application: "app", Tenant: contoso, Limit: "MDE GET /api/alerts"},
		} {
			c := mine
			c.Key = other
			if err := l.Take(t.Context(), c); err != nil {
				t.Errorf("another %s: %v", name, err)
			}
		}
		theirs := mine
		theirs.Caller = "b" // another caller of the same application has the same budget
		refused(t, l.Take(t.Context(), theirs))
	})
}

// Who waits, waits no longer than it must, and in turn with others.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		begun := time.Now()
		must(t, l.Take(t.Context(), call("a", 0, perMinute(1))))
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		stand := func(caller string, n int) {
			all.Go(func() {
				must(t, l.Take(t.Context(), call(caller, time.Hour, perMinute(1))))
				mu.Lock()
				defer mu.Unlock()
				order = append(order, fmt.Sprintf("%s%d@%v", caller, n, time.Since(begun)))
			})
			synctest.Wait()
		}
		for n := range 3 {
			stand("a", n)
		}
		stand("b", 0)
		stand("c", 0)
		all.Wait()
		want := []string{"a0@1m1s", "b0@2m2s", "c0@3m3s", "a1@4m4s", "a2@5m5s"}
		if !slices.Equal(order, want) {
			t.Errorf("%v, want %v", order, want)
		}
	})
}

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		begun := time.Now()
		must(t, l.Take(t.Context(), call("a", 0, perMinute(1))))
		if got := refused(t, l.Take(t.Context(), call("a", time.Minute, perMinute(1)))); got != 61*time.Second || time.Since(begun) != 0 {
			t.Errorf("told %v after %v; want 61 s, at once", got, time.Since(begun))
		}
		must(t, l.Take(t.Context(), call("a", 61*time.Second, perMinute(1))))
		if took := time.Since(begun); took != 61*time.Second {
			t.Errorf("waited %v, want 61 s", took)
		}
		// One who would have had its turn, had the upstream not held everybody back.
		all := sync.WaitGroup{}
		all.Go(func() {
			if got := refused(t, l.Take(t.Context(), call("a", 70*time.Second, perMinute(1)))); got != 31*time.Second {
				t.Errorf("told %v, want what is left: 31 s", got)
			}
		})
		synctest.Wait()
		l.Hold(call("a", 0).Key, 101*time.Second)
		all.Wait()
	})
}

func TestWhoLeavesHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		begun := time.Now()
		must(t, l.Take(t.Context(), call("a", 0, perMinute(1))))
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if err := l.Take(ctx, call("a", time.Hour, perMinute(1))); entra.KindOf(err) != entra.Canceled {
				t.Errorf("%v, want canceled", err)
			}
		})
		synctest.Wait()
		all.Go(func() { must(t, l.Take(t.Context(), call("b", time.Hour, perMinute(1)))) })
		synctest.Wait()
		leave()
		all.Wait()
		if took := time.Since(begun); took != 61*time.Second {
			t.Errorf("the next one waited %v, want 61 s", took)
		}
		if s := l.Standings(); len(s) != 1 || s[0].Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		unknown := call("a", 0) // no ceiling is documented
		for range 1000 {
			must(t, l.Take(t.Context(), unknown))
		}
		l.Hold(unknown.Key, 30*time.Second)
		l.Hold(unknown.Key, 10*time.Second) // another answer, of a call that went earlier
		if got := refused(t, l.Take(t.Context(), unknown)); got != 30*time.Second {
			t.Errorf("%v, want 30 s", got)
		}
		s := l.Standings()
		if len(s) != 1 || time.Until(s[0].Held) != 30*time.Second || s[0].Of != 0 {
			t.Errorf("%+v", s)
		}
		time.Sleep(30 * time.Second)
		must(t, l.Take(t.Context(), unknown))
		l.Hold(unknown.Key, 1000*time.Hour)
		if got := refused(t, l.Take(t.Context(), unknown)); got != time.Hour {
			t.Errorf("%v, want an hour at most", got)
		}
	})
}

// What an API takes at least counts for an hour after it has had too much, and
// those who wait do not all go at once.
func TestTooManyIsALesson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		c := call("a", 0)
		c.AtLeast = []budget.Ceiling{perMinute(2)}
		for range 100 {
			must(t, l.Take(t.Context(), c))
		}
		l.Hold(c.Key, 10*time.Second)
		begun := time.Now()
		var all sync.WaitGroup
		var mu sync.Mutex
		var went []time.Duration
		for range 5 {
			all.Go(func() {
				c := c
				c.Patience = budget.MaxPatience
				must(t, l.Take(t.Context(), c))
				mu.Lock()
				defer mu.Unlock()
				went = append(went, time.Since(begun))
			})
		}
		all.Wait()
		slices.Sort(went)
		if want := []time.Duration{10 * time.Second, 10 * time.Second, 71 * time.Second, 71 * time.Second, 132 * time.Second}; !slices.Equal(went, want) {
			t.Errorf("went after %v, want %v", went, want)
		}
		time.Sleep(time.Hour)
		for range 100 {
			must(t, l.Take(t.Context(), c))
		}
	})
}

func TestLinesHaveAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		ctx, end := context.WithCancel(t.Context())
		must(t, l.Take(ctx, call("a", 0, perMinute(1))))
		var all sync.WaitGroup
		for range 128 {
			all.Go(func() { _ = l.Take(ctx, call("a", 1000*time.Hour, perMinute(1))) })
		}
		synctest.Wait()
		refused(t, l.Take(ctx, call("a", 1000*time.Hour, perMinute(1))))
		for n := range 255 {
			all.Go(func() { _ = l.Take(ctx, call(fmt.Sprint(n), 1000*time.Hour, perMinute(1))) })
		}
		synctest.Wait()
		refused(t, l.Take(ctx, call("one more", 1000*time.Hour, perMinute(1))))
		end()
		all.Wait()
	})
}

func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		begun := time.Now()
		own := budget.Ceiling{Calls: 60, Per: time.Minute, Burst: 5}
		for range 5 {
			must(t, l.Take(t.Context(), call("a", 0, own)))
		}
		if got := refused(t, l.Take(t.Context(), call("a", 0, own))); got != time.Second {
			t.Errorf("%v, want 1 s", got)
		}
		for range 10 {
			must(t, l.Take(t.Context(), call("a", time.Minute, own)))
		}
		if took := time.Since(begun).Round(time.Millisecond); took != 10*time.Second {
			t.Errorf("%v for ten more, want 10 s", took)
		}
	})
}

// A ceiling that a reload changes counts from then on, and wakes who waits.
func TestOtherCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		begun := time.Now()
		must(t, l.Take(t.Context(), call("a", 0, perMinute(1))))
		var all sync.WaitGroup
		all.Go(func() { must(t, l.Take(t.Context(), call("a", time.Hour, perMinute(1)))) })
		synctest.Wait()
		must(t, l.Take(t.Context(), call("b", 0, perMinute(10))))
		all.Wait()
		if took := time.Since(begun); took != 0 {
			t.Errorf("%v, want none", took)
		}
	})
}

// Calls of two configurations meet during a reload, and whoever changes a figure
// does not get its calls twice.
func TestWhatWentCountsUnderOtherCeilings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		went := 0
		for n := range 60 {
			if l.Take(t.Context(), call("a", 0, perMinute(20+n%2))) == nil {
				went++
			}
		}
		if went != 21 {
			t.Errorf("%d calls at once, want 21", went)
		}
		if got := refused(t, l.Take(t.Context(), call("a", 0, perMinute(10)))); got != 61*time.Second {
			t.Errorf("%v below a lower ceiling, want 61 s", got)
		}
		time.Sleep(61 * time.Second)
		must(t, l.Take(t.Context(), call("a", 0, perMinute(10))))
	})
}

func TestRefusalSaysWhatToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l budget.Ledger
		c := call("a", 0, perMinute(1))
		must(t, l.Take(t.Context(), c))
		err := l.Take(t.Context(), c)
		for _, want := range []string{"MDE GET /api/machines", "61 s", "Prefer: wait=61"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want %q in it", err, want)
			}
		}
	})
}

// Whoever asks, whenever, and for however long it waits: no stretch of time sees
// more calls than the ceilings allow, and nobody waits while there is room.
func TestNeverMoreThanAllowed(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		ceilings := []budget.Ceiling{
			{Calls: rapid.IntRange(1, 8).Draw(r, "per minute"), Per: time.Minute},
			{Calls: rapid.IntRange(1, 40).Draw(r, "per hour"), Per: time.Hour},
		}
		type visitor struct{ after, patience, caller int }
		visitors := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) visitor {
			return visitor{rapid.IntRange(0, 40).Draw(r, "after"), rapid.SampledFrom([]int{0, 10, 70, 7200}).Draw(r, "patience"), rapid.IntRange(0, 3).Draw(r, "caller")}
		}), 1, 60).Draw(r, "visitors")
		var went []time.Time
		synctest.Test(t, func(t *testing.T) {
			var l budget.Ledger
			var mu sync.Mutex
			var all sync.WaitGroup
			for _, v := range visitors {
				time.Sleep(time.Duration(v.after) * time.Second)
				all.Go(func() {
					came, patience := time.Now(), time.Duration(v.patience)*time.Second
					err := l.Take(t.Context(), call(fmt.Sprint(v.caller), patience, ceilings...))
					if waited := time.Since(came); waited > patience {
						t.Errorf("waited %v, with patience for %v", waited, patience)
					}
					if err != nil {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					went = append(went, time.Now())
				})
				synctest.Wait()
			}
			all.Wait()
		})
		for _, c := range ceilings {
			for i := c.Calls; i < len(went); i++ {
				if between := went[i].Sub(went[i-c.Calls]); between < c.Per {
					r.Fatalf("%d calls in %v", c.Calls+1, between)
				}
			}
		}
		if len(went) == 0 {
			r.Fatal("not even the first went")
		}
	})
}
