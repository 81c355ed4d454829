//go:build unix

package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// broken are the ways in which what stands in a file is no good. Missing and a
// folder in its place are broken too.
var broken = map[string]string{"empty": "", "garbage": "\x00\xff garbage: [\n", "missing": "-", "a folder": "/"}

// breakable is a kind of file that can be broken and mended.
type breakable struct {
	volume, file string
	files        func(generation int) map[string]string
	put          func(generation int, files map[string]string) error
	works        func() error              // by what is in force
	inForce      func(generation int) bool // whether it is the one
	faults       map[string]string         // more than all have
	complaint    string                    // in the log
	refuses      bool                      // the configuration as a whole
}

// breakables are one of each kind, with the broker that has them all.
func breakables(t *testing.T) (*served, []breakable) {
	t.Helper()
	s, rotations := newRotations(t)
	key := func(n int) string { return fmt.Sprintf("caller-key-of-generation-%d", n) }
	keys := func(n int) map[string]string { return map[string]string{"key": key(n)} }
	putKeys := into(s.volume("keys", keys(0)))
	settings := func(n int) map[string]string {
		return map[string]string{configFile: s.settings(fmt.Sprintf("%s\ncaller_key_file: DIR/keys/key\ncache: {size: %d}\n", rotatingIdentities, 1000+n))}
	}
	ca, first := newCA(t), newCA(t)
	s.present(first)
	bundles := []string{string(first.PEM()), string(first.PEM()) + string(ca.PEM())}
	roots := func(n int) map[string]string { return map[string]string{"ca.pem": bundles[n%2]} }
	putRoots := into(s.volume("ca", roots(0)))
	b := s.serve(strings.TrimPrefix(settings(0)[configFile], s.settings("")))

	generation := 0 // of the keys: the one that is good
	ask := func(route string) error {
		status, body, err := b.ask("/token?route="+route, key(generation))
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err
	}
	all := []breakable{
		{
			volume: "keys", file: "key", files: keys, put: putKeys, complaint: "caller keys not read again",
			works: func() error { return ask("default") },
			inForce: func(n int) bool {
				if status, _, err := b.ask("/routes", key(n)); err != nil || status != http.StatusOK {
					return false
				}
				generation = n
				return true
			},
		},
		{
			volume: "ca", file: "ca.pem", files: roots, put: putRoots, complaint: "configuration refused", refuses: true,
			works: func() error { b.drop("default"); return ask("default") },
			inForce: func(n int) bool {
				want, err := readRoots(s.write(t, "wanted.pem", bundles[n%2]))
				return err == nil && b.service.current().roots.same(want)
			},
		},
		{
			volume: "config", file: configFile, files: settings, put: into(b.config), complaint: "configuration refused", refuses: true,
			works:   func() error { return ask("default") },
			inForce: func(n int) bool { return b.service.current().cfg.Cache.Size == 1000+n },
			faults:  map[string]string{"unknown key": "cash: {}"},
		},
	}
	for _, r := range rotations {
		for _, file := range map[string][]string{"default": {"client-secret"}, "volume": {"tls.crt", "tls.key"}, "projected": {"token"}}[r.identity] {
			one := breakable{
				volume: map[string]string{"default": "secret"}[r.identity] + strings.TrimPrefix(r.identity, "default"), file: file, files: r.files, complaint: "credential not read again",
				put: func(n int, files map[string]string) error {
					return errors.Join(r.allow(max(n-1, 0), n), r.put(n, files))
				},
				works: func() error { b.drop(r.identity); return ask(r.identity) },
				inForce: func(n int) bool {
					b.drop(r.identity)
					return ask(r.identity) == nil && !s.tap.saw(r.proof(n)).IsZero()
				},
			}
			if file == "tls.key" {
				stranger, err := signingKey()
				must(t, err)
				one.faults = map[string]string{"another's key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(stranger)}))}
			}
			all = append(all, one)
		}
	}
	return b, all
}

// TestBrokenIsReportedOnceAndMendedTaken breaks each kind of file in each way.
// What was good before stays in force, which the log says once, until it is
// mended.
func TestBrokenIsReportedOnceAndMendedTaken(t *testing.T) {
	b, kinds := breakables(t)
	for _, kind := range kinds {
		faults := maps.Clone(broken)
		maps.Copy(faults, kind.faults)
		n := map[string]int{"tls.key": 100}[kind.file]
		for name, fault := range faults {
			n += 2
			t.Run(kind.volume+" "+kind.file+" "+name, func(t *testing.T) {
				must(t, kind.put(n-1, kind.files(n-1)))
				must(t, eventually("the good one is in force", func() bool { return kind.inForce(n - 1) }))
				said, refused := len(b.complaints()), b.refused.Load()
				must(t, b.site.damage(&kind, n-1, fault))
				must(t, eventually("it is reported", func() bool { return len(b.complaints()) > said }))
				if kind.refuses { // and again, of which there is nothing new to say
					before := b.refused.Load()
					b.hangUps <- syscall.SIGHUP
					must(t, eventually("it is refused again", func() bool { return b.refused.Load() > before }))
				}
				if err := kind.works(); err != nil {
					t.Errorf("while it is broken: %v", err)
				}
				must(t, b.site.undo(&kind, fault))
				must(t, kind.put(n, kind.files(n)))
				must(t, eventually("the mended one is in force", func() bool { return kind.inForce(n) }))
				lines := b.complaints()[said:]
				if len(lines) != 1 || !strings.Contains(lines[0], kind.complaint) {
					t.Errorf("logged, want one line with %q:\n%s", kind.complaint, strings.Join(lines, "\n"))
				}
				if got := b.refused.Load() > refused; got != kind.refuses {
					t.Errorf("refusals counted: %t, want %t", got, kind.refuses)
				}
			})
		}
	}
}

// damage puts a fault into the file of a volume, and leaves the others.
func (s *site) damage(kind *breakable, generation int, fault string) error {
	path := filepath.Join(s.dir, kind.volume, kind.file)
	files := maps.Clone(kind.files(generation))
	switch fault {
	case "-":
		delete(files, kind.file)
	case "/":
		return relink(path, s.dir)
	default:
		files[kind.file] = fault
	}
	return kind.put(generation, files)
}

// undo takes a folder away again.
func (s *site) undo(kind *breakable, fault string) error {
	if fault != "/" {
		return nil
	}
	return relink(filepath.Join(s.dir, kind.volume, kind.file), filepath.Join("..data", kind.file))
}

// relink makes path a link to a target, in one step.
func relink(path, target string) error {
	return errors.Join(os.Symlink(target, path+".new"), os.Rename(path+".new", path))
}

func TestRefusedConfigurationIsTakenWhenItsFileAppears(t *testing.T) {
	s := newSite(t, nil)
	s.oneSecret()
	b := s.serve(callersWithoutKeys)
	must(t, b.config.Swap(map[string]string{configFile: s.settings(callersWithoutKeys + "caller_key_file: DIR/new/folder/key\n")}))
	must(t, eventually("it is refused", func() bool { return b.refused.Load() > 0 }))
	if status, _, err := b.ask("/routes", ""); err != nil || status != http.StatusOK {
		t.Errorf("by the one of before: %d %v", status, err)
	}
	s.write(t, "new/folder/key", "a-key-of-some-length")
	must(t, eventually("it is taken", func() bool { return b.taken.Load() == 1 }))
	if status, _, err := b.ask("/routes", ""); err != nil || status != http.StatusUnauthorized {
		t.Errorf("without a key: %d %v", status, err)
	}
}

// TestNothingIsMissedAtTheStart: files are replaced after they were read and
// before they are watched.
func TestNothingIsMissedAtTheStart(t *testing.T) {
	s := newSite(t, nil)
	s.oneSecret()
	s.write(t, "key", "key-of-the-beginning")
	s.between = func() {
		ca := newCA(t)
		s.present(ca)
		s.volume("ca", map[string]string{"ca.pem": string(ca.PEM())})
		s.write(t, "key", "the-key-that-is-next")
	}
	b := s.serve(callersWithoutKeys + "caller_key_file: DIR/key\n")
	must(t, eventually("both are in force", func() bool {
		status, _, err := b.ask("/token?route=default", "the-key-that-is-next")
		return err == nil && status == http.StatusOK
	}))
}

// TestSameContentIsNoChange: that nothing happens is seen by a change that comes
// after it.
func TestSameContentIsNoChange(t *testing.T) {
	b, kinds := breakables(t)
	for _, kind := range kinds {
		must(t, kind.put(0, kind.files(0)))
	}
	const issued = 4 // one for each identity
	must(t, eventually("the first tokens are there", func() bool { return b.site.entra.Stats().Issued == issued }))
	must(t, b.config.Swap(kinds[2].files(1)))
	must(t, eventually("the change is taken", func() bool { return strings.Contains(b.logs.String(), `"configuration taken"`) }))
	if text := b.logs.String(); b.taken.Load() != 1 || b.refused.Load() != 0 || strings.Contains(text, "read again") {
		t.Errorf("%d reloads, %d refusals, want 1 and 0:\n%s", b.taken.Load(), b.refused.Load(), text)
	}
	if now := b.site.entra.Stats().Issued; now != issued {
		t.Errorf("%d tokens were fetched again", now-issued)
	}
}

func TestHangUpReloadsAndOpensTheAuditFileAgain(t *testing.T) {
	s := newSite(t, nil)
	s.oneSecret()
	b := s.serve(callersWithoutKeys)
	audit := filepath.Join(s.dir, "audit.jsonl")
	must(t, os.Rename(audit, audit+".1"))
	b.token(t)
	b.hangUps <- syscall.SIGHUP
	must(t, eventually("the configuration is taken again", func() bool { return b.taken.Load() == 1 }))
	must(t, eventually("the audit file is there again", func() bool {
		b.token(t)
		content, err := os.ReadFile(audit)
		return err == nil && strings.Contains(string(content), `"mount":"token"`)
	}))
	if before, err := os.ReadFile(audit + ".1"); err != nil || strings.Count(string(before), `"mount":"token"`) != 1 {
		t.Errorf("the one that was moved away: %v\n%s", err, before)
	}
}

// TestListenersStay: who asks the listener that there is, by the name that only
// the one of the new settings would have, is no better off than before.
func TestListenersStay(t *testing.T) {
	s := newSite(t, nil)
	s.oneSecret()
	b := s.serve(callersWithoutKeys)
	next := strings.Replace(s.settings(callersWithoutKeys+"caller_key_file: DIR/key\n"), "['127.0.0.1:0']", "['broker.example:0'], unsafe_non_loopback: true", 1)
	s.write(t, "key", "a-key-of-some-length")
	must(t, b.config.Swap(map[string]string{configFile: next}))
	must(t, eventually("the rest is taken", func() bool { return b.taken.Load() == 1 }))
	for host, want := range map[string]int{"localhost": http.StatusOK, "broker.example": http.StatusForbidden} {
		if status, body, err := b.ask("/routes", "a-key-of-some-length", "Host", host); err != nil || status != want {
			t.Errorf("as %s: %d %v %s, want %d", host, status, err, body, want)
		}
	}
	must(t, eventually("it is logged", func() bool { return len(b.complaints()) > 0 }))
	if lines := b.complaints(); len(lines) != 1 || !strings.Contains(lines[0], `"settings":["listen"]`) {
		t.Errorf("logged, want that listen needs a restart: %q", lines)
	}
}

func TestLogLevelChangesAtOnce(t *testing.T) {
	s := newSite(t, nil)
	s.oneSecret()
	b := s.serve(callersWithoutKeys)
	first := b.service.current().logger
	for _, step := range []struct {
		level string
		debug bool
	}{{"debug", true}, {"error", false}} {
		must(t, b.configure(callersWithoutKeys+"log: {level: "+step.level+"}\n"))
		if got := first.Enabled(context.Background(), slog.LevelDebug); got != step.debug {
			t.Errorf("%s: debug lines: %t", step.level, got)
		}
	}
}

// TestChangesAreSeenWithoutNotifications writes through another name of each
// file, of which the folders that are watched tell nothing.
func TestChangesAreSeenWithoutNotifications(t *testing.T) {
	b, kinds := breakables(t)
	var began time.Time
	seen := map[string]time.Duration{}
	for _, kind := range kinds {
		behind := filepath.Join(b.site.dir, "behind-"+kind.volume+"-"+kind.file)
		at, err := filepath.EvalSymlinks(filepath.Join(b.site.dir, kind.volume, kind.file))
		must(t, err)
		must(t, os.Link(at, behind))
	}
	began = time.Now()
	for _, kind := range kinds[:3] {
		behind := filepath.Join(b.site.dir, "behind-"+kind.volume+"-"+kind.file)
		must(t, os.Chmod(behind, 0o600))
		file, err := os.OpenFile(behind, os.O_WRONLY, 0)
		must(t, err)
		_, err = file.WriteAt([]byte(kind.files(1)[kind.file]), 0) // no shorter than before, so that nobody reads half of it
		must(t, errors.Join(err, file.Close()))
	}
	for _, kind := range kinds[:3] {
		must(t, eventually(kind.volume+" is in force", func() bool { return kind.inForce(1) }))
		seen[kind.volume] = time.Since(began)
	}
	t.Logf("after %v", seen)
}
