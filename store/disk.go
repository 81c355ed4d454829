package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// disk is what replace needs of a file system. Tests cut its power.
type disk interface {
	create(path string) (file, error) // one that was not there; ours alone
	rename(from, to string) error     // over what is there
	remove(path string) error
	syncFolder(path string) error // makes names in it outlive a crash
}

type file interface {
	io.WriteCloser
	Sync() error
}

// freshSuffix is that of a file's next content.
const freshSuffix = ".new"

// replace gives the file at path another content, so that after a crash at any
// moment it has the old one or the new one. Once it has returned nil it has the
// new one. The caller has the lock.
func replace(d disk, path string, content []byte) error {
	fresh := path + freshSuffix
	if err := d.remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a write that was cut off
		return err
	}
	f, err := d.create(fresh)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.rename(fresh, path)
	}
	if err != nil {
		_ = d.remove(fresh) // the error that counts is the one before
		return err
	}
	return d.syncFolder(filepath.Dir(path))
}

// makeFolder makes a folder and those above it, for our user alone, so that
// they outlive a crash.
func makeFolder(path string) error {
	_, err := os.Stat(path)
	above := filepath.Dir(path)
	if !errors.Is(err, fs.ErrNotExist) || above == path {
		return err
	}
	if err := makeFolder(above); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(above)
}

// system is the disk of the machine.
type system struct{}

func (system) create(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	handOver(f, lockOf(strings.TrimSuffix(path, freshSuffix)))
	return f, nil
}

func (system) rename(from, to string) error { return os.Rename(from, to) }

func (system) remove(path string) error { return os.Remove(path) }

func (system) syncFolder(path string) error { return syncFolder(path) }

// withoutPath drops what package os puts before its errors, since our text
// names the path already.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
