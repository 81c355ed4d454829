package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// served is where a connection's context counts its requests.
type served struct{}

// stale is an HTTP/1.1 upstream that hangs up, once, on a connection that has
// served before, after it has read the request: what a connection looks like
// that the upstream gave up while a request was under way.
type stale struct {
	sent   atomic.Int32 // requests from there on
	broken atomic.Bool
}

func (s *stale) start(t *testing.T) *httptest.Server {
	t.Helper()
	return upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		again := r.Context().Value(served{}).(*atomic.Int32).Add(1) > 1
		if s.broken.Load() {
			s.sent.Add(1)
		} else if again {
			s.sent.Add(1)
			s.broken.Store(true)
			panic(http.ErrAbortHandler)
		}
	}, func(server *httptest.Server) {
		server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, served{}, new(atomic.Int32))
		}
	})
}

func TestRequestOnAStaleConnection(t *testing.T) {
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		wantSent                 int32
		wantStatus               int
	}{
		{"a read is sent again", "GET", "/api/incidents", "", nil, 2, 200},
		{"an action is not", "POST", isolate, `{"Comment":"x"}`, nil, 1, 502},
		{"nor one without a body", "POST", isolate, "", nil, 1, 502},
		{"nor one that calls itself repeatable", "POST", isolate, "", []string{"Idempotency-Key", "1", "X-Idempotency-Key", "1"}, 1, 502},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s stale
			b := start(t, s.start(t))
			var res answer
			for !s.broken.Load() { // the first request never, the second nearly always
				res = b.call(t, tc.method, "/proxy/defender"+tc.path, tc.body, tc.header...)
			}
			if got := s.sent.Load(); got != tc.wantSent || res.status != tc.wantStatus {
				t.Errorf("sent %d times, got %d %s; want %d times and %d", got, res.status, res.body, tc.wantSent, tc.wantStatus)
			}
		})
	}
}

// The frames of RFC 9113 §6 that matter here.
const (
	frameHeaders   = 0x1
	frameRSTStream = 0x3
	frameSettings  = 0x4
	frameGoAway    = 0x7

	errorProtocol = 0x1
	errorRefused  = 0x7
)

// framing is an HTTP/2 upstream that answers the header of its nth request, from
// 1, with frames. net/http's own server cannot be told to reset a stream.
func framing(t *testing.T, sent *atomic.Int32, respond func(n int32, stream uint32, send sendFrame) (goOn bool)) *httptest.Server {
	t.Helper()
	return upstream(t, nil, func(server *httptest.Server) {
		server.EnableHTTP2 = true
		server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
			"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) {
				serveFrames(conn, func(stream uint32, send sendFrame) bool { return respond(sent.Add(1), stream, send) })
			},
		}
	})
}

type sendFrame = func(kind, flags byte, stream uint32, payload []byte)

func serveFrames(conn net.Conn, respond func(stream uint32, send sendFrame) (goOn bool)) {
	defer conn.Close()
	send := func(kind, flags byte, stream uint32, payload []byte) {
		head := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
		head = binary.BigEndian.AppendUint32(append(head, flags), stream)
		_, _ = conn.Write(append(head, payload...))
	}
	in := bufio.NewReader(conn)
	if _, err := in.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return
	}
	send(frameSettings, 0, 0, nil)
	for {
		var head [9]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		if _, err := in.Discard(int(binary.BigEndian.Uint32(head[:]) >> 8)); err != nil {
			return
		}
		switch stream := binary.BigEndian.Uint32(head[5:]); {
		case head[3] == frameSettings && head[4] == 0:
			send(frameSettings, 1, 0, nil) // ACK
		case head[3] == frameHeaders && !respond(stream, send):
			return
		}
	}
}

// resetting resets every stream once it has read its header.
func resetting(t *testing.T, code uint32, sent *atomic.Int32) *httptest.Server {
	t.Helper()
	return framing(t, sent, func(n int32, stream uint32, send sendFrame) bool {
		send(frameRSTStream, 0, stream, binary.BigEndian.AppendUint32(nil, code))
		return n == 1 // else the test has failed, and need not wait for more
	})
}

func TestActionOnAStreamThatIsReset(t *testing.T) {
	for name, code := range map[string]uint32{"PROTOCOL_ERROR": errorProtocol, "REFUSED_STREAM": errorRefused} {
		for _, body := range []string{"", `{"Comment":"x"}`} {
			t.Run(name+body, func(t *testing.T) {
				var sent atomic.Int32
				b := start(t, resetting(t, code, &sent))
				res := b.call(t, "POST", "/proxy/defender"+isolate, body)
				if got := sent.Load(); got != 1 || res.status != 502 || res.kind() != "upstream" {
					t.Errorf("sent %d times, got %d %s; want once and 502", got, res.status, res.body)
				}
				if body == "" && !strings.Contains(res.body, "may have been carried out") {
					t.Errorf("got %s, want a word on what may have happened", res.body)
				}
			})
		}
	}
}

// goingAway takes no request of its first connection (RFC 9113 §6.8), and answers
// those of the next ones.
func goingAway(t *testing.T, sent *atomic.Int32) *httptest.Server {
	t.Helper()
	return framing(t, sent, func(n int32, stream uint32, send sendFrame) bool {
		if n == 1 {
			send(frameGoAway, 0, 0, make([]byte, 8)) // the last stream is 0, NO_ERROR
			return false
		}
		send(frameHeaders, 0x1|0x4, stream, []byte{0x88}) // END_STREAM, END_HEADERS; RFC 7541 A: ":status: 200"
		return true
	})
}

func TestUpstreamThatGoesAwayBeforeARequest(t *testing.T) {
	for _, tc := range []struct {
		name, method, path, body string
		wantSent                 int32
		wantStatus               int
	}{
		{"a read is sent to another connection", "GET", "/api/incidents", "", 2, 200},
		{"an action is not", "POST", isolate, "", 1, 502},
		{"nor one with a body", "POST", isolate, `{"Comment":"x"}`, 1, 502},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var sent atomic.Int32
			b := start(t, goingAway(t, &sent))
			res := b.call(t, tc.method, "/proxy/defender"+tc.path, tc.body)
			if got := sent.Load(); got != tc.wantSent || res.status != tc.wantStatus {
				t.Errorf("sent %d times, got %d %s; want %d times and %d", got, res.status, res.body, tc.wantSent, tc.wantStatus)
			}
		})
	}
}

// What is under way when the upstream says that it goes away is finished.
func TestUpstreamThatGoesAwayDuringAnAnswer(t *testing.T) {
	more := make(chan struct{})
	var mu sync.Mutex
	connections := map[string]bool{}
	b := start(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		connections[r.RemoteAddr] = true
		mu.Unlock()
		w.Header().Set("Connection", "close") // net/http sends GOAWAY
		_, _ = io.WriteString(w, "first ")
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "second")
	}, http2))
	for range 2 {
		go func() { more <- struct{}{} }()
		if res := b.call(t, "GET", "/proxy/defender/api/incidents", ""); res.status != 200 || res.body != "first second" {
			t.Errorf("got %d %s", res.status, res.body)
		}
	}
	if len(connections) != 2 {
		t.Errorf("%d connections, want a new one after the first went away", len(connections))
	}
}
