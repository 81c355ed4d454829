package proxy_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"

	"tokenbroker/proxy"
)

// exportLinks is how many links [export] has.
const exportLinks = 201

// export is a page of 200 MB, with a link after each megabyte and one at its end.
func export(w io.Writer) {
	_, _ = io.WriteString(w, `{"value":[`)
	row := []byte(`{"id":"1e5bc9d7e413ddd7902c2932e418702b84d0cc07","user":"user@example.test"},`)
	megabyte := bytes.Repeat(row, 1<<20/len(row))
	for range 200 {
		_, _ = w.Write(megabyte)
		_, _ = io.WriteString(w, `{"x@odata.nextLink":"https://127.0.0.1/api/machines/x?$skip=1"},`)
	}
	_, _ = io.WriteString(w, `{}],"@odata.nextLink":"https://127.0.0.1/api/machines?$skip=1"}`)
}

// TestLargeAnswerTakesNoMemory: 200 MB with links pass through while the heap
// grows by less than 16 MiB, caller and upstream in this process included.
func TestLargeAnswerTakesNoMemory(t *testing.T) {
	for protocol, options := range map[string][]func(*httptest.Server){"HTTP/1.1": nil, "HTTP/2": {http2}} {
		t.Run(protocol, func(t *testing.T) {
			var exported size
			export(&exported)
			b := start(t, upstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				export(w)
			}, options...))
			defer debug.SetGCPercent(debug.SetGCPercent(20)) // what is live counts, not how lazily it is swept
			runtime.GC()
			before := inUse()
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL+"/proxy/defender/api/machines", nil)
			res, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			total, most := 0, uint64(0)
			var last []byte
			buf := make([]byte, 1<<20)
			for err = error(nil); err == nil; {
				var n int
				n, err = io.ReadFull(res.Body, buf)
				total += n
				most = max(most, inUse())
				last = append(last[:0], buf[max(0, n-200):n]...)
			}
			want := exported.n + exportLinks*(len(b.URL+"/proxy/defender")-len("https://127.0.0.1"))
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || total != want || !strings.HasSuffix(string(last), b.URL+`/proxy/defender/api/machines?$skip=1"}`) {
				t.Errorf("%d bytes and %v, want %d; ending in %s", total, err, want, last)
			}
			grown := int64(most) - int64(before)
			t.Logf("the heap grew by %.1f MiB", float64(grown)/(1<<20))
			if grown >= 16<<20 {
				t.Errorf("the heap grew by %d bytes while %d passed", grown, total)
			}
		})
	}
}

// size counts what is written.
type size struct{ n int }

func (s *size) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

func inUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// TestFileForTheLibraryIsStreamed: a file of 20 MB arrives as it was sent, and
// before it has been sent whole.
func TestFileForTheLibraryIsStreamed(t *testing.T) {
	file := bytes.Repeat([]byte("0123456789abcdef"), 20_000_000/16)
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	part, err := parts.CreateFormFile("file", "script.ps1")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(file)
	parts.Close()
	want := sha256.Sum256(form.Bytes())
	for protocol, options := range map[string][]func(*httptest.Server){"HTTP/1.1": nil, "HTTP/2": {http2}} {
		for _, tc := range []struct {
			name   string
			limit  int64
			status int
		}{{"within the limit", 32 << 20, 200}, {"just", int64(form.Len()), 200}, {"over it", int64(form.Len()) - 1, 413}} {
			t.Run(protocol+" "+tc.name, func(t *testing.T) {
				var sum [32]byte
				var sent atomic.Int64
				early := int64(0)
				up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
					h := sha256.New()
					_, _ = io.CopyN(h, r.Body, 1)
					early = sent.Load()
					_, _ = io.Copy(h, r.Body)
					h.Sum(sum[:0])
				}, options...)
				b := start(t, up, func(cfg *proxy.Config) { cfg.MaxRequestBody = tc.limit })
				body := &counting{bytes.NewReader(form.Bytes()), &sent}
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, b.URL+"/proxy/defender/api/libraryfiles", body)
				req.ContentLength = int64(form.Len())
				req.Header.Set("Content-Type", parts.FormDataContentType())
				res, err := client(t).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if res.StatusCode != tc.status {
					t.Fatalf("got %d, want %d", res.StatusCode, tc.status)
				}
				if tc.status == 200 && (sum != want || early == int64(form.Len())) {
					t.Errorf("arrived %x after %d bytes, want %x before %d were sent", sum, early, want, form.Len())
				}
			})
		}
	}
}

// counting counts what is read.
type counting struct {
	io.Reader
	n *atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
