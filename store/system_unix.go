//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"
)

// lockFile fails with errHeld where another open file has the lock.
func lockFile(f *os.File, mode sharing) error {
	how := syscall.LOCK_SH
	if mode == exclusive {
		how = syscall.LOCK_EX
	}
	err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return errHeld
	}
	return os.NewSyscallError("flock", err)
}

func unlockFile(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// handOver gives a file that root made to the owner of what lies at like, where
// that is not root: a command that root runs beside a broker must not take away
// the broker's files. Where it cannot be, as on a file system without owners, the
// file stays as it is.
func handOver(f *os.File, like string) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Lstat(like)
	if err != nil {
		return
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(owner.Uid), int(owner.Gid))
	}
}
