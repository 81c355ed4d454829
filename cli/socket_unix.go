//go:build unix

package cli

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// limitMode gives what is created from now on no more than this mode, until the
// returned function is called. It holds for the whole process, so only for the
// moment of its use at start.
func limitMode(mode fs.FileMode) (restore func()) {
	before := syscall.Umask(int(fs.ModePerm &^ mode))
	return func() { syscall.Umask(before) }
}

// writersOf says who beside us and root may put something into a folder; empty:
// nobody. A folder of another user is an error. Our own group is no stranger:
// on many systems it is one of each user's own.
func writersOf(folder fs.FileInfo) (string, error) {
	stat := folder.Sys().(*syscall.Stat_t)
	switch mode := folder.Mode().Perm(); {
	case stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
		return "", fmt.Errorf("belongs to the user %d, who can put something else in the place of what is ours; want one that is ours or root's", stat.Uid)
	case mode&0o002 != 0:
		return "every user", nil
	case mode&0o020 != 0 && int(stat.Gid) != os.Getegid():
		return fmt.Sprintf("group %d", stat.Gid), nil
	}
	return "", nil
}
