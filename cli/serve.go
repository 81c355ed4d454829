package cli

import (
	"context"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// lastReload is how long the end waits for a reload that is under way.
const lastReload = 2 * time.Second

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
		log := newLogWriter(sys.Err)
		defer log.Close()
		reload := newReloader(sys, *file)
		defer reload.close()
		app, err := load(sys, *file, log)
		if err != nil {
			return err
		}
		app.logWarnings()
		return app.serve(cmd.Context(), log, reload, nil)
	}
	return cmd
}

// serve listens, then answers until ctx ends and the requests in flight have
// ended. It calls ready, if not nil, once callers are answered. A reloader, if
// not nil, brings in what changes meanwhile.
func (a *app) serve(ctx context.Context, log *logWriter, r *reloader, ready func(addresses)) error {
	signal.Ignore(syscall.SIGPIPE) // that the log's reader went away does not end the broker
	if err := forbidCore(); err != nil {
		a.logger.Warn("a crash could leave a core file with secrets in it", "err", err)
	}
	audit, err := openAudit(a.cfg.Audit, a.logger.Logger, a.reads(r)...)
	if err != nil {
		a.close(ctx)
		return err
	}
	defer audit.Close()
	s := newService(a, log, audit, r)
	if r == nil {
		return s.run(ctx, a, ready)
	}
	r.service, r.audit = s, audit
	var reloading sync.WaitGroup
	defer waitFor(&reloading, lastReload)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	return s.run(ctx, a, func(at addresses) {
		reloading.Go(func() { r.run(ctx) })
		if ready != nil {
			ready(at)
		}
	})
}

// waitFor waits until all have ended, but not for long: a file on a network that
// is gone keeps the program from ending no longer than this.
func waitFor(all *sync.WaitGroup, atMost time.Duration) {
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(atMost):
	}
}

// reads lists the files that the broker reads, its configuration included.
func (a *app) reads(r *reloader) []string {
	files := a.cfg.Files()
	if r != nil && r.file != "" {
		files = append(files, r.file)
	}
	return files
}
