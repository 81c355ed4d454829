package guard_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

func write(tb testing.TB, path, content string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// openKeys opens a file whose keys prove the caller named me.
func openKeys(path string) (*guard.Keyring, error) {
	return guard.OpenKeyring(slog.New(slog.DiscardHandler), guard.KeyFile{Caller: "me", Path: path})
}

func isGood(k *guard.Keyring, key string) bool {
	_, ok := k.Caller(entra.NewSecret(key))
	return ok
}

// manyKeys is a file of n keys.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "key-%012d\n", i)
	}
	return b.String()
}

func TestKeyFileHoldsOneKeyALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	write(t, path, "# the old one 0123456789\n"+keyA+"\n\n  "+keyB+"\t\r\n   # indented 0123456789\n"+keyA+"\n"+strings.Repeat("z", 16))
	k, err := openKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{keyA, keyB, strings.Repeat("z", 16)} {
		if name, ok := k.Caller(entra.NewSecret(key)); !ok || name != "me" {
			t.Errorf("%s: got %q, %v; want the caller", key, name, ok)
		}
	}
	for _, key := range []string{"", "#", "# the old one 0123456789", "# indented 0123456789", keyA + "\n", " " + keyA, keyB + "\r", keyA[1:], keyA + keyB, strings.ToUpper(keyA)} {
		if isGood(k, key) {
			t.Errorf("%q is good", key)
		}
	}
}

func TestKeyFileTakesAsManyKeysAsItSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	write(t, path, manyKeys(1000))
	k, err := openKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"key-000000000000", "key-000000000999"} {
		if !isGood(k, key) {
			t.Errorf("%s is not good", key)
		}
	}
}

func TestKeyFileMustBeGoodAtStart(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty":    "",
		"comments": "# only\n\n  \n",
		"short":    keyA + "\n\nfifteen-letters\n",
		"binary":   keyA + "\n" + keyA + "\x00\n",
		"accent":   keyA + "é\n",
		"inner":    keyA + " " + keyB + "\n",
		"bom":      "\xef\xbb\xbf" + keyA + "\n",
		"utf16":    "k\x00e\x00y\x00-\x00a\x00-\x000\x001\x002\x003\x004\x005\x006\x007\x00",
		"large":    strings.Repeat("# 0123456789abcdef\n", 64<<10/18),
		"many":     "# 1\n" + manyKeys(1001),
	} {
		write(t, filepath.Join(dir, name), content)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"missing":  "no such file",
		"empty":    "no key in it; make one with: tokenbroker key new",
		"comments": "no key in it",
		"short":    "line 3: shorter than 16 characters",
		"binary":   "line 2: not printable ASCII",
		"accent":   "line 1: not printable ASCII",
		"inner":    "line 1: not printable ASCII",
		"bom":      "line 1: not printable ASCII",
		"utf16":    "line 1: not printable ASCII",
		"large":    "larger than 65536 bytes",
		"many":     "line 1002: more than 1000 keys",
		"folder":   "not a regular file",
		"loop":     "symbolic link",
		"\x00":     "invalid argument",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			_, err := openKeys(path)
			if err == nil {
				t.Fatal("opened")
			}
			if got := entra.KindOf(err); got != entra.Invalid {
				t.Errorf("got kind %s, want %s", got, entra.Invalid)
			}
			text := entra.AsError(err).Message()
			if !strings.HasPrefix(text, path+": ") || !strings.Contains(text, want) || strings.Count(text, path) != 1 {
				t.Errorf("got %q, want the path first, once, and %q", text, want)
			}
			if strings.Contains(text, "0123456789abcdef") || strings.Contains(text, "fifteen") {
				t.Errorf("a key in the error: %s", text)
			}
		})
	}
}
