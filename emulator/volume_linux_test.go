package emulator_test

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"

	"tokenbroker/emulator"
)

var stamp = regexp.MustCompile(`\.\.\d{4}(_\d\d){5}\.\d+`)

// The order that a kubelet was seen to keep, as those who watch the folder
// learn of it.
func TestVolumeKeepsTheOrderOfAKubelet(t *testing.T) {
	dir := t.TempDir()
	v, err := emulator.NewVolume(dir, map[string]string{"stays": "1", "goes": "1"})
	must(t, err)
	current, err := filepath.EvalSymlinks(filepath.Join(dir, "..data"))
	must(t, err)
	watcher, err := fsnotify.NewWatcher()
	must(t, err)
	defer watcher.Close()
	must(t, watcher.Add(dir))
	must(t, watcher.Add(current))
	must(t, v.Swap(map[string]string{"stays": "2", "comes": "2"}))

	var steps []string
	attributes := map[string]bool{} // whose attributes were set before the step; the order is not told
	for len(steps) == 0 || steps[len(steps)-1] != "REMOVE OLD" {
		select {
		case event := <-watcher.Events:
			name, err := filepath.Rel(dir, event.Name)
			must(t, err)
			name = strings.Replace(name, filepath.Base(current), "OLD", 1)
			name = stamp.ReplaceAllString(name, "NEW")
			if event.Op == fsnotify.Chmod && len(steps) == 1 {
				attributes[name] = true
			} else if line := event.Op.String() + " " + name; len(steps) == 0 || steps[len(steps)-1] != line {
				steps = append(steps, line)
			}
		case err := <-watcher.Errors:
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(steps, []string{
		"CREATE NEW",
		"CREATE ..data_tmp",
		"RENAME ..data_tmp",
		"CREATE ..data",
		"CREATE comes",
		"REMOVE goes",
		"REMOVE OLD/goes",
		"REMOVE OLD/stays",
		"REMOVE OLD",
	}); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(attributes)), []string{
		".", "..data", "NEW", "OLD", "OLD/goes", "OLD/stays", "goes", "stays",
	}); diff != "" {
		t.Errorf("attributes: %s", diff)
	}
}
