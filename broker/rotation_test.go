package broker_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/broker"
	"tokenbroker/emulator"
)

// A kubelet swaps certificate and key together, while exchanges go on.
func TestCertificateSwapsMixNoPairs(t *testing.T) {
	const swaps, callers = 1000, 4
	pairs := [2]identity{newIdentity(t, 0, time.Hour), newIdentity(t, 1, time.Hour)}
	contents := func(i int) map[string]string {
		return map[string]string{"tls.crt": pairs[i%2].certPEM(), "tls.key": pairs[i%2].keyPEM()}
	}
	dir := t.TempDir()
	volume, err := emulator.NewVolume(dir, contents(0))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	emulated := w.emulate(t)
	if err := emulated.SetCertificates(client, pairs[0].cert, pairs[1].cert); err != nil {
		t.Fatal(err)
	}
	log := &syncBuffer{}
	cert, err := broker.OpenCertificate(broker.CertificateConfig{File: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	source := w.certified(t, cert)

	var stop atomic.Bool
	var group sync.WaitGroup
	defer group.Wait()
	defer stop.Store(true)
	for range callers {
		group.Go(func() {
			for !stop.Load() {
				if _, err := source.Token(t.Context(), ask()); err != nil {
					t.Errorf("an exchange failed: %v", err)
					return
				}
			}
		})
	}
	for i := range swaps {
		if err := volume.Swap(contents(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	group.Wait()
	if got := log.String(); strings.Contains(got, "does not belong") || !strings.Contains(got, "read again") {
		t.Errorf("logged %q, want pairs read again and none mixed", got)
	}
	if _, err := source.Token(t.Context(), ask()); err != nil {
		t.Error(err)
	}
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestFilesOfASetAreOfOneGeneration(t *testing.T) {
	const swaps = 1000
	generation := func(i int) map[string]string {
		s := fmt.Sprint(i)
		return map[string]string{"a": s, "b": s, "c": s}
	}
	dir := t.TempDir()
	volume, err := emulator.NewVolume(dir, generation(0))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for i := range swaps {
			if err := volume.Swap(generation(i + 1)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	paths := []string{filepath.Join(dir, "a"), "", filepath.Join(dir, "b"), filepath.Join(dir, "c")}
	read, moved := 0, 0
	for swapping := true; swapping; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			swapping = false
		default:
		}
		contents, err := broker.ReadSet(paths)
		if err != nil {
			moved++ // swapped on and on: it is read at the next exchange
			continue
		}
		read++
		if want := [][]byte{contents[0], nil, contents[0], contents[0]}; !cmp.Equal(contents, want) {
			t.Fatalf("mixed: %q", contents)
		}
	}
	if moved*100 > read {
		t.Errorf("%d of %d readings given up, want the files read anew when they have moved", moved, read+moved)
	}
	if got, err := broker.ReadSet(paths); err != nil || string(got[3]) != fmt.Sprint(swaps) || read == 0 {
		t.Errorf("got %q, %v after %d good readings, want the last generation", got, err, read)
	}
}

func TestReloadTellsOfAChange(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	own, next := newIdentity(t, 0, time.Hour), newIdentity(t, 1, time.Hour)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		first, next, bad string
		open             func(path string) (interface{ Reload() bool }, error)
	}{
		"secret": {"one", "two", "", func(path string) (interface{ Reload() bool }, error) { return broker.OpenSecretFile(path, logger) }},
		"token": {projected(t, subject, "", time.Hour), projected(t, subject, "", 2*time.Hour), "canary", func(path string) (interface{ Reload() bool }, error) {
			return broker.OpenTokenFile(path, logger)
		}},
		"certificate": {own.certPEM() + own.keyPEM(), next.certPEM() + next.keyPEM(), keyPEM(ec), func(path string) (interface{ Reload() bool }, error) {
			return broker.OpenCertificate(broker.CertificateConfig{File: path}, logger)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := secretFile(t, tc.first)
			file, err := tc.open(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct {
				content string
				changed bool
				lines   int
			}{{tc.first, false, 0}, {tc.next, true, 1}, {tc.bad, false, 1}, {tc.bad, false, 0}, {tc.next, false, 1}, {tc.first, true, 1}} {
				log.Reset()
				writeFile(t, path, step.content)
				if got := file.Reload(); got != step.changed || strings.Count(log.String(), "\n") != step.lines {
					t.Errorf("%.20q: changed %t, want %t; logged %q, want %d lines", step.content, got, step.changed, log.String(), step.lines)
				}
			}
		})
	}
}
