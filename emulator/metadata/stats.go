package metadataemu

import (
	"maps"
	"net/http"
)

// Stats is what the fake has seen since it was made.
type Stats struct {
	Requests map[string]int `json:"requests"` // by protocol, however they were answered: imds, app_service, app_service_2017
	Issued   map[string]int `json:"issued"`   // tokens given, by client id
	Refused  map[string]int `json:"refused"`  // by error code
	Faulted  int            `json:"faulted"`  // requests that met a fault
}

func newStats() Stats {
	return Stats{Requests: map[string]int{}, Issued: map[string]int{}, Refused: map[string]int{}}
}

// Stats returns the numbers of this moment.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Requests = maps.Clone(stats.Requests)
	stats.Issued = maps.Clone(stats.Issued)
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
