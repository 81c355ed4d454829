package protocol_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"tokenbroker/entra"
	"tokenbroker/protocol"
)

// BenchmarkToken is what a held token costs from the mount inwards, against a
// bare handler that writes the same bytes. The rest is the source's.
func BenchmarkToken(b *testing.B) {
	tok, err := entra.NewToken(jwt("xxxx"), own, time.Now().Add(time.Hour), time.Time{})
	if err != nil {
		b.Fatal(err)
	}
	n := protocol.Native{WriteError: refusal, Tokens: protocol.Tokens{Table: visible(table(b)), Source: entra.SourceFunc(func(context.Context, entra.Request) (entra.Token, error) {
		return tok, nil
	})}}
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/token?scope="+url.QueryEscape(string(own)), nil)
	recorded := httptest.NewRecorder()
	n.Token(recorded, r)
	body := recorded.Body.Bytes()

	for _, bb := range []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"bare", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{"application/json"}
			_, _ = w.Write(body)
		}},
		{"native", n.Token},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w := &nowhere{header: http.Header{}}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				bb.handler(w, r)
			}
			if w.written < len(body) {
				b.Errorf("wrote %d bytes, want %d", w.written, len(body))
			}
		})
	}
}

// nowhere is a response writer that costs next to nothing.
type nowhere struct {
	header  http.Header
	written int
}

func (w *nowhere) Header() http.Header { return w.header }

func (w *nowhere) Write(p []byte) (int, error) { w.written += len(p); return len(p), nil }

func (w *nowhere) WriteHeader(int) {}
