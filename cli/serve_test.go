package cli

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestEndWaitsForAReloadButNotForLong(t *testing.T) {
	for takes, want := range map[time.Duration]time.Duration{0: 0, time.Second: time.Second, time.Minute: lastReload} {
		synctest.Test(t, func(t *testing.T) {
			var reloading sync.WaitGroup
			reloading.Go(func() { time.Sleep(takes) })
			start := time.Now()
			waitFor(&reloading, lastReload)
			if got := time.Since(start); got != want {
				t.Errorf("waited %s for one that takes %s, want %s", got, takes, want)
			}
			reloading.Wait()
		})
	}
}
