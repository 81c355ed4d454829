package defenderemu

import (
	"maps"
	"net/http"
	"slices"
	"sync"
)

// Request is what the emulator remembers of a request.
type Request struct {
	Method  string   `json:"method"`
	Host    string   `json:"host"`
	URI     string   `json:"uri"`     // byte for byte as it came
	Headers []string `json:"headers"` // their names, sorted; never a value
	Status  int      `json:"status"`  // of the answer; zero: there is none yet
}

// journal remembers the last requests.
type journal struct {
	mu      sync.Mutex // guards entries, and what they point to
	entries []*Request
}

// begin remembers a request. The function it returns adds how it was answered.
func (j *journal) begin(r *http.Request) (end func(*watched)) {
	seen := &Request{Method: r.Method, Host: r.Host, URI: r.RequestURI, Headers: slices.Sorted(maps.Keys(r.Header))}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = last(append(j.entries, seen))
	return func(w *watched) {
		j.mu.Lock()
		defer j.mu.Unlock()
		seen.Status = w.status
	}
}

// Requests returns the last requests, the oldest first. Those for the emulator
// itself are not among them.
func (s *Server) Requests() []Request {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return each(s.journal.entries, func(r **Request) Request { return **r })
}
