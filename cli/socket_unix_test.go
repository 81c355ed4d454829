//go:build unix

package cli

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// folderOf is a folder of any owner and mode.
type folderOf struct {
	mode fs.FileMode
	stat syscall.Stat_t
}

func (folderOf) Name() string        { return "folder" }
func (folderOf) Size() int64         { return 0 }
func (f folderOf) Mode() fs.FileMode { return fs.ModeDir | f.mode }
func (folderOf) ModTime() time.Time  { return time.Time{} }
func (folderOf) IsDir() bool         { return true }
func (f folderOf) Sys() any          { return &f.stat }

func TestWritersOfAFolder(t *testing.T) {
	us, ours := uint32(os.Geteuid()), uint32(os.Getegid())
	for _, tt := range []struct {
		name       string
		uid, gid   uint32
		mode       fs.FileMode
		want, fail string
	}{
		{name: "ours", uid: us, gid: ours, mode: 0o750},
		{name: "ours, and our group may write", uid: us, gid: ours, mode: 0o770},
		{name: "root's", gid: 0, mode: 0o755},
		{name: "for a group that may call", uid: us, gid: ours + 1, mode: 0o750 | fs.ModeSetgid},
		{name: "where another group may write", uid: us, gid: 4711, mode: 0o770, want: "group 4711"},
		{name: "where all may write", uid: us, gid: ours, mode: 0o777, want: "every user"},
		{name: "of all, as /tmp is", gid: 0, mode: 0o777 | fs.ModeSticky, want: "every user"},
		{name: "another user's", uid: us + 4711, gid: ours, mode: 0o700, fail: "belongs to the user"},
	} {
		folder := folderOf{mode: tt.mode}
		folder.stat.Uid, folder.stat.Gid = tt.uid, tt.gid
		got, err := writersOf(folder)
		if got != tt.want || (err == nil) != (tt.fail == "") || err != nil && !strings.Contains(err.Error(), tt.fail) {
			t.Errorf("%s: got %q, %v, want %q, %q", tt.name, got, err, tt.want, tt.fail)
		}
	}
}

// Nobody can connect before the mode holds, and what stands behind a link of
// that name keeps its own.
func TestSocketHasItsModeWithoutAChange(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for mode, name := range map[fs.FileMode]string{0o660: "group", 0o600: "owner", 0o777: "all"} {
		restore := limitMode(mode)
		l, err := net.Listen("unix", at(name))
		restore()
		must(t, err)
		defer l.Close()
		if info, err := os.Lstat(at(name)); err != nil || info.Mode() != fs.ModeSocket|mode {
			t.Errorf("got mode %v, %v, want %v", info.Mode(), err, mode)
		}
	}
	must(t, os.Symlink(at("group"), at("link")))
	must(t, os.WriteFile(at("file"), nil, 0o600))
	for name, want := range map[string]string{
		"group": "",
		"owner": "",
		"all":   "has mode Srwxrwxrwx, want Srw-rw----; choose another folder",
		"link":  "has mode L",
		"file":  "has mode -rw",
		"none":  "no such file",
	} {
		err := checkSocket(at(name), 0o660)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}
