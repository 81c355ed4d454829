package clients

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fences are the snippets of docs/clients.md in a language.
func fences(t *testing.T, language string) (found []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "clients.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fence := range regexp.MustCompile("(?s)```"+language+"\n(.+?)```").FindAllStringSubmatch(string(page), -1) {
		found = append(found, fence[1])
	}
	return found
}

// first is the first snippet of a language that has a text in it.
func first(t *testing.T, language, text string) string {
	t.Helper()
	for _, fence := range fences(t, language) {
		if strings.Contains(fence, text) {
			return fence
		}
	}
	t.Fatalf("docs/clients.md has no snippet of %s with %q", language, text)
	return ""
}

// exported are the variables that a line of a shell sets, with the broker where
// it is.
func (b *broker) exported(line string) []string {
	line, ok := strings.CutPrefix(strings.TrimSpace(line), "export ")
	if !ok || strings.ContainsAny(line, "'\"\n$") {
		b.t.Fatalf("%s: want one line of export", line)
	}
	return strings.Fields(strings.ReplaceAll(line, "http://localhost:5178", b.url))
}

const inGo = `package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
SNIPPET
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{"token": token.Token})
}
`

const inNode = `
import { ConnectionManager, loadAuthConfigFromEnv } from "@microsoft/agents-hosting";

const connections = new ConnectionManager(undefined, new Map(), [], loadAuthConfigFromEnv());
const token = await connections.getDefaultConnection().getAccessToken("` + mde + `");
`

// The lines that the page has for SDKs get a token, with the variables alone.
func TestDocumentedLines(t *testing.T) {
	b := start(t, keyed)
	env := environments["app service"](b, golang)
	const say, sayInPython = "\nconsole.log(JSON.stringify({ token }));", "\nimport json\nprint(json.dumps({'token': token}))"

	dir := t.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(source, []byte(strings.Replace(inGo, "SNIPPET", first(t, "go", "azidentity"), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.check(b.script(env, program).Token, xdr, 0)
	b.check(b.script(env, "node", "--input-type=module", "-e", first(t, "js", "@azure/identity")+say).Token, xdr, 0)
	b.check(b.script(env, "/usr/bin/python3", "-c", first(t, "python", "azure.identity")+sayInPython).Token, xdr, 0)
	b.check(b.script(b.exported(first(t, "sh", "SIDECAR_URL")), "node", "--input-type=module", "-e", inNode+say).Token, mde, 0)
}

// What the page says of joining addresses is what Python makes of it, and Node
// too, of the same expressions.
func TestDocumentedAddresses(t *testing.T) {
	snippet := first(t, "python", "urljoin")
	lines := regexp.MustCompile(`(?m)^urljoin\("(\S+)", "(\S+)"\)  # (\S+)$`).FindAllStringSubmatch(snippet, -1)
	if len(lines) != 3 {
		t.Fatalf("%q", lines)
	}
	for _, line := range lines {
		base, path, want := line[1], line[2], line[3]
		for name, args := range map[string][]string{
			"/usr/bin/python3": {"-c", "import sys; from urllib.parse import urljoin; print(urljoin(*sys.argv[1:]))", base, path},
			"node":             {"-e", "const [base, path] = process.argv.slice(1); console.log(new URL(path, base).href)", base, path},
		} {
			out, err := exec.CommandContext(t.Context(), name, args...).Output()
			if got := strings.TrimSpace(string(out)); err != nil || got != want {
				t.Errorf("%s: %s and %s: %s, %v; want %s", name, base, path, got, err, want)
			}
		}
	}
}

// The requests of Cortex XSOAR (MicrosoftApiModule) and of Terraform's providers
// (go-azure-sdk), as they are written there, with another host.
func TestRequestsOfFixedClients(t *testing.T) {
	b := start(t, "callers: [{name: anonymous, routes: ['*'], scopes: ['https://graph.microsoft.com/.default']}]\nprotocols: {imds: true}\n")
	endpoint := ""
	for _, variable := range b.exported(first(t, "sh", "ARM_MSI_ENDPOINT")) {
		if value, ok := strings.CutPrefix(variable, "ARM_MSI_ENDPOINT="); ok {
			endpoint = value
		}
	}
	for resource, metadata := range map[string]string{
		"https://api.security.microsoft.com/":       "True",
		"https://api.securitycenter.microsoft.com/": "True",
		"https://graph.microsoft.com":               "true",
	} {
		out := b.curl("-s", "-S", "--fail-with-body", "-G", "-H", "Metadata: "+metadata, "-d", "api-version=2018-02-01", "--data-urlencode", "resource="+resource, endpoint)
		var answer struct {
			Access  string `json:"access_token"`
			Expires string `json:"expires_in"`
		}
		if err := json.Unmarshal(out, &answer); err != nil || answer.Expires == "" {
			t.Errorf("%s: %s", resource, out)
			continue
		}
		if got, want := b.claims(answer.Access).Audience, strings.TrimSuffix(resource, "/"); got != want {
			t.Errorf("%s: for %s", resource, got)
		}
	}
}
