package server_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"tokenbroker/server"
)

// nowhere is a response writer that costs next to nothing.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(int)             {}

// BenchmarkMount is what a request costs on its way to a mount and back,
// against a bare handler that writes the same bytes.
func BenchmarkMount(b *testing.B) {
	body := []byte(strings.Repeat("t", 2048))
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write(body)
	})
	written := slog.NewJSONHandler(&nowhere{}, nil)
	mounted := func(log, audit slog.Handler, audited bool) http.Handler {
		s := server.New(server.Config{Logger: slog.New(log), Audit: audit})
		m := at("/token", handler, http.MethodGet)
		m.Audited = audited
		return s.Handler(everybody(), m)
	}
	for _, bb := range []struct {
		name    string
		handler http.Handler
	}{
		{"bare", handler},
		{"no log", mounted(slog.DiscardHandler, nil, false)},
		{"log", mounted(written, nil, false)},
		{"audit in the log", mounted(written, nil, true)},
		{"audit and log", mounted(written, written, true)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://localhost:5178/token?scope=x", nil)
			if err != nil {
				b.Fatal(err)
			}
			r.RemoteAddr, r.Header = "127.0.0.1:40000", http.Header{"User-Agent": {"curl/8"}, "Accept": {"*/*"}}
			w := &nowhere{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				bb.handler.ServeHTTP(w, r)
			}
		})
	}
}

// BenchmarkGeneration is what finding the generation in service costs, for
// callers that come all at once.
func BenchmarkGeneration(b *testing.B) {
	s := silent()
	if err := s.Swap(server.Generation{Handlers: []http.Handler{http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}); err != nil {
		b.Fatal(err)
	}
	answer := s.Answer(0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			answer.ServeHTTP(nil, nil)
		}
	})
}
