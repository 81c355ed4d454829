package proxy

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What an upstream that throttles may say: not less than a second, lest the
// broker join those who hammer at it, nor more than an hour.
const (
	leastHold   = time.Second
	mostHold    = time.Hour
	defaultHold = time.Minute // where it says nothing
)

// holdOf is for how long an answer with status 429 holds calls back: by its
// Retry-After (RFC 9110 §10.2.3), else by the time that its body names, as the
// XDR API has it ("Advanced hunting API", learn.microsoft.com/defender-xdr/api-advanced-hunting),
// else a minute. The upstream's own clock counts, where the answer has it.
func holdOf(h http.Header, body []byte) time.Duration {
	now := time.Now()
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	hold, ok := retryAfter(h.Get("Retry-After"), now)
	if !ok {
		hold, ok = resumption(body, now)
	}
	if !ok {
		hold = defaultHold
	}
	return min(max(hold, leastHold), mostHold)
}

// retryAfter reads a field's value: seconds, or a date. Graph's seconds have a
// fraction in its documentation ("2.128" in "Microsoft Graph throttling guidance").
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, mostHold.Seconds()) * float64(time.Second)), true
	}
	at, err := http.ParseTime(value)
	return at.Sub(now), err == nil
}

var (
	// inTime is "in 12 seconds", not the "15 per Minute" before it.
	inTime = regexp.MustCompile(`(?i)\b(?:in|after|for)\s+(\d{1,5})\s*(second|minute)`)
	atTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)`)
)

// resumption reads the time from a body's text that is still to come: the last
// that it names, since the ceiling comes first.
func resumption(body []byte, now time.Time) (hold time.Duration, ok bool) {
	for _, found := range inTime.FindAllSubmatch(body, -1) {
		n, _ := strconv.Atoi(string(found[1])) // five digits
		hold, ok = time.Duration(n)*time.Second, true
		if strings.EqualFold(string(found[2]), "minute") {
			hold *= 60
		}
	}
	for _, found := range atTime.FindAll(body, -1) {
		if at, err := time.Parse(time.RFC3339, string(found)); err == nil && at.After(now) {
			hold, ok = at.Sub(now), true
		}
	}
	return hold, ok
}
