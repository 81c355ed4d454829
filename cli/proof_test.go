//go:build unix

package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReloadNeverOpensTheDoor: where callers had to prove who they are, they
// have to until the broker starts anew.
func TestReloadNeverOpensTheDoor(t *testing.T) {
	s := newSite(t, nil)
	s.oneSecret()
	s.write(t, "key", "a-key-of-some-length")
	b := s.serve(callersWithoutKeys + "caller_key_file: DIR/key\n")
	must(t, b.config.Swap(map[string]string{configFile: s.settings(callersWithoutKeys)}))
	must(t, eventually("it is refused", func() bool { return len(b.complaints()) > 0 }))
	if lines := b.complaints(); !strings.Contains(lines[0], "what opens the door takes a restart") {
		t.Errorf("logged %q", lines)
	}
	if status, body, err := b.ask("/token?route=default", ""); err != nil || status != http.StatusUnauthorized {
		t.Errorf("without a key: %d %v %s", status, err, body)
	}
	must(t, b.config.Swap(map[string]string{configFile: s.settings(callersWithoutKeys + "callers: [{name: one, key_file: DIR/key, routes: [default]}]\n")}))
	must(t, eventually("one that still asks for a proof is taken", func() bool { return b.taken.Load() == 1 }))
}

// TestHalfAConfigurationIsNotTaken: the first half of a file that is written in
// place is valid, and allows more than the whole.
func TestHalfAConfigurationIsNotTaken(t *testing.T) {
	s := newSite(t, nil)
	s.oneSecret()
	s.write(t, "key", "a-key-of-some-length")
	const callers = "caller_key_file: DIR/key\n"
	b := s.serve(callersWithoutKeys + callers)
	path, err := filepath.EvalSymlinks(filepath.Join(s.dir, "config", configFile))
	must(t, err)
	whole := s.settings(callersWithoutKeys + callers + "cache: {size: 77}\ntokens: {hand_out: false}\n")
	half, _, _ := strings.Cut(whole, "tokens:")
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	defer file.Close()
	for part := range strings.SplitSeq(half, "\n") { // somebody slow, for longer than a poll
		_, err := file.WriteString(part + "\n")
		must(t, err)
		<-time.After(1500 * time.Millisecond / time.Duration(strings.Count(half, "\n")+1))
	}
	if got := b.service.current().cfg; got.Cache.Size == 77 {
		t.Error("half of it is in force")
	}
	_, err = file.WriteString("tokens: {hand_out: false}\n")
	must(t, err)
	must(t, eventually("all of it is in force", func() bool { return b.service.current().cfg.Cache.Size == 77 }))
	if b.service.current().cfg.Tokens.HandOut {
		t.Error("the last line is not in force")
	}
	must(t, eventually("it is counted", func() bool { return b.taken.Load() > 0 }))
	if got := b.taken.Load(); got != 1 {
		t.Errorf("%d configurations were taken, want one", got)
	}
}
