package entraemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// GarbageToken is the token, if it were one, in the bodies that [Faults.Body]
// sends. It must turn up nowhere.
const GarbageToken = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJub3RlIjoiZ2FyYmFnZSJ9.bm90LWEtc2lnbmF0dXJl" //nolint:gosec // no credential: nobody signed it

// The values of [Faults.Endpoint].
const (
	TokenEndpoint      = "token"
	DiscoveryEndpoint  = "discovery"
	DeviceCodeEndpoint = "devicecode"
	SignInEndpoint     = "signin" // the pages that a browser is sent to
	RealmEndpoint      = "realm"
)

// Faults is what goes wrong from now on: first the waiting, then a redirect or
// a wrong answer, else the right answer with what the rest says. The zero
// value is no fault. The emulator's own paths never fail.
type Faults struct {
	Endpoint string `json:"endpoint,omitempty"` // which requests: token, which is also what empty means, discovery, devicecode, signin or realm
	Times    int    `json:"times,omitempty"`    // for how many requests; zero: until changed

	DelayMS int  `json:"delay_ms,omitempty"` // answer so much later
	Hang    bool `json:"hang,omitempty"`     // answer when the faults change; the client may leave before

	Redirect    string `json:"redirect,omitempty"`      // 307 to this URL
	Status      int    `json:"status,omitempty"`        // an error of this status, in Entra's shape unless Body says otherwise
	RetryAfterS int    `json:"retry_after_s,omitempty"` // with Status; zero: no Retry-After
	Body        string `json:"body,omitempty"`          // garbage, truncated, no_expiry (all with GarbageToken), html or empty; with 200 unless Status says otherwise

	TokenEndpoint string `json:"token_endpoint,omitempty"` // what openid discovery names
	LifetimeS     int    `json:"lifetime_s,omitempty"`     // of a token
	RefreshInS    int    `json:"refresh_in_s,omitempty"`   // of an answer
}

// bodies are the values of Faults.Body, with the content types that they are
// sent under.
var bodies = map[string]struct{ contentType, text string }{
	"garbage":   {"application/json; charset=utf-8", "\x00\xff access_token=" + GarbageToken + " }{"},
	"truncated": {"application/json; charset=utf-8", `{"token_type":"Bearer","expires_in":3599,"access_token":"` + GarbageToken},
	"no_expiry": {"application/json; charset=utf-8", `{"token_type":"Bearer","access_token":"` + GarbageToken + `"}`},
	"html":      {"text/html; charset=utf-8", "<!DOCTYPE html><title>Sign in to your network</title><p>Welcome to the hotel."},
	"empty":     {"application/json; charset=utf-8", ""},
}

// fault names what makes no sense.
func (f *Faults) fault() error {
	var faults []error
	if !slices.Contains([]string{TokenEndpoint, DiscoveryEndpoint, DeviceCodeEndpoint, SignInEndpoint, RealmEndpoint}, f.endpoint()) {
		faults = append(faults, errors.New("endpoint: want token, discovery, devicecode, signin or realm"))
	}
	if f.Times < 0 || f.DelayMS < 0 || f.RetryAfterS < 0 || f.LifetimeS < 0 || f.RefreshInS < 0 {
		faults = append(faults, errors.New("a number is negative"))
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		faults = append(faults, errors.New("status: want 400 to 599"))
	}
	if _, known := bodies[f.Body]; f.Body != "" && !known {
		faults = append(faults, errors.New("body: want garbage, truncated, no_expiry, html or empty"))
	}
	if _, err := url.Parse(f.Redirect); err != nil {
		faults = append(faults, errors.New("redirect: want a URL"))
	}
	return errors.Join(faults...)
}

// endpoint is the kind of requests that the faults are for.
func (f *Faults) endpoint() string {
	if f.Endpoint == "" {
		return TokenEndpoint
	}
	return f.Endpoint
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

// takeFault returns what goes wrong with one request to the endpoint, and the
// channel that says when the faults change.
func (s *Server) takeFault(endpoint string) (f Faults, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults == (Faults{}) || s.faults.endpoint() != endpoint {
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
func (s *Server) fail(w http.ResponseWriter, r *http.Request, f Faults, changed <-chan struct{}) (answered bool) {
	if !f.wait(r.Context(), changed) {
		panic(http.ErrAbortHandler) // an answer of nothing could still reach a client that is about to leave
	}
	status := f.Status
	if status != 0 && f.RetryAfterS > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfterS))
	}
	switch {
	case f.Redirect != "":
		http.Redirect(w, r, f.Redirect, http.StatusTemporaryRedirect)
	case f.Body != "":
		body := bodies[f.Body]
		w.Header().Set("Content-Type", body.contentType)
		w.WriteHeader(max(status, http.StatusOK))
		_, _ = io.WriteString(w, body.text)
	case status != 0:
		s.refuse(w, r, trouble(status))
	default:
		return false
	}
	return true
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

func (s *Server) clearFaults(w http.ResponseWriter, r *http.Request) {
	s.SetFaults(Faults{})
	s.showFaults(w, r)
}
