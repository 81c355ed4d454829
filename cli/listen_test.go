package cli

import (
	"bytes"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"tokenbroker/entra"
)

var silent = slog.New(slog.DiscardHandler)

func TestSocketThatACrashLeftIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.Listen("unix", path)
	must(t, err)
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, dead.Close())
	l, err := listenUnix(t.Context(), path, 0o660, silent)
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
		if _, err := listenUnix(t.Context(), path, 0o660, silent); entra.KindOf(err) != entra.Misconfigured || !strings.Contains(err.Error(), "answers there") {
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
	if _, err := listenUnix(t.Context(), file, 0o660, silent); entra.KindOf(err) != entra.Misconfigured || !strings.Contains(err.Error(), "no socket") {
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

func TestFolderOfASocket(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	for _, folder := range []struct {
		name string
		mode fs.FileMode
	}{{"own", 0o750}, {"open", 0o777}, {"sticky", 0o777 | fs.ModeSticky}} {
		path := filepath.Join(dir, folder.name)
		must(t, os.Mkdir(path, 0o700))
		must(t, os.Chmod(path, folder.mode))
	}
	for _, tt := range []struct{ folder, warns, fails string }{
		{folder: "own"},
		{folder: "made"},
		{folder: "sticky", warns: `others="every user"`},
		{folder: "open", warns: "others can put another socket in the place of this one"},
		{folder: "file", fails: "is a file"},
		{folder: "none/below", fails: "no such file or directory"},
	} {
		var log bytes.Buffer
		l, err := listenUnix(t.Context(), filepath.Join(dir, tt.folder, "s"), 0o660, slog.New(slog.NewTextHandler(&log, nil)))
		if err == nil {
			must(t, l.Close())
		}
		if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: got %v, want %q", tt.folder, err, tt.fails)
		}
		if (log.Len() > 0) != (tt.warns != "") || !strings.Contains(log.String(), tt.warns) {
			t.Errorf("%s: logged %q, want %q", tt.folder, log.String(), tt.warns)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "made"))
	must(t, err)
	if got := info.Mode().Perm(); got&0o027 != 0 {
		t.Errorf("the folder that was made has mode %04o, want nothing for others", got)
	}
}
