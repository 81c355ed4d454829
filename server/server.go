// Package server stands at the local listeners: it admits callers, gives each
// request its id, its line in the log and its audit record, counts, reports
// health, and drains.
//
// What the paths do comes in as [Mount]s, and who may come as a guard:
// both are part of a [Generation], of which a running server gets a new one with
// each configuration. echo and the Prometheus client are seen nowhere else.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tokenbroker/entra"
)

const (
	idleTimeout    = 2 * time.Minute // of a caller's keep-alive connection
	maxHeaderBytes = 32 << 10        // an on-behalf-of assertion with many groups fits
	lastWords      = time.Second     // for handlers whose connections were cut, to note how they ended
)

// errCutOff is why the requests' contexts end after the drain. To the mounts
// it is a cancellation like a caller's: nobody reads what they would answer.
var errCutOff = fmt.Errorf("cut off at the end of the drain: %w", context.Canceled)

// Config is what a [Server] needs.
type Config struct {
	Logger *slog.Logger
	// Audit takes the records of the mounts that are audited. Nil: the log does,
	// where the record stands in the place of the request's line.
	Audit slog.Handler
	// Status is what /readyz shows beside the verdict, as JSON: no secrets.
	// Nil: nothing.
	Status func() any
	// Refused says why the configuration, as it is now, is not in force; /readyz
	// shows it. Nil, and none: it is.
	Refused func() []string
	// Counters are figures that other packages keep and /metrics shows.
	Counters []Counter
	// Families are such figures with labels.
	Families []Family

	ReadHeaderTimeout time.Duration // time to send the header; zero: 5 s
	ReadTimeout       time.Duration // time to send header and body; zero: as long as bytes keep coming
	Grace             time.Duration // time to drain; zero: 20 s
}

// Server serves callers and operators.
type Server struct {
	cfg         Config
	metrics     *metrics
	generations generations
	draining    chan struct{} // closed when the drain begins
	inFlight    atomic.Int64  // callers' requests
}

// New makes a server. It serves nothing before [Server.Serve].
func New(cfg Config) *Server {
	if cfg.ReadHeaderTimeout == 0 {
		cfg.ReadHeaderTimeout = 5 * time.Second
	}
	if cfg.Grace == 0 {
		cfg.Grace = 20 * time.Second
	}
	return &Server{cfg: cfg, metrics: newMetrics(cfg.Counters, cfg.Families), draining: make(chan struct{})}
}

// Draining returns what is closed when the drain begins: for a request that
// waits for a person, who may come or not, and would only use up the grace of
// the others.
func (s *Server) Draining() <-chan struct{} { return s.draining }

// Serve answers on all listeners until ctx ends or one of them fails. Then it
// reports not ready, refuses new connections, lets the requests in flight end
// within the grace period, cuts off what is left, and retires the generation in
// service. It is called once, after the first [Server.Swap], with as many
// callers' listeners as that has handlers. It owns the listeners. Its error is a
// listener's: a drain is none, even one that had to cut.
func (s *Server) Serve(ctx context.Context, callers []net.Listener, ops ...net.Listener) error {
	defer s.generations.end()
	if err := s.generations.fits(len(callers)); err != nil {
		for _, l := range slices.Concat(callers, ops) {
			_ = l.Close()
		}
		return err
	}
	// Requests outlive ctx: its end begins the drain.
	requests, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	run := running{failed: make(chan error, len(callers)+len(ops))}
	for n, l := range callers {
		srv := s.httpServer(s.generations.handler(n))
		srv.ConnContext = withPeer
		run.start(requests, srv, l)
	}
	doors := run.servers
	for _, l := range ops {
		run.start(requests, s.httpServer(s.Ops()), l)
	}

	var cause error
	select {
	case <-ctx.Done():
	case cause = <-run.failed:
	}
	close(s.draining)
	s.cfg.Logger.Info("draining", "grace_s", int(s.cfg.Grace.Seconds()))
	s.drain(requests, doors)
	// First the cause, lest the connections' ends look like the callers'.
	cut(errCutOff)
	// The probes are answered until here, so that the drain can be watched.
	run.close()
	run.wait()
	return cause
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            s.cfg.ReadHeaderTimeout,
		ReadTimeout:                  s.cfg.ReadTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" passes admission like the rest
		ErrorLog:                     slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelWarn),
	}
}

// drain waits for the requests in flight, for the grace period at most.
func (s *Server) drain(ctx context.Context, servers []*http.Server) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Grace)
	defer cancel()
	errs := make([]error, len(servers))
	var all sync.WaitGroup
	for i, srv := range servers {
		all.Go(func() { errs[i] = srv.Shutdown(ctx) })
	}
	all.Wait()
	if errors.Join(errs...) != nil {
		s.cfg.Logger.Warn("requests cut off at the end of the drain", "requests", s.inFlight.Load(), "grace_s", int(s.cfg.Grace.Seconds()))
	}
}

// running are the servers that run, and the owner of their goroutines.
type running struct {
	servers []*http.Server
	failed  chan error     // of listeners; holds one of each
	loops   sync.WaitGroup // one for each listener
	conns   sync.WaitGroup // one for each connection
}

// start serves a listener's requests, all of them with a context below ctx.
func (r *running) start(ctx context.Context, srv *http.Server, l net.Listener) {
	srv.BaseContext = func(net.Listener) context.Context { return ctx }
	srv.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			r.conns.Add(1)
		case http.StateClosed, http.StateHijacked:
			r.conns.Done()
		}
	}
	r.servers = append(r.servers, srv)
	r.loops.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			r.failed <- entra.Errorf(entra.Internal, "server.listen", "listener %s: %w", l.Addr(), err)
		}
	})
}

func (r *running) close() {
	for _, srv := range r.servers {
		_ = srv.Close()
	}
}

// wait waits for the goroutines of listeners and connections. A handler that
// does not end with its request's context is not waited for long.
func (r *running) wait() {
	r.loops.Wait() // from here on there are no new connections
	waitAtMost(lastWords, r.conns.Wait)
}

// waitAtMost calls wait, and goes on without it when the time is up.
func waitAtMost(most time.Duration, wait func()) {
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(most):
	}
}
