package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/config"
	"tokenbroker/defender"
	"tokenbroker/entra"
)

// TestReadmeLinesWork runs the curl lines of the README against a demo, and
// compares them with those that the demo prints.
func TestReadmeLinesWork(t *testing.T) {
	t.Parallel()
	const example = "http://localhost:5178" // of the README, and the default
	lines := curlLines(snippets(t, "README.md"))
	if len(lines) < 4 {
		t.Fatalf("README.md has %d curl lines, want four or more", len(lines))
	}
	p := start(t, nil, "demo")
	for _, line := range lines {
		c := parseCurl(t, line)
		c.url = strings.Replace(c.url, example, p.vars["CALLERS"], 1)
		if a := c.do(t); a.status != http.StatusOK || !json.Valid([]byte(a.body)) {
			t.Errorf("%s\n%.500s", line, a)
		}
	}

	printing, err := spawn(t.TempDir(), surroundings(), "demo", "--callers", "127.0.0.1:0", "--ops", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(printing.kill)
	if _, err := printing.stdout.line(printing, "Ctrl-C"); err != nil {
		t.Fatal(err, printing.stderr)
	}
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	printed := curlLines(address.ReplaceAllString(printing.stdout.String(), example))
	if diff := cmp.Diff(printed, lines); diff != "" {
		t.Errorf("demo prints (-), the README has (+):\n%s", diff)
	}
}

// TestReadmeConfigurationWorks follows the README's steps for a real app
// registration, with the emulator's in its place.
func TestReadmeConfigurationWorks(t *testing.T) {
	t.Parallel()
	steps := snippets(t, "README.md")
	_, rest, _ := strings.Cut(steps, "<<'YAML'\n")
	settings, _, ok := strings.Cut(rest, "\nYAML\n")
	if !ok {
		t.Fatal("README.md has no configuration")
	}
	fakes := start(t, nil, "emulate")
	dir := t.TempDir()
	for name, content := range map[string]string{"client-secret": fakes.vars["CLIENT_SECRET"], "tokenbroker.yaml": settings} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Options{Catalogue: catalogue, File: filepath.Join(dir, "tokenbroker.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Collect(maps.Values(cfg.Identities)), fakes.vars; len(got) != 1 || got[0].Tenant != entra.Tenant(want["TENANT"]) || got[0].ClientID != want["CLIENT"] {
		t.Errorf("identities %+v: want the emulator's app", got)
	}

	env := append(surroundings(), "TOKENBROKER_AUTHORITY="+fakes.vars["ENTRA"], "TOKENBROKER_CA_FILE="+filepath.Join(fakes.cmd.Dir, "ca.pem"))
	var ran []string
	for line := range strings.Lines(steps) {
		words := strings.Fields(strings.Split(line, "#")[0])
		if len(words) < 2 || words[0] != "./tokenbroker" {
			continue
		}
		ran = append(ran, words[1])
		if words[1] == "serve" {
			p, err := launch(dir, env, "serve", words[2:]...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.kill)
			continue
		}
		cmd := exec.CommandContext(t.Context(), "tokenbroker", words[1:]...)
		cmd.Dir, cmd.Env = dir, env
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "works; the token opens") {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
	if diff := cmp.Diff([]string{"check", "serve"}, ran); diff != "" {
		t.Errorf("commands of the README (-want +got):\n%s", diff)
	}
}

// documents are the pages for readers.
func documents(t *testing.T) []string {
	t.Helper()
	root, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if all := append(root, deeper...); len(all) >= 5 {
		return all
	}
	t.Fatalf("only %v", root)
	return nil
}

func TestDocumentedCommandsExist(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile("(?m)(?:`|^ *|\\| )(?:tokenbroker|go run \\.) ([a-z]+)")
	commands := map[string][]string{} // by name, the pages
	for _, page := range documents(t) {
		for _, match := range named.FindAllStringSubmatch(read(t, page), -1) {
			commands[match[1]] = append(commands[match[1]], page)
		}
	}
	if len(commands) < 4 {
		t.Errorf("found only %v", commands)
	}
	help := func(command string) error {
		return exec.CommandContext(t.Context(), "tokenbroker", command, "--help").Run()
	}
	for command, pages := range commands {
		if err := help(command); err != nil {
			t.Errorf("tokenbroker %s, of %v: %v", command, pages, err)
		}
	}
	if help("nosuchcommand") == nil {
		t.Error("a command that does not exist passes for one that does")
	}
}

func TestLinksInDocumentsResolve(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	count := 0
	for _, page := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(read(t, page), -1) {
			target, _, _ := strings.Cut(match[1], "#")
			if target == "" || strings.Contains(target, ":") {
				continue
			}
			count++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s: link to %s: %v", page, match[1], err)
			}
		}
	}
	if count < 5 {
		t.Errorf("only %d links found", count)
	}
}

// snippets returns the shell snippets of a page, without their indentation.
func snippets(t *testing.T, page string) string {
	t.Helper()
	var b strings.Builder
	indent, inside := "", false
	for line := range strings.Lines(read(t, page)) {
		switch trimmed := strings.TrimSpace(line); {
		case inside && trimmed == "```":
			inside = false
		case inside:
			b.WriteString(strings.TrimPrefix(line, indent))
		case trimmed == "```sh":
			indent, inside = line[:strings.Index(line, "`")], true
		}
	}
	return b.String()
}

// curlLines are the calls of curl in a text, from that word to the line's end.
func curlLines(text string) []string {
	return regexp.MustCompile(`(?m)\bcurl -s .*$`).FindAllString(text, -1)
}

// parseCurl reads a line as a shell and curl would, as far as our lines go:
// words, single quotes, -s, -d and -H.
func parseCurl(t *testing.T, line string) call {
	t.Helper()
	var words []string
	for _, word := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line, -1) {
		words = append(words, strings.Trim(word, "'"))
	}
	c := call{header: http.Header{}}
	for i := 1; i < len(words); i++ {
		switch word := words[i]; {
		case word == "-s":
		case word == "-d" && i+1 < len(words):
			i++
			c.body = words[i]
		case word == "-H" && i+1 < len(words):
			i++
			name, value, _ := strings.Cut(words[i], ":")
			c.header.Add(name, strings.TrimSpace(value))
		case c.url == "" && strings.HasPrefix(word, "http://"):
			c.url = word
		default:
			t.Fatalf("%s: what is %s?", line, word)
		}
	}
	return c
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
