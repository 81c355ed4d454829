package cache

import (
	"context"
	"log/slog"
	"time"

	"tokenbroker/entra"
)

const (
	warmers   = 8                // how many tokens [Cache.Warm] fetches at a time
	warmPause = 10 * time.Minute // the longest between two tries at what a person has to mend
)

// stale answers with a token whose time to refresh has come, and sees to the
// refresh.
//
// Close to the token's expiry the caller waits for the next one, since what
// takes a token along may need it for a while, but only within a second of the
// first attempt to get it. Callers of a key in use never wait at all: its
// refresh was tried long before. Those of a key that rested wait that long
// once, if Entra hangs, and never for a refusal.
func (c *Cache) stale(ctx context.Context, f flight, e *entry, now time.Time) (entra.Token, way) {
	if patience := e.patience(now); patience > 0 {
		waiting, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if token, how, err := c.wait(waiting, f); err == nil {
			return token, how
		}
	} else {
		c.refresh(ctx, f, e, now)
	}
	return e.token, stale
}

// refresh fetches the successor of e behind its callers, one attempt at a
// time. While a back-off runs it costs a caller one look.
func (c *Cache) refresh(ctx context.Context, f flight, e *entry, now time.Time) {
	if t, _ := c.failures.Peek(f.question); t.running(now) || !e.refreshing.CompareAndSwap(false, true) {
		return
	}
	if !c.begin() {
		return
	}
	e.askedOn(now)
	go func() {
		defer c.running.Done()
		defer e.refreshing.Store(false)
		_, _, _ = c.wait(context.WithoutCancel(ctx), f) // fetch has logged a failure
	}()
}

// Warm fetches the tokens of the requests behind its caller, and goes on
// trying until all are there, so that after an outage nobody has to be the
// first to ask. What a person has to mend, such as a wrong secret, it tries
// ever more rarely; a caller who asks does not wait for that. It gives up on a
// request that can never be answered, and on all when ctx ends or the cache is
// closed.
func (c *Cache) Warm(ctx context.Context, reqs ...entra.Request) {
	turns := make(chan struct{}, warmers)
	for _, req := range reqs {
		if !c.begin() {
			return
		}
		go func() {
			defer c.running.Done()
			c.warm(ctx, req, turns)
		}()
	}
}

func (c *Cache) warm(ctx context.Context, req entra.Request, turns chan struct{}) {
	var before entra.Error // the last failure
	var pause time.Duration
	for {
		turns <- struct{}{}
		_, err := c.Token(ctx, req)
		<-turns
		if err == nil || ctx.Err() != nil || c.closed() {
			return
		}
		failure := entra.AsError(err)
		level := slog.LevelWarn
		if pause > 0 && failure.Kind == before.Kind && failure.AADSTS == before.AADSTS {
			level = slog.LevelDebug // it has been said
		}
		c.log.LogAttrs(ctx, level, "token not fetched ahead", append(c.flightOf(req).attrs(), failureAttrs(failure)...)...)
		if failure.RetryAfter == 0 {
			return
		}
		wait := failure.RetryAfter
		if failure.Kind == entra.Misconfigured || failure.Kind == entra.Challenged {
			wait = max(wait, min(2*pause, warmPause))
		}
		before, pause = *failure, wait
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		case <-c.closing:
			return
		}
	}
}

// failureAttrs describes a failure in a log.
func failureAttrs(err *entra.Error) []slog.Attr {
	return []slog.Attr{
		slog.String("kind", err.Kind.String()),
		slog.Int("aadsts", err.AADSTS),
		slog.String("correlation_id", err.CorrelationID),
		slog.Int("retry_in_s", int(err.RetryAfter.Seconds())),
		slog.String("err", err.Error()),
	}
}
