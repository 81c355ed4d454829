package cli

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tokenbroker/entra"
)

// A program that is too busy to accept says neither yes nor no.
func TestSocketOfABusyProgramStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	defer syscall.Close(fd)
	must(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	must(t, syscall.Listen(fd, 0))
	first, err := net.Dial("unix", path) // all that the backlog holds
	must(t, err)
	defer first.Close()
	before := fileID(t, path)
	if _, err := listenUnix(t.Context(), path, 0o660, silent); entra.KindOf(err) != entra.Misconfigured || !strings.Contains(err.Error(), "cannot tell") {
		t.Errorf("got %v", err)
	}
	if fileID(t, path) != before {
		t.Error("the socket is another one")
	}
}

func fileID(t *testing.T, path string) uint64 {
	t.Helper()
	var stat syscall.Stat_t
	must(t, syscall.Stat(path, &stat))
	return stat.Ino
}
