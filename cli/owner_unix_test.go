//go:build unix

package cli

import (
	"os"
	"testing"
)

func TestOwnerOfAFile(t *testing.T) {
	us := uint32(os.Geteuid())
	for uid, want := range map[uint32]bool{us: true, us + 1: false, us + 4711: false} {
		file := folderOf{mode: 0o600}
		file.stat.Uid = uid
		if got := ours(file); got != want {
			t.Errorf("of user %d: ours %v", uid, got)
		}
	}
}
