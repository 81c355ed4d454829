package cli

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const inspectedRoutes = `
identities:
  default: {tenant: contoso.com, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: secret, file: /nowhere/secret}}
  people: {tenant: contoso.com, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: on-behalf-of, credential: {kind: secret, file: /nowhere/secret}}}
routes:
  defender: {allow: [{methods: [GET], path: '/api/incidents/**'}]}
  theirs: {upstream: 'https://api.security.microsoft.com', identity: people, scope: 'https://api.security.microsoft.com/.default', access: read-only}
  vault: {upstream: 'https://v.vault.azure.net', scope: 'https://vault.azure.net/.default'}
`

// decode with a configuration says which of its routes a token is for, and how
// much of what they let through it opens. No file of a credential is read.
func TestDecodeNamesTheRoutes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokenbroker.yaml")
	must(t, os.WriteFile(file, []byte(inspectedRoutes), 0o600))
	encode := base64.RawURLEncoding.EncodeToString
	for name, tt := range map[string]struct {
		claims string
		lines  []string
		not    string
	}{
		"all of a route, and some of another": {`{"aud":"8ee8fdad-f234-4243-8f3b-15c294843740","appid":"a","roles":["Incidents.Read.All"]}`, []string{
			"route        defender: opens 2 of the 2 endpoints that it lets through\n",
			"route        theirs: opens 2 of the 3 endpoints that it lets through; missing AdvancedHunting.Read.All\n",
		}, "route        vault"},
		"none": {`{"aud":"https://api.security.microsoft.com/","appid":"a","scp":"AdvancedHunting.Read"}`, []string{
			"route        defender: opens 0 of the 2 endpoints that it lets through; missing Incident.Read\n",
		}, "route        graph"},
		"another API": {`{"aud":"https://vault.azure.net","appid":"a"}`, []string{"route        vault: the token is for its API, whose endpoints are not in the catalogue\n"}, "route        defender"},
	} {
		var out bytes.Buffer
		token := encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(tt.claims)) + ".eA"
		if code := Main(t.Context(), System{Args: []string{"decode", "--config", file}, In: strings.NewReader(token), Out: &out, Err: &out}); code != exitDone {
			t.Errorf("%s: exit code %d: %s", name, code, out.String())
		}
		for _, line := range tt.lines {
			if !strings.Contains(out.String(), "\n"+line) {
				t.Errorf("%s: no line %q in\n%s", name, line, out.String())
			}
		}
		if strings.Contains(out.String(), "\n"+tt.not) {
			t.Errorf("%s: a line %q in\n%s", name, tt.not, out.String())
		}
	}
}

func TestDecodeNamesWhatIsNoJWT(t *testing.T) {
	for token, want := range map[string]string{
		"0.AXoAabc.AgABAAEA-xx":   "opaque, as a refresh token or a code is",
		"opaque":                  "opaque (1 parts",
		"e30.YQ.YQ.YQ.YQ":         "encrypted (five parts): only the API it is for can read it",
		"eyJhbGciOiJSUzI1NiJ9.x.": "part 2 is not base64url of JSON",
	} {
		var out bytes.Buffer
		code := Main(t.Context(), System{Args: []string{"decode"}, In: strings.NewReader(token), Out: &out, Err: &out})
		if code != exitUsage || !strings.Contains(out.String(), want) || strings.Contains(out.String(), token) && token != "opaque" {
			t.Errorf("%s: exit code %d, %s, want %q", token, code, out.String(), want)
		}
	}
}
