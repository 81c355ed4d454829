//go:build unix

package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tokenbroker/entra"
)

func TestFilesAreForTheirUserAlone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "one", "two")
	path := filepath.Join(folder, "sign-ins")
	s, err := OpenFile(t.Context(), path, writeKey(t, goodKey))
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, "user", canary)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	save(t, s, "user", canary)
	for at, want := range map[string]fs.FileMode{
		path: 0o600, lockOf(path): 0o600,
		folder: fs.ModeDir | 0o700, filepath.Dir(folder): fs.ModeDir | 0o700,
	} {
		info, err := os.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != want {
			t.Errorf("%s: got %v, want %v", at, got, want)
		}
	}
	left, err := filepath.Glob(path + "*")
	if err != nil || len(left) != 2 {
		t.Errorf("got %v, want the file and its lock", left)
	}
}

func TestWhatCannotBeLockedIsTold(t *testing.T) {
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := lockFile(f, shared); err == nil {
		t.Error("got a lock of a closed file")
	}
}

func TestLinkIsRefused(t *testing.T) {
	s, path := newFile(t)
	put(t, path+"-target", []byte("target"))
	if err := os.Symlink(path+"-target", path); err != nil {
		t.Fatal(err)
	}
	for _, err := range every(t.Context(), s) {
		refused(t, err, entra.Misconfigured, path, "nor may it be a link")
	}
	same(t, path+"-target", []byte("target"))
}

// Root, beside a broker that is another user: its files stay the broker's.
func TestRootLeavesTheFilesToTheirOwner(t *testing.T) {
	owner := os.Geteuid()
	folder := t.TempDir()
	if owner == 0 {
		owner = 65534
		if err := os.Chown(folder, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(folder, "sign-ins")
	s, err := OpenFile(t.Context(), path, writeKey(t, goodKey))
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, "user", canary)
	for _, at := range []string{path, lockOf(path)} {
		info, err := os.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		if got := int(info.Sys().(*syscall.Stat_t).Uid); got != owner {
			t.Errorf("%s is of user %d, want %d", at, got, owner)
		}
	}
}
