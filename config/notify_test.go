package config

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
)

// logTo returns a logger whose lines come out of the channel, message and
// folder only.
func logTo(lines chan<- string) *slog.Logger {
	return slog.New(slog.NewTextHandler(lineWriter(lines), &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.LevelKey, slog.MessageKey:
			return a
		case "folder":
			return slog.String(a.Key, filepath.Base(a.Value.String()))
		}
		return slog.Attr{}
	}}))
}

type lineWriter chan<- string

func (w lineWriter) Write(line []byte) (int, error) {
	w <- string(line)
	return len(line), nil
}

func TestWatcherLogsOnceThatAFolderIsGone(t *testing.T) {
	dir := folder(t)
	write(t, dir+"/a", "1")
	write(t, dir+"/b", "1")
	lines := make(chan string, 100)
	w := notified()
	w.Watch(dir+"/a", dir+"/b")
	reports := runLogged(t, w, logTo(lines))
	for i := range 2 {
		ok(t, os.RemoveAll(dir))
		if got, want := next(t, lines), "level=WARN msg=\"folder is not watched, only polled\" folder=folder\n"; got != want {
			t.Errorf("gone, time %d: logged %q, want %q", i+1, got, want)
		}
		awaitEach(t, reports, dir+"/a", dir+"/b")
		ok(t, os.Mkdir(dir, 0o755))
		if got, want := next(t, lines), "level=INFO msg=\"folder is watched again\" folder=folder\n"; got != want {
			t.Errorf("back, time %d: logged %q, want %q", i+1, got, want)
		}
		write(t, dir+"/a", "1")
		write(t, dir+"/b", "1")
		awaitEach(t, reports, dir+"/a", dir+"/b")
	}
}

func TestWatcherPollsWhileNotificationsCannotStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, "1")
	lines := make(chan string, 100)
	w := NewWatcher()
	w.interval = time.Millisecond
	free := make(chan struct{})
	w.start = func() (*fsnotify.Watcher, error) {
		select {
		case <-free:
			return fsnotify.NewWatcher()
		default:
			return nil, errors.New("too many open files")
		}
	}
	w.Watch(path)
	reports := runLogged(t, w, logTo(lines))
	for _, text := range []string{"2", "3"} {
		write(t, path, text)
		awaitContent(t, reports, path)
	}
	close(free)
	for _, want := range []string{
		"level=WARN msg=\"changes of files are not notified, only polled\"\n",
		"level=INFO msg=\"changes of files are notified again\"\n",
	} {
		if got := next(t, lines); got != want {
			t.Errorf("logged %q, want %q", got, want)
		}
	}
}

func TestWatcherPollsFoldersThatCannotBeWatched(t *testing.T) {
	path := filepath.Join(folder(t), "file")
	write(t, path, "1")
	lines := make(chan string, 100)
	w := NewWatcher()
	w.interval = time.Millisecond
	w.start = func() (*fsnotify.Watcher, error) { // refuses every folder
		refuses, err := fsnotify.NewWatcher()
		if err == nil {
			err = refuses.Close()
		}
		return refuses, err
	}
	w.Watch(path)
	reports := runLogged(t, w, logTo(lines))
	for _, text := range []string{"2", "3"} {
		write(t, path, text)
		awaitContent(t, reports, path)
	}
	if got, want := next(t, lines), "level=WARN msg=\"folder is not watched, only polled\" folder=folder\n"; got != want || len(lines) > 0 {
		t.Errorf("logged %q and %d more lines, want %q alone", got, len(lines), want)
	}
}

func TestWatcherLooksWhenNotificationsWereLost(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "file")
	write(t, path, "1")
	lines := make(chan string, 100)
	inner, err := fsnotify.NewWatcher()
	ok(t, err)
	w := notified()
	w.start = func() (*fsnotify.Watcher, error) { return inner, nil }
	w.Watch(path)
	write(t, path, "2")
	reports := runLogged(t, w, logTo(lines))
	awaitContent(t, reports, path) // so it has begun

	for _, text := range []string{"3", "4"} {
		for _, watched := range inner.WatchList() {
			ok(t, inner.Remove(watched)) // nothing is notified any more
		}
		write(t, path, text)
		inner.Errors <- fsnotify.ErrEventOverflow
		awaitContent(t, reports, path)
	}
	if got, want := next(t, lines), "level=WARN msg=\"more changes of files than can be notified, some are only polled\"\n"; got != want || len(lines) > 0 {
		t.Errorf("logged %q and %d more lines, want %q alone", got, len(lines), want)
	}
}

// A hot folder costs nothing but the events themselves.
func TestNotifierPassesOverOtherNames(t *testing.T) {
	dir := folder(t)
	n := newNotifier(slog.New(slog.DiscardHandler), fsnotify.NewWatcher)
	defer n.close()
	n.follow([]string{filepath.Join(dir, "file")})
	for range 1000 {
		n.watcher.Events <- fsnotify.Event{Name: filepath.Join(dir, "app.log"), Op: fsnotify.Write}
	}
	if len(n.touched) != 0 {
		t.Error("another name counts as touched")
	}
	for range 2 { // the first has been judged when the second is taken
		n.watcher.Events <- fsnotify.Event{Name: filepath.Join(dir, "file"), Op: fsnotify.Write}
	}
	if len(n.touched) != 1 {
		t.Error("the name itself does not count as touched")
	}
}

func TestNotifierFollowsTheWay(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	ok(t, err)
	for _, dir := range []string{"links", "real/deep"} {
		ok(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	write(t, filepath.Join(root, "real/deep/file"), "1")
	for link, target := range map[string]string{
		"links/relative": "../links/./folder/deep/../deep/file",
		"links/absolute": filepath.Join(root, "real/deep/file"),
		"links/folder":   "../real",
		"links/loop":     "loop",
		"links/lost":     "../real/nowhere/file",
	} {
		ok(t, os.Symlink(target, filepath.Join(root, link)))
	}
	tests := []struct {
		path string
		want []string
	}{
		{"real/deep/file", []string{"real/deep"}},
		{"real/deep/missing", []string{"real/deep"}},
		{"real/missing/file", []string{"real"}},
		{"real/deep/file/below", []string{"real/deep"}},
		{"links/relative", []string{"links", "real/deep"}},
		{"links/absolute", []string{"links", "real/deep"}},
		{"links/folder/deep/file", []string{"links", "real/deep"}},
		{"links/loop", []string{"links"}},
		{"links/lost", []string{"links", "real"}},
	}
	n := newNotifier(slog.New(slog.DiscardHandler), fsnotify.NewWatcher)
	defer n.close()
	for _, tt := range tests {
		n.follow([]string{filepath.Join(root, tt.path)})
		want := make([]string, len(tt.want))
		for i, folder := range tt.want {
			want[i] = filepath.Join(root, folder)
		}
		listed := n.watcher.WatchList()
		slices.Sort(listed)
		if diff := cmp.Diff(listed, want); diff != "" {
			t.Errorf("%s: watched: %s", tt.path, diff)
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(n.armed)), want); diff != "" {
			t.Errorf("%s: armed: %s", tt.path, diff)
		}
	}
}
