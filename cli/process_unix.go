//go:build unix

package cli

import "syscall"

// forbidCore sees to it that a crash leaves no file with what was in memory.
func forbidCore() error { return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
