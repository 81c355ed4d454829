package server_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/entra"
	"tokenbroker/server"
)

// held is a handler that tells of each request and answers when it is let go.
type held struct{ arrived, release chan struct{} }

func newHeld() held { return held{make(chan struct{}), make(chan struct{})} }

func (h held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.arrived <- struct{}{}
	select {
	case <-h.release:
		_, _ = io.WriteString(w, "whole")
	case <-r.Context().Done():
		server.WriteProblem(w, r, entra.AsError(r.Context().Err()))
	}
}

func TestDrainLetsRequestsInFlightEnd(t *testing.T) {
	h := newHeld()
	b := run(t, server.Config{}, only(at("/slow", h.ServeHTTP), at("/token", echo)))
	idle := b.dial(t) // a keep-alive connection between two requests
	const request = "GET /token HTTP/1.1\r\nHost: localhost\r\n\r\n"
	if _, err := io.WriteString(idle, request); err != nil {
		t.Fatal(err)
	}
	fromIdle := bufio.NewReader(idle)
	readAnswer(t, fromIdle, request)
	if a := b.probe(t, "/readyz"); a.StatusCode != 200 {
		t.Errorf("before the drain: readyz says %d %s", a.StatusCode, a.body)
	}

	answered := make(chan answer)
	go func() {
		a, err := b.try(t, "GET", "http://"+b.callers+"/slow")
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	<-h.arrived
	b.stop()
	b.log.next(t, "draining")

	// The idle connection ends, new ones are refused, and the probes say so.
	if _, err := fromIdle.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("idle connection: got %v, want its end", err)
	}
	if conn, err := net.Dial("tcp", b.callers); err == nil {
		_ = conn.Close()
		t.Error("a new connection was accepted in the drain")
	}
	for path, want := range map[string]int{"/readyz": 503, "/healthz": 503, "/livez": 200, "/metrics": 200} {
		if a := b.probe(t, path); a.StatusCode != want {
			t.Errorf("in the drain: %s says %d %s, want %d", path, a.StatusCode, a.body, want)
		}
	}
	close(h.release)
	if a := <-answered; a.StatusCode != 200 || a.body != "whole" {
		t.Errorf("the request in flight: got %d %q", a.StatusCode, a.body)
	}
	if err := b.drained(t); err != nil {
		t.Errorf("a drain in time: got %v, want no error", err)
	}
}

func TestDrainCutsOffWhatOutlastsTheGracePeriod(t *testing.T) {
	for name, request := range map[string]string{
		"waiting for its answer": "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"still sending":          "POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeld()
			b := run(t, server.Config{Grace: 50 * time.Millisecond}, only(at("/slow", h.ServeHTTP)))
			conn := b.dial(t)
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			<-h.arrived
			b.stop()
			if err := b.drained(t); err != nil {
				t.Errorf("got %v, want no error: it ended as told", err)
			}
			if got := b.log.next(t, "requests cut off at the end of the drain"); got["level"] != "WARN" || got["requests"] != 1.0 {
				t.Errorf("got %v, want a warning with the number", got)
			}
			// Not a 200 without a body, which would look like an answer.
			if rest, _ := io.ReadAll(conn); len(rest) != 0 {
				t.Errorf("the caller got %q, want a broken connection", rest)
			}
			// The handler was waited for: its line is in the log by now.
			close(b.log)
			var line string
			for line = range b.log {
			}
			for _, want := range []string{`"msg":"request"`, `"status":503`, `"kind":"unavailable"`, `cut off at the end of the drain`} {
				if !strings.Contains(line, want) {
					t.Errorf("got %q as the last line of the log, want %s in it", line, want)
				}
			}
		})
	}
}

func TestHandlerThatNeverEndsDoesNotHoldTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arrived, forever := make(chan struct{}), make(chan struct{})
		defer close(forever)
		dial, b := network(t, server.Config{Grace: time.Second}, at("/stuck", func(http.ResponseWriter, *http.Request) {
			close(arrived)
			<-forever
		}))
		if _, err := io.WriteString(dial(), "GET /stuck"+proven+"\r\n"); err != nil {
			t.Fatal(err)
		}
		<-arrived
		start := time.Now()
		b.stop()
		if err := b.drained(t); err != nil {
			t.Errorf("got %v, want no error", err)
		}
		if got, want := time.Since(start), 4*time.Second; got != want {
			t.Errorf("the server ended after %s, want %s: the grace period, a second for its last words and two for its generation", got, want)
		}
	})
}

func TestListenerThatFailsEndsTheServer(t *testing.T) {
	callers := listen(t, "tcp4", "127.0.0.1:0")
	b := runOn(t, everybody(), server.Config{}, only(at("/token", echo)), callers, listen(t, "tcp4", "127.0.0.1:0"))
	b.do(t, "GET", "/token")
	_ = callers.Close()
	err := b.drained(t)
	if !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), b.callers) {
		t.Errorf("got %v, want the listener and why it failed", err)
	}
	if _, err := net.Dial("tcp", b.ops); err == nil {
		t.Error("the operators' listener goes on")
	}
}

func TestHeaderLimits(t *testing.T) {
	b := run(t, server.Config{}, only(at("/token", echo)))
	for size, want := range map[int]int{16 << 10: 200, 30 << 10: 200, 64 << 10: 431, 1 << 20: 431} {
		conn := b.dial(t)
		request := "GET /token HTTP/1.1\r\nHost: localhost\r\nX-User-Assertion: " + strings.Repeat("a", size) + "\r\n\r\n"
		go func() { _, _ = io.WriteString(conn, request) }() // may be cut off in the middle
		if a := readAnswer(t, bufio.NewReader(conn), "GET"); a.StatusCode != want {
			t.Errorf("%d bytes: got %d, want %d", size, a.StatusCode, want)
		}
	}
}

func TestHTTP10(t *testing.T) {
	b := run(t, server.Config{}, only(at("/token", echo)))
	conn := b.dial(t)
	const request = "GET /token HTTP/1.0\r\nHost: localhost\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if a := readAnswer(t, r, request); a.StatusCode != 200 || strings.TrimSpace(a.body) != "GET /token" {
		t.Errorf("got %d %q", a.StatusCode, a.body)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the answer: got %v, want the connection's end", err)
	}
}

// lasts sends text and returns how long the connection lives on, and what came.
func lasts(t *testing.T, conn net.Conn, text string) (time.Duration, string) {
	t.Helper()
	start := time.Now()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	came, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return time.Since(start), string(came)
}

func TestIdleConnectionsEnd(t *testing.T) {
	const answered = "200 OK"
	for name, tt := range map[string]struct {
		cfg  server.Config
		sent string
		want time.Duration
		came string
	}{
		"silent":                       {server.Config{}, "", 5 * time.Second, ""},
		"half a header":                {server.Config{}, "GET /token HTTP/1.1\r\nHost: loc", 5 * time.Second, ""},
		"half a header, less patience": {server.Config{ReadHeaderTimeout: time.Second}, "GET /token HTTP/1.1\r\nHost: loc", time.Second, ""},
		"after an answer":              {server.Config{}, "GET /token" + proven + "\r\n", 2 * time.Minute, answered},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial, _ := network(t, tt.cfg, at("/token", echo))
				got, came := lasts(t, dial(), tt.sent)
				if got != tt.want || !strings.Contains(came, tt.came) || tt.came == "" && came != "" {
					t.Errorf("the connection lasted %s, want %s; %q came", got, tt.want, came)
				}
			})
		})
	}
}

// Also for a caller that is still sending, whose end net/http would not see.
func TestGraceIsTwentySecondsUnlessSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		dial, b := network(t, server.Config{}, at("/slow", h.ServeHTTP))
		if _, err := io.WriteString(dial(), "POST /slow"+proven+"Content-Length: 9\r\n\r\nhalf"); err != nil {
			t.Fatal(err)
		}
		<-h.arrived
		start := time.Now()
		b.stop()
		if err := b.drained(t); err != nil {
			t.Errorf("got %v, want no error", err)
		}
		if got, want := time.Since(start), 20*time.Second; got != want {
			t.Errorf("the server ended after %s, want %s", got, want)
		}
	})
}
