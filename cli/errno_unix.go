//go:build unix

package cli

import "syscall"

// What the system says when an address cannot be had.
const (
	errAddrInUse        = syscall.EADDRINUSE
	errAddrNotAvailable = syscall.EADDRNOTAVAIL
	errNoSuchFamily     = syscall.EAFNOSUPPORT
	errConnRefused      = syscall.ECONNREFUSED
)
