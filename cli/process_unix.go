//go:build unix

package cli

import "syscall"

// keepPrivate makes what is created from now on accessible to our own user
// alone, until the returned function is called. It holds for the whole process,
// so only for the moment of its use at start.
func keepPrivate() (restore func()) {
	before := syscall.Umask(0o177)
	return func() { syscall.Umask(before) }
}

// forbidCore sees to it that a crash leaves no file with what was in memory.
func forbidCore() error { return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
