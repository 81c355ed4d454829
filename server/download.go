package server

import (
	"net/http"
	"time"
)

const (
	downloadFree  = 16 << 10         // bytes that the system's buffers take from us in any case
	downloadPause = 2 * uploadPause  // for a piece of the answer; net/http may first wait for what is left of the body
	downloadTick  = 10 * time.Second // how often the deadline is put off: it costs as much as a write
)

// download is the way of an answer that has to be read: a caller that stops
// reading would hold its connection, and the upstream's, for good. The
// deadline is put off at each write, so that an answer may take as long as it
// takes; net/http lifts it when the answer is out. It is for one goroutine at a
// time, as every writer of an answer.
//
// It has no Unwrap: nothing is to be written past it, interim answers included.
type download struct {
	http.ResponseWriter
	conn *http.ResponseController
	sent int       // bytes, until there are more than are free
	set  time.Time // when the deadline was
}

// WriteHeader writes to the caller, the header of an interim answer at once.
func (d *download) WriteHeader(status int) {
	d.extend(0)
	d.ResponseWriter.WriteHeader(status)
}

// Write writes to the caller.
func (d *download) Write(p []byte) (int, error) {
	d.extend(len(p))
	return d.ResponseWriter.Write(p)
}

// FlushError is for [http.ResponseController].
func (d *download) FlushError() error {
	d.extend(0)
	return d.conn.Flush()
}

// SetReadDeadline is for [http.ResponseController], by which [upload] calls it.
func (d *download) SetReadDeadline(deadline time.Time) error { return d.conn.SetReadDeadline(deadline) }

// extend sees to the deadline before n bytes are written.
func (d *download) extend(n int) {
	if d.sent <= downloadFree {
		if d.sent += n; d.sent <= downloadFree {
			return
		}
	}
	if now := time.Now(); now.Sub(d.set) >= downloadTick {
		d.set = now
		_ = d.conn.SetWriteDeadline(now.Add(downloadPause)) // fails without a connection, as in a test
	}
}
