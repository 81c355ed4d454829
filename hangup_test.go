//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHangUpBeforeTheBrokerListens sends SIGHUP to commands that have begun and
// come no further. To serve it is nothing; the others it ends, as ever.
func TestHangUpBeforeTheBrokerListens(t *testing.T) {
	t.Parallel()
	cmd, said := begun(t, "serve")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, said)
	if err := cmd.Wait(); err == nil || err.Error() != "exit status 2" {
		t.Errorf("serve: got %v, want exit code 2, of the argument", err)
	}
	cmd, _ = begun(t, "check")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: hangup" {
		t.Errorf("check: got %v, want an end by the signal", err)
	}
}

// begun starts a command that comes no further than to complain of an argument
// that is too much, until somebody reads all that it has to say about it.
func begun(t *testing.T, command string) (cmd *exec.Cmd, said *os.File) {
	t.Helper()
	// Under nohup the signal would be ignored, and by what we start as well: what
	// is caught here is the default there.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(caught) })
	said, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = said.Close() })
	cmd = exec.CommandContext(t.Context(), "tokenbroker", command, strings.Repeat("x", 100_000)) // more than a pipe holds
	cmd.Stderr = stderr
	if err := errors.Join(cmd.Start(), stderr.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(said, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd, said
}

// TestHangUpWhileTheBrokerEnds has a log that nobody reads, so that the end
// takes its time.
func TestHangUpWhileTheBrokerEnds(t *testing.T) {
	t.Parallel()
	said, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd := exec.CommandContext(t.Context(), "tokenbroker", "serve")
	cmd.Stderr = stderr
	cmd.Env = append(append(surroundings(), anyListener...),
		"AZURE_TENANT_ID=contoso.example", "AZURE_CLIENT_ID=11111111-1111-1111-1111-111111111111", "AZURE_CLIENT_SECRET=x")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for text := ""; !strings.Contains(text, `"msg":"serving"`); {
		b := make([]byte, 4096)
		n, err := said.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b[:n])
	}
	fill(t, stderr)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = cmd.Process.Signal(syscall.SIGHUP) // it may have ended
		case err := <-ended:
			if err != nil {
				t.Errorf("got %v, want exit code 0", err)
			}
			return
		}
	}
}

// fill leaves no room in a pipe.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	fd := int(pipe.Fd())
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for _, piece := range []int{4096, 1} {
		var err error
		for err == nil {
			_, err = syscall.Write(fd, make([]byte, piece))
		}
		if !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
	}
	if err := syscall.SetNonblock(fd, false); err != nil { // for who writes there too
		t.Fatal(err)
	}
}

// TestPipeInTheConfigurationsPlace holds up neither the broker nor its end.
func TestPipeInTheConfigurationsPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "secret-0", honest)
	w.must(os.Mkdir(filepath.Join(w.dir, "secret"), 0o700))
	w.write("secret/client-secret", "secret-0")
	settings := fmt.Sprintf(strings.NewReplacer("DIR", w.dir, "ENTRA", w.entraURL, "DEFENDER", w.defenderURL).Replace(rotating), 100)
	w.write("tokenbroker.yaml", settings)
	path := filepath.Join(w.dir, "tokenbroker.yaml")
	p := start(t, nil, "serve", "--config", path)

	w.must(os.Remove(path))
	w.must(syscall.Mkfifo(path, 0o600))
	w.await("it is refused", func() bool { return strings.Contains(p.stderr.String(), "no regular file") })
	refusals := p.metric(t, "tokenbroker_config_refusals_total")
	w.must(p.cmd.Process.Signal(syscall.SIGHUP))
	w.await("it is refused again", func() bool { return p.metric(t, "tokenbroker_config_refusals_total") > refusals })
	w.must(os.Remove(path))
	w.write("tokenbroker.yaml", settings)
	w.await("a file is taken", func() bool { return p.metric(t, "tokenbroker_config_reloads_total") > 0 })
	w.must(os.Remove(path))
	w.must(syscall.Mkfifo(path, 0o600))
	if code, err := p.stop(); err != nil || code != 0 {
		t.Errorf("exit code %d, %v\n%s", code, err, p.stderr)
	}
}
