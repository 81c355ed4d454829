package cli

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/config"
)

// audited opens an audit file, and a log of what it has to say itself.
func audited(t *testing.T, path string) (a *auditFile, records *slog.Logger, log *logBuffer) {
	t.Helper()
	log = new(logBuffer)
	a, err := openAudit(config.Audit{File: path}, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return a, slog.New(a.Handler()), log
}

// numbers are the values of n in a file's records, in their order. A mark stands
// there as minus the number of those that are missing, and what is no JSON as 0.
func numbers(t *testing.T, text string) []int {
	t.Helper()
	var all []int
	for line := range strings.Lines(text) {
		var record struct {
			Time  time.Time
			Level string
			Msg   string
			N     int
			Count int
		}
		switch err := json.Unmarshal([]byte(line), &record); {
		case err != nil:
			all = append(all, 0)
		case record.Msg == "audit records lost" && record.Level == "WARN" && !record.Time.IsZero() && record.Count > 0:
			all = append(all, -record.Count)
		case record.Msg == "audit":
			all = append(all, record.N)
		default:
			t.Errorf("neither a record nor a mark: %s", line)
		}
	}
	return all
}

func contents(t *testing.T, path string) []int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return numbers(t, string(text))
}

func TestAuditFileIsAppendedTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for n := 1; n <= 2; n++ {
		a, records, _ := audited(t, path)
		records.Info("audit", "n", n)
		a.Close()
		if a.Lost() != 0 {
			t.Errorf("%d records lost", a.Lost())
		}
	}
	if diff := cmp.Diff([]int{1, 2}, contents(t, path)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^0o640 != 0 && os.PathSeparator == '/' {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
}

func TestWithoutAuditFileRecordsAreTheLogs(t *testing.T) {
	a, err := openAudit(config.Audit{}, slog.New(slog.DiscardHandler))
	if err != nil || a.Handler() != nil || a.Lost() != 0 {
		t.Errorf("got %v, %v, %d", err, a.Handler(), a.Lost())
	}
	a.Reopen()
	a.Close()
}

func TestAuditFileThatCannotBeOpenedIsSaid(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"folder": dir, "no folder": filepath.Join(dir, "none", "audit.jsonl")} {
		_, err := openAudit(config.Audit{File: path}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.HasPrefix(err.Error(), "audit.file: "+path+": ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Records in a file of keys would be keys.
func TestAuditFileIsNoneThatTheBrokerReads(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(at("keys"), []byte("key\n"), 0o600))
	must(t, os.Symlink(at("keys"), at("symbolic")))
	must(t, os.Link(at("keys"), at("hard")))
	for _, name := range []string{"keys", "symbolic", "hard"} {
		_, err := openAudit(config.Audit{File: at(name)}, silent, at("missing"), at("keys"))
		if want := "audit.file: " + at(name) + ": a link to " + at("keys") + ", which the broker reads; want a file of its own"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	var said logBuffer
	a, err := openAudit(config.Audit{File: at("audit.jsonl")}, slog.New(slog.NewJSONHandler(&said, nil)), at("keys"))
	must(t, err)
	must(t, os.Rename(at("audit.jsonl"), at("audit.jsonl.1")))
	must(t, os.Rename(at("symbolic"), at("audit.jsonl")))
	a.Reopen()
	slog.New(a.Handler()).Info("audit", "n", 1)
	a.Close()
	if diff := cmp.Diff([]int{1}, contents(t, at("audit.jsonl.1"))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if content, err := os.ReadFile(at("keys")); err != nil || string(content) != "key\n" || !strings.Contains(said.String(), "which the broker reads") {
		t.Errorf("the keys are %q, %v; the log says %s", content, err, &said)
	}
}

// As logrotate does it: the file is moved away, then the broker is told.
func TestReopenLosesNoRecord(t *testing.T) {
	const rotations, writers, each = 20, 4, 500
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	synctest.Test(t, func(t *testing.T) {
		a, records, said := audited(t, path)
		var load sync.WaitGroup
		for range writers {
			load.Go(func() {
				for range each {
					records.Info("audit", "n", 1)
				}
			})
		}
		rotate := func(to string) {
			if err := os.Rename(path, to); err != nil {
				t.Error(err)
			}
			a.Reopen()
		}
		for i := range rotations {
			rotate(fmt.Sprint(path, ".", i))
		}
		load.Wait()
		records.Info("audit", "n", 2)
		rotate(path + ".last")
		records.Info("audit", "n", 3)
		a.Close()
		if said.String() != "" || a.Lost() > 0 {
			t.Errorf("%d lost, and the log says %s", a.Lost(), said)
		}
	})
	count := map[int]int{}
	for i := range rotations {
		for _, n := range contents(t, fmt.Sprint(path, ".", i)) {
			count[n]++
		}
	}
	last := contents(t, path+".last")
	for _, n := range last {
		count[n]++
	}
	if diff := cmp.Diff(map[int]int{1: writers * each, 2: 1}, count); diff != "" || last[len(last)-1] != 2 {
		t.Errorf("records from before the last turn (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{3}, contents(t, path)); diff != "" {
		t.Errorf("records from after it (-want +got):\n%s", diff)
	}
}

func TestAuditFileThatCannotBeOpenedAgainStaysInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "audit.jsonl")
	a, records, said := audited(t, path)
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	a.Reopen()
	records.Info("audit", "n", 1)
	a.Close()
	if diff := cmp.Diff([]int{1}, contents(t, filepath.Join(dir+".moved", "audit.jsonl"))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if got := said.String(); !strings.Contains(got, "audit file not opened again, that of before stays in use") {
		t.Errorf("the log says %s", got)
	}
}
