package config

import (
	"os"
	"strings"
	"testing"

	"tokenbroker/entra"
)

// FuzzLoad: whatever a file holds, loading ends, with a configuration that is
// whole or with faults, and no fault shows a secret.
func FuzzLoad(f *testing.F) {
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	for _, seed := range []string{
		"", "---", "&a [*a]", "a: &a {<<: *a}", "routes: {a: &a {<<: [*a, *a]}}", "listen: {callers: [[[[]]]]}", "? {a: b}\n: c", "\xff\xfea\x00",
		"identities: {default: {credential: {kind: secret, env: SECRET}}}", "limits: {request_body: 9999999999999GiB}", "log: !!binary aGk=",
		identity + "callers: [{name: a, uid: 0, routes: ['*'], tenants: ['*'], scopes: [https://a.example/.default]}, {name: anonymous}, 7]\nlisten: {callers: ['unix:/x']}",
		identity + "routes: {x: {upstream: 'https://u:p@h/%2e%2e', scope: 'https://a.example/.default'}}",
	} {
		f.Add([]byte(seed))
	}
	const secret = "canary~7Q8.sw0rdfish"
	cat := catalogue(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := load(Options{Catalogue: cat, File: "config.yaml", goos: "linux", Env: []string{
			"SECRET=" + secret, "AZURE_CLIENT_SECRET=" + secret + "\n", "AZURE_TENANT_ID=contoso.com",
		}}, content)
		switch {
		case err != nil && entra.KindOf(err) != entra.Invalid:
			t.Errorf("kind %v of %v", entra.KindOf(err), err)
		case err != nil && strings.Contains(err.Error(), secret):
			t.Errorf("the secret is in the fault: %v", err)
		case err == nil && (c.Table == nil || c.Authority == "" || len(c.Identities) == 0 || len(c.Listen.Callers) == 0):
			t.Errorf("half a configuration: %+v", c)
		}
	})
}
