package broker

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"tokenbroker/entra"
)

const (
	maxCredential = 64 << 10 // bytes of a file
	maxMoves      = 10       // of files that are read, before it is given up
)

// files are a credential in files that may be replaced while we run. They are
// read at every use: a kubelet swaps them by a link in the folder above, of
// which a watch on a file hears nothing.
type files[T any] struct {
	what   string // they hold, for the log
	paths  []string
	parse  func(contents [][]byte) (T, error)
	logger *slog.Logger

	mu    sync.Mutex        // guards what follows, and is held while reading, so that an older content never replaces a newer one
	sum   [sha256.Size]byte // of the contents that the value was made from
	value T
	fault error // why the files were no good the last time; nil: they were good
}

// openFiles reads the files for the first time; then they must be good. An
// empty path is of a file that there is not, and has no content.
func openFiles[T any](what string, logger *slog.Logger, parse func([][]byte) (T, error), paths ...string) (*files[T], error) {
	f := &files[T]{what: what, paths: paths, parse: parse, logger: logger}
	contents, err := readSet(paths)
	if err != nil {
		return nil, err
	}
	if f.value, err = parse(contents); err != nil {
		return nil, err
	}
	f.sum = sumOf(contents)
	return f, nil
}

// Reload reads the files now, as every use does, and reports whether they hold
// another credential than before. It is for who hears of a change: what is
// wrong with it is logged at once, and not at the next use.
func (f *files[T]) Reload() (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reload()
}

// String names the file.
func (f *files[T]) String() string { return "file " + f.paths[0] }

// now returns what the files hold. Of files that have become bad it returns
// the last good value, and why they are bad.
func (f *files[T]) now() (value T, fault error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reload()
	return f.value, f.fault
}

// reload reads the files again, unless they hold the same bytes. What has
// become bad is logged once, and that it is good again.
func (f *files[T]) reload() (changed bool) {
	value, before := f.value, f.sum
	contents, err := readSet(f.paths)
	if err == nil && sumOf(contents) != f.sum {
		value, err = f.parse(contents)
	}
	if err != nil {
		if f.fault == nil || f.fault.Error() != err.Error() {
			f.logger.Warn("credential not read again, the one of before stays in use", "what", f.what, "err", err)
		}
		f.fault = err
		return false
	}
	f.value, f.sum = value, sumOf(contents)
	if changed = f.sum != before; changed || f.fault != nil {
		f.logger.Info("credential read again", "what", f.what, "file", f.paths[0])
	}
	f.fault = nil
	return changed
}

// readSet reads files that belong together, all of one generation: in a volume
// they are links through one folder, which is replaced by renaming a link. So
// the links are followed before and after, and if they lead elsewhere by then
// it was two generations, and all is read anew; also when a file was missing,
// which is what the removal of the old folder looks like.
func readSet(paths []string) (contents [][]byte, err error) {
	for range maxMoves {
		if contents, err = readOnce(paths); err == nil {
			return contents, nil
		}
	}
	return nil, err
}

func readOnce(paths []string) ([][]byte, error) {
	places, err := resolve(paths)
	if err != nil {
		return nil, err
	}
	contents, err := readAll(paths, places)
	if err != nil {
		return nil, err
	}
	after, err := resolve(paths)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(places, after) {
		return nil, refuse(paths[0], "is replaced faster than it can be read")
	}
	return contents, nil
}

// resolve follows the links of every path.
func resolve(paths []string) (places []string, err error) {
	for _, path := range paths {
		place := path
		if path != "" {
			if place, err = filepath.EvalSymlinks(path); err != nil {
				return nil, refuse(path, fileFault(err))
			}
		}
		places = append(places, place)
	}
	return places, nil
}

// readAll reads the files at their places; the paths are for messages.
func readAll(paths, places []string) (contents [][]byte, err error) {
	for i, place := range places {
		var content []byte
		if place != "" {
			var fault string
			if content, fault = readFile(place); fault != "" {
				return nil, refuse(paths[i], fault)
			}
		}
		contents = append(contents, content)
	}
	return contents, nil
}

// readFile reads a regular file of the size of a credential.
func readFile(path string) (content []byte, fault string) {
	info, err := os.Stat(path) // before opening, which waits if it is a pipe
	switch {
	case err != nil:
		return nil, fileFault(err)
	case info.IsDir():
		return nil, "is a folder: name the file in it"
	case !info.Mode().IsRegular():
		return nil, "is not a regular file, so that it cannot be read again: put the credential into one"
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fileFault(err)
	}
	defer file.Close()
	content, err = io.ReadAll(io.LimitReader(file, maxCredential+1))
	if err != nil {
		return nil, fileFault(err)
	}
	if len(content) > maxCredential {
		return nil, "is larger than 64 KiB: want the credential alone"
	}
	return content, ""
}

// fileFault puts what package os says into words with a remedy.
func fileFault(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist: mount it, or correct the path"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read: give the user that the broker runs as permission to"
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // our text names the path
	}
	return "cannot be read: " + err.Error()
}

// refuse says what is wrong with a file.
func refuse(path, fault string) *entra.Error {
	return entra.Errorf(entra.Misconfigured, opCredential, "file %s: %s", path, fault)
}

// sumOf tells contents apart; where one ends and the next begins counts.
func sumOf(contents [][]byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, content := range contents {
		_ = binary.Write(h, binary.BigEndian, uint64(len(content)))
		_, _ = h.Write(content)
	}
	h.Sum(sum[:0])
	return sum
}
