package cli

import "syscall"

// What Winsock says when an address cannot be had. The names that package
// syscall has for these are numbers of its own, which no call returns. See
// "Windows Sockets Error Codes", learn.microsoft.com/windows/win32/winsock/windows-sockets-error-codes-2.
const (
	errAddrInUse        = syscall.Errno(10048)
	errAddrNotAvailable = syscall.Errno(10049)
	errNoSuchFamily     = syscall.Errno(10047)
	errConnRefused      = syscall.Errno(10061)
)
