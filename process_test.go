package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what has to happen soon.
const patience = 30 * time.Second

// process is the real binary, running in the background: demo, emulate or
// serve, ready to be used.
type process struct {
	command string
	cmd     *exec.Cmd
	stdout  *transcript
	stderr  *transcript
	ended   chan struct{} // closed when it has
	vars    map[string]string
}

// launch starts a command and waits until it says that it can be used. Its
// listeners get any free port unless args say otherwise. It sees the variables
// of env and no others.
func launch(dir string, env []string, command string, args ...string) (*process, error) {
	if command == "serve" {
		env = append(slices.Clone(anyListener), env...)
	}
	p, err := spawn(dir, env, append([]string{command}, append(anyPort[command], args...)...)...)
	if err != nil {
		return nil, err
	}
	if p.vars, err = p.announced(); err != nil {
		p.kill()
		return nil, fmt.Errorf("tokenbroker %s: %w\n%s%s", command, err, p.stdout, p.stderr)
	}
	return p, nil
}

// spawn starts a command as it stands there.
func spawn(dir string, env []string, args ...string) (*process, error) {
	path, err := exec.LookPath("tokenbroker") // put there by testscript.Main
	if err != nil {
		return nil, err
	}
	p := &process{command: args[0], cmd: exec.Command(path, args...), stdout: newTranscript(), stderr: newTranscript(), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, env, p.stdout, p.stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// anyPort makes the commands listen where nobody else does, and say where.
var anyPort = map[string][]string{
	"demo":    {"-o", "json", "--callers", "127.0.0.1:0", "--ops", "127.0.0.1:0"},
	"emulate": {"-o", "json", "--entra", "127.0.0.1:0", "--defender", "127.0.0.1:0", "--ca-out", "ca.pem"},
}

// anyListener does the same for serve, which has no flags for it.
var anyListener = []string{"TOKENBROKER_LISTEN_CALLERS=127.0.0.1:0", "TOKENBROKER_LISTEN_OPS=127.0.0.1:0"}

// announced waits for the line in which a process says where it is to be found
// and returns what stands there, by the names that scripts use.
func (p *process) announced() (map[string]string, error) {
	if p.command == "serve" {
		line, err := p.stderr.line(p, `"msg":"serving"`)
		if err != nil {
			return nil, err
		}
		var said struct {
			Callers []string
			Ops     string
		}
		if err := json.Unmarshal(line, &said); err != nil {
			return nil, err
		}
		vars := map[string]string{"OPS": "http://" + said.Ops, "OPS_AT": said.Ops}
		for _, at := range said.Callers {
			if socket, ok := strings.CutPrefix(at, "unix:"); ok {
				vars["SOCKET"] = socket
			} else if vars["CALLERS"] == "" {
				vars["CALLERS"], vars["CALLERS_AT"] = "http://"+at, at
			} else {
				vars["CALLERS_2"] = "http://" + at
			}
		}
		return vars, nil
	}
	line, err := p.stdout.line(p, "{")
	if err != nil {
		return nil, err
	}
	type fakes struct {
		Entra, Defender string
		CA              string `json:"ca_file"`
	}
	var said struct {
		Callers, Ops, Key, Tenant string
		Client                    string `json:"client_id"`
		Secret                    string `json:"client_secret"`
		User, Password            string
		fakes
		Emulator fakes
	}
	if err := json.Unmarshal(line, &said); err != nil {
		return nil, err
	}
	if p.command == "demo" {
		said.fakes = said.Emulator
	}
	return map[string]string{
		"CALLERS": said.Callers, "CALLERS_AT": strings.TrimPrefix(said.Callers, "http://"),
		"OPS": said.Ops, "OPS_AT": strings.TrimPrefix(said.Ops, "http://"), "KEY": said.Key,
		"TENANT": said.Tenant, "CLIENT": said.Client, "CLIENT_SECRET": said.Secret, "USER": said.User, "PASSWORD": said.Password,
		"ENTRA": said.Entra, "DEFENDER": said.Defender, "CA": said.CA,
	}, nil
}

// stop ends the process as a kubelet would, and returns its exit code. Windows
// has no way to ask: there it is killed, and the code says nothing.
func (p *process) stop() (code int, err error) {
	if runtime.GOOS == "windows" {
		p.kill()
		return 0, nil
	}
	// One that ends by an earlier signal is as good.
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(patience):
		p.kill()
		return 0, fmt.Errorf("tokenbroker %s: still running %s after SIGTERM", p.command, patience)
	}
}

// kill ends the process at once. One that has ended does not mind.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// start is launch for a test, with whose end the process ends too.
func start(t *testing.T, env []string, command string, args ...string) *process {
	t.Helper()
	p, err := launch(t.TempDir(), append(surroundings(), env...), command, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// surroundings are the variables that a process needs, whoever it is. The rest
// of what is set on this machine must not decide a test.
func surroundings() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "TMP", "SYSTEMROOT", "GOCOVERDIR", "GORACE"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// transcript is what a process has written so far.
type transcript struct {
	mu    sync.Mutex // guards text
	text  bytes.Buffer
	grown chan struct{} // holds a token where somebody has to look again
}

func newTranscript() *transcript { return &transcript{grown: make(chan struct{}, 1)} }

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

// line waits for the first whole line that holds the text. One goroutine at a
// time may wait.
func (t *transcript) line(p *process, text string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		for line := range strings.Lines(t.String()) {
			if strings.HasSuffix(line, "\n") && strings.Contains(line, text) {
				return []byte(line), nil
			}
		}
		select {
		case <-t.grown:
		case <-p.ended:
			return nil, errors.New("ended before it was ready")
		case <-ctx.Done():
			return nil, fmt.Errorf("no line with %q", text)
		}
	}
}
