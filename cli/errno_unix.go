//go:build unix

package cli

import "syscall"

// What the system says when an address cannot be had.
const (
	addrInUse          = syscall.EADDRINUSE
	addrNotAvailable   = syscall.EADDRNOTAVAIL
	familyNotSupported = syscall.EAFNOSUPPORT
	connRefused        = syscall.ECONNREFUSED
)
