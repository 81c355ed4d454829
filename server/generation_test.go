package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/server"
)

// says answers with its text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// swap puts a generation of one handler into service and returns where it tells
// that it is retired.
func swap(t *testing.T, s *server.Server, h http.Handler) (retired chan struct{}) {
	t.Helper()
	retired = make(chan struct{}, 2) // were it to tell twice, nobody would wait for the second
	if err := s.Swap(server.Generation{Handlers: []http.Handler{h}, Retired: func() { retired <- struct{}{} }}); err != nil {
		t.Fatal(err)
	}
	return retired
}

func isRetired(retired chan struct{}) bool { return len(retired) == 1 }

func silent() *server.Server { return server.New(server.Config{Logger: slog.New(slog.DiscardHandler)}) }

func TestRequestIsAnsweredByTheGenerationThatItCameTo(t *testing.T) {
	b := run(t, server.Config{}, only())
	h := newHeld()
	first := swap(t, b.server, h)
	answered := make(chan answer)
	go func() {
		a, err := b.try(t, "GET", "http://"+b.callers+"/")
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	<-h.arrived
	second := swap(t, b.server, says("second"))
	if got := b.do(t, "GET", "/").body; got != "second" {
		t.Errorf("after the swap: got %q", got)
	}
	if isRetired(first) {
		t.Error("a generation was retired while it had a request")
	}
	close(h.release)
	if got := (<-answered).body; got != "whole" {
		t.Errorf("the request from before the swap: got %q", got)
	}
	<-first
	if isRetired(second) {
		t.Error("the generation in service was retired")
	}
	b.stop()
	if err := b.drained(t); err != nil {
		t.Error(err)
	}
	if !isRetired(second) || isRetired(first) {
		t.Error("at the end the generation in service has to be retired, and no other again")
	}
}

func TestConnectionsGoOnAcrossSwaps(t *testing.T) {
	b := run(t, server.Config{}, only())
	conn := b.dial(t)
	from := bufio.NewReader(conn)
	for i := range 5 {
		want := fmt.Sprint("generation ", i)
		swap(t, b.server, says(want))
		if err := ask(conn, from, want); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestGenerationWithoutRequestsIsRetiredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := silent()
		first := swap(t, s, says("first"))
		second := swap(t, s, says("second"))
		if err := s.Swap(server.Generation{Handlers: []http.Handler{says("third")}}); err != nil { // which has nothing to do at its end
			t.Fatal(err)
		}
		synctest.Wait()
		if !isRetired(first) || !isRetired(second) {
			t.Errorf("first retired: %t, second: %t", isRetired(first), isRetired(second))
		}
	})
}

func TestEachListenerHasItsHandler(t *testing.T) {
	s := silent()
	var listeners []net.Listener
	var generation server.Generation
	for _, name := range []string{"everything", "defender", "graph"} {
		listeners = append(listeners, listen(t, "tcp4", "127.0.0.1:0"))
		generation.Handlers = append(generation.Handlers, says(name))
	}
	if err := s.Swap(generation); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, listeners) }()
	for n, want := range []string{"everything", "defender", "graph"} {
		b := &broker{callers: listeners[n].Addr().String(), client: &http.Client{Transport: new(http.Transport)}}
		if got := b.do(t, "GET", "/").body; got != want {
			t.Errorf("listener %d answers %q, want %q", n, got, want)
		}
		b.client.CloseIdleConnections()
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestGenerationMustFitTheListeners(t *testing.T) {
	for name, tt := range map[string]struct {
		handlers, listeners int
		want                string
	}{
		"none":     {0, 1, "no generation to serve"},
		"too few":  {1, 2, "a generation of 1 handlers for 2 listeners"},
		"too many": {2, 1, "a generation of 2 handlers for 1 listeners"},
	} {
		t.Run(name, func(t *testing.T) {
			s, retired := silent(), make(chan struct{}, 1)
			if tt.handlers > 0 {
				if err := s.Swap(server.Generation{Handlers: make([]http.Handler, tt.handlers), Retired: func() { close(retired) }}); err != nil {
					t.Fatal(err)
				}
			} else {
				close(retired)
			}
			var listeners []net.Listener
			for range tt.listeners {
				listeners = append(listeners, listen(t, "tcp4", "127.0.0.1:0"))
			}
			ops := listen(t, "tcp4", "127.0.0.1:0")
			if err := s.Serve(t.Context(), listeners, ops); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
			<-retired
			for _, l := range append(listeners, ops) {
				if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("a listener stays open: %v", err)
				}
			}
		})
	}
}

func TestGenerationWithOtherListenersIsRefused(t *testing.T) {
	b := run(t, server.Config{}, only())
	swap(t, b.server, says("first"))
	err := b.server.Swap(server.Generation{Handlers: make([]http.Handler, 2), Retired: func() { t.Error("it is its maker's, and was retired") }})
	if err == nil || !strings.Contains(err.Error(), "a generation of 2 handlers after one of 1") {
		t.Errorf("got %v", err)
	}
	if got := b.do(t, "GET", "/").body; got != "first" {
		t.Errorf("got %q from the generation in service", got)
	}
}

// A reload may come in the moment in which the broker ends.
func TestGenerationAfterTheEndIsRetiredAtOnce(t *testing.T) {
	b := run(t, server.Config{}, only())
	b.stop()
	if err := b.drained(t); err != nil {
		t.Error(err)
	}
	if !isRetired(swap(t, b.server, says("late"))) {
		t.Error("it was not retired")
	}
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Error("a request after the end was answered")
		}
	}()
	b.server.Answer(0).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
}

// What the end of a generation takes is not the caller's to wait for, who was
// its last; Serve waits for a while.
func TestRetirementHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, b := network(t, server.Config{})
		forever := make(chan struct{})
		defer close(forever)
		arrived := make(chan struct{})
		if err := b.server.Swap(server.Generation{
			Handlers: []http.Handler{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(arrived)
				time.Sleep(time.Second) // in which it is swapped out
				_, _ = io.WriteString(w, "last")
			})},
			Retired: func() { <-forever },
		}); err != nil {
			t.Fatal(err)
		}
		conn := dial()
		from := bufio.NewReader(conn)
		start := time.Now()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		<-arrived
		retired := swap(t, b.server, says("next"))
		for _, want := range []string{"last", "next"} {
			if got := readAnswer(t, from, "GET").body; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("the callers waited %s", took)
		}
		start = time.Now()
		b.stop()
		if err := b.drained(t); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("Serve returned after %s, want two seconds for what does not end", took)
		}
		if !isRetired(retired) {
			t.Error("the generation in service was not retired")
		}
	})
}

// A request that breaks off has ended too.
func TestGenerationIsRetiredAfterRequestsThatBreakOff(t *testing.T) {
	b := run(t, server.Config{}, only())
	retired := swap(t, b.server, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	if a, err := b.try(t, "GET", "http://"+b.callers+"/"); err == nil {
		t.Errorf("got %d, want a broken connection", a.StatusCode)
	}
	swap(t, b.server, says("next"))
	<-retired
}

// living is a generation that knows whether it may still answer.
type living struct {
	retired atomic.Int32
	over    *atomic.Int64 // requests that were answered by one that was retired
}

func (l *living) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "alive")
	if l.retired.Load() != 0 {
		l.over.Add(1)
	}
}

func TestThousandsOfSwapsUnderLoadLoseNoRequest(t *testing.T) {
	const swaps, callers = 4000, 8
	b := run(t, server.Config{}, only())
	var over atomic.Int64
	generations := make([]*living, swaps)
	next := func(i int) {
		g := &living{over: &over}
		generations[i] = g
		if err := b.server.Swap(server.Generation{Handlers: []http.Handler{g}, Retired: func() { g.retired.Add(1) }}); err != nil {
			t.Error(err)
		}
	}
	next(0)
	ctx, stop := context.WithCancel(t.Context())
	answered := make(chan struct{})
	var load sync.WaitGroup
	for range callers {
		conn := b.dial(t)
		load.Go(func() {
			from := bufio.NewReader(conn)
			for ctx.Err() == nil {
				if err := ask(conn, from, "alive"); err != nil {
					t.Error(err)
					return
				}
				select {
				case answered <- struct{}{}:
				default:
				}
			}
		})
	}
	load.Go(func() { // without a connection, which is many times as fast
		for answer := b.server.Answer(0); ctx.Err() == nil; {
			answer.ServeHTTP(httptest.NewRecorder(), nil)
		}
	})
	for i := 1; i < swaps; i++ {
		next(i)
		if i%4 == 0 { // lest the swaps be over before the first callers are
			select {
			case <-answered:
			case <-time.After(10 * time.Second):
				t.Fatal("nobody is answered")
			}
		}
	}
	stop()
	load.Wait()
	b.stop()
	if err := b.drained(t); err != nil {
		t.Error(err)
	}
	for i, g := range generations {
		if got := g.retired.Load(); got != 1 {
			t.Errorf("generation %d was retired %d times", i, got)
		}
	}
	if over.Load() > 0 {
		t.Errorf("%d requests were answered by a generation that was retired", over.Load())
	}
}

// ask sends a request over a connection that is kept, and wants an answer.
func ask(conn net.Conn, from *bufio.Reader, want string) error {
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != want {
		return fmt.Errorf("got %q, %w", body, err)
	}
	return nil
}

// A reload makes its handlers anew; the figures go on.
func TestHandlersMadeAnewCountOn(t *testing.T) {
	b := run(t, server.Config{}, only())
	for range 3 {
		swap(t, b.server, b.server.Handler(everybody(), at("/token", echo)))
		b.do(t, "GET", "/token")
		b.log.next(t, "request")
	}
	if want := `tokenbroker_requests_total{class="2xx",mount="token"} 3`; !strings.Contains(b.probe(t, "/metrics").body, want) {
		t.Errorf("/metrics has no %s", want)
	}
}
