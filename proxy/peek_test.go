package proxy

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// brokenOnce fails, and then is at its end.
type brokenOnce struct{ err error }

func (b *brokenOnce) Read([]byte) (int, error) {
	err := b.err
	b.err = io.EOF
	return 0, err
}

func TestPeekLosesNothing(t *testing.T) {
	broken := errors.New("broken")
	large := strings.Repeat("0123456789", maxPeek/5)
	for name, tc := range map[string]struct {
		body  io.Reader
		start string
		want  string
		err   error
	}{
		"nothing":       {strings.NewReader(""), "", "", nil},
		"a short body":  {strings.NewReader("abc"), "abc", "abc", nil},
		"in pieces":     {iotest.OneByteReader(strings.NewReader("abc")), "abc", "abc", nil},
		"a large body":  {strings.NewReader(large), large[:maxPeek], large, nil},
		"a broken body": {io.MultiReader(strings.NewReader("abc"), &brokenOnce{broken}), "abc", "abc", broken},
	} {
		start, whole := peek(io.NopCloser(tc.body))
		if string(start) != tc.start {
			t.Errorf("%s: peeked %d bytes, want %d", name, len(start), len(tc.start))
		}
		got, err := io.ReadAll(whole)
		if string(got) != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: read %d bytes and %v, want %d and %v", name, len(got), err, len(tc.want), tc.err)
		}
	}
}

func TestPeekDoesNotWaitForWhatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, upstream := io.Pipe()
		begun := time.Now()
		start, whole := peek(body)
		if took := time.Since(begun); len(start) != 0 || took != peekTime {
			t.Errorf("peeked %q after %v", start, took)
		}
		go func() {
			_, _ = io.Copy(upstream, bytes.NewReader([]byte("late")))
			upstream.Close()
		}()
		if got, err := io.ReadAll(whole); string(got) != "late" || err != nil {
			t.Errorf("got %q and %v", got, err)
		}
	})
}

func TestPeekedBodyCanBeClosedBeforeItHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, _ := io.Pipe()
		_, whole := peek(body)
		if err := whole.Close(); err != nil {
			t.Error(err)
		}
		select {
		case <-whole.(*peeked).ready:
		default:
			t.Error("closed before its reader has ended")
		}
	})
}

func TestSayingsAreBounded(t *testing.T) {
	var s sayings
	for i := range 3 * maxSayings {
		if !s.first(said{hint: string(rune(i))}, time.Now()) {
			t.Fatalf("%d was never said", i)
		}
	}
	if len(s.last) > maxSayings {
		t.Errorf("%d are remembered, want %d", len(s.last), maxSayings)
	}
}
