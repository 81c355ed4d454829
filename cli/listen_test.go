package cli

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"tokenbroker/entra"
)

func TestSocketThatACrashLeftIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.Listen("unix", path)
	must(t, err)
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, dead.Close())
	l, err := listenUnix(t.Context(), path, 0o660)
	must(t, err)
	defer l.Close()
	info, err := os.Stat(path)
	must(t, err)
	if runtime.GOOS != "windows" && info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("mode %v, want a socket with 0660", info.Mode())
	}
}

func TestSocketOfAnotherProgramStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	live, err := net.Listen("unix", path)
	must(t, err)
	defer live.Close()
	for range 2 { // the first try leaves a connection that nobody accepts
		if _, err := listenUnix(t.Context(), path, 0o660); entra.KindOf(err) != entra.Misconfigured || !strings.Contains(err.Error(), "answers there") {
			t.Errorf("got %v", err)
		}
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("the other program lost its socket: %v", err)
	} else {
		_ = conn.Close()
	}

	file := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(file, []byte("precious"), 0o600))
	if _, err := listenUnix(t.Context(), file, 0o660); entra.KindOf(err) != entra.Misconfigured || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v", err)
	}
	if content, _ := os.ReadFile(file); string(content) != "precious" {
		t.Error("a file that is no socket was touched")
	}
}

func TestLoopbackThatSomebodyHasIsAnError(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).AddrPort().Port()
	if _, _, err := listenLoopback(t.Context(), port); err == nil || !strings.Contains(err.Error(), "taken by another program") {
		t.Errorf("got %v", err)
	}
}
