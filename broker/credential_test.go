package broker_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tokenbroker/broker"
	"tokenbroker/entra"
)

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// secretFile is a file with that content, outside of any other test's way.
func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "client-secret")
	writeFile(t, path, content)
	return path
}

func TestSecretIsTheFileWithoutItsLineEnd(t *testing.T) {
	for name, tc := range map[string]struct{ content, want string }{
		"bare":               {"abc", "abc"},
		"newline":            {"abc\n", "abc"},
		"Windows line end":   {"abc\r\n", "abc"},
		"byte order mark":    {"\xef\xbb\xbfabc\r\n", "abc"},
		"spaces are its own": {" abc ", " abc "},
		"not only ASCII":     {"пароль", "пароль"},
		"64 KiB":             {strings.Repeat("a", 64<<10), strings.Repeat("a", 64<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			file, err := broker.OpenSecretFile(secretFile(t, tc.content), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if got := file.Secret().Reveal(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// What no secret may be, wherever it comes from.
var badSecrets = map[string]struct{ content, says string }{
	"empty":         {"", "is empty"},
	"a line end":    {"\n", "is empty"},
	"spaces":        {"  \r\n", "is empty"},
	"a mark alone":  {"\xef\xbb\xbf", "is empty"},
	"two lines":     {"canary\ncanary\n", "has several lines"},
	"two line ends": {"canary\n\n", "has several lines"},
	"old Mac":       {"canary\rcanary", "has several lines"},
	"NUL":           {"canary\x00", "is binary"},
	"tab":           {"canary\tcanary", "is binary"},
	"escape":        {"\x1b[31mcanary", "is binary"},
	"UTF-16":        {"\xff\xfec\x00a\x00n\x00a\x00r\x00y\x00\r\x00\n\x00", "is binary: want the credential as plain text (UTF-8, not UTF-16)"},
	"a key store":   {"0\x82\x0a\x10canary", "is binary"},
	"too large":     {strings.Repeat("a", 64<<10) + "b", "is larger than 64 KiB"},
}

func TestBadSecretFileIsRefusedByName(t *testing.T) {
	for name, tc := range badSecrets {
		t.Run(name, func(t *testing.T) {
			path := secretFile(t, tc.content)
			_, err := broker.OpenSecretFile(path, slog.New(slog.DiscardHandler))
			wantError(t, err, entra.Misconfigured, "file "+path+": "+tc.says)
		})
	}
	dir := t.TempDir()
	for name, tc := range map[string]struct{ path, says string }{
		"missing":         {filepath.Join(dir, "missing"), "does not exist: mount it, or correct the path"},
		"a folder":        {dir, "is a folder: name the file in it"},
		"a device":        {os.DevNull, "is not a regular file"},
		"below a file":    {filepath.Join(secretFile(t, "canary"), "x"), "cannot be read: not a directory"},
		"impossible name": {"a\x00b", "cannot be read: invalid argument"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := broker.OpenSecretFile(tc.path, slog.New(slog.DiscardHandler))
			wantError(t, err, entra.Misconfigured, "file "+tc.path+": "+tc.says)
		})
	}
	t.Run("forbidden", func(t *testing.T) {
		if got, want := broker.FileFault(&os.PathError{Op: "open", Path: "x", Err: os.ErrPermission}), "may not be read"; !strings.Contains(got, want) {
			t.Errorf("got %q, want it with %q", got, want)
		}
	})
}

func TestBadSecretVariableIsRefusedByName(t *testing.T) {
	for name, tc := range badSecrets {
		t.Run(name, func(t *testing.T) {
			_, err := broker.NewSecretEnv("AZURE_CLIENT_SECRET", entra.NewSecret(tc.content))
			wantError(t, err, entra.Misconfigured, "environment variable AZURE_CLIENT_SECRET: "+tc.says)
		})
	}
}

func TestSecretFileIsReadAgain(t *testing.T) {
	var log bytes.Buffer
	path := secretFile(t, "first-canary\n")
	file, err := broker.OpenSecretFile(path, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name   string
		change func()
		want   string
		logs   string // the one line that is written at the change; empty: none
	}{
		{"as it was", func() {}, "first-canary", ""},
		{"written again", func() { writeFile(t, path, "first-canary\n") }, "first-canary", ""},
		{"rotated", func() { writeFile(t, path, "second-canary\n") }, "second-canary", "level=INFO msg=\"credential read again\" what=\"client secret\" file=" + path},
		{"emptied", func() { writeFile(t, path, "") }, "second-canary", "is empty"},
		{"gone", func() { _ = os.Remove(path) }, "second-canary", "level=WARN msg=\"credential not read again, the one of before stays in use\" what=\"client secret\""},
		{"back", func() { writeFile(t, path, "second-canary\n") }, "second-canary", "level=INFO msg=\"credential read again\""},
		{"gone again", func() { _ = os.Remove(path) }, "second-canary", "does not exist"},
		{"swapped by a link", func() { swap(t, path, "third-canary\n") }, "third-canary", "level=INFO"},
		{"swapped again", func() { swap(t, path, "fourth-canary\n") }, "fourth-canary", "level=INFO"},
	} {
		log.Reset()
		step.change()
		for range 3 { // the log says it once
			if got := file.Secret().Reveal(); got != step.want {
				t.Errorf("%s: got %q, want %q", step.name, got, step.want)
			}
		}
		got := log.String()
		if step.logs == "" && got != "" || !strings.Contains(got, step.logs) || strings.Count(got, "\n") > 1 {
			t.Errorf("%s: logged %q, want one line with %q", step.name, got, step.logs)
		}
		if strings.Contains(got, "canary") {
			t.Errorf("%s: the log leaks: %s", step.name, got)
		}
	}
}

// swap replaces the content of a mounted file as a kubelet does: the name in
// the volume is a link to ..data/name for good, and ..data, a link to a folder,
// is renamed over.
func swap(t *testing.T, path, content string) {
	t.Helper()
	volume, name := filepath.Split(path)
	folder, err := os.MkdirTemp(volume, "..2026_11_21_") //nolint:usetesting // beside the file, as the kubelet has it
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(folder, name), content)
	_ = os.Symlink(filepath.Join("..data", name), path) // from the second time on it is there
	if err := os.Symlink(filepath.Base(folder), filepath.Join(volume, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(volume, "..data_tmp"), filepath.Join(volume, "..data")); err != nil {
		t.Fatal(err)
	}
}
