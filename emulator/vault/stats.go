package vaultemu

import (
	"maps"
	"net/http"
)

// Stats is what the fake has seen since it was made.
type Stats struct {
	Requests map[Operation]int `json:"requests"` // however they were answered; the SDK's first ones, without a token, among them
	Served   map[Operation]int `json:"served"`   // that were done
	Refused  map[string]int    `json:"refused"`  // by the code of the inner error, or the error where there is none
	Faulted  int               `json:"faulted"`  // requests that met a fault
}

func newStats() Stats {
	return Stats{Requests: map[Operation]int{}, Served: map[Operation]int{}, Refused: map[string]int{}}
}

// Stats returns the numbers of this moment.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Requests = maps.Clone(stats.Requests)
	stats.Served = maps.Clone(stats.Served)
	stats.Refused = maps.Clone(stats.Refused)
	return stats
}

func (s *Server) count(add func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.stats)
}

// newAdmin serves the emulator's own paths. They never fail.
func (s *Server) newAdmin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+adminPath+"stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Stats()) })
	mux.HandleFunc("GET "+adminPath+"faults", s.showFaults)
	mux.HandleFunc("PUT "+adminPath+"faults", s.putFaults)
	mux.HandleFunc("POST "+adminPath+"faults", s.putFaults)
	mux.HandleFunc("DELETE "+adminPath+"faults", func(w http.ResponseWriter, r *http.Request) {
		s.SetFaults(Faults{})
		s.showFaults(w, r)
	})
	return mux
}
