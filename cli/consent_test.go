package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/config"
	"tokenbroker/entra"
)

const consentConfig = `
caller_key_file: /keys
identities:
  default:
    tenant: contoso.example
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: secret, file: /secret}
  partner:
    tenant: contoso.example
    client_id: 22222222-2222-2222-2222-222222222222
    credential: {kind: secret, file: /secret}
`

// consentURL runs the command with a configuration.
func consentURL(t *testing.T, configuration string, args ...string) (out string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokenbroker.yaml")
	must(t, os.WriteFile(file, []byte(configuration), 0o600))
	var b strings.Builder
	cmd := newConsentURL(System{Out: &b, Env: []string{envConfig + "=" + file}})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return b.String(), err
}

func TestConsentURLs(t *testing.T) {
	const (
		app        = "11111111-1111-1111-1111-111111111111"
		commercial = "authorize\thttps://login.microsoftonline.com/common/oauth2/authorize?prompt=consent&client_id=" + app + "&response_type=code&sso_reload=true\n"
		v2         = "/v2.0/adminconsent?client_id=" + app + "&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&redirect_uri=https%3A%2F%2Fportal.azure.com\n"
	)
	for _, tt := range []struct {
		name, config string
		args         []string
		want         string
	}{
		{"any tenant", consentConfig, []string{"default"}, commercial + "adminconsent\thttps://login.microsoftonline.com/organizations" + v2},
		{"one tenant", consentConfig, []string{"default", "--tenant", "Fabrikam.example"}, commercial + "adminconsent\thttps://login.microsoftonline.com/fabrikam.example" + v2},
		{
			"another cloud", "cloud: dod" + consentConfig,
			[]string{"default"},
			"authorize\thttps://login.microsoftonline.us/common/oauth2/authorize?prompt=consent&client_id=" + app + "&response_type=code&sso_reload=true\n" +
				"adminconsent\thttps://login.microsoftonline.us/organizations/v2.0/adminconsent?client_id=" + app +
				"&scope=https%3A%2F%2Fdod-graph.microsoft.us%2F.default&redirect_uri=https%3A%2F%2Fportal.azure.us\n",
		},
	} {
		if got, err := consentURL(t, tt.config, tt.args...); got != tt.want || err != nil {
			t.Errorf("%s: %v\ngot\n%s\nwant\n%s", tt.name, err, got, tt.want)
		}
	}
}

func TestConsentURLsAsJSON(t *testing.T) {
	out, err := consentURL(t, consentConfig, "partner", "--tenant", "fabrikam.example", "-o", "json")
	must(t, err)
	var got map[string]string
	must(t, json.Unmarshal([]byte(out), &got))
	want := map[string]string{
		"identity": "partner", "client_id": "22222222-2222-2222-2222-222222222222", "tenant": "fabrikam.example",
		"authorize":    "https://login.microsoftonline.com/common/oauth2/authorize?prompt=consent&client_id=22222222-2222-2222-2222-222222222222&response_type=code&sso_reload=true",
		"adminconsent": "https://login.microsoftonline.com/fabrikam.example/v2.0/adminconsent?client_id=22222222-2222-2222-2222-222222222222&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&redirect_uri=https%3A%2F%2Fportal.azure.com",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConsentURLRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		args         []string
		want         string
	}{
		{"no identity", consentConfig, nil, "accepts 1 arg"},
		{"an unknown identity", consentConfig, []string{"other"}, `identity "other": no such identity; there are: default, partner`},
		{"no tenant", consentConfig, []string{"default", "--tenant", "common"}, `tenant "common": want a GUID`},
		{"a faulty configuration", "cloud: moon" + consentConfig, []string{"default"}, `cloud "moon"`},
		{"an unknown format", consentConfig, []string{"default", "-o", "yaml"}, `-o "yaml"`},
	} {
		if _, err := consentURL(t, tt.config, tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestManagedIdentityHasNoConsentURL(t *testing.T) {
	cfg := &config.Config{Cloud: entra.Public, Identities: map[string]config.Identity{"vm": {Credential: config.Credential{Kind: config.ManagedIdentity}}}}
	_, err := consentLinks(cfg, catalogue(t), "vm", "")
	if entra.KindOf(err) != entra.Invalid || !strings.Contains(err.Error(), "a managed identity has no consent link") {
		t.Errorf("got %v", err)
	}
}
