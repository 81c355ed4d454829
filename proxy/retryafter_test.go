package proxy

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestHoldOfAThrottledAnswer(t *testing.T) {
	const date = "Sat, 21 Nov 2026 12:00:00 GMT"
	for _, tc := range []struct {
		name, retryAfter, date, body string
		want                         time.Duration
	}{
		{"seconds", "30", date, "", 30 * time.Second},
		{"a fraction, as Graph has it", "2.128", date, "", 2128 * time.Millisecond},
		{"more than a number holds", "1e300", date, "", time.Hour},
		{"no number", "NaN", date, "", time.Minute},
		{"a date by the upstream's clock", "Sat, 21 Nov 2026 12:00:20 GMT", date, "", 20 * time.Second},
		{"a date by ours", "Sat, 01 Jan 2000 00:05:00 GMT", "", "", 5 * time.Minute}, // when a bubble's time begins
		{"a date that is past", "Sat, 21 Nov 2026 11:00:00 GMT", date, "", time.Second},
		{"no time at all", "0", date, "", time.Second},
		{"too long", "7200", date, "", time.Hour},
		{"before the body", "30", date, "again in 12 seconds", 30 * time.Second},
		{"malformed", "soon", date, "", time.Minute},
		{"negative", "-5", date, "", time.Minute},

		{"a time in the body", "", date, `{"error":{"message":"You can resume at 2026-11-21T12:02:30Z"}}`, 150 * time.Second},
		{"with a fraction and an offset", "", date, `at 2026-11-21T14:00:05.1234567+02:00.`, 5*time.Second + 123456700*time.Nanosecond},
		{"a time that is past", "", date, `{"date":"2026-11-21T11:59:00Z"}`, time.Minute},
		{"seconds in the body", "", date, "maximum admitted 15 per Minute. You can send requests again in 12 seconds.", 12 * time.Second},
		{"minutes in the body", "", date, "Try again after 2 minutes", 2 * time.Minute},
		{"the ceiling is not the time", "", date, "more than 45 calls in 1 minute; try again in 20 seconds", 20 * time.Second},
		{"a time that is none", "", date, "at 2026-13-41T25:00:00Z", time.Minute},
		{"nothing", "", date, "slow down", time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := http.Header{}
				for name, value := range map[string]string{"Retry-After": tc.retryAfter, "Date": tc.date} {
					if value != "" {
						h.Set(name, value)
					}
				}
				if got := holdOf(h, []byte(tc.body)); got != tc.want {
					t.Errorf("%v, want %v", got, tc.want)
				}
			})
		})
	}
}

// FuzzHold: whatever an upstream says, calls are held back for a time within
// bounds.
func FuzzHold(f *testing.F) {
	f.Add("30", "Sat, 21 Nov 2026 12:00:00 GMT", []byte("again in 12 seconds"))
	f.Add("Sat, 21 Nov 2026 12:00:20 GMT", "", []byte(`{"message":"at 2026-11-21T12:02:30Z"}`))
	f.Add("99999999999999999999", "Mon, 01 Jan 0001 00:00:00 GMT", []byte("after 99999 minutes, at 9999-12-31T23:59:59Z"))
	f.Fuzz(func(t *testing.T, after, date string, body []byte) {
		if got := holdOf(http.Header{"Retry-After": {after}, "Date": {date}}, body); got < leastHold || got > mostHold {
			t.Errorf("held for %v", got)
		}
	})
}
