package emulator_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/emulator"
	"tokenbroker/entra"
)

// visible reads what a container sees in a volume, by name.
func visible(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(content)
	}
	return files
}

func TestVolumeSwaps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secret")
	var v *emulator.Volume
	for i, files := range []map[string]string{
		{"tls.crt": "1", "tls.key": "1"},
		{"tls.crt": "2", "tls.key": "2"},
		{"tls.crt": "2", "tls.key": "2"},
		{"tls.crt": "3", "more": ""},
		{},
		{"tls.key": "4"},
	} {
		var err error
		if v == nil {
			v, err = emulator.NewVolume(dir, files)
		} else {
			err = v.Swap(files)
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(visible(t, dir), files); diff != "" {
			t.Errorf("swap %d: %s", i, diff)
		}
		for name := range files {
			if got, err := os.Readlink(filepath.Join(dir, name)); err != nil || got != filepath.Join("..data", name) {
				t.Errorf("swap %d: %s leads to %q, %v", i, name, got, err)
			}
		}
		if hidden, err := filepath.Glob(filepath.Join(dir, "..2*")); err != nil || len(hidden) != 1 {
			t.Errorf("swap %d: got the folders %q, %v, want that of now alone", i, hidden, err)
		}
	}
}

// Whoever resolves ..data once reads the files of one generation, or finds that
// they are gone.
func TestVolumeNeverMixesGenerations(t *testing.T) {
	dir := t.TempDir()
	generation := func(i int) map[string]string {
		return map[string]string{"tls.crt": strconv.Itoa(i), "tls.key": strconv.Itoa(i)}
	}
	v, err := emulator.NewVolume(dir, generation(0))
	if err != nil {
		t.Fatal(err)
	}
	swapped := make(chan error, 1)
	go func() {
		for i := range 200 {
			if err := v.Swap(generation(i)); err != nil {
				swapped <- err
				return
			}
		}
		swapped <- nil
	}()
	for whole := 0; ; {
		folder, err := filepath.EvalSymlinks(filepath.Join(dir, "..data"))
		if err == nil {
			cert, certErr := os.ReadFile(filepath.Join(folder, "tls.crt"))
			key, keyErr := os.ReadFile(filepath.Join(folder, "tls.key"))
			if certErr == nil && keyErr == nil {
				whole++
				if string(cert) != string(key) {
					t.Fatalf("certificate %s with key %s", cert, key)
				}
			}
		}
		select {
		case err := <-swapped:
			if err != nil || whole == 0 {
				t.Errorf("swapped: %v; read %d times", err, whole)
			}
			return
		default:
		}
	}
}

func TestVolumeRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, err := emulator.NewVolume(dir, nil); entra.KindOf(err) != entra.Invalid {
			t.Errorf("%s: got %v", dir, err)
		}
	}
	v, err := emulator.NewVolume(t.TempDir(), map[string]string{"file": "1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "..data", "a/b", "/a"} {
		if err := v.Swap(map[string]string{name: "2"}); entra.KindOf(err) != entra.Invalid {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// What stands in the way of a step is an error of the swap.
func TestVolumeReportsTheStepThatFailed(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"volume removed":      func(t *testing.T, dir string) { t.Helper(); must(t, os.RemoveAll(dir)) },
		"link in preparation": func(t *testing.T, dir string) { t.Helper(); must(t, os.Mkdir(filepath.Join(dir, "..data_tmp"), 0o755)) },
		"data is a folder": func(t *testing.T, dir string) {
			t.Helper()
			must(t, os.Remove(filepath.Join(dir, "..data")))
			must(t, os.MkdirAll(filepath.Join(dir, "..data", "x"), 0o755))
		},
		"visible name removed": func(t *testing.T, dir string) { t.Helper(); must(t, os.Remove(filepath.Join(dir, "gone"))) },
		"name too long":        func(*testing.T, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "secret")
			v, err := emulator.NewVolume(dir, map[string]string{"gone": "1"})
			must(t, err)
			spoil(t, dir)
			files := map[string]string{"file": "2"}
			if name == "name too long" {
				files = map[string]string{strings.Repeat("x", 300): "2"}
			}
			if err := v.Swap(files); entra.KindOf(err) != entra.Invalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
