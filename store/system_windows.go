package store

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile fails with errHeld where another open file has the lock.
func lockFile(f *os.File, mode sharing) error {
	how := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if mode == exclusive {
		how |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errHeld
	}
	return os.NewSyscallError("LockFileEx", err)
}

func unlockFile(f *os.File) {
	_ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, new(windows.Overlapped))
}

// syncFolder does nothing: Windows has no such call, NTFS writes names to its
// journal in order.
func syncFolder(string) error { return nil }

// handOver does nothing: a file has the permissions of its folder.
func handOver(*os.File, string) {}
