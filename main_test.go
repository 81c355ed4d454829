package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	entraemu "tokenbroker/emulator/entra"
)

// TestMain makes the test binary be tokenbroker too, under its names in PATH:
// what the tests run is what a user runs, race detector and coverage included.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=10") // else each process ends a second late under the race detector
	}
	broker := func() { os.Exit(run()) }
	testscript.Main(m, map[string]func(){"tokenbroker": broker, "az": broker})
}

// TestScripts runs the transcripts of testdata/script. Beside testscript's own
// commands and tokenbroker they have those of scriptCommands.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		Cmds:               scriptCommands,
		RequireUniqueNames: true,
		Deadline:           time.Now().Add(5 * time.Minute), // of one that hangs: a broker that started where it should not have
		Setup: func(env *testscript.Env) error {
			env.Values[processes] = &running{env: env.Vars}
			// What a txtar archive cannot hold.
			return os.WriteFile(filepath.Join(env.WorkDir, "binary"), []byte("s3cr3t\x00\xff\n"), 0o600)
		},
	})
}

// processes is the key of a script's running among its values.
const processes = "processes"

// running are the processes of one script.
type running struct {
	env       []string
	processes []*process
}

// scriptCommands are our own commands in scripts.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"start":   scriptStart,
	"end":     scriptEnd,
	"fails":   scriptFails,
	"refuses": scriptRefuses,
	"http":    scriptHTTP,
	"field":   scriptField,
	"expand":  scriptExpand,
	"mode":    scriptMode,
	"signin":  scriptSignIn,
}

// start [NAME=VALUE...] demo|emulate|serve [ARG...] starts the command and
// waits until it can be used. It sets what a user would read off its output:
// $CALLERS, $OPS (and $CALLERS_AT, $OPS_AT, without the http://), $SOCKET,
// $KEY, $TENANT, $CLIENT, $CLIENT_SECRET, $USER, $PASSWORD, $ENTRA, $DEFENDER, $CA.
func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	all, ok := ts.Value(processes).(*running)
	var env []string
	for len(args) > 0 && strings.Contains(args[0], "=") {
		env, args = append(env, args[0]), args[1:]
	}
	if !ok || neg || len(args) == 0 {
		ts.Fatalf("usage: start [NAME=VALUE...] demo|emulate|serve [ARG...]")
	}
	p, err := launch(ts.MkAbs("."), append(all.env, env...), args[0], args[1:]...)
	ts.Check(err)
	ts.Defer(p.kill)
	all.processes = append(all.processes, p)
	for name, value := range p.vars {
		ts.Setenv(name, value)
	}
}

// end ends the process started last, as a kubelet would, and fails unless it
// exits with 0. What it wrote is there for stdout and stderr.
func scriptEnd(ts *testscript.TestScript, neg bool, args []string) {
	all, ok := ts.Value(processes).(*running)
	if !ok || neg || len(args) != 0 || len(all.processes) == 0 {
		ts.Fatalf("usage: end, after a start")
	}
	last := len(all.processes) - 1
	p := all.processes[last]
	all.processes = all.processes[:last]
	code, err := p.stop()
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), p.stdout)
	fmt.Fprint(ts.Stderr(), p.stderr)
	if code != 0 {
		ts.Fatalf("%s: exit code %d", p.command, code)
	}
}

// fails CODE ARG... runs tokenbroker, which has to exit with that very code.
func scriptFails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: fails CODE [ARG...]")
	}
	code := 0
	if err := ts.Exec("tokenbroker", args[1:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// refuses FILE checks a configuration that is wrong: check and serve have to
// say the same of it, and to exit with 2.
func scriptRefuses(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: refuses FILE")
	}
	said := func(command string) string {
		scriptFails(ts, false, []string{"2", command, "--config", args[0]})
		_, faults, _ := strings.Cut(ts.ReadFile("stderr"), "tokenbroker: ") // the log is before them
		return ts.ReadFile("stdout") + faults
	}
	if checked, served := said("check"), said("serve"); checked != served {
		ts.Fatalf("check says\n%s\nserve says\n%s", checked, served)
	}
}

// http [-k KEY] [-H HEADER]... [-d BODY] [-ca FILE] [-unix SOCKET] [METHOD] URL
// sends a request and shows the answer on stdout. With ! nobody may answer.
func scriptHTTP(ts *testscript.TestScript, neg bool, args []string) {
	c := call{header: http.Header{}}
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		switch value := args[1]; args[0] {
		case "-k":
			c.key = value
		case "-d":
			c.body = value
		case "-ca":
			c.ca = ts.MkAbs(value)
		case "-unix":
			c.socket = ts.MkAbs(value)
		case "-H":
			name, text, _ := strings.Cut(value, ":")
			c.header.Add(name, strings.TrimSpace(text))
		default:
			ts.Fatalf("http: no flag %s", args[0])
		}
		args = args[2:]
	}
	switch len(args) {
	case 1:
		c.url = args[0]
	case 2:
		c.method, c.url = args[0], args[1]
	default:
		ts.Fatalf("usage: http [-k KEY] [-H HEADER]... [-d BODY] [-ca FILE] [-unix SOCKET] [METHOD] URL")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := c.send(ctx)
	switch {
	case neg && err == nil:
		ts.Fatalf("answered:\n%s", a)
	case !neg:
		ts.Check(err)
		fmt.Fprint(ts.Stdout(), a)
	}
}

// field KEY VARIABLE takes a value out of the JSON that came last.
func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field KEY VARIABLE")
	}
	text := ts.ReadFile("stdout")
	if _, body, ok := strings.Cut(text, "\n\n"); ok && text[0] != '{' {
		text = body
	}
	value, err := jsonField([]byte(text), args[0])
	ts.Check(err)
	ts.Setenv(args[1], value)
}

// expand FILE... replaces the variables in files.
func scriptExpand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand FILE...")
	}
	for _, name := range args {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(os.Expand(ts.ReadFile(name), ts.Getenv)), 0o600))
	}
}

// signin ARG... runs tokenbroker login with the arguments, does as $USER what it
// says, and fails unless it exits with 0. What it wrote is there for stdout and
// stderr.
func scriptSignIn(ts *testscript.TestScript, neg bool, args []string) {
	all, ok := ts.Value(processes).(*running)
	if !ok || neg || len(args) == 0 {
		ts.Fatalf("usage: signin [ARG...]")
	}
	p, err := spawn(ts.MkAbs("."), append(all.env, "TOKENBROKER_URL="+ts.Getenv("CALLERS")), append([]string{"login"}, args...)...)
	ts.Check(err)
	ts.Defer(p.kill)
	line, err := p.stderr.line(p, "https://")
	ts.Check(err)
	prompt := regexp.MustCompile(`(https://\S+)(?:.* enter the code (\w+))?`).FindStringSubmatch(string(line))
	transport, err := call{ca: ts.MkAbs(ts.Getenv("CA"))}.transport()
	ts.Check(err)
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	person := entraemu.Person{HTTP: &http.Client{Transport: transport, Jar: jar}, User: ts.Getenv("USER"), Password: ts.Getenv("PASSWORD"), DeviceCode: prompt[2]}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	back, err := person.SignIn(ctx, prompt[1])
	ts.Check(err)
	if back != nil {
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(back)
		ts.Check(err)
		_ = resp.Body.Close()
	}
	<-p.ended
	fmt.Fprint(ts.Stdout(), p.stdout)
	fmt.Fprint(ts.Stderr(), p.stderr)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		ts.Fatalf("login: exit code %d\n%s", code, p.stderr)
	}
}

// mode BITS FILE compares a file's type and permissions, as ls -l shows them.
func scriptMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode BITS FILE")
	}
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().String(); got != args[0] {
		ts.Fatalf("%s: mode %s, want %s", args[1], got, args[0])
	}
}
