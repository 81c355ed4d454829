package defenderemu

import (
	"net/http"
	"sync"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// limiter counts calls against the catalogue's ceilings, for every application
// and tenant by itself, over minutes and hours that begin with the first call.
type limiter struct {
	mu      sync.Mutex // guards windows
	windows map[window]*count
}

// window is what is counted, over which time.
type window struct {
	app, tenant, budget string
	length              time.Duration
}

type count struct {
	began time.Time
	calls int
}

// count counts a call, and refuses it where it is one too many.
func (l *limiter) count(claims *entra.Claims, e *defender.Endpoint, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ceiling := range []struct {
		length time.Duration
		calls  int
	}{{time.Minute, e.PerMinute}, {time.Hour, e.PerHour}} {
		if ceiling.calls == 0 {
			continue
		}
		key := window{claims.Client(), claims.Tenant, e.Budget(), ceiling.length}
		n := l.windows[key]
		if n == nil || now.Sub(n.began) >= ceiling.length {
			n = &count{began: now}
			l.windows[key] = n
		}
		if n.calls++; n.calls > ceiling.calls {
			return throttled(n.began.Add(ceiling.length).Sub(now))
		}
	}
	return nil
}

// throttled is a 429, without Retry-After for zero.
func throttled(after time.Duration) *refusal {
	r := refuse(http.StatusTooManyRequests, "TooManyRequests", "Too many requests. The quota of calls has been reached.")
	r.retryAfter = after
	return r
}
