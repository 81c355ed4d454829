package cli

import (
	"net/http"
	"sync/atomic"
	"time"
)

// clock is a transport that compares this machine's clock with that of whoever
// answers (RFC 9110 §6.6.1).
type clock struct {
	next http.RoundTripper
	skew atomic.Int64 // a [time.Duration]: how far ours is ahead; zero: not known
}

// RoundTrip sends the request on.
func (c *clock) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.skew.Store(int64(time.Since(date)))
	}
	return resp, nil
}

// CloseIdleConnections makes http.Client's method of that name work.
func (c *clock) CloseIdleConnections() {
	if next, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// ahead returns by how much this machine's clock is ahead, to a second or two.
func (c *clock) ahead() time.Duration { return time.Duration(c.skew.Load()) }
