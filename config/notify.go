package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/fsnotify/fsnotify"
)

// notifier tells that a path may mean something else than before: that in one
// of the folders on its way an entry of a name on its way was touched. It
// watches folders and never files: a file that is replaced takes its watch with
// it. It makes things faster and need not be relied on; who uses it polls too.
type notifier struct {
	logger  *slog.Logger
	start   func() (*fsnotify.Watcher, error)
	touched chan struct{} // holds one element when something was touched

	names atomic.Pointer[map[string]bool] // on the way of any path; what has another name does not matter

	watcher *fsnotify.Watcher      // nil: not started
	drained chan struct{}          // closed when nothing comes from the watcher any more
	armed   map[string]fs.FileInfo // the folders that are watched
	folders map[string]error       // those that should be, and why they are not: as logged
	failed  bool                   // the start failed, which has been logged
}

func newNotifier(logger *slog.Logger, start func() (*fsnotify.Watcher, error)) *notifier {
	return &notifier{logger: logger, start: start, touched: make(chan struct{}, 1)}
}

// follow watches the folders that the paths lead through now, and no others.
// It is to be called again and again: a folder may have been removed, made anew,
// or hidden by a mount that nothing tells of.
func (n *notifier) follow(paths []string) {
	if !n.started() {
		return
	}
	way := way{folders: map[string]bool{}, names: map[string]bool{}}
	state := map[string]error{}
	for _, path := range paths {
		path, err := filepath.Abs(path)
		if err != nil {
			continue // the working directory is gone, and the file with it
		}
		way.add(path)
		_, err = os.Stat(filepath.Dir(path))
		state[filepath.Dir(path)] = cause(err)
	}
	n.names.Store(&way.names)

	for folder := range n.armed {
		if !way.folders[folder] {
			n.disarm(folder)
		}
	}
	listed := n.watcher.WatchList() // without the folders that were removed or moved
	for folder := range way.folders {
		err := n.arm(folder, slices.Contains(listed, folder))
		if !errors.Is(err, fs.ErrNotExist) { // gone since it was walked through: the next round knows
			state[folder] = err
		}
	}
	n.report(state)
}

// arm watches the folder, unless that very folder is watched under its name.
func (n *notifier) arm(folder string, listed bool) error {
	info, err := os.Stat(folder)
	if err == nil && listed && os.SameFile(n.armed[folder], info) {
		return nil
	}
	n.disarm(folder)
	if err == nil {
		err = n.watcher.Add(folder)
	}
	if err == nil {
		n.armed[folder] = info
	}
	return err
}

func (n *notifier) disarm(folder string) {
	_ = n.watcher.Remove(folder) // nothing, if the system has removed it
	delete(n.armed, folder)
}

// started starts the watcher unless it runs. What hinders it, such as the
// user's limit of inotify instances, may be over the next time.
func (n *notifier) started() bool {
	if n.watcher != nil {
		return true
	}
	watcher, err := n.start()
	if err != nil {
		if !n.failed {
			n.logger.Warn("changes of files are not notified, only polled", "err", err)
		}
		n.failed = true
		return false
	}
	if n.failed {
		n.logger.Info("changes of files are notified again")
	}
	n.watcher, n.drained, n.failed = watcher, make(chan struct{}), false
	n.armed, n.folders = map[string]fs.FileInfo{}, nil
	go n.drain()
	return true
}

// drain takes what the watcher tells. It has a goroutine of its own because the
// watcher may hold its lock while it waits for somebody to take an error:
// whoever calls the watcher must not be the one to take it.
func (n *notifier) drain() {
	defer close(n.drained)
	overflowed := false
	for {
		select {
		case event, ok := <-n.watcher.Events:
			if !ok {
				return
			}
			if (*n.names.Load())[filepath.Base(event.Name)] {
				signal(n.touched)
			}
		case err, ok := <-n.watcher.Errors:
			if !ok {
				return
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) && !overflowed {
				overflowed = true
				n.logger.Warn("more changes of files than can be notified, some are only polled")
			}
			signal(n.touched)
		}
	}
}

// report logs once which folders cannot be watched, and which can again.
func (n *notifier) report(folders map[string]error) {
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		switch before, err := n.folders[folder], folders[folder]; {
		case err != nil && before == nil:
			n.logger.Warn("folder is not watched, only polled", "folder", folder, "err", err)
		case err == nil && before != nil:
			n.logger.Info("folder is watched again", "folder", folder)
		}
	}
	n.folders = folders
}

// close ends the watcher and waits for its goroutine.
func (n *notifier) close() {
	if n.watcher != nil {
		_ = n.watcher.Close()
		<-n.drained
	}
}

// way is what the meaning of paths hangs on.
type way struct {
	folders map[string]bool // in which stands a link on the way, the file itself, or the first thing that is missing
	names   map[string]bool // of everything on the way
}

// maxLinks is how many links a path may lead through, as on Linux.
const maxLinks = 40

// add walks a path as the system does, link by link.
func (w way) add(path string) {
	folder, rest := split(path)
	for links := 0; len(rest) > 0 && links <= maxLinks; {
		name := rest[0]
		rest = rest[1:]
		w.names[name] = true
		entry := filepath.Join(folder, name)
		info, err := os.Lstat(entry)
		switch {
		case err == nil && info.Mode()&fs.ModeSymlink != 0:
			links++
			w.folders[folder] = true
			target, _ := os.Readlink(entry) // on an error the link is gone: its folder tells
			from, names := split(target)
			if filepath.IsAbs(target) {
				folder = from
			}
			rest = append(names, rest...)
		case err != nil, len(rest) == 0, info.Mode().IsRegular():
			w.folders[folder] = true
			return
		default:
			folder = entry
		}
	}
}

// split takes a path apart into where it starts, if it is absolute, and names.
func split(path string) (root string, names []string) {
	volume := filepath.VolumeName(path)
	names = strings.FieldsFunc(filepath.ToSlash(path[len(volume):]), func(r rune) bool { return r == '/' })
	return volume + string(filepath.Separator), names
}
