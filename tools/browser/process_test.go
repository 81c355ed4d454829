package browser

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"
)

// process is the real binary, running in the background until the test ends.
type process struct {
	t     *testing.T
	ctx   context.Context // the test's
	cmd   *exec.Cmd
	said  *transcript // on both outputs
	ended chan struct{}
}

// start runs a command in the world's folder.
func (w *world) start(args ...string) *process {
	w.t.Helper()
	p := &process{
		t: w.t, ctx: w.ctx, cmd: exec.CommandContext(w.ctx, binary, args...),
		said: &transcript{grown: make(chan struct{}, 1)}, ended: make(chan struct{}),
	}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = w.dir, p.said, p.said
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TOKENBROKER_URL=" + w.callers}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the code says it
		close(p.ended)
	}()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // one that has ended does not mind
		<-p.ended
	})
	return p
}

// until waits for what the process says, and returns what the pattern's
// parentheses hold.
func (p *process) until(pattern string) string {
	p.t.Helper()
	for {
		if found := regexp.MustCompile(pattern).FindStringSubmatch(p.said.String()); found != nil {
			return found[1]
		}
		select {
		case <-p.said.grown:
		case <-p.ended:
			p.t.Fatalf("%v ended with %d and without %s:\n%s", p.cmd.Args[1:], p.cmd.ProcessState.ExitCode(), pattern, p.said)
		case <-p.ctx.Done():
			p.t.Fatalf("%v never said %s:\n%s", p.cmd.Args[1:], pattern, p.said)
		}
	}
}

// end waits for the end of the process.
func (p *process) end() (code int, said string) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-p.ctx.Done():
		p.t.Fatalf("%v still runs:\n%s", p.cmd.Args[1:], p.said)
	}
	return p.cmd.ProcessState.ExitCode(), p.said.String()
}

// transcript is what a process has written so far.
type transcript struct {
	mu    sync.Mutex // guards text
	text  bytes.Buffer
	grown chan struct{} // holds a token where somebody has to look again
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case t.grown <- struct{}{}:
	default:
	}
	return t.text.Write(b)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
