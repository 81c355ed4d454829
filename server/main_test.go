package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tokenbroker/emulator"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key    = "caller-key-canary-0123456789"
	secret = "query-and-header-canary"
)

// logLines is where a logger writes to and a test reads from, line by line.
type logLines chan string

func (l logLines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// next waits for the next line whose message is msg, or for any where that is
// empty, and returns it decoded.
func (l logLines) next(t *testing.T, msg string) map[string]any {
	t.Helper()
	for {
		select {
		case text := <-l:
			var line map[string]any
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatalf("log line %q: %v", text, err)
			}
			if msg == "" || line["msg"] == msg {
				return line
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no log line %q", msg)
		}
	}
}

// broker is a server that runs, on real listeners unless it is told others.
type broker struct {
	callers, ops string // addresses
	log          logLines
	client       *http.Client
	server       *server.Server

	stop func()       // begins the drain
	done <-chan error // what Serve returned
}

// run starts a server that admits every local caller, and stops it at the
// test's end.
func run(t *testing.T, cfg server.Config, mounts func(*server.Server) []server.Mount) *broker {
	t.Helper()
	return runOn(t, everybody(), cfg, mounts, listen(t, "tcp4", "127.0.0.1:0"), listen(t, "tcp4", "127.0.0.1:0"))
}

// runKeyed starts a server that wants the key.
func runKeyed(t *testing.T, cfg server.Config, mounts func(*server.Server) []server.Mount) *broker {
	t.Helper()
	return runOn(t, keyed(), cfg, mounts, listen(t, "tcp4", "127.0.0.1:0"), listen(t, "tcp4", "127.0.0.1:0"))
}

func runOn(t *testing.T, g *guard.Guard, cfg server.Config, mounts func(*server.Server) []server.Mount, callers, ops net.Listener) *broker {
	t.Helper()
	log := make(logLines, 1024)
	cfg.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := server.New(cfg)
	if err := s.Swap(server.Generation{Handlers: []http.Handler{s.Handler(g, mounts(s)...)}}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	b := &broker{
		callers: callers.Addr().String(), ops: ops.Addr().String(), log: log, stop: stop, done: done,
		client: &http.Client{Transport: new(http.Transport)}, server: s,
	}
	go func() {
		done <- s.Serve(ctx, []net.Listener{callers}, ops)
	}()
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		stop()
		_ = b.drained(t) // what a test wants to know of it, it asks itself
	})
	return b
}

// drained waits until Serve returns, and returns what it did.
func (b *broker) drained(t *testing.T) error {
	t.Helper()
	select {
	case err := <-b.done:
		b.done = closed() // it can be asked again
		return err
	case <-time.After(time.Minute):
		t.Fatal("the server goes on")
		return nil
	}
}

func closed() <-chan error {
	c := make(chan error)
	close(c)
	return c
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// answer is a response that was read to its end.
type answer struct {
	*http.Response
	body string
}

// problem decodes the body.
func (a answer) problem(t *testing.T) map[string]any {
	t.Helper()
	if got, want := a.Header.Get("Content-Type"), "application/problem+json"; got != want {
		t.Errorf("got Content-Type %q, want %q", got, want)
	}
	var p map[string]any
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
	return p
}

// do sends a request to the callers' listener; headers are "Name: value".
func (b *broker) do(t *testing.T, method, target string, headers ...string) answer {
	t.Helper()
	a, err := b.try(t, method, "http://"+b.callers+target, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// probe sends a GET to the operators' listener.
func (b *broker) probe(t *testing.T, path string) answer {
	t.Helper()
	a, err := b.try(t, http.MethodGet, "http://"+b.ops+path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (b *broker) try(t *testing.T, method, url string, headers ...string) (answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	res, err := b.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res, string(body)}, err
}

// raw sends bytes as they stand on a connection of its own and returns the
// one answer.
func (b *broker) raw(t *testing.T, request string) answer {
	t.Helper()
	conn := b.dial(t)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, bufio.NewReader(conn), request)
}

func (b *broker) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", b.callers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func readAnswer(t *testing.T, r *bufio.Reader, request string) answer {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	return answer{res, string(body)}
}

// at is a mount of the broker's own kind.
func at(path string, h http.HandlerFunc, methods ...string) server.Mount {
	return server.Mount{
		Name: strings.Trim(path, "/*"), Path: path, Methods: methods, Handler: h,
		Keys: guard.HeaderKeys, WriteError: server.WriteProblem,
	}
}

// only is the mounts func of mounts that need no server.
func only(mounts ...server.Mount) func(*server.Server) []server.Mount {
	return func(*server.Server) []server.Mount { return mounts }
}

// echo answers with what reached it.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, _ = io.WriteString(w, r.Method+" "+r.URL.EscapedPath()+" "+string(bytes.TrimSpace(body)))
}

// accept answers as echo does, and is told from it by its status.
func accept(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusAccepted)
	echo(w, r)
}

// fail answers with an error.
func fail(err *entra.Error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { server.WriteProblem(w, r, err) }
}

func everybody() *guard.Guard { return guard.New(guard.Config{}) }

func keyed() *guard.Guard {
	return guard.New(guard.Config{Keys: guard.NewKeyring(map[string][]entra.Secret{guard.Local: {entra.NewSecret(key)}})})
}

// network is a server in a synctest bubble, where an hour takes no time. Its
// callers cannot be seen to be local, so they have a key.
func network(t *testing.T, cfg server.Config, mounts ...server.Mount) (dial func() net.Conn, b *broker) {
	t.Helper()
	memory := emulator.NewNetwork()
	door := func(host string) net.Listener {
		l, err := memory.Listen(host)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	b = runOn(t, keyed(), cfg, only(mounts...), door("callers"), door("ops"))
	return func() net.Conn {
		conn, err := memory.DialContext(t.Context(), "tcp", "callers:1")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}, b
}

const proven = " HTTP/1.1\r\nHost: localhost\r\nX-Broker-Key: " + key + "\r\n"
