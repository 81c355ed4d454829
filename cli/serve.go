package cli

import (
	"context"
	"errors"
	"net"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"tokenbroker/server"
)

func newServe(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the broker beside your programs",
		Long: "serve runs the broker. Without a configuration file it starts from AZURE_TENANT_ID,\n" +
			"AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE or AZURE_CLIENT_SECRET.",
		Args: cobra.NoArgs,
	}
	file := configFlag(cmd, sys)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		signal.Ignore(syscall.SIGHUP) // credentials and keys are read again without it
		log := newLogWriter(sys.Err)
		defer log.Close()
		app, err := load(sys, *file, log)
		if err != nil {
			return err
		}
		for _, note := range app.cfg.Notes {
			app.logger.Debug("configuration", "note", note)
		}
		for _, warning := range app.cfg.Warnings {
			app.logger.Warn("configuration", "warning", warning)
		}
		return app.serve(cmd.Context(), log, nil)
	}
	return cmd
}

// addresses are where a broker listens, for those who have to find it.
type addresses struct {
	Callers []string // host:port, or unix:/path
	Ops     string
}

// serve listens, then answers until ctx ends and the requests in flight have
// ended. It calls ready, if not nil, once callers are answered.
func (a *app) serve(ctx context.Context, log *logWriter, ready func(addresses)) error {
	defer a.close(ctx)
	signal.Ignore(syscall.SIGPIPE) // that the log's reader went away does not end the broker
	if err := forbidCore(); err != nil {
		a.logger.Warn("a crash could leave a core file with secrets in it", "err", err)
	}
	srv := a.newServer(log)
	callers, ops, at, err := a.listen(ctx, srv)
	if err != nil {
		return err
	}
	a.warm(ctx)
	a.logger.Info("serving", "version", versionText(), "callers", at.Callers, "ops", at.Ops)
	if ready != nil {
		ready(at)
	}
	return srv.Serve(ctx, callers, ops...)
}

func (a *app) newServer(log *logWriter) *server.Server {
	return server.New(server.Config{
		Guard:             a.guard,
		Logger:            a.logger,
		Status:            func() any { return a.status() },
		Counters:          counters(a.cache, log),
		ReadHeaderTimeout: a.cfg.Limits.ReadHeaderTimeout,
		ReadTimeout:       a.cfg.Limits.ReadTimeout,
		Grace:             a.cfg.Limits.Grace,
	})
}

// listen opens every listener, or none.
func (a *app) listen(ctx context.Context, srv *server.Server) (callers []server.Listener, ops []net.Listener, at addresses, err error) {
	defer func() {
		if err != nil {
			for _, l := range callers {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	everything := srv.Handler(a.mounts(srv)...)
	for _, entry := range a.cfg.Listen.Callers {
		handler := everything
		if entry.Route != "" {
			handler = srv.Handler(a.routeMount(entry.Route))
		}
		opened, err := listen(ctx, entry.Address, entry.Mode, a.logger)
		if err != nil {
			return callers, nil, at, atPath("listen.callers", err)
		}
		for _, l := range opened {
			callers = append(callers, server.Listener{Listener: l, Handler: handler})
			at.Callers = append(at.Callers, addressOf(l))
		}
	}
	opened, err := listen(ctx, a.cfg.Listen.Ops, 0, a.logger)
	if err != nil {
		return callers, nil, at, atPath("listen.ops", err)
	}
	at.Ops = addressOf(opened[0])
	return callers, opened, at, nil
}

func addressOf(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}
