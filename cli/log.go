package cli

import (
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"tokenbroker/config"
)

const (
	logQueue = 4096            // lines that wait to be written
	logBatch = 64 << 10        // bytes that are written at once
	logLast  = 2 * time.Second // to write what waits at the end
)

// logWriter passes lines on behind the back of who logs them, so that a log
// whose reader is slow, or gone, holds up no request. Lines for which there is
// no room are dropped, and counted.
type logWriter struct {
	lines   chan []byte
	lost    atomic.Uint64
	closing chan struct{}
	written chan struct{}
}

// newLogWriter writes to w until it is closed.
func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{lines: make(chan []byte, logQueue), closing: make(chan struct{}), written: make(chan struct{})}
	go l.run(w)
	return l
}

// Write takes one line.
func (l *logWriter) Write(line []byte) (int, error) {
	select {
	case l.lines <- slices.Clone(line):
	default:
		l.lost.Add(1)
	}
	return len(line), nil
}

// Close writes what waits, for two seconds at most: a reader that stands still
// does not keep the program from ending. It is called once.
func (l *logWriter) Close() {
	close(l.closing)
	select {
	case <-l.written:
	case <-time.After(logLast):
	}
}

func (l *logWriter) run(w io.Writer) {
	defer close(l.written)
	for {
		select {
		case line := <-l.lines:
			l.pass(w, line)
		case <-l.closing:
			for len(l.lines) > 0 {
				l.pass(w, <-l.lines)
			}
			return
		}
	}
}

// pass writes a line, and in the same piece those that wait behind it.
func (l *logWriter) pass(w io.Writer, batch []byte) {
	lines := uint64(1)
	for len(l.lines) > 0 && len(batch) < logBatch {
		batch = append(batch, <-l.lines...)
		lines++
	}
	if _, err := w.Write(batch); err != nil {
		l.lost.Add(lines)
	}
}

func newLogger(w io.Writer, cfg config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == config.LogText {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
