package proxy_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// stale is an HTTP/1.1 upstream that answers the first request of a connection
// and hangs up on the second, after it has read it: what a connection looks
// like that the upstream gave up while a request was under way.
func stale(t *testing.T, sent *atomic.Int32) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/warm" {
			return
		}
		if sent.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
	}
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
			var sent atomic.Int32
			b := start(t, upstream(t, stale(t, &sent)))
			if res, _ := b.call(t, "GET", "/proxy/defender/warm", ""); res.StatusCode != 200 {
				t.Fatalf("warming the connection: %d", res.StatusCode)
			}
			res, body := b.call(t, tc.method, "/proxy/defender"+tc.path, tc.body, tc.header...)
			if got := sent.Load(); got != tc.wantSent || res.StatusCode != tc.wantStatus {
				t.Errorf("sent %d times, got %d %s; want %d times and %d", got, res.StatusCode, body, tc.wantSent, tc.wantStatus)
			}
		})
	}
}

// The frames of RFC 9113 §6 that matter here.
const (
	frameHeaders   = 0x1
	frameRSTStream = 0x3
	frameSettings  = 0x4

	errorProtocol = 0x1
	errorRefused  = 0x7
)

// resetting is an HTTP/2 upstream that resets every stream once it has read
// its header. net/http's own server cannot be told to.
func resetting(t *testing.T, code uint32, sent *atomic.Int32) *httptest.Server {
	t.Helper()
	return upstream(t, nil, func(server *httptest.Server) {
		server.EnableHTTP2 = true
		server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
			"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) { reset(conn, code, sent) },
		}
	})
}

func reset(conn net.Conn, code uint32, sent *atomic.Int32) {
	defer conn.Close()
	frame := func(kind, flags byte, stream uint32, payload []byte) {
		head := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
		head = binary.BigEndian.AppendUint32(append(head, flags), stream)
		_, _ = conn.Write(append(head, payload...))
	}
	in := bufio.NewReader(conn)
	if _, err := in.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return
	}
	frame(frameSettings, 0, 0, nil)
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
			frame(frameSettings, 1, 0, nil) // ACK
		case head[3] == frameHeaders:
			if sent.Add(1) > 1 {
				return // the test has failed, and need not wait for more
			}
			frame(frameRSTStream, 0, stream, binary.BigEndian.AppendUint32(nil, code))
		}
	}
}

func TestActionOnAStreamThatIsReset(t *testing.T) {
	for name, code := range map[string]uint32{"PROTOCOL_ERROR": errorProtocol, "REFUSED_STREAM": errorRefused} {
		for _, body := range []string{"", `{"Comment":"x"}`} {
			t.Run(name+body, func(t *testing.T) {
				var sent atomic.Int32
				b := start(t, resetting(t, code, &sent))
				res, answer := b.call(t, "POST", "/proxy/defender"+isolate, body)
				if got := sent.Load(); got != 1 || res.StatusCode != 502 || errorKind(res) != "upstream" {
					t.Errorf("sent %d times, got %d %s; want once and 502", got, res.StatusCode, answer)
				}
				if body == "" && !strings.Contains(answer, "may have been carried out") {
					t.Errorf("got %s, want a word on what may have happened", answer)
				}
			})
		}
	}
}
