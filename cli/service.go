package cli

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"

	"tokenbroker/broker"
	"tokenbroker/config"
	"tokenbroker/entra"
	"tokenbroker/server"
)

// service is a broker that runs: its server, and the configurations by which
// it answers. There is one in force, and before it those whose last requests
// have not ended yet.
type service struct {
	srv   *server.Server
	doors []door // in the order of a generation's handlers

	mu      sync.Mutex // guards what follows, and is held while flows and tokens are made to fit it
	inForce *app
	live    []*app // in the order in which they came into force
}

// door is a listener for callers. It stays that of the start.
type door struct {
	net.Listener
	at    config.Listener
	shown *certificateFile // nil: it has no TLS, or a certificate that is made
}

// addresses are where a broker listens, for those who have to find it.
type addresses struct {
	Callers []string // host:port, or unix:/path
	Ops     string
}

// newService makes the server of a service. What it takes from the
// configuration of first changes with a restart only, see [keepUntilRestart].
func newService(first *app, log *logWriter, audit *auditFile, reload *reloader) *service {
	s := new(service)
	s.srv = server.New(server.Config{
		Logger:            first.logger.Logger,
		Audit:             audit.Handler(),
		Status:            func() any { return s.current().status() },
		Refused:           reload.faults,
		Families:          first.traffic.families(),
		Counters:          slices.Concat(cacheCounters(first.cache), lossCounters(log, audit), reload.counters()),
		ReadHeaderTimeout: first.cfg.Limits.ReadHeaderTimeout,
		ReadTimeout:       first.cfg.Limits.ReadTimeout,
		Grace:             first.cfg.Limits.Grace,
	})
	return s
}

// run answers by the configuration of first, and by those adopted later, until
// ctx ends and the requests in flight have ended. It calls ready, if not nil,
// once callers are answered.
func (s *service) run(ctx context.Context, first *app, ready func(addresses)) error {
	ops, err := s.open(ctx, first)
	if err != nil {
		first.close(ctx)
		return err
	}
	at := addresses{Ops: addressOf(ops[0])}
	var callers []net.Listener
	for _, d := range s.doors {
		callers = append(callers, d.Listener)
		at.Callers = append(at.Callers, addressOf(d.Listener))
	}
	if err := s.adopt(ctx, first); err != nil {
		return err
	}
	first.logger.Info("serving", "version", versionText(), "callers", at.Callers, "ops", at.Ops)
	if ready != nil {
		ready(at)
	}
	return s.srv.Serve(ctx, callers, ops...)
}

// open opens every listener, or none. Only when all addresses are ours it writes
// what programs read: a broker that was started twice leaves that of the first.
func (s *service) open(ctx context.Context, a *app) (ops []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, d := range s.doors {
				err = errors.Join(err, d.Close())
			}
			for _, l := range ops {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	for i, entry := range a.cfg.Listen.Callers {
		opened, err := listen(ctx, entry.Address, entry.Mode, a.logger.Logger)
		if err != nil {
			return nil, atPath("listen.callers", err)
		}
		for _, l := range opened {
			s.doors = append(s.doors, door{l, entry, a.shown[i]})
		}
	}
	if ops, err = listen(ctx, a.cfg.Listen.Ops, 0, a.logger.Logger); err != nil {
		return nil, atPath("listen.ops", err)
	}
	if err := s.secure(a.cfg); err != nil {
		return ops, err
	}
	if err := a.header.write(); err != nil {
		return ops, atPath("identity_header_file", err)
	}
	return ops, nil
}

func addressOf(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}

// adopt puts a configuration in force. Requests that have begun end under the
// one that they began with, which is retired when the last of them has ended.
func (s *service) adopt(ctx context.Context, a *app) error {
	warming, stop := context.WithCancel(ctx)
	s.mu.Lock()
	s.inForce, s.live = a, append(s.live, a)
	s.fit()
	a.cache.forgive() // what failed before may be what was mended
	s.mu.Unlock()
	a.warm(warming)
	return s.srv.Swap(server.Generation{
		Handlers: s.handlers(a),
		Retired: func() {
			stop()
			s.retire(ctx, a)
		},
	})
}

// handlers answer at the doors.
func (s *service) handlers(a *app) []http.Handler {
	everything := s.srv.Handler(a.guard, a.mounts(s.srv)...)
	var handlers []http.Handler
	for _, d := range s.doors {
		switch {
		case d.at.Forward:
			handlers = append(handlers, withPath(s.srv.Handler(a.guard.ForwardProxy(), a.forwardMount(&d.at))))
		case d.at.Route != "":
			handlers = append(handlers, s.srv.Handler(a.routeGuard(&d.at), a.routeMount(d.at.Route)))
		case d.at.Address.Metadata():
			// Whoever can make a program fetch a URL tries this address first.
			handlers = append(handlers, s.srv.Handler(a.guard, a.metadataMounts()...))
		default:
			handlers = append(handlers, everything)
		}
	}
	return handlers
}

// retire lets go of a configuration whose last request has ended: of the
// tokens that only it could use, and of its connections.
func (s *service) retire(ctx context.Context, a *app) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = slices.DeleteFunc(s.live, func(other *app) bool { return other == a })
	if len(s.live) == 0 {
		a.close(ctx)
		return
	}
	s.fit()
	if a.entra != s.inForce.entra {
		a.entra.CloseIdleConnections()
		a.people.CloseIdleConnections()
	}
	if a.upstreams != s.inForce.upstreams {
		a.upstreams.CloseIdleConnections()
	}
	if a.verify != s.inForce.verify {
		a.verify.keys.CloseIdleConnections()
	}
}

// fit makes flows and tokens fit the live configurations. An identity that
// several of them have proves itself as the newest says.
func (s *service) fit() {
	flows := broker.Flows{}
	for _, a := range s.live {
		maps.Copy(flows, a.flows)
	}
	s.inForce.mux.Replace(flows)
	cfg := s.inForce.cfg
	s.inForce.cache.adapt(cfg.Cache.Size, cfg.Limits.EntraTimeout, func(id entra.IdentityID) bool { return flows[id] != nil })
}

// current is the broker of the configuration in force.
func (s *service) current() *app {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inForce
}

// keepUntilRestart names the settings whose new values take effect after a
// restart only, and puts those of before in their place: what is built from next
// fits the listeners that there are.
func keepUntilRestart(old, next *config.Config) []string {
	var names []string
	changed := func(name string, yes bool) {
		if yes {
			names = append(names, name)
		}
	}
	changed("listen", !sameListen(&old.Listen, &next.Listen))
	changed("identity_header_file", old.IdentityHeaderFile != next.IdentityHeaderFile)
	changed("log.format", old.Log.Format != next.Log.Format)
	changed("audit.file", old.Audit.File != next.Audit.File)
	changed("limits.read_header_timeout", old.Limits.ReadHeaderTimeout != next.Limits.ReadHeaderTimeout)
	changed("limits.read_timeout", old.Limits.ReadTimeout != next.Limits.ReadTimeout)
	changed("limits.grace", old.Limits.Grace != next.Limits.Grace)
	next.Listen, next.Log.Format, next.Audit = old.Listen, old.Log.Format, old.Audit
	next.IdentityHeaderFile = old.IdentityHeaderFile
	limits := &next.Limits
	limits.ReadHeaderTimeout, limits.ReadTimeout, limits.Grace = old.Limits.ReadHeaderTimeout, old.Limits.ReadTimeout, old.Limits.Grace
	return names
}

// sameListen leaves unsafe_non_loopback aside: it allows, and changes nothing.
func sameListen(a, b *config.Listen) bool {
	return a.Ops == b.Ops && slices.Equal(a.Callers, b.Callers)
}
