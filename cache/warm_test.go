package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/cache"
	"tokenbroker/entra"
)

func TestWarm(t *testing.T) {
	t.Run("fetches behind, eight at a time", func(t *testing.T) {
		source := &fake{delay: time.Second}
		inBubble(t, source, func(t broker) {
			var reqs []entra.Request
			for i := range 20 {
				reqs = append(reqs, ask(entra.Scope(fmt.Sprint(i))))
			}
			start := time.Now()
			t.Warm(t.Context(), reqs...)
			if took := time.Since(start); took != 0 {
				t.Errorf("Warm took %s, want it behind", took)
			}
			source.wantCount(t, 8)
			time.Sleep(3 * time.Second)
			source.wantCount(t, 20)
			if _, took, err := t.get(reqs[19]); err != nil || took != 0 {
				t.Errorf("got %v after %s, want a token at once", err, took)
			}
		})
	})
	t.Run("goes on after an outage", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t broker) {
			source.fails(failure(entra.Unavailable))
			t.Warm(t.Context(), ask(xdr))
			time.Sleep(time.Hour)
			if n := source.count(); n < 50 || n > 70 {
				t.Errorf("the source was asked %d times in an hour, want about 60", n)
			}
			source.fails(nil)
			time.Sleep(2 * time.Minute)
			n := source.count()
			t.want(ask(xdr), fmt.Sprintf("t%d", n))
			source.wantCount(t, n)
		})
	})
	t.Run("tries ever more rarely what a person has to mend, and says it once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			source := new(fake)
			b := newBroker(t, source, cache.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			refused := func(aadsts int) { source.fails(&entra.Error{Kind: entra.Misconfigured, AADSTS: aadsts}) }
			refused(7000215)
			b.Warm(t.Context(), ask(xdr))
			time.Sleep(24 * time.Hour)
			if n := source.count(); n < 140 || n > 160 {
				t.Errorf("the source was asked %d times in a day, want about one in ten minutes", n)
			}
			refused(7000222)
			time.Sleep(24 * time.Hour)
			synctest.Wait()
			if got := strings.Count(log.String(), "token not fetched ahead"); got != 2 {
				t.Errorf("got %d warnings, want one for each fault:\n%s", got, log.String())
			}
			source.fails(nil)
			n := source.count()
			b.want(ask(xdr), fmt.Sprintf("t%d", n+1)) // a caller does not wait for the next try
		})
	})
	t.Run("gives up on what can never be answered", func(t *testing.T) {
		source := new(fake)
		inBubble(t, source, func(t broker) {
			source.fails(failure(entra.Invalid))
			t.Warm(t.Context(), ask(xdr))
			time.Sleep(time.Hour)
			source.wantCount(t, 1)
		})
	})
	t.Run("ends with its context or the cache, without a word", func(t *testing.T) {
		ends := map[string]func(b broker, stop func()) error{
			"context": func(_ broker, stop func()) error { stop(); return nil },
			"cache":   func(b broker, _ func()) error { return b.Close(b.Context()) },
		}
		for name, end := range ends {
			for what, strike := range map[string]func(*fake){
				"failing": func(f *fake) { f.fails(failure(entra.Unavailable)) },
				"hanging": func(f *fake) { f.hang() },
			} {
				t.Run(name+" "+what, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var log bytes.Buffer
						source := new(fake)
						strike(source)
						b := newBroker(t, source, cache.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
						ctx, stop := context.WithCancel(t.Context())
						defer stop()
						b.Warm(ctx, ask(xdr))
						synctest.Wait()
						log.Reset()
						start := time.Now()
						if err := end(b, stop); err != nil {
							t.Error(err)
						}
						if took := time.Since(start); took != 0 {
							t.Errorf("it took %s to end", took)
						}
						time.Sleep(time.Hour)
						source.wantCount(t, 1)
						if log.Len() > 0 {
							t.Errorf("logged %s", log.String())
						}
					})
				})
			}
		}
	})
}
