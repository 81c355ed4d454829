package config

import (
	"log/slog"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// On Linux changes of the folder are notified too.
func TestWatcherIsNotifiedOfFolders(t *testing.T) {
	for _, tc := range folderChanges() {
		t.Run(tc.name, func(t *testing.T) { testNotified(t, tc) })
	}
}

func TestWatcherDoesNotWaitForPipes(t *testing.T) {
	testNotified(t, change{"", func(s scene) []func() {
		s.write("file", "1")
		return []func(){
			func() { s.remove("file"); ok(s.t, syscall.Mkfifo(s.path("file"), 0o600)) },
			func() { s.remove("file"); s.write("file", "2") },
			func() { s.remove("file"); s.link("/dev/zero", "file") },
			func() { s.remove("file"); s.write("file", "3") },
		}
	}})
}

// A mount over a folder, or a folder further up that is replaced, is not
// notified: it is the next round that finds another folder under the name.
func TestNotifierWatchesTheFolderThatHasTheNameNow(t *testing.T) {
	s := scene{t, folder(t)}
	s.write("up/down/file", "1")
	s.write("next/down/file", "2")
	path := filepath.Join(s.dir, "up", "down", "file")
	n := newNotifier(slog.New(slog.DiscardHandler), fsnotify.NewWatcher)
	defer n.close()
	n.follow([]string{path})
	s.rename("up", "old")
	s.rename("next", "up")
	n.follow([]string{path})
	s.write("up/down/file", "3")
	next(t, n.touched)
}
