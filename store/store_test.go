package store

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/zalando/go-keyring"
	"pgregory.net/rapid"

	"tokenbroker/entra"
)

// What no error may show.
const (
	goodKey   = "tbk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	otherKey  = "tbk_HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA"
	canary    = "refresh-token-canary"
	unchanged = "and left as it is"
)

var _ = []Store{(*Memory)(nil), (*Sealed)(nil)}

func TestStoresKeepWhatAModelKeeps(t *testing.T) {
	keyring.MockInit()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	t.Setenv("LocalAppData", t.TempDir())
	keyFile := writeKey(t, goodKey)
	runs := 0
	for kind, open := range map[string]func(rt *rapid.T) [2]Store{
		"memory": func(*rapid.T) [2]Store {
			m := NewMemory()
			return [2]Store{m, m}
		},
		"file": func(rt *rapid.T) (two [2]Store) {
			runs++
			path := filepath.Join(filepath.Dir(keyFile), fmt.Sprint(runs))
			for i := range two {
				s, err := OpenFile(t.Context(), path, keyFile)
				if err != nil {
					rt.Fatal(err)
				}
				s.device = hastyDisk{}
				two[i] = s
			}
			return two
		},
		"keychain": func(rt *rapid.T) (two [2]Store) {
			runs++
			for i := range two {
				s, err := OpenKeychain(fmt.Sprint("tokenbroker-", runs))
				if err != nil {
					rt.Fatal(err)
				}
				s.device = hastyDisk{}
				two[i] = s
			}
			return two
		},
	} {
		t.Run(kind, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				handles, model := open(rt), map[string]string{}
				name := rapid.SampledFrom([]string{"", "a", "a/b", "../a", "\xff", "\xfe", "a\x00"})
				blob := rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 40), func(b []byte) string { return string(b) })
				rt.Repeat(map[string]func(*rapid.T){
					"save": func(rt *rapid.T) {
						name, blob := name.Draw(rt, "name"), blob.Draw(rt, "blob")
						if err := draw(rt, handles).Save(t.Context(), name, entra.NewSecret(blob)); err != nil {
							rt.Fatal(err)
						}
						model[name] = blob
					},
					"delete": func(rt *rapid.T) {
						name := name.Draw(rt, "name")
						if err := draw(rt, handles).Delete(t.Context(), name); err != nil {
							rt.Fatal(err)
						}
						delete(model, name)
					},
					"load": func(rt *rapid.T) {
						name := name.Draw(rt, "name")
						got, err := draw(rt, handles).Load(t.Context(), name)
						if err != nil {
							rt.Fatal(err)
						}
						if got, want := got.Reveal(), model[name]; got != want {
							rt.Fatalf("%q: got %q, want %q", name, got, want)
						}
					},
				})
			})
		})
	}
}

// hastyDisk syncs nothing: there are thousands of writes to check, and no crash.
type hastyDisk struct{ system }

type hastyFile struct{ file }

func (d hastyDisk) create(path string) (file, error) {
	f, err := d.system.create(path)
	return hastyFile{f}, err
}

func (hastyDisk) syncFolder(string) error { return nil }

func (hastyFile) Sync() error { return nil }

func TestBlobsMayBeLarge(t *testing.T) {
	s, path := newFile(t)
	blob := strings.Repeat("\x00\xffblob", 1<<18)
	save(t, s, "large", blob)
	if got := load(t, s, "large"); got != blob {
		t.Errorf("got %d bytes, want the %d that were saved", len(got), len(blob))
	}
	before := content(t, path)
	err := s.Save(t.Context(), "larger", entra.NewSecret(strings.Repeat(canary, maxFile/len(canary))))
	refused(t, err, entra.Misconfigured, path, "16 MiB", "log some out")
	same(t, path, before)
}

func TestConcurrentWritersKeepEachOthersNames(t *testing.T) {
	const writers, saves = 6, 5
	first, path := newFile(t)
	second := reopen(t, path)
	var all sync.WaitGroup
	for w := range writers {
		s := []*Sealed{first, second}[w%2]
		all.Go(func() {
			for i := range saves {
				name := fmt.Sprint(w)
				if err := s.Save(t.Context(), name, entra.NewSecret(fmt.Sprint(w, "-", i))); err != nil {
					t.Error(err)
				}
				if _, err := s.Load(t.Context(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for w := range writers {
		if got, want := load(t, first, fmt.Sprint(w)), fmt.Sprint(w, "-", saves-1); got != want {
			t.Errorf("writer %d: got %q, want %q", w, got, want)
		}
	}
}

func TestUpdatesOfOneNameAreAllKept(t *testing.T) {
	const writers, updates = 6, 5
	first, path := newFile(t)
	second, memory := reopen(t, path), NewMemory()
	for kind, handles := range map[string][2]Store{"file": {first, second}, "memory": {memory, memory}} {
		t.Run(kind, func(t *testing.T) {
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for range updates {
						err := handles[w%2].Update(t.Context(), "user", func(held entra.Secret) entra.Secret {
							return entra.NewSecret(held.Reveal() + "+")
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			if got := load(t, handles[0], "user"); got != strings.Repeat("+", writers*updates) {
				t.Errorf("%d of %d updates are there", len(got), writers*updates)
			}
			err := handles[1].Update(t.Context(), "user", func(entra.Secret) entra.Secret { return entra.Secret{} })
			if got := load(t, handles[0], "user"); err != nil || got != "" {
				t.Errorf("got %q, %v, want nothing left", got, err)
			}
		})
	}
}

// draw picks one of two handles.
func draw(rt *rapid.T, handles [2]Store) Store {
	return handles[rapid.IntRange(0, 1).Draw(rt, "handle")]
}

func writeKey(t *testing.T, key string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "key")
	put(t, path, []byte(key))
	return path
}

// newFile makes an empty store; its key lies beside it, in KEY.
func newFile(t *testing.T) (s *Sealed, path string) {
	t.Helper()
	folder := t.TempDir()
	put(t, filepath.Join(folder, "KEY"), []byte(goodKey+"\n"))
	path = filepath.Join(folder, "sign-ins")
	return reopen(t, path), path
}

func reopen(t *testing.T, path string) *Sealed {
	t.Helper()
	s, err := OpenFile(t.Context(), path, filepath.Join(filepath.Dir(path), "KEY"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func save(t *testing.T, s Store, name, blob string) {
	t.Helper()
	if err := s.Save(t.Context(), name, entra.NewSecret(blob)); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s Store, name string) string {
	t.Helper()
	blob, err := s.Load(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return blob.Reveal()
}

// every does all that a store can, and returns what each says.
func every(ctx context.Context, s Store) []error {
	_, err := s.Load(ctx, "user")
	return []error{err, s.Save(ctx, "user", entra.NewSecret(canary)), s.Delete(ctx, "user")}
}

// refused wants an error of that kind with those words, and no secret in it.
func refused(t *testing.T, err error, kind entra.Kind, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", words)
	}
	text := fmt.Sprintf("%v %+v", err, err)
	if got := entra.KindOf(err); got != kind {
		t.Errorf("got kind %v of %v, want %v", got, err, kind)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("got %q, want %q in it", err, word)
		}
	}
	for _, secret := range []string{canary, goodKey[4:], otherKey[4:]} {
		if strings.Contains(text, secret) {
			t.Errorf("%q holds a secret", err)
		}
	}
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// same wants the file as it was.
func same(t *testing.T, path string, before []byte) {
	t.Helper()
	if !bytes.Equal(content(t, path), before) {
		t.Error("the file has changed")
	}
}
