package guard

import (
	"net"
	"syscall"
)

// TellsUID reports whether the system tells the uid of a Unix socket's peer, so
// that [Config].UIDs can match.
const TellsUID = true

// PeerOf returns the process at the other end of a Unix socket; nil: c is
// something else, or closed.
func PeerOf(c net.Conn) *Peer {
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	var peer *Peer
	_ = raw.Control(func(fd uintptr) { // of a closed socket there is no peer
		cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if err == nil {
			peer = &Peer{UID: int(cred.Uid), PID: int(cred.Pid)}
		}
	})
	return peer
}
