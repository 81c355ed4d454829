package cache

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"tokenbroker/entra"
)

// question is what the source is asked. Failures are remembered by it: a
// refused claims challenge says nothing about the token without claims, but all
// claims of a token share one back-off, since an upstream chooses them.
type question struct {
	key        entra.Key
	challenged bool
}

// flight is a question on its way to the source, and the request that sends it.
type flight struct {
	question
	req   entra.Request
	epoch uint64 // of the cache, when it was asked
}

func (c *Cache) flightOf(req entra.Request) flight {
	return flight{question{req.Key(), req.Claims != ""}, req, c.epoch.Load()}
}

// demanding reports whether another token than the one held is wanted.
func (f flight) demanding() bool { return f.challenged || f.req.Rejected != "" }

// String names the flight for singleflight: callers with the same question who
// reject the same token share it, unless failures were forgiven between them.
// Quoted, no two flights have the same name.
func (f flight) String() string {
	return fmt.Sprintf("%d %q %q %q %q %x %q %q", f.epoch, f.key.Identity, f.key.Account, f.key.Tenant, f.key.Scope, f.key.Assertion, f.req.Claims, f.req.Rejected)
}

// attrs names the token in a log.
func (f flight) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("identity_id", string(f.key.Identity)),
		slog.String("tenant", string(f.key.Tenant)),
		slog.String("scope", string(f.key.Scope)),
	}
}

// wait returns the token that the flight brings, and starts it if nobody has.
// The flight belongs to nobody: it goes on when the caller who started it
// leaves, and ends by itself at the fill's timeout.
func (c *Cache) wait(ctx context.Context, f flight) (entra.Token, way, error) {
	if ctx.Err() != nil {
		return entra.Token{}, miss, left(ctx)
	}
	// What the source notes must not end in the trail of a request that may be over.
	detached := entra.WithTrail(context.WithoutCancel(ctx), &entra.Trail{RequestID: entra.TrailOf(ctx).RequestID})
	var started atomic.Bool
	landing := c.flights.DoChan(f.String(), func() (any, error) {
		started.Store(true)
		return c.fetch(detached, f)
	})
	how := func() way {
		if started.Load() {
			return miss
		}
		return shared
	}
	select {
	case r := <-landing:
		if r.Err != nil {
			return entra.Token{}, how(), r.Err
		}
		return r.Val.(*entry).token, how(), nil
	case <-ctx.Done():
		return entra.Token{}, how(), left(ctx)
	}
}

// left is the failure of a caller whose context has ended.
func left(ctx context.Context) error {
	return entra.Errorf(entra.KindOf(ctx.Err()), "cache.wait", "left while waiting for a token: %w", ctx.Err())
}

// fetch is one flight: it asks the source, unless that is settled by now, and
// keeps what it learns.
func (c *Cache) fetch(ctx context.Context, f flight) (*entry, error) {
	if !c.begin() {
		return nil, shutdown()
	}
	defer c.running.Done()

	// Since the caller looked, another flight may have landed.
	now := time.Now()
	held, _ := c.entries.Peek(f.key)
	if held.usable(now) && held.answers(f, now) {
		return held, nil
	}
	if t, _ := c.failures.Peek(f.question); t.running(now) {
		return nil, t.report(now)
	}

	refresh := held.usable(now)
	e, err := c.ask(ctx, f)
	if err != nil && c.closed() {
		return nil, shutdown()
	}
	c.counters.filled(refresh, err)
	if err != nil {
		return nil, c.failed(ctx, f, held, entra.AsError(err))
	}
	if c.failures.Remove(f.question) {
		c.log.LogAttrs(ctx, slog.LevelInfo, "token fetched again", f.attrs()...)
	}
	return c.keep(f, held, e), nil
}

// ask asks the source. It returns at the fill's timeout and on Close even if
// the source does not, and survives a source that panics.
//
// The source's own time ends a fiftieth earlier: whom it waited for, and what
// to do about it, is the source's to say.
func (c *Cache) ask(ctx context.Context, f flight) (*entry, error) {
	timeout := time.Duration(c.timeout.Load())
	late := time.After(timeout)
	ctx, cancel := context.WithTimeout(ctx, timeout-timeout/50)
	defer cancel()
	type answer struct {
		token entra.Token
		err   error
	}
	answered := make(chan answer, 1)
	c.running.Go(func() {
		a := answer{err: entra.Errorf(entra.Internal, "cache.fill", "the source ended without an answer")}
		defer func() {
			if p := recover(); p != nil {
				a.err = c.panicked(ctx, p)
			}
			answered <- a
		}()
		a.token, a.err = c.next.Token(ctx, f.req)
	})
	select {
	case a := <-answered:
		if a.err != nil {
			return nil, a.err
		}
		return newEntry(f, a.token, time.Now())
	case <-late:
		return nil, entra.Errorf(entra.Unavailable, "cache.fill", "entra did not answer within %s", timeout)
	case <-c.closing:
		return nil, shutdown()
	}
}

// keep puts e in the place of held and returns what stands there in the end.
// That can be the entry of another flight, which landed meanwhile: plain ones
// for one key share a flight, so it was demanded, and only a demand undoes that.
func (c *Cache) keep(f flight, held, e *entry) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := e.key.Identity
	if c.closed() || c.kept != nil && !c.kept(id) || f.epoch < c.forgotten[id] {
		return e
	}
	if there, ok := c.entries.Peek(e.key); ok {
		if there != held && !e.demanded {
			return there
		}
		there.replaced.Store(true)
	}
	c.entries.Add(e.key, e)
	return e
}

// failed remembers a failure and returns it as the callers get it. Where they
// get the token held instead, it is the log that hears.
func (c *Cache) failed(ctx context.Context, f flight, held *entry, err *entra.Error) *entra.Error {
	if err.Kind == entra.Canceled || err.Kind == entra.Timeout {
		// No caller left and no upstream was late: it was between the source and Entra.
		e := *err
		e.Kind, err = entra.Unavailable, &e
	}
	now := time.Now()
	remaining := time.Duration(0)
	if held.usable(now) {
		remaining = held.end.Sub(now)
	} else if passing(err.Kind) {
		return err
	}
	err = c.remember(f, err, remaining, now).report(now)
	if remaining > 0 && !f.challenged {
		attrs := append(f.attrs(), slog.Int("expires_in_s", int(remaining.Seconds())))
		c.log.LogAttrs(ctx, slog.LevelWarn, "token refresh failed", append(attrs, failureAttrs(err)...)...)
	}
	return err
}

// remember makes the failure part of its run, unless it was forgiven while it
// was on its way.
func (c *Cache) remember(f flight, err *entra.Error, remaining time.Duration, now time.Time) *trouble {
	c.mu.Lock() // lest it be forgiven between the look and the keeping
	defer c.mu.Unlock()
	if f.epoch != c.epoch.Load() {
		return (*trouble)(nil).next(err, remaining, now)
	}
	t, _ := c.failures.Peek(f.question)
	t = t.next(err, remaining, now)
	c.failures.Add(f.question, t)
	return t
}

// panicked turns a panic of the source into an error. The log gets the type
// and the stack, the value only where the runtime made it: a library's may
// hold what it was working on.
func (c *Cache) panicked(ctx context.Context, p any) error {
	attrs := []slog.Attr{slog.String("type", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack()))}
	if err, ok := p.(runtime.Error); ok {
		attrs = append(attrs, slog.String("err", err.Error()))
	}
	c.log.LogAttrs(ctx, slog.LevelError, "token source panicked", attrs...)
	return entra.Errorf(entra.Internal, "cache.fill", "the source panicked (%T)", p)
}

// shutdown is the answer after Close.
func shutdown() *entra.Error {
	err := entra.Errorf(entra.Unavailable, "cache.fill", "the broker is shutting down")
	err.RetryAfter = time.Second
	return err
}
