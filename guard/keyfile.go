package guard

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tokenbroker/entra"
)

const (
	minKey     = 16       // bytes; what is shorter can be guessed
	maxKeyFile = 64 << 10 // bytes
	keyRecheck = time.Second
)

// KeyFile holds the caller keys of a file, one a line; blank lines and lines
// that begin with # do not count. The file is read again when keys are asked
// for, at most once a second. When it breaks, that is logged once and the keys
// of before stay good.
type KeyFile struct {
	path    string
	logger  *slog.Logger
	reading sync.Mutex // held by the one caller that reads the file again
	held    atomic.Pointer[heldKeys]
}

// heldKeys are the keys that are good, and what is known of the file.
type heldKeys struct {
	keys  []entra.Secret
	sum   [sha256.Size]byte // of the content that they were read from
	tried time.Time         // when the file was last looked at
	fault string            // why that failed; empty: it did not
}

// OpenKeyFile reads the file for the first time; then it must be good.
func OpenKeyFile(path string, logger *slog.Logger) (*KeyFile, error) {
	held, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	f := &KeyFile{path: path, logger: logger}
	f.held.Store(held)
	return f, nil
}

// Keys returns the keys that are good now. The slice is shared: nobody may
// write to it.
func (f *KeyFile) Keys() []entra.Secret {
	if time.Since(f.held.Load().tried) >= keyRecheck {
		f.readAgain()
	}
	return f.held.Load().keys
}

// readAgain reads the file again, unless another caller is at it.
func (f *KeyFile) readAgain() {
	if !f.reading.TryLock() {
		return
	}
	defer f.reading.Unlock()
	before := f.held.Load()
	next, err := readKeys(f.path)
	switch {
	case err != nil:
		next = &heldKeys{keys: before.keys, sum: before.sum, tried: time.Now(), fault: err.Error()}
		if next.fault != before.fault {
			f.logger.Warn("caller keys not read again, those of before stay good", "err", err)
		}
	case next.sum != before.sum || before.fault != "":
		f.logger.Info("caller keys read again", "count", len(next.keys))
	}
	f.held.Store(next)
}

// readKeys reads a whole key file. It reads the content, not only the times of
// the file, since two writes in one tick of the file system's clock look alike.
func readKeys(path string) (*heldKeys, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	held := &heldKeys{sum: sha256.Sum256(content), tried: time.Now()}
	number := 0
	for line := range bytes.Lines(content) {
		number++
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0, line[0] == '#':
		case !printable(line):
			return nil, keyFileError(path, "line %d: not printable ASCII; make a key with: tokenbroker key new", number)
		case len(line) < minKey:
			return nil, keyFileError(path, "line %d: shorter than %d characters; make a key with: tokenbroker key new", number, minKey)
		default:
			held.keys = append(held.keys, entra.NewSecret(string(line)))
		}
	}
	if len(held.keys) == 0 {
		return nil, keyFileError(path, "no key in it; make one with: tokenbroker key new")
	}
	return held, nil
}

// readFile reads a regular file of bearable size. It looks before it opens:
// the opening of a named pipe would wait for its other end.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, keyFileError(path, "%w", withoutPath(err))
	case !info.Mode().IsRegular():
		return nil, keyFileError(path, "not a regular file")
	case info.Size() > maxKeyFile:
		return nil, keyFileError(path, "larger than %d bytes", maxKeyFile)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, keyFileError(path, "%w", withoutPath(err))
	}
	return content, nil
}

func keyFileError(path, format string, args ...any) error {
	return entra.Errorf(entra.Invalid, "guard.keyfile", "caller key file %s: "+format, append([]any{path}, args...)...)
}

// withoutPath drops what package os puts before its errors, since our text
// names the path already.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func printable(line []byte) bool {
	return bytes.IndexFunc(line, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
}
