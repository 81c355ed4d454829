package guard

import (
	"bytes"
	"errors"
	"io/fs"
	"os"

	"tokenbroker/entra"
)

const (
	minKey     = 16       // bytes; what is shorter can be guessed
	maxKeys    = 1000     // in a file; rotation takes two
	maxKeyFile = 64 << 10 // bytes
)

// fileKey is a key of a file, by its trace.
type fileKey struct {
	trace
	line int
}

// readKeys reads a key file: one key a line; blank lines and lines that begin
// with # do not count.
func readKeys(path string) ([]fileKey, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var keys []fileKey
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
		case len(keys) == maxKeys:
			return nil, keyFileError(path, "line %d: more than %d keys; remove those that nobody uses any more", number, maxKeys)
		default:
			keys = append(keys, fileKey{traceOf(string(line)), number})
		}
	}
	if len(keys) == 0 {
		return nil, keyFileError(path, "no key in it; make one with: tokenbroker key new")
	}
	return keys, nil
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
	return entra.Errorf(entra.Invalid, "guard.keyfile", "%s: "+format, append([]any{path}, args...)...)
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
