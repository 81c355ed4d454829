package cli

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"tokenbroker/entra"
)

// checkPlace looks at the folder of a file that we write and others go by: who
// can put a file of theirs there in its place? One of another user is refused,
// and one in which others may write is warned of: a volume that the containers
// of a Pod share is like that.
func checkPlace(path string, logger *slog.Logger) error {
	folder := filepath.Dir(path)
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return wrongUsage("%s: there is no folder %s; make it, or mount a volume there", path, folder)
	case err != nil:
		return wrongUsage("%s: %w", folder, withoutPath(err))
	case !info.IsDir():
		return wrongUsage("%s: not a folder", folder)
	}
	writers, err := writersOf(info)
	if err != nil {
		return wrongUsage("%s: folder %s: %w", path, folder, err)
	}
	if writers != "" {
		logger.Warn("others can put another file in the place of this one", "file", path, "others", writers)
	}
	return nil
}

// writeWhole puts a file in its place in one step: whoever waits for it never
// reads half of it. What was there is replaced; a link is not followed.
func writeWhole(path string, content []byte, mode fs.FileMode) (err error) {
	defer func() {
		if err != nil {
			err = entra.Errorf(entra.Misconfigured, "cli.write", "%s: cannot be written: %w; name a file in a folder that the broker may write to", path, withoutPaths(err))
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(path), ".tokenbroker-*")
	if err != nil {
		return err
	}
	_, written := f.Write(content)
	if err = errors.Join(f.Chmod(mode), written, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// withoutPaths is withoutPath for what is renamed too.
func withoutPaths(err error) error {
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return withoutPath(err)
}
