package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedCallersWork checks the configuration of docs/callers.md, and
// that it gives what the comments in it say.
func TestDocumentedCallersWork(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(read(t, "docs/callers.md"), "```yaml\n")
	settings, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/callers.md has no configuration")
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"tokenbroker.yaml": settings, "client-secret": "secret", "siem.keys": "0123456789abcdef0", "soar.keys": "0123456789abcdef1",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "tokenbroker", "check", "--config", "tokenbroker.yaml")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`siem\s+key\s+defender\s.*\sno\s+callers\.siem\.access`,
		`soar\s+key\s+defender\s.*\syes\s+routes\.defender`,
		`nightly\s+uid 1001\s+mde\s.*\sno\s+callers\.nightly\.access`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("check prints\n%s\nwant a line %s", out, want)
		}
	}
}
