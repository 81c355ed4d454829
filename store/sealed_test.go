package store

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tokenbroker/entra"
)

func TestFileShowsNothing(t *testing.T) {
	s, path := newFile(t)
	save(t, s, "user@contoso", canary)
	first := content(t, path)
	for _, word := range []string{"contoso", canary, goodKey} {
		if bytes.Contains(first, []byte(word)) {
			t.Errorf("%q stands in the file", word)
		}
	}
	save(t, s, "user@contoso", canary)
	if second := content(t, path); bytes.Equal(first[len(magic)+len(version):], second[len(magic)+len(version):]) {
		t.Error("the same was sealed to the same twice")
	}
}

func TestWrongKeyIsRefusedAndNothingLost(t *testing.T) {
	s, path := newFile(t)
	save(t, s, "user", canary)
	before := content(t, path)
	wrong := writeKey(t, otherKey)

	_, err := OpenFile(t.Context(), path, wrong)
	refused(t, err, entra.Misconfigured, path, "another key than that of "+wrong, unchanged, "put its own key back")

	// Opened while there was no file, as a broker may be that waits for the first sign-in.
	elsewhere := filepath.Join(t.TempDir(), "sign-ins")
	late, err := OpenFile(t.Context(), elsewhere, wrong)
	if err != nil {
		t.Fatal(err)
	}
	put(t, elsewhere, before)
	for _, err := range every(t.Context(), late) {
		refused(t, err, entra.Misconfigured, "another key")
	}
	same(t, elsewhere, before)
	same(t, path, before)
	if got := load(t, reopen(t, path), "user"); got != canary {
		t.Errorf("with its own key: got %q", got)
	}
}

func TestDamagedFileIsRefusedAndLeft(t *testing.T) {
	s, path := newFile(t)
	save(t, s, "user", canary)
	whole := content(t, path)
	refuse := func(t *testing.T, what string, torn []byte, words ...string) {
		t.Helper()
		put(t, path, torn)
		for _, err := range every(t.Context(), s) {
			refused(t, err, entra.Misconfigured, append(words, path)...)
		}
		same(t, path, torn)
		if t.Failed() {
			t.Fatal(what)
		}
	}
	line := len(magic) + len(version)
	wordsAt := func(i int) string {
		switch {
		case i < len(magic):
			return "not a file of sign-ins"
		case i < line:
			return "another version of tokenbroker"
		case i < headerSize:
			return "another key"
		}
		return "damaged or changed by somebody"
	}
	t.Run("each byte", func(t *testing.T) {
		for i := range whole {
			torn := bytes.Clone(whole)
			torn[i] ^= 1 << (i % 8)
			refuse(t, fmt.Sprint("byte ", i), torn, wordsAt(i))
		}
	})
	t.Run("each length", func(t *testing.T) {
		for i := range whole {
			refuse(t, fmt.Sprint("length ", i), whole[:i])
		}
		refuse(t, "longer", append(bytes.Clone(whole), 0), "damaged")
	})
	t.Run("the box of another write", func(t *testing.T) {
		put(t, path, whole)
		save(t, s, "user", canary)
		other := content(t, path)
		refuse(t, "box", append(bytes.Clone(whole[:headerSize]), other[headerSize:]...), "damaged")
	})
	t.Run("sealed, but no sign-ins", func(t *testing.T) {
		sealed, err := seal(entra.NewSecret(goodKey), []byte("[]"))
		if err != nil {
			t.Fatal(err)
		}
		refuse(t, "list", sealed, "damaged")
	})
	t.Run("too large", func(t *testing.T) {
		put(t, path, whole)
		if err := os.Truncate(path, maxFile+1); err != nil {
			t.Fatal(err)
		}
		for _, err := range every(t.Context(), s) {
			refused(t, err, entra.Misconfigured, path, "larger than 16 MiB")
		}
	})
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	s, path := newFile(t)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, err := range every(t.Context(), s) {
		refused(t, err, entra.Misconfigured, path, "not a regular file")
	}
}

func TestPlaceThatKeepsNothingIsToldAtOnce(t *testing.T) {
	key := writeKey(t, goodKey)
	_, err := OpenFile(t.Context(), filepath.Join(key, "below", "sign-ins"), key)
	refused(t, err, entra.Misconfigured, "cannot be kept here")

	_, err = OpenFile(t.Context(), filepath.Join(t.TempDir(), "sign-ins"), filepath.Join(t.TempDir(), "none"))
	refused(t, err, entra.Invalid, "none", "tokenbroker key new")

	locked := filepath.Join(t.TempDir(), "sign-ins")
	if err := os.Mkdir(lockOf(locked), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = OpenFile(t.Context(), locked, key)
	refused(t, err, entra.Misconfigured, locked, "cannot be kept here")
}

func TestCallerWhoLeavesChangesNothing(t *testing.T) {
	s, path := newFile(t)
	save(t, s, "user", "before")
	release, err := lock(t.Context(), path, exclusive)
	if err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, err := range every(gone, s) {
		refused(t, err, entra.Canceled, "context canceled")
	}
	release()
	if got := load(t, s, "user"); got != "before" {
		t.Errorf("got %q, want what was there before", got)
	}
}

func FuzzUnseal(f *testing.F) {
	key := entra.NewSecret(goodKey)
	const only = `{"a":"YQ=="}`
	whole, err := seal(key, []byte(only))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:headerSize])
	f.Add(whole[:headerSize+20])
	f.Add([]byte(magic + version))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		plain, err := unseal(key, sealed)
		if err == nil && string(plain) != only {
			t.Errorf("got %q, want what seal was given or a refusal", plain)
		}
	})
}
