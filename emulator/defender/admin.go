package defenderemu

import (
	"errors"
	"net/http"

	"tokenbroker/defender"
)

// adminPath is where the emulator itself can be asked and told. No fault and no
// token is needed there or comes to pass.
const adminPath = "/_emulator/"

// maxFaults bounds the body that switches faults, in bytes.
const maxFaults = 64 << 10

func (s *Server) newAdmin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+adminPath+"stats", func(w http.ResponseWriter, _ *http.Request) { show(w, s.Stats(), nil) })
	mux.HandleFunc("GET "+adminPath+"requests", func(w http.ResponseWriter, _ *http.Request) { show(w, s.Requests(), nil) })
	mux.HandleFunc("GET "+adminPath+"faults", func(w http.ResponseWriter, _ *http.Request) { s.showFaults(w, nil) })
	mux.HandleFunc("DELETE "+adminPath+"faults", func(w http.ResponseWriter, _ *http.Request) { s.showFaults(w, s.SetFaults(nil)) })
	mux.HandleFunc("PUT "+adminPath+"faults", func(w http.ResponseWriter, r *http.Request) {
		on, err := readFaults(http.MaxBytesReader(w, r.Body, maxFaults))
		if err == nil {
			err = s.SetFaults(on)
		}
		s.showFaults(w, err)
	})
	mux.HandleFunc(adminPath, func(w http.ResponseWriter, _ *http.Request) {
		show(w, nil, notFound("The emulator has GET stats, GET requests, and GET, PUT and DELETE faults"))
	})
	return mux
}

func (s *Server) showFaults(w http.ResponseWriter, err error) {
	on, _ := s.faults.snapshot()
	show(w, on, err)
}

// show answers in JSON, and an error in the API's shape.
func show(w http.ResponseWriter, v any, err error) {
	if err != nil {
		if _, ok := errors.AsType[*refusal](err); !ok {
			err = badRequest("BadRequest", "%v", err)
		}
	}
	encode(defender.MDE, correlation{server: newGUID()}, answer{body: v}, err).write(w)
}
