package server

import (
	"encoding/json"
	"net/http"
)

// Ops answers operators: liveness, readiness and metrics, never a token.
//
// Ready means that the configuration is valid, the listeners serve and no
// drain has begun. Entra's health is in the body and does not take the broker
// out of service: held tokens go on.
func (s *Server) Ops() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, http.StatusOK, health{Status: "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		var more health
		if s.cfg.Status != nil {
			more.Tokens = s.cfg.Status()
		}
		if s.cfg.Refused != nil {
			more.Refused = s.cfg.Refused()
		}
		s.writeReadiness(w, more)
	})
	mux.Handle("GET /healthz", s.Healthz())
	mux.Handle("GET /metrics", s.metrics.handler())
	return mux
}

// Healthz answers /healthz on either listener: the verdict of readiness alone.
func (s *Server) Healthz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s.writeReadiness(w, health{}) })
}

type health struct {
	Status  string   `json:"status"`
	Tokens  any      `json:"tokens,omitempty"`                // from Config.Status
	Refused []string `json:"configuration_refused,omitempty"` // from Config.Refused
}

func (s *Server) writeReadiness(w http.ResponseWriter, more health) {
	select {
	case <-s.draining:
		more.Status = "draining"
		writeHealth(w, http.StatusServiceUnavailable, more)
	default:
		more.Status = "ready"
		writeHealth(w, http.StatusOK, more)
	}
}

func writeHealth(w http.ResponseWriter, status int, h health) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	body := json.NewEncoder(w)
	body.SetIndent("", "  ")
	_ = body.Encode(h) // fails only when the prober left
}
