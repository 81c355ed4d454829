// Package server stands at the local listeners: it admits callers, gives each
// request its id and its line in the log, counts, reports health, and drains.
//
// What the paths do comes in as [Mount]s; echo and the Prometheus client are
// seen nowhere else.
package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

const (
	idleTimeout    = 2 * time.Minute // a caller's idle keep-alive connection
	maxHeaderBytes = 32 << 10        // an on-behalf-of assertion with many groups fits
)

// Config is what a [Server] needs.
type Config struct {
	Guard  *guard.Guard
	Logger *slog.Logger
	// Status is what /readyz shows beside the verdict: no secrets. Nil: nothing.
	Status func() any
	// Counters are figures that other packages keep and /metrics shows.
	Counters []Counter

	ReadHeaderTimeout time.Duration // time to send the header; zero: 5 s
	ReadTimeout       time.Duration // time to send header and body; zero: as long as bytes keep coming
	Grace             time.Duration // time to drain; zero: 20 s
}

// Listener is where callers come in, and what answers them there.
type Listener struct {
	net.Listener
	Handler http.Handler
}

// Server serves callers and operators.
type Server struct {
	cfg      Config
	metrics  *metrics
	draining atomic.Bool
}

// New makes a server. It serves nothing before [Server.Serve].
func New(cfg Config) *Server {
	if cfg.ReadHeaderTimeout == 0 {
		cfg.ReadHeaderTimeout = 5 * time.Second
	}
	if cfg.Grace == 0 {
		cfg.Grace = 20 * time.Second
	}
	return &Server{cfg: cfg, metrics: newMetrics(cfg.Counters)}
}

// Serve answers on all listeners until ctx ends; then it reports not ready,
// lets the requests in flight end within the grace period, and closes what is
// left. It owns the listeners. A drain in time is no error.
func (s *Server) Serve(ctx context.Context, callers []Listener, ops ...net.Listener) error {
	// Requests live longer than ctx: its end starts the drain, not their death.
	requests, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()

	var servers []*http.Server
	failed := make(chan error, len(callers)+1)
	var running sync.WaitGroup
	start := func(l net.Listener, h http.Handler) {
		srv := &http.Server{
			Handler:           h,
			ReadHeaderTimeout: s.cfg.ReadHeaderTimeout,
			ReadTimeout:       s.cfg.ReadTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			BaseContext:       func(net.Listener) context.Context { return requests },
			ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
		}
		servers = append(servers, srv)
		running.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	for _, l := range callers {
		start(l.Listener, l.Handler)
	}
	opsFrom := len(servers)
	for _, l := range ops {
		start(l, s.Ops())
	}

	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
	}
	s.draining.Store(true)
	s.cfg.Logger.Info("draining", "grace_s", int(s.cfg.Grace.Seconds()))
	drained := s.drain(requests, servers[:opsFrom])
	kill()
	// The probes are answered to the end, so that the drain can be watched.
	for _, srv := range servers {
		_ = srv.Close()
	}
	running.Wait()
	return errors.Join(cause, drained)
}

// drain waits for the requests in flight, for the grace period at most.
func (s *Server) drain(ctx context.Context, servers []*http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Grace)
	defer cancel()
	errs := make([]error, len(servers))
	var all sync.WaitGroup
	for i, srv := range servers {
		all.Go(func() { errs[i] = srv.Shutdown(ctx) })
	}
	all.Wait()
	if errors.Join(errs...) != nil {
		return entra.Errorf(entra.Timeout, "server.drain", "requests still in flight after the grace period of %s were cut off", s.cfg.Grace)
	}
	return nil
}
