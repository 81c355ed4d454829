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
	"time"

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
	again   *time.Timer // when to look at the configuration again, though nothing tells of a change
	watcher *config.Watcher

	service *service
	audit   *auditFile

	mu      sync.Mutex             // one change at a time; guards watched
	watched []string               // the files
	taking  os.FileInfo            // the configuration file as it was last read; nil: there is none
	refusal atomic.Pointer[string] // why the configuration is not in force as it is now; nil: it is

	taken, refused atomic.Uint64
}

// newReloader begins to note changes, so that none is missed before [reloader.run].
func newReloader(sys System, file string) *reloader {
	r := &reloader{sys: sys, file: file, hangUps: make(chan os.Signal, 1), again: time.NewTimer(never), watcher: config.NewWatcher()}
	r.taking, _ = os.Stat(file)
	signal.Notify(r.hangUps, syscall.SIGHUP)
	r.watcher.Watch(file)
	return r
}

func (r *reloader) close() {
	signal.Stop(r.hangUps)
	r.again.Stop()
}

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
		case <-r.again.C:
			r.changed(ctx, []string{r.file})
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
	switch {
	case r.refusal.Load() == nil && !slices.Contains(paths, r.file) && !slices.Contains(paths, a.cfg.CAFile):
	case r.beingWritten():
		r.again.Reset(settled)
	default:
		r.reload(ctx)
	}
}

const (
	settled = 2 * time.Second // for so long nobody has written to a file that is whole
	retry   = 5 * time.Second // between two looks at a configuration that was refused
	never   = 1 << 62         // nanoseconds, 146 years
)

// beingWritten reports whether somebody writes to the configuration file in
// place. Of such a file the first half may be valid, and allow more than the
// whole: it is not read before it has been left alone for a while. One that was
// renamed over, or that a kubelet swapped, is another file, and whole.
func (r *reloader) beingWritten() bool {
	now, err := os.Stat(r.file)
	return err == nil && r.taking != nil && os.SameFile(now, r.taking) && time.Since(now.ModTime()) < settled && !now.ModTime().Equal(r.taking.ModTime())
}

// reload puts the configuration as it is now in force, unless there is
// something wrong with it.
func (r *reloader) reload(ctx context.Context) {
	before := r.service.current()
	r.taking, _ = os.Stat(r.file)
	cfg, err := readConfig(r.sys, config.Options{Catalogue: before.catalogue, File: r.file, Again: true})
	for r.watch(cfg) { // what it names may have changed since it was looked at
		cfg, err = readConfig(r.sys, config.Options{Catalogue: before.catalogue, File: r.file, Again: true})
	}
	var waiting []string
	var next *app
	if err == nil && asksProof(before.cfg) && !asksProof(cfg) {
		err = wrongUsage("callers: needed no more to prove who they are; what opens the door takes a restart")
	}
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
		r.again.Reset(retry)
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

// asksProof reports whether callers have to prove who they are. A listener that
// needs no such proof is one of a file mode or an address that a running broker
// does not change.
func asksProof(cfg *config.Config) bool { return cfg.CallerKeyFile != "" || len(cfg.Callers) > 0 }

// logWarnings says what the operator should know of the configuration.
func (a *app) logWarnings() {
	for _, note := range a.cfg.Notes {
		a.logger.Debug("configuration", "note", note)
	}
	for _, warning := range a.cfg.Warnings {
		a.logger.Warn("configuration", "warning", warning)
	}
	if off := a.appServiceOff(); off != nil && a.cfg.Protocols.AppService {
		a.logger.Info("configuration", "note", off.Message())
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
		{Name: "config_reloads_total", Help: "Configurations that were put in force after the first.", Value: func() float64 { return float64(r.taken.Load()) }},
		{Name: "config_refusals_total", Help: "Looks at a configuration that was refused; that of before stayed in force.", Value: func() float64 { return float64(r.refused.Load()) }},
	}
}
