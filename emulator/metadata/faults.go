package metadataemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	entraemu "tokenbroker/emulator/entra"
)

// Faults is what goes wrong with requests for tokens from now on: first the
// waiting, then a wrong answer, else the right answer with what the rest says.
// The zero value is no fault.
type Faults struct {
	Times int `json:"times,omitempty"` // for how many requests; zero: until changed

	DelayMS int  `json:"delay_ms,omitempty"` // answer so much later
	Hang    bool `json:"hang,omitempty"`     // answer when the faults change; the client may leave before

	Status      int    `json:"status,omitempty"`        // an error of this status, in the protocol's shape unless Body says otherwise
	RetryAfterS int    `json:"retry_after_s,omitempty"` // with Status; zero: no Retry-After
	Body        string `json:"body,omitempty"`          // garbage, truncated, no_expiry (all with entraemu.GarbageToken), html or empty; with 200 unless Status says otherwise

	LifetimeS int `json:"lifetime_s,omitempty"` // of a token
}

// bodies are the values of Faults.Body, with the content types that they are
// sent under.
var bodies = map[string]struct{ contentType, text string }{
	"garbage":   {"application/json; charset=utf-8", "\x00\xff access_token=" + entraemu.GarbageToken + " }{"},
	"truncated": {"application/json; charset=utf-8", `{"access_token":"` + entraemu.GarbageToken},
	"no_expiry": {"application/json; charset=utf-8", `{"access_token":"` + entraemu.GarbageToken + `","token_type":"Bearer"}`},
	"html":      {"text/html; charset=utf-8", "<!DOCTYPE html><title>Sign in to your network</title><p>Welcome to the hotel."},
	"empty":     {"application/json; charset=utf-8", ""},
}

// fault names what makes no sense.
func (f *Faults) fault() error {
	var faults []error
	if f.Times < 0 || f.DelayMS < 0 || f.RetryAfterS < 0 || f.LifetimeS < 0 {
		faults = append(faults, errors.New("a number is negative"))
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		faults = append(faults, errors.New("status: want 400 to 599"))
	}
	if _, known := bodies[f.Body]; f.Body != "" && !known {
		faults = append(faults, errors.New("body: want garbage, truncated, no_expiry, html or empty"))
	}
	return errors.Join(faults...)
}

// SetFaults replaces the faults. Requests that hang are let go, and answered
// as if nothing had been wrong.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
	close(s.changed)
	s.changed = make(chan struct{})
}

// Faults returns the faults that are on, with the requests that are left.
func (s *Server) Faults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// takeFault returns what goes wrong with one request, and the channel that
// says when the faults change.
func (s *Server) takeFault() (f Faults, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults == (Faults{}) {
		return Faults{}, s.changed
	}
	f = s.faults
	s.stats.Faulted++
	if s.faults.Times == 1 {
		s.faults = Faults{}
	} else if s.faults.Times > 1 {
		s.faults.Times--
	}
	return f, s.changed
}

// fail does what the faults say of waiting and wrong answers, and reports
// whether that was the answer.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, p *protocol, f Faults, changed <-chan struct{}) (answered bool) {
	if !f.wait(r.Context(), changed) {
		return true // nobody listens any more
	}
	if f.Status != 0 && f.RetryAfterS > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfterS))
	}
	switch {
	case f.Body != "":
		body := bodies[f.Body]
		w.Header().Set("Content-Type", body.contentType)
		w.WriteHeader(max(f.Status, http.StatusOK))
		_, _ = io.WriteString(w, body.text)
	case f.Status != 0:
		s.refuse(w, p, trouble(f.Status))
	default:
		return false
	}
	return true
}

// trouble is what goes wrong on the machine's own side.
func trouble(status int) *refusal {
	switch status {
	case http.StatusNotFound:
		return &refusal{status, "not_found", "IMDS endpoint is updating."}
	case http.StatusGone:
		return &refusal{status, "gone", "IMDS is going through updates, and is back within 70 seconds."}
	case http.StatusTooManyRequests:
		return &refusal{status, "too_many_requests", "IMDS throttle limit reached."}
	}
	return &refusal{status, "unknown", "Failed to retrieve token from the Active directory."}
}

// wait reports whether the client is still there afterwards.
func (f *Faults) wait(ctx context.Context, changed <-chan struct{}) bool {
	if f.Hang {
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
	delay := time.NewTimer(time.Duration(f.DelayMS) * time.Millisecond)
	defer delay.Stop()
	select {
	case <-delay.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Server) showFaults(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Faults())
}

// putFaults replaces the faults by those of the body. What is not there is off.
func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) {
	var f Faults
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&f)
	if err == nil {
		err = f.fault()
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("faults: %v", err), http.StatusBadRequest)
		return
	}
	s.SetFaults(f)
	s.showFaults(w, r)
}
