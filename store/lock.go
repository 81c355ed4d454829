package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	lockPatience = 10 * time.Second // a write takes milliseconds
	lockPause    = 5 * time.Millisecond
)

// errHeld says that another has the lock.
var errHeld = errors.New("locked by another")

// sharing says who else may have a lock.
type sharing uint8

const (
	shared    sharing = iota // others who read
	exclusive                // nobody
)

// lockOf names the file that is locked for the one at path. It is another one,
// since that one is replaced, and is never removed: who had its lock would have
// the lock of a file that is gone, and the next one that of another.
func lockOf(path string) string { return path + ".lock" }

// lock waits until the file at path may be read or replaced, against other
// processes and this one alike. The system releases the lock of a process that
// dies. It fails with errHeld after lockPatience.
func lock(ctx context.Context, path string, mode sharing) (release func(), err error) {
	patience := time.NewTimer(lockPatience)
	defer patience.Stop()
	for {
		release, err := tryLock(lockOf(path), mode)
		if !errors.Is(err, errHeld) {
			return release, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-patience.C:
			return nil, err
		case <-time.After(lockPause):
		}
	}
}

func tryLock(path string, mode sharing) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
			handOver(f, filepath.Dir(path))
		}
	}
	if err != nil {
		return nil, err
	}
	if err := lockFile(f, mode); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() {
		unlockFile(f)
		_ = f.Close()
	}, nil
}
