package verify

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"tokenbroker/entra"
)

const (
	opKeys = "verify.keys"

	// fresh is how long keys are used without a look at whether they are still
	// published; then that happens behind, and they go on for as long as it
	// fails, until they are no longer good. Microsoft wants them looked at once a
	// day at least, and whenever a token names an unknown one.
	// See "Signing key rollover in the Microsoft identity platform",
	// learn.microsoft.com/entra/identity-platform/signing-key-rollover.
	fresh = time.Hour
	good  = 24 * time.Hour

	// pause is the least time between two fetches, so that tokens with made-up
	// keys cannot make us ask all day; emptyPause is that while no keys are held.
	pause      = time.Minute
	emptyPause = 5 * time.Second

	// fetchTimeout bounds a fetch, whoever waits for it.
	fetchTimeout = 10 * time.Second
)

// anyKey stands for no key in particular.
const anyKey = ""

// publication is what an issuer publishes about itself, and does not change.
type publication struct {
	tenant entra.Tenant     // its GUID
	keys   map[string][]key // by their id; ids are meant to be unique, and need not be
}

// has reports whether there is such a key.
func (p *publication) has(kid string) bool { return kid == anyKey || len(p.keys[kid]) > 0 }

// issuer is one who signs tokens, with what it publishes as last seen. Whoever
// wants that while it is being fetched waits for that one fetch, which goes on
// when they leave.
//
// The key set of go-oidc will not do: it fetches again for every wrong
// signature, reads without a bound, and takes keys of any use and size.
type issuer struct {
	name   string // for messages and the log
	fetch  func(context.Context) (*publication, error)
	logger *slog.Logger

	mu     sync.Mutex    // guards what follows
	held   *publication  // nil: nothing
	since  time.Time     // when it was fetched
	tried  time.Time     // when the last fetch ended
	fault  error         // why that failed; nil: it did not
	flight chan struct{} // closed when the fetch that is under way has ended; nil: none is
}

// get returns what the issuer publishes, fetched anew if it is held without the
// key and the last fetch is long enough ago. The key may be missing still.
func (i *issuer) get(ctx context.Context, kid string) (*publication, error) {
	if flight := i.seek(ctx, kid); flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, i.late(ctx.Err())
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if now := time.Now(); i.fault != nil && !i.holds(kid, now) {
		return nil, &entra.Error{Kind: entra.Unavailable, Op: opKeys, RetryAfter: i.wait(now), Err: i.fault}
	}
	return i.held, nil
}

// seek returns the fetch to wait for if the key is wanted; nil: none, since the
// key is held or cannot be asked for now.
func (i *issuer) seek(ctx context.Context, kid string) chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	held := i.holds(kid, now)
	if !held || now.Sub(i.since) >= fresh {
		i.launch(ctx, now)
	}
	if held {
		return nil
	}
	return i.flight
}

// late says why a caller did not wait for the end of a fetch.
func (i *issuer) late(why error) error {
	if errors.Is(why, context.Canceled) {
		return &entra.Error{Kind: entra.Canceled, Op: opKeys, Err: why}
	}
	err := entra.Errorf(entra.Unavailable, opKeys, "tenant %s: its keys were not there in time", i.name)
	err.RetryAfter = emptyPause
	return err
}

// The methods below want the lock held.

// holds reports whether the key is held, and still good.
func (i *issuer) holds(kid string, now time.Time) bool {
	return i.held != nil && now.Sub(i.since) < good && i.held.has(kid)
}

// wait is how long it takes until the next fetch may start.
func (i *issuer) wait(now time.Time) time.Duration {
	if i.tried.IsZero() {
		return 0
	}
	least := emptyPause
	if i.holds(anyKey, now) {
		least = pause
	}
	return max(0, i.tried.Add(least).Sub(now))
}

// launch starts a fetch, unless one is under way or it is too early for one.
func (i *issuer) launch(ctx context.Context, now time.Time) {
	if i.flight != nil || i.wait(now) > 0 {
		return
	}
	i.flight = make(chan struct{})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	go func() {
		defer cancel()
		published, err := i.fetch(ctx)
		i.land(published, err)
	}()
}

// land ends a fetch; it takes the lock itself.
func (i *issuer) land(published *publication, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	defer close(i.flight)
	i.flight, i.tried = nil, time.Now()
	if err == nil {
		i.held, i.since, i.fault = published, i.tried, nil
		return
	}
	if i.held != nil && (i.fault == nil || i.fault.Error() != err.Error()) {
		i.logger.Warn("signing keys not read again, those of before stay in use", "tenant", i.name, "err", err)
	}
	i.fault = err
}
