package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/entra"
	"tokenbroker/server"
)

// drip writes text, then a byte every so often, n of them.
func drip(conn net.Conn, text string, n int, every time.Duration) {
	_, _ = io.WriteString(conn, text)
	for range n {
		time.Sleep(every)
		if _, err := io.WriteString(conn, "x"); err != nil {
			return
		}
	}
}

func TestBodiesMustKeepComing(t *testing.T) {
	// readBody says how the reading of the body ended.
	readBody := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			server.WriteProblem(w, r, entra.Errorf(entra.Timeout, "", "after %d: %w", len(body), err))
			return
		}
		_, _ = io.WriteString(w, "whole")
	}
	const ten = proven + "Content-Length: 10\r\n\r\n"
	for name, tt := range map[string]struct {
		cfg     server.Config
		path    string
		request string
		n       int
		every   time.Duration
		want    time.Duration // until the answer
		status  int
	}{
		"quick":                                   {path: "/reads", request: ten, n: 10, want: 0, status: 200},
		"slow but steady":                         {path: "/reads", request: ten, n: 10, every: 59 * time.Second, want: 590 * time.Second, status: 200},
		"stalls":                                  {path: "/reads", request: ten, n: 5, every: time.Second, want: 65 * time.Second, status: 504},
		"never begins":                            {path: "/reads", request: ten, want: time.Minute, status: 504},
		"within the whole's time":                 {cfg: server.Config{ReadTimeout: 11 * time.Second}, path: "/reads", request: ten, n: 10, every: time.Second, want: 10 * time.Second, status: 200},
		"steady, but late as a whole":             {cfg: server.Config{ReadTimeout: 9500 * time.Millisecond}, path: "/reads", request: ten, n: 10, every: time.Second, want: 9500 * time.Millisecond, status: 504},
		"nobody reads it":                         {path: "/ignores", request: ten, want: time.Minute, status: 200},
		"refused, and it never comes":             {path: "/reads", request: " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n", want: 0, status: 401},
		"refused by method likewise":              {path: "/get", request: ten, want: time.Minute, status: 405},
		"the answer takes long":                   {path: "/reads-and-waits", request: ten, n: 10, want: time.Hour, status: 200},
		"the answer takes long, chunks":           {path: "/reads-and-waits", request: proven + "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", want: time.Hour, status: 200},
		"the answer takes longer than a body may": {cfg: server.Config{ReadTimeout: 10 * time.Second}, path: "/reads-and-waits", request: ten, n: 10, want: time.Hour, status: 200},
		"no body, the answer takes long":          {cfg: server.Config{ReadTimeout: 10 * time.Second}, path: "/reads-and-waits", request: proven + "\r\n", want: time.Hour, status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial, _ := network(t, tt.cfg,
					at("/reads", readBody),
					at("/get", echo, http.MethodGet),
					at("/ignores", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ignored") }),
					at("/reads-and-waits", func(w http.ResponseWriter, r *http.Request) {
						_, _ = io.Copy(io.Discard, r.Body)
						select {
						case <-time.After(time.Hour):
							_, _ = io.WriteString(w, "at last")
						case <-r.Context().Done():
							server.WriteProblem(w, r, entra.AsError(r.Context().Err()))
						}
					}),
				)
				conn := dial()
				start := time.Now()
				var caller sync.WaitGroup
				caller.Go(func() { drip(conn, "POST "+tt.path+tt.request, tt.n, tt.every) })
				defer caller.Wait()
				a := readAnswer(t, bufio.NewReader(conn), "POST")
				defer conn.Close()
				if got := time.Since(start); a.StatusCode != tt.status || got != tt.want {
					t.Errorf("got %d after %s, want %d after %s: %s", a.StatusCode, got, tt.status, tt.want, a.body)
				}
			})
		})
	}
}

// Who is not admitted yet has no longer for a body with a key in it than for a
// header. Once admitted it may be as slow as others.
func TestBodyWithAKeyComesAsQuicklyAsAHeader(t *testing.T) {
	for name, tt := range map[string]struct {
		keyed  int // bytes that the key takes
		want   time.Duration
		status int
	}{
		"the key never ends":     {keyed: 10, want: 5 * time.Second, status: 401},
		"the key is there early": {keyed: 3, want: 9 * time.Second, status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := at("/form", func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.ReadAll(r.Body); err != nil {
						t.Error(err)
					}
					_, _ = io.WriteString(w, "whole")
				})
				m.Keys = func(r *http.Request) ([]entra.Secret, error) {
					if _, err := io.ReadFull(r.Body, make([]byte, tt.keyed)); err != nil {
						return nil, entra.Errorf(entra.Unadmitted, "", "key: came too late")
					}
					return []entra.Secret{entra.NewSecret(key)}, nil
				}
				dial, _ := network(t, server.Config{}, m)
				conn := dial()
				start := time.Now()
				var caller sync.WaitGroup
				caller.Go(func() {
					drip(conn, "POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx", 9, time.Second)
				})
				defer caller.Wait()
				a := readAnswer(t, bufio.NewReader(conn), "POST")
				defer conn.Close()
				if got := time.Since(start); a.StatusCode != tt.status || got != tt.want {
					t.Errorf("got %d after %s, want %d after %s: %s", a.StatusCode, got, tt.status, tt.want, a.body)
				}
			})
		})
	}
}

// The body's deadline is its own: the next request on the connection has
// another, and a reader that outlives its handler does not touch it.
func TestBodysDeadlineEndsWithItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := make(chan func())
		dial, _ := network(t, server.Config{},
			at("/leaks", func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadFull(r.Body, make([]byte, 1))
				go func() { late <- func() { _, _ = r.Body.Read(make([]byte, 1)) } }()
			}),
			at("/waits", func(w http.ResponseWriter, r *http.Request) {
				(<-late)() // the reader of the request before
				select {
				case <-time.After(time.Hour):
					_, _ = io.WriteString(w, "at last")
				case <-r.Context().Done():
					server.WriteProblem(w, r, entra.AsError(r.Context().Err()))
				}
			}),
		)
		conn := dial()
		r := bufio.NewReader(conn)
		for _, request := range []string{"POST /leaks" + proven + "Content-Length: 2\r\n\r\nxy", "GET /waits" + proven + "\r\n"} {
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			if a := readAnswer(t, r, "GET"); a.StatusCode != 200 {
				t.Errorf("%s: got %d %s", request[:11], a.StatusCode, a.body)
			}
		}
	})
}
