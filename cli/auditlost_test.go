package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A line that another broker, or this one, did not bring to its end.
func TestTornLineNeverMergesWithTheNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	tear := func() {
		if err := appendTo(path, `{"msg":"audit","n":`); err != nil {
			t.Error(err)
		}
	}
	tear()
	synctest.Test(t, func(t *testing.T) {
		a, records, _ := audited(t, path)
		records.Info("audit", "n", 1)
		a.Reopen() // of the same file
		records.Info("audit", "n", 2)
		synctest.Wait() // it is written
		tear()
		a.Reopen()
		records.Info("audit", "n", 3)
		a.Close()
	})
	if diff := cmp.Diff([]int{0, 1, 2, 0, 3}, contents(t, path)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func appendTo(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, text)
	return errors.Join(err, file.Close())
}

// moody is a disk that takes as much as its mood lets it.
type moody struct {
	logBuffer
	mood *rand.Rand
}

func (m *moody) Write(b []byte) (int, error) {
	switch m.mood.IntN(4) {
	case 0:
		return 0, syscall.EIO
	case 1:
		n, _ := m.logBuffer.Write(b[:m.mood.IntN(len(b))])
		return n, syscall.ENOSPC
	}
	return m.logBuffer.Write(b)
}

func TestLostRecordsAreCountedAndMarkedWhereTheyAreMissing(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			disk := &moody{mood: rand.New(rand.NewPCG(seed, 0))}
			streaks := 0
			log := startLogWriter(&pieces{to: disk, mark: markLost, fails: func(error) { streaks++ }})
			records := slog.New(slog.NewJSONHandler(log, nil))
			all := 0
			for range 40 {
				for range 1 + disk.mood.IntN(3) {
					all++
					records.Info("audit", "n", all)
				}
				synctest.Wait() // what is there is written
			}
			for range 40 { // until the disk is in the mood
				all++
				records.Info("audit", "n", all)
				synctest.Wait()
			}
			log.Close()
			checkGaps(t, disk.String(), all, int(log.lost.Load()))
			if streaks == 0 || streaks > 60 {
				t.Errorf("%d failures were told", streaks)
			}
		})
	}
}

// checkGaps wants each record or a mark that counts it, in order. What is
// missing at the very end has no mark, where the disk failed to the last.
func checkGaps(t *testing.T, text string, all, lost int) {
	t.Helper()
	next, marked := 1, 0
	for _, n := range numbers(t, text) {
		switch {
		case n < 0:
			next, marked = next-n, marked-n
		case n > 0:
			if n != next {
				t.Fatalf("record %d where %d has to be:\n%s", n, next, text)
			}
			next++
		}
	}
	if rest := all + 1 - next; marked+rest != lost {
		t.Errorf("%d marked and %d missing at the end, %d counted as lost", marked, rest, lost)
	}
}

func TestRecordsWithoutRoomAreMarkedWhereTheyAreMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowReader{goOn: make(chan struct{})}
		log := startLogWriter(&pieces{to: disk, mark: markLost})
		records := slog.New(slog.NewJSONHandler(log, nil))
		all := 0
		write := func(count int) {
			for range count {
				all++
				records.Info("audit", "n", all)
			}
		}
		start := time.Now()
		write(1)
		synctest.Wait() // it is under way
		write(logQueue + 7)
		disk.goOn <- struct{}{}
		synctest.Wait() // the first is written, and there is room again
		write(3)
		write(logQueue)
		if took := time.Since(start); took != 0 {
			t.Errorf("who writes records waited %s", took)
		}
		close(disk.goOn)
		log.Close()
		checkGaps(t, disk.String(), all, int(log.lost.Load()))
		if got := numbers(t, disk.String()); got[len(got)-1] >= 0 || log.lost.Load() < 7 {
			t.Errorf("%d lost, and the last line is %d, want a mark of those after it", log.lost.Load(), got[len(got)-1])
		}
	})
}

func TestReopenDoesNotWaitForADiskThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		a, _, said := audited(t, path)
		a.records.Close()
		disk := &slowReader{goOn: make(chan struct{})}
		a.records = startLogWriter(&pieces{to: disk, mark: markLost})
		records := slog.New(a.Handler())
		records.Info("audit", "n", 1)
		synctest.Wait()
		start := time.Now()
		a.Reopen()
		if took := time.Since(start); took != logLast {
			t.Errorf("Reopen took %s, want %s", took, logLast)
		}
		if got := said.String(); !strings.Contains(got, "the one that is open cannot be written") {
			t.Errorf("the log says %s", got)
		}
		close(disk.goOn)
		records.Info("audit", "n", 2)
		a.Close()
		if diff := cmp.Diff([]int{1, 2}, numbers(t, disk.String())); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
}

func TestLinesFromBeforeATurnGoWhereTheyWent(t *testing.T) {
	for range 20 { // the turn and the lines are there at once
		synctest.Test(t, func(t *testing.T) {
			before, after := &slowReader{goOn: make(chan struct{})}, new(logBuffer)
			log := newLogWriter(before)
			fmt.Fprintln(log, "first")
			synctest.Wait() // it is under way
			fmt.Fprintln(log, "second")
			go close(before.goOn)
			if !log.Turn(after, func() bool { return false }) {
				t.Error("there was no turn")
			}
			fmt.Fprintln(log, "third")
			log.Close()
			if got, want := before.String()+"|"+after.String(), "first\nsecond\n|third\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// The closing of the old file may take its time too.
func TestTurnIsMadeLaterWhereItTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var before, after logBuffer
		log := newLogWriter(&before)
		start := time.Now()
		made := log.Turn(&after, func() bool {
			time.Sleep(time.Minute)
			return true
		})
		if took := time.Since(start); !made || took != logLast {
			t.Errorf("Turn returned %t after %s, want true after %s", made, took, logLast)
		}
		fmt.Fprintln(log, "line")
		time.Sleep(time.Minute)
		log.Close()
		if got, want := before.String()+"|"+after.String(), "|\nline\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestAuditFileThatIsGoneIsSaid(t *testing.T) {
	a, _, said := audited(t, filepath.Join(t.TempDir(), "audit.jsonl"))
	_ = a.file.Close()
	a.Close()
	if got := said.String(); !strings.Contains(got, "audit file not closed") {
		t.Errorf("the log says %s", got)
	}
}
