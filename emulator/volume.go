package emulator

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tokenbroker/entra"
)

// What a kubelet calls the links of a volume, and the modes it sets.
const (
	dataLink     = "..data"     // to the folder with the files of now
	dataLinkNext = "..data_tmp" // renamed over dataLink
	folderStamp  = "..2006_01_02_15_04_05."
	folderMode   = 0o755
	fileMode     = 0o440 // what fsGroup makes of a Secret's files; the projected token alone has 0640
)

// Volume does to a folder what a kubelet does to the folder of a Secret, a
// ConfigMap or a projected token: the files stand in a folder of their own, a
// link ..data names that folder, and each visible name is a link to
// ..data/name. All files change at once, when ..data is replaced. The steps
// are those of a kubelet's system calls as they were traced, in their order.
//
// It needs a system whose links anybody may make: Linux, macOS. Only one
// goroutine may use it at a time.
type Volume struct {
	dir     string
	current string // the folder that ..data names; empty: none yet
}

// NewVolume fills dir, which is made unless it exists, with the files: their
// content by name.
func NewVolume(dir string, files map[string]string) (*Volume, error) {
	v := &Volume{dir: dir}
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, volumeFault(err)
	}
	return v, v.Swap(files)
}

// Swap replaces all files in one step. A name that is no longer among them
// vanishes after the step, one that is new appears after it. A kubelet leaves
// out a swap to the same content; here it takes place, since some other writer
// may well do it.
func (v *Volume) Swap(files map[string]string) error {
	for name := range files {
		if name == "" || strings.HasPrefix(name, "..") || filepath.Base(name) != name {
			return entra.Errorf(entra.Invalid, "emulator.volume", "file %s: want a plain name that does not begin with two dots", entra.Quote(name))
		}
	}
	if err := v.swap(files); err != nil {
		return volumeFault(err)
	}
	return nil
}

func (v *Volume) swap(files map[string]string) error {
	names := slices.Sorted(maps.Keys(files))
	gone, err := v.missingIn(files)
	if err != nil {
		return err
	}
	next, err := v.write(names, files)
	if err != nil {
		return err
	}
	if err := v.own(); err != nil {
		return err
	}
	if err := os.Symlink(next, v.path(dataLinkNext)); err != nil {
		return err
	}
	if err := os.Rename(v.path(dataLinkNext), v.path(dataLink)); err != nil {
		return err
	}
	previous := v.current
	v.current = next
	for _, name := range names {
		if err := os.Symlink(filepath.Join(dataLink, name), v.path(name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, name := range gone {
		if err := os.Remove(v.path(name)); err != nil {
			return err
		}
	}
	if previous == "" {
		return nil
	}
	return os.RemoveAll(v.path(previous))
}

// missingIn lists the names of now that are not among the files.
func (v *Volume) missingIn(files map[string]string) (gone []string, err error) {
	if v.current == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(v.path(v.current))
	for _, entry := range entries {
		if _, stays := files[entry.Name()]; !stays {
			gone = append(gone, entry.Name())
		}
	}
	return gone, err
}

// write makes a new folder with the files, and returns its name.
func (v *Volume) write(names []string, files map[string]string) (string, error) {
	folder, err := os.MkdirTemp(v.dir, time.Now().UTC().Format(folderStamp))
	if err != nil {
		return "", err
	}
	if err := os.Chmod(folder, folderMode); err != nil {
		return "", err
	}
	for _, name := range names {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(files[name]), fileMode); err != nil {
			return "", err
		}
		if err := os.Chmod(file, fileMode); err != nil {
			return "", err
		}
	}
	return filepath.Base(folder), nil
}

// own sets owner and mode of all that is in the volume, the files of now among
// them: whoever watches those is told of new attributes, with no new content.
// The owner is the process itself, which may do no more.
func (v *Volume) own() error {
	root, err := os.OpenRoot(v.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := root.Lchown(path, os.Getuid(), os.Getgid()); err != nil {
			return err
		}
		switch {
		case entry.IsDir():
			return root.Chmod(path, folderMode)
		case entry.Type().IsRegular():
			return root.Chmod(path, fileMode)
		}
		return nil
	})
}

func (v *Volume) path(name string) string { return filepath.Join(v.dir, name) }

func volumeFault(err error) error {
	return entra.Errorf(entra.Invalid, "emulator.volume", "%w: name a folder that can be written to, on a system with links", err)
}
