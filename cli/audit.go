package cli

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"syscall"
	"time"

	"tokenbroker/config"
)

// auditFile is where the audit records go, as docs/audit.md says. A nil one
// stands for none: then they go to the log.
type auditFile struct {
	path    string
	read    []string // files that the broker reads: none may get records
	logger  *slog.Logger
	file    *os.File
	records *logWriter
}

// openAudit opens the file that the configuration names. It is none of those
// that the broker reads, by whatever link.
func openAudit(cfg config.Audit, logger *slog.Logger, read ...string) (*auditFile, error) {
	if cfg.File == "" {
		return nil, nil
	}
	file, err := openRecords(cfg.File, read)
	if err != nil {
		return nil, atPath("audit.file", err)
	}
	a := &auditFile{path: cfg.File, read: read, logger: logger, file: file}
	a.records = startLogWriter(&pieces{to: file, torn: endsTorn(file), mark: markLost, fails: func(err error) {
		a.logger.Error("audit records are lost", "file", a.path, "err", withoutPath(err))
	}})
	return a, nil
}

// Handler takes the records; nil: there is no file.
func (a *auditFile) Handler() slog.Handler {
	if a == nil {
		return nil
	}
	return slog.NewJSONHandler(a.records, nil)
}

// Lost returns how many records were lost.
func (a *auditFile) Lost() uint64 {
	if a == nil {
		return 0
	}
	return a.records.lost.Load()
}

// Reopen opens the file again by its name, for who has moved it away. Records
// from before go to where they went; where it cannot be opened, or the old one
// cannot be written, so do those that come. It is not called after Close.
func (a *auditFile) Reopen() {
	if a == nil {
		return
	}
	before := a.file
	next, err := openRecords(a.path, a.read)
	if err == nil && !a.records.Turn(next, func() bool {
		a.close(before)
		return endsTorn(next)
	}) {
		err = errors.Join(wrongUsage("%s: the one that is open cannot be written", a.path), next.Close())
	}
	if err != nil {
		a.logger.Error("audit file not opened again, that of before stays in use", "err", err)
		return
	}
	a.file = next
}

// Close writes what waits, for two seconds at most.
func (a *auditFile) Close() {
	if a == nil {
		return
	}
	a.records.Close()
	a.close(a.file)
}

// close closes a file. Some systems say only then that something is not there.
func (a *auditFile) close(file *os.File) {
	if err := file.Close(); err != nil {
		a.logger.Error("audit file not closed, its last records may be lost", "file", a.path, "err", withoutPath(err))
	}
}

// openRecords opens a file to append to. A named pipe that nobody reads is
// refused, rather than waited for, and so is a file that the broker reads.
func openRecords(path string, read []string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o640) //nolint:gosec // the group may read: it is whoever collects the records
	switch {
	case errors.Is(err, syscall.ENXIO):
		return nil, wrongUsage("%s: a pipe that nobody reads, or a socket; want a file", path)
	case err != nil:
		return nil, wrongUsage("%s: %w", path, withoutPath(err))
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(wrongUsage("%s: %w", path, withoutPath(err)), file.Close())
	}
	for _, name := range read {
		if other, err := os.Stat(name); err == nil && os.SameFile(info, other) {
			return nil, errors.Join(wrongUsage("%s: a link to %s, which the broker reads; want a file of its own", path, name), file.Close())
		}
	}
	return file, nil
}

// endsTorn reports whether a file ends in half a line, of a disk that was full
// or a broker that was killed. Where that cannot be seen it is taken to be so.
func endsTorn(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	reader, err := os.Open(file.Name())
	if err != nil {
		return true
	}
	defer reader.Close()
	var last [1]byte
	_, err = reader.ReadAt(last[:], info.Size()-1)
	return err != nil || last[0] != '\n'
}

// markLost is the record that stands where others are missing.
func markLost(count uint64) []byte {
	var line bytes.Buffer
	record := slog.NewRecord(time.Now(), slog.LevelWarn, "audit records lost", 0)
	record.AddAttrs(slog.Uint64("count", count))
	_ = slog.NewJSONHandler(&line, nil).Handle(context.Background(), record) // a buffer takes everything
	return line.Bytes()
}
