package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"tokenbroker/entra"
)

// listenUnix makes a socket whose mode is right from its first moment. A
// socket that a killed broker left behind is replaced; one that answers is not.
func listenUnix(ctx context.Context, path string, mode fs.FileMode, logger *slog.Logger) (net.Listener, error) {
	if err := checkFolder(filepath.Dir(path), logger); err != nil {
		return nil, err
	}
	if err := clearSocket(ctx, path); err != nil {
		return nil, err
	}
	restore := limitMode(mode)
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	restore()
	if err != nil {
		return nil, entra.Errorf(entra.Misconfigured, "cli.listen", "socket %s: cannot listen: %w", path, err)
	}
	if err := checkSocket(path, mode); err != nil {
		return nil, errors.Join(entra.Errorf(entra.Misconfigured, "cli.listen", "socket %s: %w", path, err), l.Close())
	}
	return l, nil
}

// checkSocket looks whether a socket was made as it should be: there are file
// systems that know no modes. It changes nothing, since to change the mode by
// name is to follow a link that somebody may have put there meanwhile.
func checkSocket(path string, mode fs.FileMode) error {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return withoutPath(err)
	case runtime.GOOS != "windows" && (info.Mode().Type() != fs.ModeSocket || info.Mode().Perm()&^mode != 0):
		return fmt.Errorf("what is there has mode %v, want %v; choose another folder", info.Mode(), fs.ModeSocket|mode)
	}
	return nil
}

// checkFolder makes the folder of a socket if it is not there, for us and our
// group. In the folder of somebody who could put a socket of theirs in the place
// of ours, they would be shown our callers' keys: that of another user is
// refused, and one in which others may write is warned of. That the folder is
// sticky does not help, since between two runs of ours nothing is there.
func checkFolder(folder string, logger *slog.Logger) error {
	refuse := func(err error) error {
		return entra.Errorf(entra.Misconfigured, "cli.listen", "folder %s of the socket: %w", folder, err)
	}
	if err := os.Mkdir(folder, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return refuse(withoutPath(err))
	}
	info, err := os.Stat(folder)
	switch {
	case err != nil:
		return refuse(withoutPath(err))
	case !info.IsDir():
		return refuse(errors.New("is a file"))
	}
	writers, err := writersOf(info)
	switch {
	case err != nil:
		return refuse(err)
	case writers != "":
		logger.Warn("others can put another socket in the place of this one; use a folder of its own below, which is made if it is not there", "folder", folder, "others", writers)
	}
	return nil
}

// clearSocket removes a socket that nobody listens at. One whose owner cannot
// be asked, because it is busy or not ours to connect to, stays.
func clearSocket(ctx context.Context, path string) error {
	refuse := func(format string, args ...any) error {
		return entra.Errorf(entra.Misconfigured, "cli.listen", "socket "+path+": "+format, args...)
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return refuse("%w", err)
	case info.Mode()&fs.ModeSocket == 0:
		return refuse("a file of that name is there and is no socket")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return errors.Join(refuse("another program answers there; stop it or choose another path"), conn.Close())
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case !errors.Is(err, errConnRefused):
		return refuse("cannot tell whether a program answers there, choose another path: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return refuse("left by another program and not removable: %w", err)
	}
	return nil
}
