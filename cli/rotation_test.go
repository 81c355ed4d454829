//go:build unix

package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tokenbroker/broker"
	"tokenbroker/emulator"
)

// rotationPace is how soon the next rotation may come after one: as soon as a
// watcher takes to see it.
const rotationPace = 20 * time.Millisecond

// rotations is how often each kind is rotated.
func rotations() int {
	if testing.Short() {
		return 20
	}
	return 200
}

// TestCredentialsRotateUnderLoad rotates all kinds of credentials at once. The
// old one is good until it was replaced in the files and the exchanges that had
// begun by then have ended, and not a moment longer.
func TestCredentialsRotateUnderLoad(t *testing.T) {
	s, kinds := newRotations(t)
	b := s.serve(rotatingIdentities)
	must(t, eventually("the first tokens are there", func() bool { return s.entra.Stats().Issued == len(kinds) }))
	exchanges := map[string]*epochs{}
	counted := broker.Flows{}
	for name, identity := range b.service.current().cfg.Identities {
		id := identity.ID(b.service.current().cfg.Authority)
		exchanges[name] = new(epochs)
		counted[id] = exchanges[name].source(b.service.current().flows[id])
	}
	b.service.current().mux.Replace(counted)

	l := b.crowd(func(caller, n int) (path, key string) {
		identity := kinds[(caller+n)%len(kinds)].identity
		if n%2 == 0 {
			return "/token?route=" + identity, ""
		}
		return "/proxy/" + identity + "/api/machines?$top=1", ""
	})
	var all sync.WaitGroup
	for _, kind := range kinds {
		all.Go(func() {
			var took timings
			pace := time.NewTicker(rotationPace)
			defer pace.Stop()
			for n := 1; n <= rotations(); n++ {
				swapped, err := kind.rotate(b, exchanges[kind.identity], n)
				if err != nil {
					t.Errorf("%s, rotation %d: %v", kind.identity, n, err)
					return
				}
				took = append(took, s.tap.saw(kind.proof(n)).Sub(swapped))
				<-pace.C
			}
			t.Logf("%s: from the swap to its use: %s", kind.identity, took)
		})
	}
	all.Wait()
	l.end()
	stats := s.entra.Stats()
	if len(stats.Refused) > 0 || stats.Issued < len(kinds)*rotations() {
		t.Errorf("%d tokens for %d rotations, refused by AADSTS number: %v", stats.Issued, len(kinds)*rotations(), stats.Refused)
	}
	for _, line := range b.complaints() {
		if !strings.Contains(line, "does not belong to the certificate") {
			t.Errorf("logged: %s", line)
		}
	}
}

// rotate replaces a credential by its nth generation, kills the one before, and
// waits until a caller's exchange has used the new one.
func (r *rotation) rotate(b *served, exchanges *epochs, n int) (swapped time.Time, err error) {
	if err := r.allow(n-1, n); err != nil {
		return swapped, err
	}
	if err := r.swap(n); err != nil {
		return swapped, err
	}
	swapped = time.Now()
	exchanges.turn()
	if err := r.allow(n); err != nil {
		return swapped, err
	}
	return swapped, eventually("the new credential is used", func() bool {
		b.drop(r.identity) // again: a token that was on its way came after
		return !b.site.tap.saw(r.proof(n)).IsZero()
	})
}

const callersWithoutKeys = `
authority: ENTRA
identities:
  default: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: secret, file: DIR/secret/client-secret}}
routes:
  default: {upstream: DEFENDER, identity: default, scope: 'https://api.securitycenter.microsoft.com/.default', rate: off}
`

const callersWithKeys = callersWithoutKeys + `
callers:
  - {name: overlapping, key_file: DIR/overlapping/key, routes: [default]}
  - {name: hard, key_file: DIR/hard/key, routes: [default]}
`

// TestCallerKeysRotateUnderLoad rotates the key of one caller with an overlap,
// and that of another one at once. The first notices nothing; of the second
// either the old key is good or the new one.
func TestCallerKeysRotateUnderLoad(t *testing.T) {
	s := newSite(t, nil)
	key := func(caller string, n int) string { return fmt.Sprintf("%s-key-of-generation-%d", caller, n) }
	volumes := map[string]*emulator.Volume{}
	for _, caller := range []string{"overlapping", "hard"} {
		volumes[caller] = s.volume(caller, map[string]string{"key": key(caller, 0)})
	}
	s.oneSecret()
	b := s.serve(callersWithKeys)
	good := func(key string) bool {
		status, _, err := b.ask("/routes", key)
		return err == nil && status == 200
	}

	var current atomic.Pointer[string]
	first := key("overlapping", 0)
	current.Store(&first)
	l := b.crowd(func(_, n int) (string, string) {
		if n%2 == 0 {
			return "/token?route=default", *current.Load()
		}
		return "/proxy/default/api/machines?$top=1", *current.Load()
	})
	overlap := func(n int) (took timings, err error) {
		old, next := key("overlapping", n-1), key("overlapping", n)
		for _, step := range []struct {
			keys string
			seen func() bool
		}{
			{old + "\n" + next + "\n", func() bool { return good(next) }},
			{next + "\n", func() bool { return !good(old) }},
		} {
			if err := volumes["overlapping"].Swap(map[string]string{"key": step.keys}); err != nil {
				return nil, err
			}
			swapped := time.Now()
			if err := eventually("the keys are read", step.seen); err != nil {
				return nil, err
			}
			took = append(took, time.Since(swapped))
			current.Store(&next)
			l.calls.turn()
		}
		return took, nil
	}
	hard := func(n int) (took timings, err error) {
		old, next := key("hard", n-1), key("hard", n)
		if err := volumes["hard"].Swap(map[string]string{"key": next}); err != nil {
			return nil, err
		}
		swapped := time.Now()
		err = eventually("the old key is refused", func() bool { return !good(old) })
		took = timings{time.Since(swapped)}
		if err == nil && !good(next) {
			err = fmt.Errorf("neither the old key nor the new one is good")
		}
		return took, err
	}
	var all sync.WaitGroup
	for name, rotate := range map[string]func(n int) (timings, error){"with an overlap": overlap, "at once": hard} {
		all.Go(func() {
			var took timings
			for n := 1; n <= rotations(); n++ {
				one, err := rotate(n)
				if err != nil {
					t.Errorf("%s, rotation %d: %v", name, n, err)
					return
				}
				took = append(took, one...)
			}
			t.Logf("%s: from the swap until callers notice: %s", name, took)
		})
	}
	all.Wait()
	l.end()
	for _, line := range b.complaints() {
		t.Errorf("logged: %s", line)
	}
}

// TestRootsAndSettingsRotateUnderLoad replaces CA file and configuration. The
// servers' certificates are of the next authority as soon as no configuration
// is alive that does not trust it.
func TestRootsAndSettingsRotateUnderLoad(t *testing.T) {
	s := newSite(t, nil)
	s.oneSecret()
	before, err := emulator.NewCA()
	must(t, err)
	volume := s.volume("ca", nil)
	swap := func(trusted ...*emulator.CA) error {
		var bundle strings.Builder
		for _, ca := range trusted {
			bundle.Write(ca.PEM())
		}
		return volume.Swap(map[string]string{"ca.pem": bundle.String()})
	}
	must(t, swap(before))
	s.present(before)
	b := s.serve(callersWithoutKeys)
	l := b.crowd(func(_, n int) (string, string) {
		if n%2 == 0 {
			return "/token?route=default", ""
		}
		return "/proxy/default/api/machines?$top=1", ""
	})
	roots := func(int) error {
		next, err := emulator.NewCA()
		if err != nil {
			return err
		}
		if err := swap(before, next); err != nil {
			return err
		}
		want, err := readRoots(filepath.Join(s.dir, "ca", "ca.pem"))
		if err != nil {
			return err
		}
		before = next
		if err := eventually("the roots come into force", func() bool { return b.allHave(func(a *app) bool { return a.roots.same(want) }) }); err != nil {
			return err
		}
		s.present(next)
		issued := s.entra.Stats().Issued
		return eventually("a token is got by a new connection", func() bool {
			b.service.current().entra.CloseIdleConnections()
			b.service.current().upstreams.CloseIdleConnections()
			b.drop("default")
			return s.entra.Stats().Issued > issued
		})
	}
	sizes := func(n int) error {
		// Every third time with new connections to Entra, every fifth to Defender.
		text := fmt.Sprintf("cache: {size: %d}\nlimits: {entra_timeout: %ds, response_header_timeout: %ds}\n", 100+n, 9+n%3/2, 60+n%5/4)
		if err := b.config.Swap(map[string]string{configFile: s.settings(callersWithoutKeys + text)}); err != nil {
			return err
		}
		return eventually("the settings come into force", func() bool { return b.allHave(func(a *app) bool { return a.cfg.Cache.Size == 100+n }) })
	}
	var all sync.WaitGroup
	for name, rotate := range map[string]func(n int) error{"CA file": roots, "configuration": sizes} {
		all.Go(func() {
			var took timings
			for n := 1; n <= rotations(); n++ {
				began := time.Now()
				if err := rotate(n); err != nil {
					t.Errorf("%s, rotation %d: %v", name, n, err)
					return
				}
				took = append(took, time.Since(began))
			}
			t.Logf("%s: from before the swap until no configuration of before is alive: %s", name, took)
		})
	}
	all.Wait()
	l.end()
	if stats := s.entra.Stats(); len(stats.Refused) > 0 || stats.Issued < rotations() {
		t.Errorf("%d tokens for %d rotations, refused by AADSTS number: %v", stats.Issued, rotations(), stats.Refused)
	}
	for _, line := range b.complaints() {
		t.Errorf("logged: %s", line)
	}
}

// allHave reports whether all configurations that are alive are so.
func (b *served) allHave(so func(*app) bool) bool {
	b.service.mu.Lock()
	defer b.service.mu.Unlock()
	for _, a := range b.service.live {
		if !so(a) {
			return false
		}
	}
	return true
}
