package guard_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// ring is a keyring over files, one for each caller by its name, whose log the
// test reads.
type ring struct {
	*guard.Keyring
	dir string
	log *strings.Builder
}

func openRing(t *testing.T, dir string, callers ...string) (ring, error) {
	t.Helper()
	var files []guard.KeyFile
	for _, caller := range callers {
		files = append(files, guard.KeyFile{Caller: caller, Path: filepath.Join(dir, caller)})
	}
	r := ring{dir: dir, log: new(strings.Builder)}
	var err error
	r.Keyring, err = guard.OpenKeyring(slog.New(slog.NewTextHandler(r.log, nil)), files...)
	return r, err
}

func mustOpenRing(t *testing.T, dir string, callers ...string) ring {
	t.Helper()
	r, err := openRing(t, dir, callers...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// proves returns whom the keys prove, of those that the tests use.
func proves(k *guard.Keyring) map[string]string {
	all := map[string]string{}
	for _, key := range []string{keyA, keyB, keyC} {
		if name, ok := k.Caller(entra.NewSecret(key)); ok {
			all[key] = name
		}
	}
	return all
}

// reload reloads, and holds what it says, whom the keys prove then, and what it
// logged: a part of each line.
func (r ring) reload(t *testing.T, changed bool, want map[string]string, logged ...string) {
	t.Helper()
	if got := r.Reload(); got != changed {
		t.Errorf("got changed %v, want %v", got, changed)
	}
	if diff := cmp.Diff(want, proves(r.Keyring)); diff != "" {
		t.Errorf("the keys prove (-want +got):\n%s", diff)
	}
	lines := strings.Split(strings.TrimSuffix(r.log.String(), "\n"), "\n")
	if lines[0] == "" {
		lines = nil
	}
	if len(lines) != len(logged) {
		t.Fatalf("got log %q, want %q", lines, logged)
	}
	for i, line := range lines {
		if !strings.Contains(line, logged[i]) {
			t.Errorf("got log line %q, want one with %q", line, logged[i])
		}
		if strings.Contains(line, "0123456789abcdef") {
			t.Errorf("a key in the log: %s", line)
		}
	}
	r.log.Reset()
}

func TestKeyringTellsCallersApart(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "alpha"), keyA+"\n"+keyC)
	write(t, filepath.Join(dir, "beta"), keyB)
	want := map[string]string{keyA: "alpha", keyB: "beta", keyC: "alpha"}
	if diff := cmp.Diff(want, proves(mustOpenRing(t, dir, "alpha", "beta").Keyring)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	made := guard.NewKeyring(map[string][]entra.Secret{"alpha": secrets(keyA, keyC), "beta": secrets(keyB)})
	if diff := cmp.Diff(want, proves(made)); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
	if made.Reload() {
		t.Error("a keyring without files has changed")
	}
	if diff := cmp.Diff(want, proves(made)); diff != "" {
		t.Errorf("made and reloaded (-want +got):\n%s", diff)
	}
}

func TestNoKeyIsNobodys(t *testing.T) {
	k := guard.NewKeyring(map[string][]entra.Secret{"alpha": {{}, entra.NewSecret(keyA)}})
	if name, ok := k.Caller(entra.Secret{}); ok {
		t.Errorf("no key proves %q", name)
	}
	if none := mustOpenRing(t, t.TempDir()); isGood(none.Keyring, keyA) || none.Reload() {
		t.Error("a keyring of no files knows a key")
	}
}

func TestKeyringReportsAllFaultsAtOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "alpha"), keyA+"\n"+keyB)
	write(t, filepath.Join(dir, "beta"), "# mine\n"+keyC+"\n"+keyB+"\n"+keyA)
	write(t, filepath.Join(dir, "short"), "x")
	_, err := openRing(t, dir, "alpha", "missing", "beta", "short")
	if err == nil {
		t.Fatal("opened")
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got a %T, want all faults joined", err)
	}
	var got []string
	for _, fault := range joined.Unwrap() {
		got = append(got, strings.ReplaceAll(entra.AsError(fault).Message(), dir+string(filepath.Separator), ""))
	}
	want := []string{
		"missing: no such file or directory",
		"short: line 1: shorter than 16 characters; make a key with: tokenbroker key new",
		"beta: line 3: the key of another caller, in alpha, line 2; make one with: tokenbroker key new",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestOneCallerMayHaveAKeyInTwoFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "one")
	write(t, path, keyA)
	write(t, filepath.Join(dir, "two"), keyA+"\n"+keyB)
	k, err := guard.OpenKeyring(slog.New(slog.DiscardHandler),
		guard.KeyFile{Caller: "me", Path: path}, guard.KeyFile{Caller: "me", Path: filepath.Join(dir, "two")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{keyA: "me", keyB: "me"}, proves(k)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The kubelet keeps a volume's files behind a link, which it swaps.
func TestReloadFollowsTheKubeletsSwap(t *testing.T) {
	dir := t.TempDir()
	publish := func(version string, files map[string]string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, content := range files {
			write(t, filepath.Join(dir, version, name), content)
		}
		if err := os.Symlink(version, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..1", map[string]string{"alpha": keyA, "beta": keyB})
	for _, name := range []string{"alpha", "beta"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r := mustOpenRing(t, dir, "alpha", "beta")
	r.reload(t, false, map[string]string{keyA: "alpha", keyB: "beta"})
	publish("..2", map[string]string{"alpha": keyA + "\n" + keyC, "beta": keyB})
	r.reload(t, true, map[string]string{keyA: "alpha", keyB: "beta", keyC: "alpha"}, "caller keys read again\" count=3")
	publish("..3", map[string]string{"alpha": "# rotated\n" + keyC, "beta": keyB})
	r.reload(t, true, map[string]string{keyB: "beta", keyC: "alpha"}, "count=2")
	publish("..4", map[string]string{"alpha": "# the same\n\n" + keyC, "beta": keyB})
	r.reload(t, false, map[string]string{keyB: "beta", keyC: "alpha"})
	publish("..5", map[string]string{"alpha": keyB, "beta": keyC})
	r.reload(t, true, map[string]string{keyB: "alpha", keyC: "beta"}, "count=2")
}

// An editor writes in place, maybe within one tick of the file's clock and
// with as many bytes as before.
func TestReloadSeesAWriteInPlace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "me")
	write(t, path, keyA)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	r := mustOpenRing(t, dir, "me")
	write(t, path, keyB)
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	r.reload(t, true, map[string]string{keyB: "me"}, "caller keys read again")
}

func TestBrokenKeyFileKeepsItsKeysOfBefore(t *testing.T) {
	dir := t.TempDir()
	alpha, beta := filepath.Join(dir, "alpha"), filepath.Join(dir, "beta")
	write(t, alpha, keyA)
	write(t, beta, keyB)
	r := mustOpenRing(t, dir, "alpha", "beta")
	before := map[string]string{keyA: "alpha", keyB: "beta"}

	write(t, alpha, "short-0123")
	r.reload(t, false, before, "shorter than")
	r.reload(t, false, before) // said once

	write(t, beta, keyC) // the other file's news do not wait for it
	r.reload(t, true, map[string]string{keyA: "alpha", keyC: "beta"}, "read again\" count=2")

	if err := os.Remove(alpha); err != nil {
		t.Fatal(err)
	}
	r.reload(t, false, map[string]string{keyA: "alpha", keyC: "beta"}, "no such file")

	write(t, beta, keyA) // which alpha still has
	r.reload(t, false, map[string]string{keyA: "alpha", keyC: "beta"}, "the key of another caller")

	write(t, beta, keyC)
	write(t, alpha, keyA)
	r.reload(t, false, map[string]string{keyA: "alpha", keyC: "beta"}, "read again") // mended, though nothing changed

	write(t, alpha, "")
	r.reload(t, false, map[string]string{keyA: "alpha", keyC: "beta"}, "no key in it")
	write(t, alpha, keyB)
	r.reload(t, true, map[string]string{keyB: "alpha", keyC: "beta"}, "read again")
	write(t, alpha, "short-0123")
	r.reload(t, false, map[string]string{keyB: "alpha", keyC: "beta"}, "shorter than") // said again, since it had been mended
}

// A key that would prove two callers changes nothing, not even in files that
// have no part in it.
func TestConflictingKeyFilesKeepEverythingOfBefore(t *testing.T) {
	dir := t.TempDir()
	alpha, beta, gamma := filepath.Join(dir, "alpha"), filepath.Join(dir, "beta"), filepath.Join(dir, "gamma")
	write(t, alpha, keyA)
	write(t, beta, keyB)
	write(t, gamma, keyC)
	r := mustOpenRing(t, dir, "alpha", "beta", "gamma")
	before := map[string]string{keyA: "alpha", keyB: "beta", keyC: "gamma"}
	write(t, alpha, strings.Repeat("z", 20))
	write(t, beta, keyC)
	r.reload(t, false, before, "gamma: line 1: the key of another caller, in "+beta+", line 1;")
	r.reload(t, false, before)
	write(t, gamma, keyB)
	r.reload(t, true, map[string]string{keyB: "gamma", keyC: "beta"}, "read again\" count=3")
}

// Callers are told apart while the keys change under them: by the old keys or
// by the new ones, never by a mixture.
func TestReloadHoldsNobodyUp(t *testing.T) {
	dir := t.TempDir()
	generations := []map[string]string{{"alpha": keyA, "beta": keyB}, {"alpha": keyB, "beta": keyA}}
	put := func(generation map[string]string) {
		for _, name := range []string{"alpha", "beta"} {
			write(t, filepath.Join(dir, name), generation[name])
		}
	}
	put(generations[0])
	r := mustOpenRing(t, dir, "alpha", "beta")
	done := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if name, ok := r.Caller(entra.NewSecret(keyA)); !ok || name != "alpha" && name != "beta" {
					t.Errorf("got %q, %v", name, ok)
					return
				}
			}
		})
	}
	for i := range 100 {
		put(generations[(i+1)%2])
		var reloads sync.WaitGroup
		for range 2 {
			reloads.Go(func() { r.Reload() })
		}
		reloads.Wait()
	}
	close(done)
	callers.Wait()
	if diff := cmp.Diff(map[string]string{keyA: "alpha", keyB: "beta"}, proves(r.Keyring)); diff != "" {
		t.Errorf("at the end (-want +got):\n%s", diff)
	}
}

func BenchmarkKeyring(b *testing.B) {
	for name, n := range map[string]int{"2": 2, "100": 100, "10000": 10000} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "keys")
			var files []guard.KeyFile
			for i := range (n + 999) / 1000 {
				file := guard.KeyFile{Caller: string(rune('a' + i)), Path: path + string(rune('a'+i))}
				write(b, file.Path, strings.ReplaceAll(manyKeys(min(n, 1000)), "key-", "key-"+file.Caller))
				files = append(files, file)
			}
			k, err := guard.OpenKeyring(slog.New(slog.DiscardHandler), files...)
			if err != nil {
				b.Fatal(err)
			}
			key := entra.NewSecret("key-a000000000001")
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := k.Caller(key); !ok {
					b.Fatal("not good")
				}
			}
		})
	}
}
