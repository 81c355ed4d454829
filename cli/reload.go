package cli

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"tokenbroker/config"
	"tokenbroker/server"
)

// reloader brings what changes under a running service into it: the
// configuration, and the files that it names. What is wrong with them is
// reported and changes nothing.
type reloader struct {
	sys     System
	file    string // the configuration; empty: from the environment alone
	hangUps chan os.Signal
	watcher *config.Watcher

	service *service
	audit   *auditFile

	mu      sync.Mutex             // one change at a time; guards watched
	watched []string               // the files
	refusal atomic.Pointer[string] // why the configuration is not in force as it is now; nil: it is

	taken, refused atomic.Uint64
}

// newReloader begins to note changes, so that none is missed before [reloader.run].
func newReloader(sys System, file string) *reloader {
	r := &reloader{sys: sys, file: file, hangUps: make(chan os.Signal, 1), watcher: config.NewWatcher()}
	signal.Notify(r.hangUps, syscall.SIGHUP)
	r.watcher.Watch(file)
	return r
}

func (r *reloader) close() { signal.Stop(r.hangUps) }

// run follows changes and SIGHUP until ctx ends.
func (r *reloader) run(ctx context.Context) {
	r.catchUp(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		r.watcher.Run(ctx, r.service.current().logger.Logger, func(paths []string) { r.changed(ctx, paths) })
	})
	defer watching.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hangUps:
			r.hangUp(ctx)
		}
	}
}

// catchUp takes what changed after it was read at the start and before it was
// watched.
func (r *reloader) catchUp(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watch(nil)
	a := r.service.current()
	a.readAgain()
	if now, err := readRoots(a.cfg.CAFile); err != nil || !now.same(a.roots) {
		r.reload(ctx)
	}
}

// watch follows the files of the configuration in force; of one that may come
// into force too, or was refused, since to mend a file of it may be what it
// takes. It reports whether some were not watched before.
func (r *reloader) watch(next *config.Config) (more bool) {
	files := r.service.current().cfg.Files()
	if next != nil {
		files = append(files, next.Files()...)
	}
	if r.file != "" {
		files = append(files, r.file)
	}
	slices.Sort(files)
	files = slices.Compact(files)
	more = slices.ContainsFunc(files, func(file string) bool { return !slices.Contains(r.watched, file) })
	r.watched = files
	r.watcher.Watch(files...)
	return more
}

// hangUp reads everything again, and begins a new audit file.
func (r *reloader) hangUp(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.audit.Reopen()
	r.service.current().readAgain()
	r.reload(ctx)
}

// changed reads again what files have changed. A credential or a key is read
// by who holds it, whatever becomes of the configuration.
func (r *reloader) changed(ctx context.Context, paths []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.service.current()
	a.readAgain(paths...)
	if r.refusal.Load() != nil || slices.Contains(paths, r.file) || slices.Contains(paths, a.cfg.CAFile) {
		r.reload(ctx)
	}
}

// reload puts the configuration as it is now in force, unless there is
// something wrong with it.
func (r *reloader) reload(ctx context.Context) {
	before := r.service.current()
	cfg, err := readConfig(r.sys, before.catalogue, r.file)
	for r.watch(cfg) { // what it names may have changed since it was looked at
		cfg, err = readConfig(r.sys, before.catalogue, r.file)
	}
	var waiting []string
	var next *app
	if err == nil {
		waiting = keepUntilRestart(before.cfg, cfg)
		next, err = build(cfg, surroundings{catalogue: before.catalogue, logger: before.logger, before: before})
	}
	if err != nil {
		r.refused.Add(1)
		text := faults(err)
		if last := r.refusal.Swap(&text); last == nil || *last != text {
			before.logger.Error("configuration refused, that of before stays in force", "faults", r.faults())
		}
		return
	}
	r.refusal.Store(nil)
	if len(waiting) > 0 {
		before.logger.Warn("configuration: some settings change with a restart only", "settings", waiting)
	}
	next.logger.level.Set(cfg.Log.Level)
	if err := r.service.adopt(ctx, next); err != nil {
		before.logger.Error("configuration not taken", "err", err)
		return
	}
	r.taken.Add(1)
	r.watch(nil)
	next.logWarnings()
	next.logger.Info("configuration taken")
}

// logWarnings says what the operator should know of the configuration.
func (a *app) logWarnings() {
	for _, note := range a.cfg.Notes {
		a.logger.Debug("configuration", "note", note)
	}
	for _, warning := range a.cfg.Warnings {
		a.logger.Warn("configuration", "warning", warning)
	}
}

// faults are why the configuration is not in force as it is now. Without a
// reloader there are none.
func (r *reloader) faults() []string {
	if r == nil || r.refusal.Load() == nil {
		return nil
	}
	return strings.Split(*r.refusal.Load(), "\n")
}

// counters are the reloader's figures. A nil one has none.
func (r *reloader) counters() []server.Counter {
	if r == nil {
		return nil
	}
	return []server.Counter{
		{Name: "config_reloads_total", Help: "Changed configurations that were put in force.", Value: func() float64 { return float64(r.taken.Load()) }},
		{Name: "config_refusals_total", Help: "Changed configurations that were refused; that of before stayed in force.", Value: func() float64 { return float64(r.refused.Load()) }},
	}
}
