package proxy

import (
	"maps"
	"net/http"
)

// answerWriter passes on interim answers (1xx), as RFC 9110 §15.2 wants of a
// proxy, without harm to the final one: ReverseProxy clears the header after
// each, what stood there before included, and writers that wrap net/http's own
// (echo's among them) take the first status that they see for the final one.
type answerWriter struct {
	http.ResponseWriter
	before http.Header // what stood in the header before the exchange
}

func newAnswerWriter(w http.ResponseWriter) *answerWriter {
	return &answerWriter{ResponseWriter: w, before: maps.Clone(w.Header())}
}

// Unwrap is for [http.ResponseController], which flushes.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends a status. 100 (Continue) is left to net/http, which sends
// it when the body is first read.
func (w *answerWriter) WriteHeader(status int) {
	h := w.Header()
	switch {
	case status >= http.StatusOK:
		for name, values := range w.before {
			if _, there := h[name]; !there {
				h[name] = values
			}
		}
		w.ResponseWriter.WriteHeader(status)
	case status > http.StatusSwitchingProtocols:
		stripAnswer(h)
		innermost(w.ResponseWriter).WriteHeader(status)
	}
}

// innermost returns the writer that w wraps in the end.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = outer.Unwrap()
	}
}
