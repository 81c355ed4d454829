package cli

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/config"
)

func TestNamedPipeForAuditRecordsNeedsAReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openAudit(config.Audit{File: path}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "a pipe that nobody reads") {
		t.Errorf("without a reader: got %v", err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	a, records, said := audited(t, path)
	records.Info("audit", "n", 1)
	a.Reopen()
	records.Info("audit", "n", 2)
	a.Close()
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 2}, numbers(t, string(text))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if said.String() != "" {
		t.Errorf("the log says %s", said)
	}
}

func TestFullDiskIsLoggedOnce(t *testing.T) {
	a, records, said := audited(t, "/dev/full")
	const all = 100
	for range all {
		records.Info("audit", "n", 1)
	}
	a.Close()
	if a.Lost() != all {
		t.Errorf("%d records lost, want %d", a.Lost(), all)
	}
	if got := said.String(); strings.Count(got, "audit records are lost") != 1 || !strings.Contains(got, `"err":"no space left on device"`) {
		t.Errorf("the log says %s", got)
	}
}
