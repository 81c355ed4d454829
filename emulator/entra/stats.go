package entraemu

import (
	"maps"
	"net/http"
)

// Stats is what the fake has seen since it was made.
type Stats struct {
	Tokens    int            `json:"tokens"`    // token requests, however they were answered
	Discovery int            `json:"discovery"` // requests for instance and openid discovery, and for keys
	Issued    int            `json:"issued"`    // tokens given
	Faulted   int            `json:"faulted"`   // requests that met a fault
	Consents  int            `json:"consents"`  // given, by administrators and by users
	SignIns   int            `json:"sign_ins"`  // of users, on a page or by Approve
	Grants    map[string]int `json:"grants"`    // token requests by grant_type; one that Entra does not know: other
	Given     map[string]int `json:"given"`     // tokens given by grant_type
	Audiences map[string]int `json:"audiences"` // tokens given by the audience asked for
	Refused   map[int]int    `json:"refused"`   // refusals by AADSTS number
}

func newStats() Stats {
	return Stats{Grants: map[string]int{}, Given: map[string]int{}, Audiences: map[string]int{}, Refused: map[int]int{}}
}

// Stats returns the numbers of this moment.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Grants = maps.Clone(stats.Grants)
	stats.Given = maps.Clone(stats.Given)
	stats.Audiences = maps.Clone(stats.Audiences)
	stats.Refused = maps.Clone(stats.Refused)
	return stats
}

func (s *Server) count(add func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.stats)
}

func (s *Server) showStats(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Stats())
}
