package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// compose is what is looked at in a compose file.
type compose struct {
	Services map[string]struct {
		Image       string
		Command     []string
		NetworkMode string                                `yaml:"network_mode"`
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		Environment map[string]string
		Healthcheck struct{ Test []string }
		Volumes     []string
		Secrets     []string
		User        string
	}
	Secrets map[string]struct{ Environment string }
	Volumes map[string]struct {
		Options struct{ O string } `yaml:"driver_opts"`
	}
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, file)), into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// readCompose also checks that what its services name is there.
func readCompose(t *testing.T, file string) (c compose) {
	t.Helper()
	readYAML(t, file, &c)
	for name, s := range c.Services {
		for other := range s.DependsOn {
			if c.Services[other].Image == "" || s.DependsOn[other].Condition != "service_healthy" {
				t.Errorf("%s: %s waits for %s to be %q", file, name, other, s.DependsOn[other].Condition)
			}
		}
		if other, ok := strings.CutPrefix(s.NetworkMode, "service:"); ok && (c.Services[other].Image == "" || c.Services[other].NetworkMode != "") {
			t.Errorf("%s: %s has the network of %s, which has none of its own", file, name, other)
		}
		for _, secret := range s.Secrets {
			if c.Secrets[secret].Environment == "" {
				t.Errorf("%s: %s has a secret %s, which there is not", file, name, secret)
			}
		}
		for _, volume := range s.Volumes {
			from, _, _ := strings.Cut(volume, ":")
			if _, ok := c.Volumes[from]; ok {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), from)); err != nil {
				t.Errorf("%s: %s mounts %s: %v", file, name, from, err)
			}
		}
	}
	return c
}

// example runs the commands of one in a folder of its own, with free ports.
type example struct {
	*testing.T
	dir  string
	here *strings.Replacer // what is otherwise here than there
	env  []string
	vars map[string]string // what the processes have said
}

// newExample copies the files of a folder, with the second of each two texts in
// place of the first; there DIR is the example's own folder.
func newExample(t *testing.T, from string, otherwise ...string) *example {
	t.Helper()
	e := &example{T: t, dir: t.TempDir(), env: surroundings(), vars: map[string]string{}}
	for i := 1; i < len(otherwise); i += 2 {
		otherwise[i] = strings.Replace(otherwise[i], "DIR", e.dir, 1)
	}
	e.here = strings.NewReplacer(otherwise...)
	for _, name := range []string{"tokenbroker.yaml", "client-secret"} {
		if content, err := os.ReadFile(filepath.Join(from, name)); err == nil {
			e.write(name, string(content))
		}
	}
	return e
}

func (e *example) write(name, content string) {
	e.Helper()
	if err := os.WriteFile(filepath.Join(e.dir, name), []byte(e.here.Replace(content)), 0o600); err != nil {
		e.Fatal(err)
	}
}

// run is a command of the example. What leads to the emulator's own ports leads
// from then on to those that it got.
func (e *example) run(args ...string) {
	e.Helper()
	for i := range args {
		args[i] = e.here.Replace(args[i])
	}
	switch args[0] {
	case "emulate", "serve":
		p, err := launch(e.dir, e.env, args[0], args[1:]...)
		if err != nil {
			e.Fatal(err)
		}
		e.Cleanup(p.kill)
		for name, value := range p.vars {
			e.vars[name] = value
		}
		if args[0] == "emulate" {
			ours := strings.NewReplacer("https://127.0.0.1:5181", p.vars["ENTRA"], "https://127.0.0.1:5182", p.vars["DEFENDER"])
			e.write("tokenbroker.yaml", ours.Replace(read(e.T, filepath.Join(e.dir, "tokenbroker.yaml"))))
		}
		return
	case "healthcheck":
		args = append(args, "--url", e.vars["OPS"])
	}
	cmd := exec.CommandContext(e.Context(), "tokenbroker", args...)
	cmd.Dir, cmd.Env = e.dir, e.env
	if out, err := cmd.CombinedOutput(); err != nil {
		e.Errorf("%q: %v\n%s", args, err, out)
	}
}

// TestContainersExampleWorks serves with the configuration of docs/examples, and
// asks as the containers of its compose file would.
func TestContainersExampleWorks(t *testing.T) {
	t.Parallel()
	const folder = "docs/examples/"
	c := readCompose(t, folder+"compose.yaml")
	var cfg struct {
		Listen  struct{ Callers []string }
		Callers []struct {
			Name string
			UID  int
		}
	}
	readYAML(t, folder+"tokenbroker.yaml", &cfg)
	if len(cfg.Listen.Callers) != 2 || cfg.Listen.Callers[0] != "localhost:5178" || len(cfg.Callers) != 2 {
		t.Fatalf("%+v", cfg)
	}
	tool := c.Services["tool"]
	group := regexp.MustCompile(`gid=(\d+)`).FindStringSubmatch(c.Volumes["socket"].Options.O)
	if len(group) != 2 || tool.User != fmt.Sprintf("%d:%s", cfg.Callers[1].UID, group[1]) {
		t.Errorf("the tool is %s, and the caller %+v; the socket's group is %q", tool.User, cfg.Callers[1], group)
	}

	fakes := start(t, nil, "emulate")
	e := newExample(t, folder, "/tokenbroker.yaml", "DIR/tokenbroker.yaml", "/run/secrets/", "DIR/", "/run/tokenbroker/", "DIR/",
		fmt.Sprint("uid: ", cfg.Callers[1].UID), fmt.Sprint("uid: ", os.Getuid()))
	e.write("client-secret", fakes.vars["CLIENT_SECRET"])
	e.write("app-key", "0123456789abcdef0")
	e.write("tokenbroker.yaml", read(t, folder+"tokenbroker.yaml")+"routes: {defender: {upstream: \""+fakes.vars["DEFENDER"]+"\"}}\n")
	socket := e.here.Replace(strings.TrimPrefix(cfg.Listen.Callers[1], "unix:"))
	e.env = append(e.env, "TOKENBROKER_AUTHORITY="+fakes.vars["ENTRA"], "TOKENBROKER_CA_FILE="+filepath.Join(fakes.cmd.Dir, "ca.pem"),
		"TOKENBROKER_LISTEN_CALLERS=127.0.0.1:0,unix:"+socket)
	e.run(c.Services["broker"].Command...)

	environment := c.Services["app"].Environment
	if environment["IDENTITY_HEADER"] != "${"+c.Secrets["app-key"].Environment+":?}" {
		t.Errorf("the app's key is %s", environment["IDENTITY_HEADER"])
	}
	app := call{url: strings.Replace(environment["IDENTITY_ENDPOINT"], "http://localhost:5178", e.vars["CALLERS"], 1) + "?api-version=2019-08-01&resource=https://api.security.microsoft.com"}
	app.header = http.Header{"X-Identity-Header": {"0123456789abcdef0"}}
	if a := app.do(t); a.status != http.StatusOK {
		t.Errorf("the app: %s", a)
	}
	at := slices.Index(tool.Command, "--unix-socket")
	asks := call{url: tool.Command[len(tool.Command)-1], socket: e.here.Replace(tool.Command[at+1])}
	if a := asks.do(t); a.status != http.StatusOK || !json.Valid([]byte(a.body)) {
		t.Errorf("the tool: %.500s", a)
	}
}

// TestCIExamplesWork runs the commands of docs/examples/ci in the order of the
// compose file and of the workflow, and then what stands for the tests there.
func TestCIExamplesWork(t *testing.T) {
	t.Parallel()
	const folder = "docs/examples/ci/"
	c := readCompose(t, folder+"compose.yaml")
	emulator, tests := c.Services["emulator"], c.Services["tests"]
	if len(emulator.Healthcheck.Test) < 3 {
		t.Fatalf("the emulator's health: %q", emulator.Healthcheck.Test)
	}
	var workflow struct {
		Jobs struct {
			Test struct{ Steps []struct{ Uses, Run string } }
		}
	}
	readYAML(t, folder+"workflow.yaml", &workflow)
	var inWorkflow [][]string
	asks := ""
	for _, step := range workflow.Jobs.Test.Steps {
		scripts := []string{step.Run}
		for _, inner := range regexp.MustCompile(`sh -c '([^']+)'`).FindAllStringSubmatch(step.Run, -1) {
			scripts = append(scripts, inner[1])
		}
		for _, script := range scripts {
			if out, err := exec.CommandContext(t.Context(), "bash", "-n", "-c", script).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", script, err, out)
			}
		}
		for _, command := range regexp.MustCompile(`\btokenbroker ((?:emulate|check|serve|healthcheck)[^;&>]*)`).FindAllStringSubmatch(step.Run, -1) {
			inWorkflow = append(inWorkflow, strings.Fields(command[1]))
		}
		asks = step.Run // the last one's
	}
	if len(inWorkflow) != 4 {
		t.Errorf("commands of the workflow: %q", inWorkflow)
	}
	for name, commands := range map[string]struct {
		args [][]string
		asks string
	}{
		"compose":  {[][]string{emulator.Command, emulator.Healthcheck.Test[2:], c.Services["broker"].Command}, strings.Join(tests.Command, " ")},
		"workflow": {inWorkflow, asks},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExample(t, folder, "/tokenbroker.yaml", "DIR/tokenbroker.yaml", "/client-secret", "DIR/client-secret", "/tmp/ca.pem", "DIR/ca.pem")
			for _, args := range commands.args {
				e.run(args...)
			}
			_, path, ok := strings.Cut(commands.asks, "http://localhost:5178")
			if a := (call{url: e.vars["CALLERS"] + path}).do(t); !ok || a.status != http.StatusOK || !strings.Contains(a.body, `"incidentId"`) {
				t.Errorf("%.500s", a)
			}
		})
	}
}
