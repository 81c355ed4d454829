package defenderemu

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"tokenbroker/entra"
)

// FaultKind names something that can go wrong, or a habit of the real API that
// can be turned.
type FaultKind string

// What can be switched on.
const (
	Unauthorized    FaultKind = "unauthorized"      // 401; with Claims as a claims challenge, or with Challenge
	Forbidden       FaultKind = "forbidden"         // 403 with the text about missing roles; challenges likewise
	Throttled       FaultKind = "throttled"         // 429; with RetryAfter, said as RetryAs, or without
	ServerError     FaultKind = "server_error"      // 500 without a message
	Redirect        FaultKind = "redirect"          // 302 to the same path at Host
	Reset           FaultKind = "reset"             // the connection breaks after Bytes of the body
	Slow            FaultKind = "slow"              // the answer comes after DelayMS, whatever was asked for being done at once
	Drip            FaultKind = "drip"              // the body comes in pieces of Bytes, each DelayMS after the last
	Stream          FaultKind = "stream"            // the body is a list, or the result of hunting, of Bytes; with Pages one of so many
	EmptyNotFound   FaultKind = "empty_not_found"   // 404 where a list is empty
	NextLinkHost    FaultKind = "next_link_host"    // links to the next page name Host
	LowerCaseKeys   FaultKind = "lower_case_keys"   // and have their query's keys in lower case
	DeltaLink       FaultKind = "delta_link"        // the last page has a link to what changes later
	PagedTop        FaultKind = "paged_top"         // $top has a link to the next page: usually it has none
	PlainPackageURI FaultKind = "plain_package_uri" // a package's URL comes in one pair of quotes: usually in two
	LenientFiles    FaultKind = "lenient_files"     // files are given out despite an Authorization header: usually not
)

// Fault says how something goes wrong. Which fields matter depends on the kind.
type Fault struct {
	Times      int       `json:"times,omitempty"`         // so many requests; zero: until it is switched off
	Path       string    `json:"path,omitempty"`          // only requests whose path begins so; empty: all
	Claims     string    `json:"claims,omitempty"`        // of the challenge, as base64
	Challenge  string    `json:"challenge,omitempty"`     // the WWW-Authenticate as it stands, in place of one made of Claims
	RetryAfter int       `json:"retry_after_s,omitempty"` // seconds; zero: the answer does not say
	RetryAs    RetryForm `json:"retry_as,omitempty"`      // zero: RetrySeconds
	DelayMS    int       `json:"delay_ms,omitempty"`      // milliseconds
	Bytes      int64     `json:"bytes,omitempty"`         // zero: 100 MiB of a stream, 64 before a reset, 16 of a drip
	Pages      int       `json:"pages,omitempty"`         // zero: one
	Host       string    `json:"host,omitempty"`          // zero: elsewhere.example for a redirect, 127.0.0.1 in links
}

// RetryForm is a way to say when to come again.
type RetryForm string

// The ways.
const (
	RetrySeconds  RetryForm = "seconds"  // Retry-After in whole seconds
	RetryFraction RetryForm = "fraction" // with a fraction, as in the sample of Graph's "Microsoft Graph throttling guidance"
	RetryDate     RetryForm = "date"     // Retry-After as a date (RFC 9110 §10.2.3)
	RetryBody     RetryForm = "body"     // a time in the message, as "Microsoft Defender XDR APIs license and terms" has it; no header
)

func retryForms() []RetryForm {
	return []RetryForm{"", RetrySeconds, RetryFraction, RetryDate, RetryBody}
}

// Faults are the faults that are on.
type Faults map[FaultKind]Fault

// defaults are the faults as they are where nothing is said about them; what
// has no entry does not exist.
var defaults = Faults{
	Unauthorized: {}, Forbidden: {}, Throttled: {}, ServerError: {}, Redirect: {Host: "elsewhere.example"}, Reset: {Bytes: 64}, Slow: {},
	Drip: {Bytes: 16}, DeltaLink: {}, Stream: {Bytes: 100 << 20}, EmptyNotFound: {}, NextLinkHost: {Host: "127.0.0.1"}, LowerCaseKeys: {}, PagedTop: {}, PlainPackageURI: {}, LenientFiles: {},
}

// faults holds what is switched on.
type faults struct {
	mu    sync.Mutex // guards the rest
	on    Faults
	taken int // how often a fault came to pass
}

// take reports whether a fault is on for a request, and counts it down.
func (f *faults) take(kind FaultKind, r *http.Request) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, ok := f.on[kind]
	if !ok || !strings.HasPrefix(strings.ToLower(r.URL.Path), strings.ToLower(fault.Path)) {
		return Fault{}, false
	}
	f.taken++
	switch left := fault; {
	case fault.Times == 1:
		delete(f.on, kind)
	case fault.Times > 1:
		left.Times--
		f.on[kind] = left
	}
	return fault, true
}

// set switches on these faults and no others.
func (f *faults) set(on Faults) error {
	checked := Faults{}
	for kind, fault := range on {
		base, ok := defaults[kind]
		if !ok {
			known := slices.Sorted(maps.Keys(defaults))
			return entra.Errorf(entra.Invalid, "defenderemu.faults", "fault %s: want one of %v", entra.Quote(string(kind)), known)
		}
		if min(int64(fault.Times), int64(fault.RetryAfter), int64(fault.DelayMS), int64(fault.Pages), fault.Bytes) < 0 {
			return entra.Errorf(entra.Invalid, "defenderemu.faults", "fault %s: a number is negative", kind)
		}
		if (kind == Slow || kind == Drip) && fault.DelayMS == 0 {
			return entra.Errorf(entra.Invalid, "defenderemu.faults", "fault %s: want delay_ms", kind)
		}
		if !slices.Contains(retryForms(), fault.RetryAs) {
			return entra.Errorf(entra.Invalid, "defenderemu.faults", "fault %s: retry_as %s: want one of %v", kind, entra.Quote(string(fault.RetryAs)), retryForms()[1:])
		}
		if fault.Bytes == 0 {
			fault.Bytes = base.Bytes
		}
		if fault.Host == "" {
			fault.Host = base.Host
		}
		checked[kind] = fault
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = checked
	return nil
}

// snapshot is what is on now, and how often a fault has come to pass.
func (f *faults) snapshot() (Faults, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.on), f.taken
}

// readFaults reads faults as JSON, strictly: a misspelt one would go unnoticed.
func readFaults(r io.Reader) (Faults, error) {
	var on Faults
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&on); err != nil {
		return nil, entra.Errorf(entra.Invalid, "defenderemu.faults", "faults: want a JSON object such as %s: %w", `{"throttled":{"times":1,"retry_after_s":5}}`, err)
	}
	return on, nil
}

// SetFaults switches on these faults and no others; nil switches all off.
func (s *Server) SetFaults(on Faults) error { return s.faults.set(on) }
