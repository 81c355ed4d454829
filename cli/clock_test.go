package cli

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// answers is a transport that answers with a Date, or fails without one.
type answers struct {
	date   string
	closed bool
}

func (a *answers) RoundTrip(*http.Request) (*http.Response, error) {
	if a.date == "" {
		return nil, errors.New("away")
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Date": {a.date}}, Body: http.NoBody}, nil
}

func (a *answers) CloseIdleConnections() { a.closed = true }

func TestClockIsComparedWithWhoeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		next := new(answers)
		c := &clock{next: next}
		ask := func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://login.example", http.NoBody)
			must(t, err)
			resp, err := (&http.Client{Transport: c}).Do(req)
			if err == nil {
				must(t, resp.Body.Close())
			}
		}
		for _, tt := range []struct {
			date string
			want time.Duration
		}{
			{"", 0},
			{"yesterday", 0},
			{in(-7 * time.Minute), 7 * time.Minute},
			{in(time.Hour), -time.Hour},
			{"", -time.Hour}, // what was known stays
		} {
			next.date = tt.date
			ask()
			if got := c.ahead(); got != tt.want {
				t.Errorf("date %q: got %v, want %v", tt.date, got, tt.want)
			}
		}
		(&http.Client{Transport: c}).CloseIdleConnections()
		(&http.Client{Transport: &clock{next: http.NewFileTransport(http.Dir("."))}}).CloseIdleConnections()
		if !next.closed {
			t.Error("the connections stay open")
		}
	})
}
