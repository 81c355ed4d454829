package config

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// When files are looked at: at every tick of the poll, and when their folders
// have been quiet for a moment after a notification, but never later than
// longestWait after it, so that nobody who writes all the time puts it off.
const (
	pollInterval = time.Second
	quietFor     = 20 * time.Millisecond
	longestWait  = 80 * time.Millisecond
)

// maxWatched bounds what is read of a watched file, in bytes.
const maxWatched = 1 << 20

// maxReadings is how often files that keep changing are read before what they
// are just then counts.
const maxReadings = 5

// Watcher tells when the content of files has changed. What counts is the
// content, however it came about: written, renamed over, reached through
// another link. That a file is missing, unreadable, no regular file or larger
// than 1 MiB counts as content too, so that its loss and its return are changes
// while a file that stays broken is none.
//
// It remembers digests and never content.
type Watcher struct {
	start    func() (*fsnotify.Watcher, error)
	interval time.Duration
	replaced chan struct{} // holds one element when Watch has been called

	mu    sync.Mutex // held while the files are read: nobody else may replace them
	paths []string
	seen  []content // of each path, as last reported
}

// NewWatcher returns a Watcher of no files yet.
func NewWatcher() *Watcher {
	return &Watcher{
		start:    fsnotify.NewWatcher,
		interval: pollInterval,
		replaced: make(chan struct{}, 1),
	}
}

// Watch replaces the set of files; an empty path is none. For a file that is
// new in the set it remembers the content of now: call it before the file is
// read for use, then no change in between is missed. For a file that was in the
// set already, what was last reported stays remembered. It may be called at any
// time, by the callback of [Watcher.Run] too.
func (w *Watcher) Watch(paths ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := make(map[string]content, len(w.paths))
	for i, path := range w.paths {
		known[path] = w.seen[i]
	}
	w.paths, w.seen = nil, nil
	for _, path := range paths {
		if path == "" || slices.Contains(w.paths, path) {
			continue
		}
		c, ok := known[path]
		if !ok {
			c = readAll([]string{path})[0]
		}
		w.paths, w.seen = append(w.paths, path), append(w.seen, c)
	}
	signal(w.replaced)
}

// Run calls changed with the files whose content is another than before, those
// that changed together in one call, until the context ends. It calls from its
// own goroutine, so one call at a time; what changes meanwhile is reported
// after it. It logs when notifications do not work, once, and when they work
// again. It is to be called once.
func (w *Watcher) Run(ctx context.Context, logger *slog.Logger, changed func(paths []string)) {
	n := newNotifier(logger, w.start)
	defer n.close()
	poll := time.NewTicker(w.interval)
	defer poll.Stop()
	for ctx.Err() == nil {
		if paths := w.look(n); len(paths) > 0 {
			changed(paths)
		}
		select {
		case <-ctx.Done():
		case <-poll.C:
		case <-w.replaced:
		case <-n.touched:
			settle(ctx, n.touched)
		}
	}
}

// settle waits until nothing has been touched for a moment, but not for long.
func settle(ctx context.Context, touched <-chan struct{}) {
	longest, quiet := time.NewTimer(longestWait), time.NewTimer(quietFor)
	defer longest.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-touched:
			quiet.Reset(quietFor)
		case <-quiet.C:
			return
		case <-longest.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// look reads all files and returns those that have changed since they were
// last reported. What differs is read again until two readings in a row agree:
// files that are swapped in one step are seen together, though they are read
// one after the other.
func (w *Watcher) look(n *notifier) (changed []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.follow(w.paths) // first, so that what changes after the reading is told
	before, now := w.seen, readAll(w.paths)
	for reading := 1; reading < maxReadings && !slices.Equal(before, now); reading++ {
		before, now = now, readAll(w.paths)
	}
	for i, path := range w.paths {
		if now[i] != w.seen[i] {
			changed = append(changed, path)
		}
	}
	w.seen = now
	return changed
}

// content is what is remembered of a file.
type content struct {
	fault string // why it could not be read; empty: it could
	sum   [sha256.Size]byte
}

func readAll(paths []string) []content {
	all := make([]content, len(paths))
	buffer := make([]byte, 8<<10)
	defer clear(buffer)
	for i, path := range paths {
		sum, err := digest(path, buffer)
		if err != nil {
			all[i].fault = cause(err).Error()
			continue
		}
		all[i].sum = sum
	}
	return all
}

var (
	errIrregular = errors.New("no regular file")
	errTooLarge  = errors.New("too large")
)

// digest reads a regular file.
func digest(path string, buffer []byte) (sum [sha256.Size]byte, err error) {
	file, err := openRegular(path)
	if err != nil {
		return sum, err
	}
	defer file.Close()
	hash := sha256.New()
	n, err := io.CopyBuffer(hash, io.LimitReader(file, maxWatched+1), buffer)
	if err == nil && n > maxWatched {
		err = errTooLarge
	}
	return [sha256.Size]byte(hash.Sum(nil)), err
}

// openRegular opens a regular file. It opens nothing else, since opening a pipe
// may wait for its other end and opening a device may set it off; should one
// take the file's place in between, the opening does not wait.
func openRegular(path string) (*os.File, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errIrregular
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil {
		return nil, errors.Join(err, file.Close())
	} else if !info.Mode().IsRegular() {
		return nil, errors.Join(errIrregular, file.Close())
	}
	return file, nil
}

// signal leaves word in a channel that holds one element.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
