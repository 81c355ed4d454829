package cli

import (
	"bytes"
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
// no room, or that cannot be written, are lost, and counted.
type logWriter struct {
	lines   chan logLine
	turns   chan turn
	lost    atomic.Uint64
	full    atomic.Uint64 // of those that are lost: there was no room for them
	closing chan struct{}
	written chan struct{}
}

// logLine is a line that waits.
type logLine struct {
	text []byte
	full uint64 // the lines before it for which there was no room
}

// turn is where the lines go from now on.
type turn struct {
	to   io.Writer
	torn func() bool // is called when those of before are written: whether half a line is the last in to
	made chan struct{}
}

// newLogWriter writes to w until it is closed.
func newLogWriter(w io.Writer) *logWriter { return startLogWriter(&pieces{to: w}) }

func startLogWriter(out *pieces) *logWriter {
	l := &logWriter{lines: make(chan logLine, logQueue), turns: make(chan turn), closing: make(chan struct{}), written: make(chan struct{})}
	out.lost = &l.lost
	go l.run(out)
	return l
}

// Write takes one line.
func (l *logWriter) Write(line []byte) (int, error) {
	select {
	case l.lines <- logLine{slices.Clone(line), l.full.Load()}:
	default:
		l.full.Add(1)
		l.lost.Add(1)
	}
	return len(line), nil
}

// Turn sends the lines that come from now on elsewhere: those after its return,
// unless the writing of those before takes longer than two seconds, and none of
// those before. It reports false where not one could be written in that time;
// then there is no turn.
func (l *logWriter) Turn(to io.Writer, torn func() bool) bool {
	t, late := turn{to, torn, make(chan struct{})}, time.After(logLast)
	select {
	case l.turns <- t:
	case <-late:
		return false
	}
	select {
	case <-t.made:
	case <-late:
	}
	return true
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

func (l *logWriter) run(out *pieces) {
	defer close(l.written)
	for {
		select {
		case line := <-l.lines:
			l.pass(out, line)
		case next := <-l.turns:
			for n := len(l.lines); n > 0 && len(l.lines) > 0; n-- { // at least those of before
				l.pass(out, <-l.lines)
			}
			out.to, out.torn = next.to, next.torn()
			close(next.made)
		case <-l.closing:
			for len(l.lines) > 0 {
				l.pass(out, <-l.lines)
			}
			out.begin(l.full.Load())
			out.write()
			return
		}
	}
}

// pass writes a line, and in the same piece those that wait behind it with none
// missing between.
func (l *logWriter) pass(out *pieces, line logLine) {
	out.begin(line.full)
	out.add(line.text)
	for len(l.lines) > 0 && len(out.bytes) < logBatch {
		line = <-l.lines
		if line.full > out.full {
			out.write()
			out.begin(line.full)
		}
		out.add(line.text)
	}
	out.write()
}

// pieces are what is written at once: lines, and where some are missing a mark
// before those that follow.
type pieces struct {
	to    io.Writer
	lost  *atomic.Uint64
	mark  func(lost uint64) []byte // the line that stands where lines are missing; nil: none does
	fails func(err error)          // is called when lines cannot be written, though those before could; nil: nobody is

	bytes []byte
	front int    // lines of ours at the piece's beginning
	lines uint64 // lines that were logged

	full    uint64 // lines for which there was no room, as far as they are in missing
	missing uint64 // lines that are lost, and no mark says so
	torn    bool   // half a line was written last
	failing bool
}

// begin begins a piece. Before it there was no room for so many lines in all.
func (p *pieces) begin(full uint64) {
	p.bytes, p.front, p.lines = p.bytes[:0], 0, 0
	if p.torn {
		p.bytes = append(p.bytes, '\n')
		p.front++
	}
	if full > p.full {
		p.missing, p.full = p.missing+full-p.full, full
	}
	if p.missing > 0 && p.mark != nil {
		p.bytes = append(p.bytes, p.mark(p.missing)...)
		p.front++
	}
}

func (p *pieces) add(line []byte) {
	p.bytes = append(p.bytes, line...)
	p.lines++
}

// write writes the piece, or as much as can be.
func (p *pieces) write() {
	if len(p.bytes) == 0 {
		return
	}
	n, err := p.to.Write(p.bytes)
	if n > 0 {
		p.torn = p.bytes[n-1] != '\n'
	}
	whole := bytes.Count(p.bytes[:n], []byte{'\n'}) - p.front
	if n < len(p.bytes) && p.bytes[n] == '\n' {
		whole++ // the next piece brings its end
	}
	if whole >= 0 {
		p.missing = 0 // the mark was written
	}
	if err != nil {
		lost := p.lines - uint64(max(whole, 0))
		p.lost.Add(lost)
		p.missing += lost
		if !p.failing && p.fails != nil {
			p.fails(err)
		}
	}
	p.failing = err != nil
}

// logger is a log whose least level can be changed.
type logger struct {
	*slog.Logger
	level *slog.LevelVar
}

func newLogger(w io.Writer, cfg config.Log) logger {
	level := new(slog.LevelVar)
	level.Set(cfg.Level)
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == config.LogText {
		return logger{slog.New(slog.NewTextHandler(w, options)), level}
	}
	return logger{slog.New(slog.NewJSONHandler(w, options)), level}
}
