package server

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tokenbroker/entra"
)

// retirement is how long the end of [Server.Serve] waits for generations to be
// retired. One whose request never ends is not.
const retirement = 2 * time.Second

// Generation is what answers callers under one configuration. A request is
// answered from beginning to end by the generation that was in service when it
// came, over however many others its connection goes on.
type Generation struct {
	Handlers []http.Handler // one for each callers' listener, in their order
	// Retired is called once, and not on a request's goroutine: when another
	// generation is in service, or none any more, and the last request has ended.
	// Nil: nothing is to be done then.
	Retired func()
}

func (g *Generation) retire() {
	if g.Retired != nil {
		g.Retired()
	}
}

// Swap puts g into service for the requests that come from now on. A generation
// that has not as many handlers as the one before is refused and stays its
// maker's. After the end of [Server.Serve] it is retired before Swap returns.
func (s *Server) Swap(g Generation) error { return s.generations.swap(g) }

// generations are what is in service, and what still answers the requests that
// it had before it was swapped out.
type generations struct {
	current atomic.Pointer[generation] // nil: before the first swap, and after the end

	swapping sync.Mutex // guards ended; held for a whole swap, which waits for no request
	ended    bool
	retiring sync.WaitGroup // one for each generation that is not retired yet
}

// generation counts who needs it.
type generation struct {
	Generation
	users atomic.Int64 // the requests, and one more for being in service; once zero it stays so
}

// acquire counts a request in, unless the generation has come to its end.
func (g *generation) acquire() bool {
	for {
		n := g.users.Load()
		if n == 0 {
			return false
		}
		if g.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *generations) swap(g Generation) error {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	if s.ended {
		g.retire()
		return nil
	}
	before := s.current.Load()
	if before != nil && len(before.Handlers) != len(g.Handlers) {
		return entra.Errorf(entra.Internal, "server.swap", "a generation of %d handlers after one of %d: listeners come and go with a restart only", len(g.Handlers), len(before.Handlers))
	}
	s.retiring.Add(1)
	next := &generation{Generation: g}
	next.users.Store(1)
	s.current.Store(next)
	if before != nil {
		s.release(before)
	}
	return nil
}

// acquire counts a request into the generation in service; nil: there is none.
func (s *generations) acquire() *generation {
	for {
		// One that has come to its end was replaced before, so the next look finds
		// another.
		if g := s.current.Load(); g == nil || g.acquire() {
			return g
		}
	}
}

// release counts out what was counted in. Whoever is the last does not wait for
// what the end of a generation takes.
func (s *generations) release(g *generation) {
	if g.users.Add(-1) == 0 {
		go func() {
			defer s.retiring.Done()
			g.retire()
		}()
	}
}

// handler answers the requests of the nth listener.
func (s *generations) handler(n int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := s.acquire()
		if g == nil { // it slept through the whole drain between its connection and here
			panic(http.ErrAbortHandler)
		}
		defer s.release(g)
		g.Handlers[n].ServeHTTP(w, r)
	})
}

// fits reports why there is nothing to serve n listeners with, if so.
func (s *generations) fits(n int) error {
	switch g := s.current.Load(); {
	case g == nil:
		return entra.Errorf(entra.Internal, "server.serve", "no generation to serve: swap one in first")
	case len(g.Handlers) != n:
		return entra.Errorf(entra.Internal, "server.serve", "a generation of %d handlers for %d listeners: want one for each", len(g.Handlers), n)
	}
	return nil
}

// end takes the generation in service out of it, and waits until all are
// retired, or for as long as that may take.
func (s *generations) end() {
	s.swapping.Lock()
	s.ended = true
	last := s.current.Swap(nil)
	s.swapping.Unlock()
	if last != nil {
		s.release(last)
	}
	waitAtMost(retirement, s.retiring.Wait)
}
