package store

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/entra"
)

func TestLockOfAHangingProcessIsNotWaitedForEver(t *testing.T) {
	s, path := newFile(t)
	synctest.Test(t, func(t *testing.T) {
		release, err := lock(t.Context(), path, exclusive)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		start := time.Now()
		for _, err := range every(t.Context(), s) {
			refused(t, err, entra.Unavailable, lockOf(path), "another process", "10s")
		}
		if got := time.Since(start); got != 3*lockPatience {
			t.Errorf("three waits took %v, want %v", got, 3*lockPatience)
		}
	})
}

func TestReadersShareTheLock(t *testing.T) {
	_, path := newFile(t)
	path = lockOf(path)
	first, err := tryLock(path, shared)
	if err != nil {
		t.Fatal(err)
	}
	second, err := tryLock(path, shared)
	if err != nil {
		t.Fatal(err)
	}
	second()
	if _, err := tryLock(path, exclusive); !errors.Is(err, errHeld) {
		t.Errorf("a writer beside a reader: got %v, want %v", err, errHeld)
	}
	first()
	alone, err := tryLock(path, exclusive)
	if err != nil {
		t.Fatal(err)
	}
	defer alone()
	if _, err := tryLock(path, shared); !errors.Is(err, errHeld) {
		t.Errorf("a reader beside a writer: got %v, want %v", err, errHeld)
	}
}
