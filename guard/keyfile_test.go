package guard_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func reveal(secrets []entra.Secret) []string {
	var values []string
	for _, s := range secrets {
		values = append(values, s.Reveal())
	}
	return values
}

// keyFile is an open key file whose log the test reads.
type keyFile struct {
	*guard.KeyFile
	log strings.Builder
}

func openKeyFile(t *testing.T, path string) *keyFile {
	t.Helper()
	f := new(keyFile)
	opened, err := guard.OpenKeyFile(path, slog.New(slog.NewTextHandler(&f.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	f.KeyFile = opened
	return f
}

// expect holds the keys that are good now, and what has been logged since the
// last time: parts of each line.
func (f *keyFile) expect(t *testing.T, keys []string, logged ...string) {
	t.Helper()
	if diff := cmp.Diff(keys, reveal(f.Keys())); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	lines := strings.Split(strings.TrimSuffix(f.log.String(), "\n"), "\n")
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
	f.log.Reset()
}

func TestKeyFileHoldsOneKeyALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	write(t, path, "# the old one\n"+keyA+"\n\n  "+keyB+"\t\r\n   # indented\n"+strings.Repeat("z", 16))
	openKeyFile(t, path).expect(t, []string{keyA, keyB, strings.Repeat("z", 16)})
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
		"folder":   "not a regular file",
		"loop":     "symbolic link",
		"\x00":     "invalid argument",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			_, err := guard.OpenKeyFile(path, slog.New(slog.DiscardHandler))
			if err == nil {
				t.Fatal("opened")
			}
			if got := entra.KindOf(err); got != entra.Invalid {
				t.Errorf("got kind %s, want %s", got, entra.Invalid)
			}
			text := err.Error()
			if !strings.Contains(text, want) || strings.Count(text, path) != 1 {
				t.Errorf("got %q, want the path once and %q", text, want)
			}
			if strings.Contains(text, "0123456789abcdef") || strings.Contains(text, "fifteen") {
				t.Errorf("a key in the error: %s", text)
			}
		})
	}
}

// The kubelet keeps a volume's files behind a link, which it swaps.
func TestKeyFileFollowsTheKubeletsSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		publish := func(version, content string) {
			t.Helper()
			if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, version, "keys"), content)
			if err := os.Symlink(version, filepath.Join(dir, "..data_tmp")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
		}
		publish("..1", keyA+"\n")
		if err := os.Symlink(filepath.Join("..data", "keys"), filepath.Join(dir, "keys")); err != nil {
			t.Fatal(err)
		}
		f := openKeyFile(t, filepath.Join(dir, "keys"))
		f.expect(t, []string{keyA})

		publish("..2", keyA+"\n"+keyB+"\n")
		time.Sleep(time.Second - time.Nanosecond)
		f.expect(t, []string{keyA})
		time.Sleep(time.Nanosecond)
		f.expect(t, []string{keyA, keyB}, "caller keys read again\" count=2")

		publish("..3", keyB+"\n")
		time.Sleep(time.Second)
		f.expect(t, []string{keyB}, "count=1")
		time.Sleep(time.Hour)
		f.expect(t, []string{keyB})
	})
}

// An editor writes in place, maybe within one tick of the file's clock and
// with as many bytes as before.
func TestKeyFileSeesAWriteInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys")
		write(t, path, keyA)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		f := openKeyFile(t, path)
		write(t, path, keyB)
		if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		f.expect(t, []string{keyB}, "caller keys read again")
	})
}

func TestBrokenKeyFileKeepsTheKeysOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys")
		write(t, path, keyA)
		f := openKeyFile(t, path)

		write(t, path, "short-0123")
		for range 3 {
			time.Sleep(time.Second)
			f.Keys()
		}
		f.expect(t, []string{keyA}, "shorter than") // said once, not every second

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		f.expect(t, []string{keyA}, "no such file")

		write(t, path, keyA)
		time.Sleep(time.Second)
		f.expect(t, []string{keyA}, "caller keys read again") // mended, though nothing changed

		write(t, path, "")
		time.Sleep(time.Second)
		f.expect(t, []string{keyA}, "no key in it")
		write(t, path, keyB)
		time.Sleep(time.Second)
		f.expect(t, []string{keyB}, "caller keys read again")
	})
}

// slowLog takes a line when it is told to.
type slowLog chan struct{}

func (l slowLog) Write(p []byte) (int, error) {
	<-l
	return len(p), nil
}

// One caller reads the file again; the others go on with the keys of before,
// however long it takes.
func TestReadingTheKeyFileHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys")
		write(t, path, keyA)
		log := make(slowLog)
		f, err := guard.OpenKeyFile(path, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, keyB)
		time.Sleep(time.Second)

		var slow []entra.Secret
		var reader sync.WaitGroup
		reader.Go(func() { slow = f.Keys() })
		synctest.Wait() // it reads, and waits for its log
		for range 8 {
			if diff := cmp.Diff([]string{keyA}, reveal(f.Keys())); diff != "" {
				t.Errorf("meanwhile (-want +got):\n%s", diff)
			}
		}
		close(log)
		reader.Wait()
		if diff := cmp.Diff([]string{keyB}, reveal(slow)); diff != "" {
			t.Errorf("the reader (-want +got):\n%s", diff)
		}
	})
}
