package config

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"tokenbroker/emulator"
)

func TestWatcherSeesByPoll(t *testing.T) {
	for _, tc := range slices.Concat(changes(), folderChanges()) {
		t.Run(tc.name, func(t *testing.T) {
			dir := folder(t)
			synctest.Test(t, func(t *testing.T) {
				steps := tc.steps(scene{t, dir})
				w := polling()
				w.Watch(dir + "/file")
				reports := run(t, w)
				noReport(t, reports)
				for _, step := range steps {
					step()
					time.Sleep(pollInterval)
					awaitContent(t, reports, dir+"/file")
					noReport(t, reports)
				}
			})
		})
	}
}

func TestWatcherIsNotified(t *testing.T) {
	for _, tc := range changes() {
		t.Run(tc.name, func(t *testing.T) { testNotified(t, tc) })
	}
}

func testNotified(t *testing.T, tc change) {
	t.Helper()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("", func(t *testing.T) {
		dir := folder(t)
		steps := tc.steps(scene{t, dir})
		w := notified()
		w.Watch(dir + "/file")
		reports := run(t, w)
		for _, step := range steps {
			step()
			awaitContent(t, reports, dir+"/file")
		}
	})
}

func TestWatcherReportsASwapInOneCall(t *testing.T) {
	dir := folder(t)
	generation := func(i int) map[string]string {
		return map[string]string{"tls.crt": "certificate " + strconv.Itoa(i), "tls.key": "key " + strconv.Itoa(i), "same": "same"}
	}
	v := volume(t, dir, generation(0))
	w := notified()
	w.Watch(dir+"/tls.crt", dir+"/same", dir+"/tls.key")
	reports := run(t, w)
	for i := range 100 {
		ok(t, v.Swap(generation(i+1)))
		awaitContent(t, reports, dir+"/tls.crt", dir+"/tls.key")
	}
}

// However a reading and a swap meet, no file is seen without the other.
func TestWatcherNeverReportsHalfASwap(t *testing.T) {
	dir := folder(t)
	v := volume(t, dir, nil)
	paths := []string{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	w := polling()
	w.Watch(paths...)
	n := newNotifier(slog.New(slog.DiscardHandler), w.start)
	for i := range 300 {
		swapped := make(chan error)
		go func() {
			swapped <- v.Swap(map[string]string{"tls.crt": "certificate " + strconv.Itoa(i), "tls.key": "key " + strconv.Itoa(i)})
		}()
		for seen := false; !seen; {
			if got := w.look(n); len(got) > 0 {
				seen = true
				if diff := cmp.Diff(got, paths); i > 0 && diff != "" {
					t.Fatalf("swap %d: %s", i, diff)
				}
			}
		}
		ok(t, <-swapped)
		w.look(n) // the names of the first volume appear one after the other
	}
}

func TestWatcherEndsWithTheLastOfManySwaps(t *testing.T) {
	dir := folder(t)
	v := volume(t, dir, map[string]string{"file": "0"})
	w := notified()
	w.Watch(dir + "/file")
	reports := run(t, w)
	for i := range 500 {
		ok(t, v.Swap(map[string]string{"file": strconv.Itoa(i + 1)}))
	}
	awaitContent(t, reports, dir+"/file")
}

func TestWatcherReportsAThousandFilesInOneCall(t *testing.T) {
	dir := folder(t)
	before, after := map[string]string{}, map[string]string{}
	var paths []string
	for i := range 1000 {
		name := strconv.Itoa(i)
		before[name], after[name] = "before", "after"
		paths = append(paths, filepath.Join(dir, name))
	}
	v := volume(t, dir, before)
	w := notified()
	w.Watch(paths...)
	reports := run(t, w)
	ok(t, v.Swap(after))
	awaitContent(t, reports, paths...)
}

func TestWatcherIsNotPutOffByABusyFolder(t *testing.T) {
	dir := folder(t)
	write(t, dir+"/file", "1")
	w := notified()
	w.Watch(dir + "/file")
	reports := run(t, w)

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = os.WriteFile(filepath.Join(dir, strconv.Itoa(i%1000)), []byte("x"), 0o600)
				_ = os.Chmod(dir+"/file", 0o600) // and this one does matter
			}
		}
	}()
	for i := range 10 {
		replace(t, dir+"/file", strconv.Itoa(i+2))
		awaitContent(t, reports, dir+"/file")
	}
	close(stop)
	<-stopped
}

func TestWatcherSilentOnSameContent(t *testing.T) {
	long := strings.Repeat("x", maxWatched+1)
	tests := []struct {
		name  string
		first string
		again func(s scene)
	}{
		{"written again", "1", func(s scene) { s.write("file", "1") }},
		{"renamed over", "1", func(s scene) { s.write("next", "1"); s.rename("next", "file") }},
		{"there and back", "1", func(s scene) { s.write("file", "2"); s.write("file", "1") }},
		{"too large as before", long, func(s scene) { s.write("file", "y"+long) }},
		{"missing as before", "", func(s scene) { s.write("file", "1"); s.remove("file") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if tt.first != "" {
				write(t, path, tt.first)
			}
			synctest.Test(t, func(t *testing.T) {
				w := polling()
				w.Watch(path)
				reports := run(t, w)
				synctest.Wait()
				tt.again(scene{t, dir})
				noReport(t, reports)
			})
		})
	}
	t.Run("swapped", func(t *testing.T) {
		dir := folder(t)
		v := volume(t, dir, map[string]string{"file": "1"})
		write(t, dir+".other/file", "1")
		w := notified()
		w.Watch(dir+"/file", dir+".other/file")
		reports := run(t, w)
		ok(t, v.Swap(map[string]string{"file": "1"}))
		write(t, dir+".other/file", "2")
		awaitContent(t, reports, dir+".other/file")
	})
}

func TestWatchReplacesTheSetFromTheCallback(t *testing.T) {
	dir := folder(t)
	a, b := filepath.Join(dir, "a", "file"), filepath.Join(dir, "b", "file")
	write(t, a, "at first")
	write(t, b, "at first")
	w := notified()
	w.Watch(a)
	reports := runWith(t, w, slog.New(slog.DiscardHandler), func() { w.Watch(b, "", b) })
	for i, path := range []string{a, b, b} {
		replace(t, a, strconv.Itoa(i)) // only the first time it is watched
		replace(t, path, "now "+strconv.Itoa(i))
		if diff := cmp.Diff(next(t, reports).paths, []string{path}); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWatchRemembersWhatWasReported(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "1")
	write(t, b, "1")
	synctest.Test(t, func(t *testing.T) {
		w := polling()
		w.Watch(a)
		write(t, a, "2")
		write(t, b, "2")
		w.Watch(b, a) // what a was before stays remembered
		reports := run(t, w)
		awaitContent(t, reports, a)
		noReport(t, reports)
	})
}

func TestSettle(t *testing.T) {
	tests := []struct {
		name  string
		every time.Duration // between touches
		times int
		ends  time.Duration // of the context
		want  time.Duration
	}{
		{"one touch", 0, 0, time.Hour, quietFor},
		{"a few", 15 * time.Millisecond, 2, time.Hour, 2*15*time.Millisecond + quietFor},
		{"a steady stream", time.Millisecond, 1000, time.Hour, longestWait},
		{"the end", 0, 0, time.Millisecond, time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.ends)
				defer cancel()
				touched := make(chan struct{}, 1)
				go func() {
					for range tt.times {
						select {
						case <-time.After(tt.every):
							signal(touched)
						case <-ctx.Done():
						}
					}
				}()
				start := time.Now()
				settle(ctx, touched)
				if got := time.Since(start); got != tt.want {
					t.Errorf("waited %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func BenchmarkPollRound(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "volume")
	files := map[string]string{}
	var paths []string
	for i := range 10 {
		name := strconv.Itoa(i)
		files[name] = strings.Repeat(name, 2000)
		paths = append(paths, filepath.Join(dir, name))
	}
	if _, err := emulator.NewVolume(dir, files); err != nil {
		b.Fatal(err)
	}
	w := notified()
	w.Watch(paths...)
	n := newNotifier(slog.New(slog.DiscardHandler), w.start)
	defer n.close()
	b.ReportAllocs()
	for b.Loop() {
		if got := w.look(n); len(got) > 0 {
			b.Fatalf("changed: %q", got)
		}
	}
}
