package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
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
	upstream := regexp.MustCompile(`^/(api|v1\.0|beta)/`)
	count := 0
	for _, page := range []string{"README.md", "docs/callers.md", "docs/clients.md", "docs/users.md", "docs/rotation.md"} {
		for _, match := range requests.FindAllStringSubmatch(read(t, page), -1) {
			count++
			if path := match[1]; !known(path) && !slices.Contains([]string{"/livez", "/readyz", "/metrics"}, path) && !upstream.MatchString(path) {
				t.Errorf("%s: %s is not in protocol/openapi.json", page, path)
			}
		}
	}
	if count < 5 {
		t.Errorf("only %d paths found", count)
	}
}

// TestDocumentedSettingsAreRight checks the configurations of docs/clients.md
// that are parts of one.
func TestDocumentedSettingsAreRight(t *testing.T) {
	t.Parallel()
	const rest = "identities: {default: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: secret, file: client-secret}}}\n"
	count := 0
	for _, fence := range regexp.MustCompile("(?s)```yaml\n(.+?)```").FindAllStringSubmatch(read(t, "docs/clients.md"), -1) {
		settings := fence[1]
		if !strings.HasPrefix(settings, "listen:") {
			continue // the whole one, or another program's
		}
		count++
		dir := t.TempDir()
		for name, content := range map[string]string{"tokenbroker.yaml": settings + rest, "client-secret": "secret"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), "tokenbroker", "check", "--config", "tokenbroker.yaml")
		cmd.Dir, cmd.Env = dir, surroundings()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s%v\n%s", settings, err, out)
		}
	}
	if count != 2 {
		t.Errorf("%d parts of a configuration, want those of XSOAR and of the route's listener", count)
	}
}

// TestDocumentedGrafanaWorks asks as Grafana's Infinity does with the settings of
// docs/clients.md: with a header of its own, and with OAuth 2.0.
func TestDocumentedGrafanaWorks(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "demo", "--key", "twelve-and-four-letters")
	here := func(address string) string {
		return strings.Replace(address, "http://localhost:5178", p.vars["CALLERS"], 1)
	}
	count := 0
	for _, fence := range regexp.MustCompile("(?s)```yaml\n(apiVersion: 1\n.+?)```").FindAllStringSubmatch(read(t, "docs/clients.md"), -1) {
		var provisioned struct {
			Datasources []struct {
				URL      string
				JSONData struct {
					AllowedHosts    []string `yaml:"allowedHosts"`
					HTTPHeaderName1 string   `yaml:"httpHeaderName1"`
					AuthMethod      string   `yaml:"auth_method"`
					OAuth2          struct {
						TokenURL string `yaml:"token_url"`
						ClientID string `yaml:"client_id"`
						Scopes   []string
					}
				} `yaml:"jsonData"`
				SecureJSONData map[string]string `yaml:"secureJsonData"`
			}
		}
		if err := yaml.Unmarshal([]byte(fence[1]), &provisioned); err != nil || len(provisioned.Datasources) != 1 {
			t.Fatalf("%s%v", fence[1], err)
		}
		count++
		source := provisioned.Datasources[0]
		if len(source.JSONData.AllowedHosts) != 1 || !strings.HasPrefix(source.URL, source.JSONData.AllowedHosts[0]) {
			t.Errorf("allowed are %q, and the address is %s", source.JSONData.AllowedHosts, source.URL)
		}
		asks, secret := call{url: here(source.URL) + "/api/incidents", header: http.Header{}}, "httpHeaderValue1"
		asks.header.Set(source.JSONData.HTTPHeaderName1, p.vars["KEY"])
		if oauth := source.JSONData.OAuth2; source.JSONData.AuthMethod == "oauth2" {
			secret = "oauth2ClientSecret"
			asks = call{url: here(oauth.TokenURL), body: "grant_type=client_credentials&scope=" + strings.Join(oauth.Scopes, "+"), header: http.Header{}}
			asks.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(oauth.ClientID+":"+p.vars["KEY"])))
		}
		if source.SecureJSONData[secret] != "$APP_KEY" {
			t.Errorf("%s is not the key: %v", secret, source.SecureJSONData)
		}
		if a := asks.do(t); a.status != http.StatusOK || !json.Valid([]byte(a.body)) {
			t.Errorf("%s: %.500s", asks.url, a)
		}
	}
	if count != 2 {
		t.Errorf("%d settings of Grafana's, want two", count)
	}
}

// TestDocumentedPowerShellWorks sends what the lines of docs/clients.md send.
func TestDocumentedPowerShellWorks(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "demo", "--key", "twelve-and-four-letters")
	_, lines, _ := strings.Cut(read(t, "docs/clients.md"), "```powershell\n")
	lines, _, _ = strings.Cut(lines, "```")
	lines = strings.NewReplacer("$key", "'"+p.vars["KEY"]+"'", "http://localhost:5178", p.vars["CALLERS"]).Replace(lines)
	form := url.Values{}
	for _, field := range regexp.MustCompile(`(\w+) = '([^']+)'`).FindAllStringSubmatch(lines, -1) {
		form.Set(field[1], field[2])
	}
	uris := regexp.MustCompile(`-Uri '([^']+)'`).FindAllStringSubmatch(lines, -1)
	header := regexp.MustCompile(`-Headers @\{ '([\w-]+)' = '([^']+)' \}`).FindStringSubmatch(lines)
	if len(form) != 4 || len(uris) != 2 || len(header) != 3 {
		t.Fatalf("%v, %q, %q of\n%s", form, uris, header, lines)
	}
	for _, c := range []call{
		{url: uris[0][1], body: form.Encode()},
		{url: uris[1][1], header: http.Header{header[1]: {header[2]}}},
	} {
		if a := c.do(t); a.status != http.StatusOK || !json.Valid([]byte(a.body)) {
			t.Errorf("%s: %.500s", c.url, a)
		}
	}
}
