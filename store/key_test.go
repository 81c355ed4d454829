package store

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tokenbroker/entra"
)

func TestKeyFiles(t *testing.T) {
	random := sha256.Sum256([]byte("random"))
	raw := string(random[:])
	for _, test := range []struct{ name, content, key, fault string }{
		{"key new", goodKey + "\n", goodKey, ""},
		{"key new on Windows", goodKey + "\r\n", goodKey, ""},
		{"without an end", goodKey, goodKey, ""},
		{"base64", goodKey[4:], goodKey[4:], ""},
		{"hex", strings.Repeat("0123456789abcdef", 4), strings.Repeat("0123456789abcdef", 4), ""},
		{"raw", raw, raw, ""},
		{"raw, ending like a line", raw[:31] + "\n", raw[:31] + "\n", ""},
		{"UTF-16, as PowerShell redirects", utf16(goodKey), utf16(goodKey), ""},
		{"ours", newKey(), "", ""},

		{"empty", "", "", "shorter than 43 characters"},
		{"blank", "\n\n", "", "shorter than 43 characters"},
		{"a password", canary, "", "shorter than 43 characters"},
		{"text of 32 bytes", strings.Repeat("0123456789abcdef", 2), "", "shorter than 43 characters"},
		{"short raw", raw[:31], "", "shorter than 32 bytes"},
		{"a sentence", "correct horse battery staple, as long as you like", "", "more than one word"},
		{"two keys", goodKey + "\n" + otherKey + "\n", "", "more than one word or line"},
		{"zeros", string(make([]byte, 32)), "", "not random"},
		{"a placeholder", strings.Repeat("x", 64), "", "not random"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := writeKey(t, test.content)
			key, err := readKey(path)
			if test.fault != "" {
				refused(t, err, entra.Invalid, path, test.fault, "tokenbroker key new")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := key.Reveal(); got != test.key && test.key != "" {
				t.Errorf("got %q, want %q", got, test.key)
			}
		})
	}
}

func TestWhatIsNoKeyFileIsRefused(t *testing.T) {
	folder := t.TempDir()
	_, err := readKey(folder)
	refused(t, err, entra.Invalid, folder, "not a regular file")
	large := filepath.Join(folder, "large")
	put(t, large, bytes.Repeat([]byte(goodKey), 100))
	_, err = readKey(large)
	refused(t, err, entra.Invalid, large, "larger than 4096 bytes")
	if os.Getuid() > 0 { // nothing is forbidden to root
		secret := writeKey(t, goodKey)
		if err := os.Chmod(secret, 0); err != nil {
			t.Fatal(err)
		}
		_, err = readKey(secret)
		refused(t, err, entra.Invalid, secret, "permission denied")
	}
}

func utf16(s string) string { return "\xff\xfe" + strings.Join(strings.Split(s, ""), "\x00") + "\x00" }
