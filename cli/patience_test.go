package cli

import (
	"fmt"
	"time"
)

const (
	configFile = "tokenbroker.yaml"
	patience   = 30 * time.Second // for what must come soon
)

// eventually waits for what must come soon.
func eventually(what string, came func() bool) error {
	tick, late := time.NewTicker(time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !came() {
		select {
		case <-tick.C:
		case <-late:
			return fmt.Errorf("after %v still waiting: %s", patience, what)
		}
	}
	return nil
}
