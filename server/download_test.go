package server_test

import (
	"bufio"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/server"
)

func TestAnswersMustBeRead(t *testing.T) {
	const pieces, size = 10, 32 << 10
	for name, tt := range map[string]struct {
		every time.Duration // the caller reads half a piece; zero: never
		took  time.Duration // the handler
		wrote int
	}{
		"slow but steady": {30 * time.Second, 8 * time.Minute, pieces},
		"stalls":          {0, 2 * time.Minute, 1}, // into net/http's buffer
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wrote, took := 0, make(chan time.Duration, 1)
				dial, _ := network(t, server.Config{}, at("/streams", func(w http.ResponseWriter, _ *http.Request) {
					start, piece := time.Now(), make([]byte, size)
					for ; wrote < pieces; wrote++ {
						if _, err := w.Write(piece); err != nil {
							break
						}
					}
					took <- time.Since(start)
				}))
				conn := dial()
				if _, err := io.WriteString(conn, "GET /streams"+proven+"Connection: close\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				for err := error(nil); tt.every > 0 && err == nil; {
					time.Sleep(tt.every)
					_, err = io.ReadFull(conn, make([]byte, size/2))
				}
				if got := <-took; wrote != tt.wrote || got < tt.took || got > tt.took+time.Minute {
					t.Errorf("the handler wrote %d pieces in %s, want %d in %s", wrote, got, tt.wrote, tt.took)
				}
			})
		})
	}
}

// The deadline runs while something is written, not while the handler thinks;
// an interim answer is written too, past every writer that can be unwrapped.
func TestAnswerMayBeginLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, _ := network(t, server.Config{}, at("/thinks", func(w http.ResponseWriter, _ *http.Request) {
			inner := w
			for {
				outer, ok := inner.(interface{ Unwrap() http.ResponseWriter })
				if !ok {
					break
				}
				inner = outer.Unwrap()
			}
			time.Sleep(time.Hour)
			inner.WriteHeader(http.StatusEarlyHints)
			time.Sleep(time.Hour)
			_, _ = io.WriteString(w, "at last")
		}))
		conn := dial()
		from := bufio.NewReader(conn)
		for range 2 { // the next request on the connection as well
			if _, err := io.WriteString(conn, "GET /thinks"+proven+"\r\n"); err != nil {
				t.Fatal(err)
			}
			if a := readAnswer(t, from, "GET"); a.StatusCode != http.StatusEarlyHints {
				t.Errorf("got %d, want the interim answer", a.StatusCode)
			}
			if a := readAnswer(t, from, "GET"); a.StatusCode != http.StatusOK || a.body != "at last" {
				t.Errorf("got %d %q", a.StatusCode, a.body)
			}
			time.Sleep(time.Minute)
		}
	})
}
