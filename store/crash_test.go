package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"tokenbroker/entra"
)

// writerFolder tells this test binary to be the program that
// TestKilledWritersLoseNothing kills, and where to write.
const writerFolder = "TEST_WRITER_FOLDER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(writerFolder); folder != "" {
		writeForEver(folder)
	}
	goleak.VerifyTestMain(m)
}

// The power goes before each step of a write, in the middle of one, and after
// the last; a file system keeps of what was not synced what it likes.
func TestPowerCutKeepsTheOldOrTheNew(t *testing.T) {
	for _, first := range []bool{true, false} {
		for steps := range 9 {
			for _, left := range []remains{{}, {names: true}, {data: 0.5}, {data: 0.5, names: true}, {data: 1}, {data: 1, names: true}} {
				t.Run(fmt.Sprintf("first %v, steps %d, %+v", first, steps, left), func(t *testing.T) {
					s, path := newFile(t)
					if !first {
						save(t, s, "user", "old")
						save(t, s, "other", "kept")
					}
					power := &powerDisk{steps: steps}
					s.device = power
					saved := s.Save(t.Context(), "user", entra.NewSecret("new"))
					power.crash(t, left)

					s = reopen(t, path)
					old := map[bool]string{true: "", false: "old"}[first]
					switch got := load(t, s, "user"); {
					case got == "new":
					case got != old:
						t.Errorf("got %q, want %q or the new one", got, old)
					case saved == nil:
						t.Error("saved, and gone after the crash")
					}
					if saved == nil && steps < 7 {
						t.Error("saved in fewer steps than it takes")
					}
					if got := load(t, s, "other"); !first && got != "kept" {
						t.Errorf("another's sign-in: got %q", got)
					}
					save(t, s, "user", "newer") // what the crash has left is in nobody's way
				})
			}
		}
	}
}

func TestFailingDiskIsTold(t *testing.T) {
	for steps := range 7 {
		s, path := newFile(t)
		save(t, s, "user", "old")
		s.device = &powerDisk{steps: steps}
		refused(t, s.Save(t.Context(), "user", entra.NewSecret(canary)), entra.Misconfigured, path, "cannot be kept here", errCut.Error())
	}
}

// remains says what is left of what was not synced: the share of data, and
// whether names are the new ones.
type remains struct {
	data  float64
	names bool
}

var errCut = errors.New("power cut")

// powerDisk is the machine's disk until its power goes, after so many steps.
type powerDisk struct {
	system
	steps   int
	dirty   string // the file whose data is not synced
	written int    // bytes of it
	undo    func(t *testing.T)
}

func (d *powerDisk) step() error {
	if d.steps == 0 {
		return errCut
	}
	d.steps--
	return nil
}

func (d *powerDisk) create(path string) (file, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	f, err := d.system.create(path)
	d.dirty, d.written = path, 0
	return powerFile{f, d}, err
}

func (d *powerDisk) rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	before, err := os.ReadFile(to)
	d.undo = func(t *testing.T) {
		t.Helper()
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.Remove(to); err != nil {
				t.Fatal(err)
			}
			return
		}
		put(t, to, before)
	}
	if d.dirty == from {
		d.dirty = to
	}
	return d.system.rename(from, to)
}

func (d *powerDisk) remove(path string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.system.remove(path)
}

func (d *powerDisk) syncFolder(path string) error {
	if err := d.step(); err != nil {
		return err
	}
	d.undo = nil
	return d.system.syncFolder(path)
}

// crash loses what was not synced, but for what remains.
func (d *powerDisk) crash(t *testing.T, left remains) {
	t.Helper()
	if d.dirty != "" {
		if err := os.Truncate(d.dirty, int64(left.data*float64(d.written))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if d.undo != nil && !left.names {
		d.undo(t)
	}
}

type powerFile struct {
	file
	disk *powerDisk
}

func (f powerFile) Write(b []byte) (int, error) {
	if err := f.disk.step(); err != nil {
		n, _ := f.file.Write(b[:len(b)/2])
		f.disk.written = n
		return n, err
	}
	n, err := f.file.Write(b)
	f.disk.written = n
	return n, err
}

func (f powerFile) Sync() error {
	if err := f.disk.step(); err != nil {
		return err
	}
	f.disk.dirty = ""
	return f.file.Sync()
}

func (f powerFile) Close() error { return errors.Join(f.disk.step(), f.file.Close()) }

// Two processes write into one file, each its own name, until they are killed.
func TestKilledWritersLoseNothing(t *testing.T) {
	s, path := newFile(t)
	save(t, s, "kept", canary)
	type writer struct {
		cmd   *exec.Cmd
		lines *bufio.Scanner
		last  int
	}
	for round := range 3 {
		writers := map[string]*writer{}
		for range 2 {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), writerFolder+"="+filepath.Dir(path))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			writers[strconv.Itoa(cmd.Process.Pid)] = &writer{cmd: cmd, lines: bufio.NewScanner(out)}
		}
		for _, w := range writers {
			for w.last < 10+round && w.lines.Scan() {
				w.last = number(t, w.lines.Text())
			}
		}
		for name, w := range writers {
			if err := w.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			for w.lines.Scan() {
				w.last = number(t, w.lines.Text())
			}
			_ = w.cmd.Wait()
			if got := number(t, load(t, s, name)); got != w.last && got != w.last+1 || w.last == 0 {
				t.Errorf("round %d: got write %d, want %d, of which it was told, or the next", round, got, w.last)
			}
		}
	}
	if got := load(t, s, "kept"); got != canary {
		t.Errorf("got %q, want what nobody has touched", got)
	}
}

// writeForEver saves 1, 2, 3 … under its process id and tells of each.
func writeForEver(folder string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background() // there is no test here
	s, err := OpenFile(ctx, filepath.Join(folder, "sign-ins"), filepath.Join(folder, "KEY"))
	if err != nil {
		fail(err)
	}
	for i := 1; ; i++ {
		if err := s.Save(ctx, strconv.Itoa(os.Getpid()), entra.NewSecret(strconv.Itoa(i))); err != nil {
			fail(err)
		}
		fmt.Fprintln(os.Stdout, i)
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
