package config

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"

	"tokenbroker/emulator"
)

// patience is how long a test waits for what must come: much longer than it takes.
const patience = 30 * time.Second

// report is one call of the callback, and what was in the files then.
type report struct {
	paths []string
	now   []content
}

// notified returns a Watcher that never polls: what it sees it was notified of.
func notified() *Watcher {
	w := NewWatcher()
	w.interval = 1000 * time.Hour
	return w
}

// polling returns a Watcher that gets no notifications.
func polling() *Watcher {
	w := NewWatcher()
	w.start = func() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }
	return w
}

// run runs the Watcher until the test ends, and hands over its reports.
func run(t *testing.T, w *Watcher) <-chan report {
	t.Helper()
	return runWith(t, w, slog.New(slog.DiscardHandler), func() {})
}

// runLogged lets it log too.
func runLogged(t *testing.T, w *Watcher, logger *slog.Logger) <-chan report {
	t.Helper()
	return runWith(t, w, logger, func() {})
}

// runWith calls the function in the callback.
func runWith(t *testing.T, w *Watcher, logger *slog.Logger, first func()) <-chan report {
	t.Helper()
	reports, done := make(chan report, 100), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var busy atomic.Bool
	go func() {
		defer close(done)
		w.Run(ctx, logger, func(paths []string) {
			if !busy.CompareAndSwap(false, true) {
				t.Error("two calls at one time")
			}
			first()
			select {
			case reports <- report{paths, readAll(paths)}:
			case <-ctx.Done():
			}
			busy.Store(false)
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return reports
}

// next returns the next of what must come.
func next[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	return v
}

// awaitContent waits for a report of exactly these files, made when they were as
// they are now.
func awaitContent(t *testing.T, reports <-chan report, paths ...string) {
	t.Helper()
	for {
		got := next(t, reports)
		if diff := cmp.Diff(got.paths, paths); diff != "" {
			t.Fatalf("reported: %s", diff)
		}
		if slices.Equal(got.now, readAll(paths)) {
			return
		}
	}
}

// awaitEach waits until each file has been reported as it is now, together or
// one by one.
func awaitEach(t *testing.T, reports <-chan report, paths ...string) {
	t.Helper()
	seen := map[string]content{}
	for {
		got := next(t, reports)
		for i, path := range got.paths {
			seen[path] = got.now[i]
		}
		current := map[string]content{}
		for i, c := range readAll(paths) {
			current[paths[i]] = c
		}
		if maps.Equal(seen, current) {
			return
		}
	}
}

// noReport fails the test if there is a report. It is for a synctest bubble.
func noReport(t *testing.T, reports <-chan report) {
	t.Helper()
	time.Sleep(10 * pollInterval)
	synctest.Wait()
	select {
	case got := <-reports:
		t.Errorf("reported: %q", got.paths)
	default:
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	ok(t, os.MkdirAll(filepath.Dir(path), 0o755))
	ok(t, os.WriteFile(path, []byte(text), 0o600))
}

// replace writes another file and renames it over.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+"~", text)
	ok(t, os.Rename(path+"~", path))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func volume(t *testing.T, dir string, files map[string]string) *emulator.Volume {
	t.Helper()
	v, err := emulator.NewVolume(dir, files)
	ok(t, err)
	return v
}

// folder makes a folder whose parent is the test's alone.
func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "folder")
	ok(t, os.Mkdir(dir, 0o755))
	return dir
}

// scene is the folder, called folder, in which a file called file changes.
type scene struct {
	t   *testing.T
	dir string
}

func (s scene) path(name string) string  { return filepath.Join(s.dir, name) }
func (s scene) write(name, text string)  { s.t.Helper(); write(s.t, s.path(name), text) }
func (s scene) rename(from, to string)   { s.t.Helper(); ok(s.t, os.Rename(s.path(from), s.path(to))) }
func (s scene) remove(name string)       { s.t.Helper(); ok(s.t, os.RemoveAll(s.path(name))) }
func (s scene) mkdir(name string)        { s.t.Helper(); ok(s.t, os.MkdirAll(s.path(name), 0o755)) }
func (s scene) link(target, name string) { s.t.Helper(); ok(s.t, os.Symlink(target, s.path(name))) }
func (s scene) swap(v *emulator.Volume, name, text string) {
	s.t.Helper()
	ok(s.t, v.Swap(map[string]string{name: text}))
}

// change is a way in which the content of a file becomes another. Each of its
// steps changes the content.
type change struct {
	name  string
	steps func(s scene) []func()
}

// changes are the ways, on every system.
func changes() []change {
	return []change{
		{"a kubelet swaps", func(s scene) []func() {
			v := volume(s.t, s.dir, map[string]string{"file": "1"})
			return []func(){
				func() { s.swap(v, "file", "2") },
				func() { s.swap(v, "file", "3") },
				func() { s.swap(v, "other", "3") },
				func() { s.swap(v, "file", "4") },
			}
		}},
		{"an editor renames over", func(s scene) []func() {
			s.write("file", "1")
			return []func(){func() { s.write(".file.swp", "2"); s.rename(".file.swp", "file") }}
		}},
		{"an editor keeps the old", func(s scene) []func() {
			s.write("file", "1")
			return []func(){func() { s.rename("file", "file~"); s.write("file", "2") }}
		}},
		{"an editor truncates, then writes", func(s scene) []func() {
			s.write("file", "1")
			return []func(){
				func() { ok(s.t, os.Truncate(s.path("file"), 0)) },
				func() { s.write("file", "2") },
			}
		}},
		{"mv from elsewhere", func(s scene) []func() {
			s.write("file", "1")
			return []func(){func() { s.write("elsewhere/file", "2"); s.rename("elsewhere/file", "file") }}
		}},
		{"vanishes and returns", func(s scene) []func() {
			s.write("file", "1")
			return []func(){
				func() { s.remove("file") },
				func() { s.write("file", "1") },
			}
		}},
		{"is not there at first", func(s scene) []func() {
			return []func(){func() { s.write("file", "1") }}
		}},
		{"too large, and mended", func(s scene) []func() {
			s.write("file", strings.Repeat("x", maxWatched))
			return []func(){
				func() { s.write("file", strings.Repeat("x", maxWatched+1)) },
				func() { s.write("file", "2") },
			}
		}},
		{"becomes a folder", func(s scene) []func() {
			s.write("file", "1")
			return []func(){func() { s.remove("file"); s.mkdir("file") }}
		}},
		{"a link is replaced", func(s scene) []func() {
			s.write("a", "1")
			s.write("b", "2")
			s.link("a", "file")
			return []func(){func() { s.link("b", "next"); s.rename("next", "file") }}
		}},
		{"what a link leads to is replaced", func(s scene) []func() {
			s.write("elsewhere/a", "1")
			s.mkdir("links")
			s.link("../elsewhere/a", "links/b")
			s.link(s.path("links/b"), "file")
			return []func(){func() { s.write("elsewhere/a", "2") }}
		}},
	}
}

// folderChanges are those that happen to the folder, and are not notified on
// every system.
func folderChanges() []change {
	return []change{
		{"the folder is removed and made anew", func(s scene) []func() {
			s.write("file", "1")
			return []func(){
				func() { s.remove(".") },
				func() { s.write("file", "2") },
				func() { s.write("file", "3") },
			}
		}},
		{"another folder takes its place", func(s scene) []func() {
			s.write("file", "1")
			s.write("../next/file", "2")
			return []func(){
				func() { s.rename(".", "../old"); s.rename("../next", ".") },
				func() { s.write("file", "3") },
			}
		}},
		{"the folder is a link that is replaced", func(s scene) []func() {
			s.write("../one/file", "1")
			s.write("../two/file", "2")
			s.remove(".")
			s.link("one", ".")
			return []func(){
				func() { s.link("two", "../next"); s.rename("../next", ".") },
				func() { s.write("../two/file", "3") },
			}
		}},
	}
}
