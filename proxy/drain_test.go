package proxy

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

type closer struct {
	io.Reader
	closed chan struct{}
}

func (c *closer) Close() error { close(c.closed); return nil }

func TestDrainReadsSmallBodiesToTheirEnd(t *testing.T) {
	body := &closer{bytes.NewReader(make([]byte, maxDrain)), make(chan struct{})}
	drain(body)
	if n, err := body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("left something: %d, %v", n, err)
	}
	<-body.closed
}

func TestDrainIsBounded(t *testing.T) {
	t.Run("in size", func(t *testing.T) {
		body := &closer{bytes.NewReader(make([]byte, maxDrain+1)), make(chan struct{})}
		drain(body)
		if rest, _ := io.ReadAll(body); len(rest) != 1 {
			t.Errorf("left %d bytes, want 1", len(rest))
		}
		<-body.closed
	})
	t.Run("in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			body, _ := io.Pipe() // never gives anything
			start := time.Now()
			drain(body)
			if took := time.Since(start); took != drainTime {
				t.Errorf("took %v, want %v", took, drainTime)
			}
		})
	})
}
