package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slowReader takes nothing until it is let go.
type slowReader struct {
	logBuffer
	goOn chan struct{}
}

func (s *slowReader) Write(b []byte) (int, error) {
	<-s.goOn
	return s.logBuffer.Write(b)
}

func TestLogThatStandsStillHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := &slowReader{goOn: make(chan struct{})}
		log := newLogWriter(reader)
		start := time.Now()
		const all = 10 * logQueue // more than the queue and one batch hold
		for i := range all {
			fmt.Fprintf(log, "line %d\n", i)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("who logs waited %v", took)
		}
		if lost := log.lost.Load(); lost == 0 {
			t.Error("no line was counted as lost, and there was no room for all")
		}
		close(reader.goOn)
		log.Close()
		if got := strings.Count(reader.String(), "\n"); got != all-int(log.lost.Load()) {
			t.Errorf("%d lines written", got)
		}
		if !strings.HasPrefix(reader.String(), "line 0\nline 1\n") {
			t.Error("the lines are not in order")
		}
	})
}

func TestLogThatStandsStillDoesNotKeepTheProgramFromEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := &slowReader{goOn: make(chan struct{})}
		log := newLogWriter(reader)
		fmt.Fprintln(log, "never read")
		start := time.Now()
		log.Close()
		if took := time.Since(start); took != logLast {
			t.Errorf("Close took %v, want %v", took, logLast)
		}
		close(reader.goOn)
	})
}

type goneReader struct{}

func (goneReader) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestLogWhoseReaderIsGoneIsCounted(t *testing.T) {
	log := newLogWriter(goneReader{})
	fmt.Fprintln(log, "a")
	fmt.Fprintln(log, "b")
	log.Close()
	if got := log.lost.Load(); got != 2 {
		t.Errorf("%d lines counted as lost, want 2", got)
	}
}
