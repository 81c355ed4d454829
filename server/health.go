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
		status, h := s.health()
		if s.cfg.Status != nil {
			h.Identities = s.cfg.Status()
		}
		writeHealth(w, status, h)
	})
	mux.Handle("GET /healthz", s.Healthz())
	mux.Handle("GET /metrics", s.metrics.handler())
	return mux
}

// Healthz answers /healthz on either listener: the verdict of readiness alone.
func (s *Server) Healthz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status, h := s.health()
		writeHealth(w, status, h)
	})
}

type health struct {
	Status     string `json:"status"`
	Identities any    `json:"tokens,omitempty"`
}

func (s *Server) health() (int, health) {
	if s.draining.Load() {
		return http.StatusServiceUnavailable, health{Status: "draining"}
	}
	return http.StatusOK, health{Status: "ready"}
}

func writeHealth(w http.ResponseWriter, status int, h health) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	body, _ := json.MarshalIndent(h, "", "  ")
	_, _ = w.Write(append(body, '\n'))
}
