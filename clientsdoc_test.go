package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocumentedProtocolsAreRight checks the configuration of docs/clients.md,
// and that tokenbroker env prints of it the variables that the page's table has.
func TestDocumentedProtocolsAreRight(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/clients.md")
	_, rest, _ := strings.Cut(page, "```yaml\n")
	settings, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/clients.md has no configuration")
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"tokenbroker.yaml": settings, "client-secret": "secret", "callers.keys": "0123456789abcdef0"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "tokenbroker", append(args, "--config", "tokenbroker.yaml")...)
		cmd.Dir, cmd.Env = dir, surroundings()
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
		return out
	}
	run("check")

	rows := regexp.MustCompile("(?m)^\\| [^|]+ \\| `([a-z][a-z-]+)` \\| (.+) \\|$").FindAllStringSubmatch(page, -1)
	for _, row := range rows {
		var printed struct{ Variables []struct{ Name string } }
		if err := json.Unmarshal(run("env", "--protocol", row[1], "-o", "json"), &printed); err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, v := range printed.Variables {
			got = append(got, v.Name)
		}
		for _, name := range regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(row[2], -1) {
			if name[1] != "TOKENBROKER_SOCKET" { // the configuration has no socket
				want = append(want, name[1])
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-documented +printed):\n%s", row[1], diff)
		}
	}
	if len(rows) != 8 {
		t.Errorf("%d protocols in the table of docs/clients.md, want 8", len(rows))
	}
}

// TestDocumentedRequestsOfClientsWork runs the curl lines of docs/clients.md
// against a demo.
func TestDocumentedRequestsOfClientsWork(t *testing.T) {
	t.Parallel()
	lines := curlLines(snippets(t, "docs/clients.md"))
	if len(lines) < 4 {
		t.Fatalf("docs/clients.md has %d curl lines, want four or more", len(lines))
	}
	p := start(t, nil, "demo")
	for _, line := range lines {
		c := parseCurl(t, line)
		c.url = strings.Replace(c.url, "http://localhost:5178", p.vars["CALLERS"], 1)
		if a := c.do(t); a.status != http.StatusOK || !json.Valid([]byte(a.body)) {
			t.Errorf("%s\n%.500s", line, a)
		}
	}
}

// Every path that a page speaks of is in the description of what is served.
func TestDocumentedPathsAreDescribed(t *testing.T) {
	t.Parallel()
	var described struct{ Paths map[string]any }
	if err := json.Unmarshal([]byte(read(t, "protocol/openapi.json")), &described); err != nil {
		t.Fatal(err)
	}
	known := func(named string) bool {
		for path := range described.Paths {
			pattern := regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(path), "[^/]+")
			if regexp.MustCompile("^" + pattern + "$").MatchString(named) {
				return true
			}
		}
		return false
	}
	requests := regexp.MustCompile("`(?:GET|POST) (/[^`?]+)[`?]")
	count := 0
	for _, page := range []string{"README.md", "docs/callers.md", "docs/clients.md", "docs/users.md", "docs/rotation.md"} {
		for _, match := range requests.FindAllStringSubmatch(read(t, page), -1) {
			count++
			if path := match[1]; !known(path) && !slices.Contains([]string{"/livez", "/readyz", "/metrics"}, path) && !strings.HasPrefix(path, "/api/") {
				t.Errorf("%s: %s is not in protocol/openapi.json", page, path)
			}
		}
	}
	if count < 5 {
		t.Errorf("only %d paths found", count)
	}
}
