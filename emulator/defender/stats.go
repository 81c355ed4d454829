package defenderemu

import (
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Stats counts what the emulator has seen and done.
type Stats struct {
	Requests     map[string]int `json:"requests"`     // by endpoint, whatever the answer; "unknown": none of the catalogue's
	Actions      map[string]int `json:"actions"`      // accepted, by endpoint
	Executed     []Execution    `json:"executed"`     // the last of them, oldest first
	Unauthorized int            `json:"unauthorized"` // answers of 401
	Forbidden    int            `json:"forbidden"`    // of 403
	Throttled    int            `json:"throttled"`    // of 429
	Faults       int            `json:"faults"`       // how often a fault came to pass
	Connections  int            `json:"connections"`  // accepted; needs [Server.ConnState]
	Handshakes   int            `json:"handshakes"`   // of TLS, completed; likewise
}

// Execution is one accepted call that reached a machine, or that a second call
// would have doubled.
type Execution struct {
	Endpoint string    `json:"endpoint"`
	Path     string    `json:"path"`
	At       time.Time `json:"at"`
}

// kept is how many executions and requests are remembered.
const kept = 1000

// meter makes the Stats.
type meter struct {
	mu     sync.Mutex // guards the rest
	stats  Stats
	shaken map[net.Conn]bool // open connections whose handshake is counted
}

func newMeter() *meter {
	return &meter{stats: Stats{Requests: map[string]int{}, Actions: map[string]int{}, Executed: []Execution{}}, shaken: map[net.Conn]bool{}}
}

func (m *meter) request(endpoint string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Requests[endpoint]++
}

func (m *meter) executed(endpoint, path string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Actions[endpoint]++
	m.stats.Executed = last(append(m.stats.Executed, Execution{endpoint, path, at}))
}

// refused counts an answer that a caller did not get past.
func (m *meter) refused(err error) {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch r.status {
	case http.StatusUnauthorized:
		m.stats.Unauthorized++
	case http.StatusForbidden:
		m.stats.Forbidden++
	case http.StatusTooManyRequests:
		m.stats.Throttled++
	}
}

// last cuts a list to what is remembered of it.
func last[T any](all []T) []T {
	if len(all) <= kept {
		return all
	}
	return slices.Delete(all, 0, len(all)-kept)
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	_, taken := s.faults.snapshot()
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	stats := s.meter.stats
	stats.Requests, stats.Actions = maps.Clone(stats.Requests), maps.Clone(stats.Actions)
	stats.Executed = slices.Clone(stats.Executed)
	stats.Faults = taken
	return stats
}

// ConnState counts connections and handshakes: set it as the ConnState of the
// [http.Server] that the emulator stands behind. The first request comes after
// the handshake, so a connection that has become active has completed it.
func (s *Server) ConnState(conn net.Conn, state http.ConnState) {
	m := s.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	switch state {
	case http.StateNew:
		m.stats.Connections++
	case http.StateActive:
		if _, ok := conn.(*tls.Conn); ok && !m.shaken[conn] {
			m.shaken[conn] = true
			m.stats.Handshakes++
		}
	case http.StateClosed, http.StateHijacked:
		delete(m.shaken, conn)
	}
}
