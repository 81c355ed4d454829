package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// azCaller runs the program under the name az, as SDKs do.
type azCaller struct {
	t   *testing.T
	env []string
}

// newAzCaller has a broker run for it, which demands a key.
func newAzCaller(t *testing.T) azCaller {
	t.Helper()
	w := newWorld(t)
	w.write("keys", keyOf("of-the-programs-that-call-az"))
	server := httptest.NewServer(w.broker("secret", "caller_key_file: 'DIR/keys'").handler)
	t.Cleanup(server.Close)
	return azCaller{t, []string{envURL + "=" + server.URL, envKeyFile + "=" + filepath.Join(w.dir, "keys")}}
}

func (a azCaller) run(args ...string) (code int, stdout, stderr string) {
	a.t.Helper()
	var out, complaints bytes.Buffer
	code = Main(a.t.Context(), System{Name: "/usr/local/bin/az", Args: args, Env: a.env, Out: &out, Err: &complaints})
	return code, out.String(), complaints.String()
}

// The command lines are those of the clients, as they send them.
func TestAzAnswersWhoeverShellsOut(t *testing.T) {
	const resource, tenant = "https://api.security.microsoft.com", "22222222-2222-2222-2222-222222222222"
	az := newAzCaller(t)
	_, token, _ := az.run("account", "get-access-token", "--resource", resource, "--query", "accessToken", "-o", "tsv")
	if !regexp.MustCompile(`^eyJ[\w-]+\.[\w-]+\.[\w-]+\n$`).MatchString(token) {
		t.Fatalf("--query accessToken -o tsv: %q", token)
	}
	token = strings.TrimSpace(token)
	for name, args := range map[string][]string{
		"azidentity":                  {"-o", "json", "--resource", resource},
		"azidentity with a tenant":    {"-o", "json", "--resource", resource, "--tenant", tenant},
		"@azure/identity":             {"--output", "json", "--resource", resource, "--tenant", tenant},
		"@azure/identity, subscribed": {"--output", "json", "--resource", resource, "--subscription", tenant},
		"azure-identity, .NET, Java":  {"--output", "json", "--resource", resource + "/"},
		"go-azure-sdk":                {"--scope", resource + "/.default", "--tenant", tenant, "-o=json"},
		"a script":                    {"--scope", resource + "/.default", "openid", "-t", tenant, "--only-show-errors"},
	} {
		t.Run(name, func(t *testing.T) {
			code, got, stderr := az.run(append([]string{"account", "get-access-token"}, args...)...)
			var said struct {
				Expires int64 `json:"expires_on"`
			}
			if err := json.Unmarshal([]byte(got), &said); code != exitDone || err != nil || stderr != "" {
				t.Fatalf("exit code %d, %v, %s", code, err, stderr) // @azure/identity reads stderr even where it gets a token
			}
			if left := time.Until(time.Unix(said.Expires, 0)); left < 50*time.Minute || left > 2*time.Hour {
				t.Errorf("expires in %s", left)
			}
			want := fmt.Sprintf(`{
  "accessToken": %q,
  "expiresOn": %q,
  "expires_on": %d,
  "subscription": "",
  "tenant": %q,
  "tokenType": "Bearer"
}
`, token, time.Unix(said.Expires, 0).Local().Format("2006-01-02 15:04:05")+".000000", said.Expires, tenant)
			if got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestAzTellsWhoseTokensThereAre(t *testing.T) {
	az := newAzCaller(t)
	for _, tt := range []struct{ args, want string }{
		{"account show -o=json", `{
  "id": "22222222-2222-2222-2222-222222222222",
  "isDefault": true,
  "name": "N/A(tenant level account)",
  "state": "Enabled",
  "tenantId": "22222222-2222-2222-2222-222222222222",
  "user": {
    "name": "11111111-1111-1111-1111-111111111111",
    "type": "servicePrincipal"
  }
}
`},
		{"account show --query user.type --output tsv", "servicePrincipal\n"},
		{"account show --query tenantId -o jsonc -s 22222222-2222-2222-2222-222222222222", "\"22222222-2222-2222-2222-222222222222\"\n"},
		{"account show -o none", ""},
		{`version --query "azure-cli" -o tsv`, "2.54.0\n"},
		{"version --query tokenbroker -o tsv", versionText() + "\n"},
		{"--version", "tokenbroker " + versionText() + " under the name az, which answers as azure-cli 2.54.0\n"},
		{"account get-access-token --resource https://api.security.microsoft.com --query tokenType --debug", "\"Bearer\"\n"},
	} {
		if code, got, stderr := az.run(strings.Fields(tt.args)...); code != exitDone || got != tt.want || stderr != "" {
			t.Errorf("az %s: exit code %d, %s\ngot  %s\nwant %s", tt.args, code, stderr, got, tt.want)
		}
	}
}

func TestAzRefuses(t *testing.T) {
	az := newAzCaller(t)
	const token = "account get-access-token --resource https://api.security.microsoft.com "
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"vm list --resource-group g -o json", exitUsage, "az vm: not here, since this is tokenbroker under the name az; it knows: "},
		{"account set --subscription s", exitUsage, "az account set: not here, since this is tokenbroker"},
		{"login --service-principal -u u", exitUsage, "run: tokenbroker login IDENTITY"},
		{"logout", exitUsage, "run: tokenbroker logout IDENTITY"},
		{token + "--nope", exitUsage, "unknown flag: --nope, since this is tokenbroker under the name az"},
		{token + "more", exitUsage, `"more": not known here`},
		{token + "--scope s", exitUsage, "[resource scope] were all set"},
		{token + "--tenant contoso.example --subscription s", exitUsage, "[subscription tenant] were all set"},
		{token + "-o table", exitUsage, `-o "table": want json, jsonc, tsv or none`},
		{token + "-o tsv", exitUsage, "want --query with one of: accessToken, expiresOn, expires_on, subscription, tenant, tokenType"},
		{token + "--query [accessToken]", exitUsage, `--query "[accessToken]": want the name of a member`},
		{token + "--query keys(@)", exitUsage, `--query "keys(@)": want the name of a member`},
		{token + "--query token", exitUsage, `--query "token": no such member; there are: accessToken, `},
		{token + "--query accessToken.length", exitUsage, "no such member"},
		{token + "--tenant contoso.example", exitFailed, "tenant contoso.example: not open to this caller"},
		{token + "--subscription 33333333-3333-3333-3333-333333333333", exitFailed, "(--subscription was taken for the tenant: a broker has no subscriptions)"},
		{"account get-access-token", exitFailed, `scope "https://management.core.windows.net/.default": no route uses it`},
		{"account get-access-token --resource-type ms-graph", exitFailed, `scope "https://graph.microsoft.com/.default": only restricted routes use it`},
		{"account get-access-token --resource-type media", exitUsage, `--resource-type "media": not known here; say --resource`},
		{token + "--key-file keys", exitUsage, "--key-file or TOKENBROKER_KEY_FILE: keys: want an absolute path"},
		{"account show --socket s", exitUsage, "--socket or TOKENBROKER_SOCKET: s: want an absolute path"},
		{"account show --subscription s", exitUsage, `--subscription "s": a broker has no subscriptions`},
		{token + "--url http://127.0.0.1:1", exitFailed, "broker at http://127.0.0.1:1: "},
	} {
		code, out, stderr := az.run(strings.Fields(tt.args)...)
		if code != tt.code || !strings.HasPrefix(stderr, "tokenbroker: ") || !strings.Contains(stderr, tt.want) || out != "" {
			t.Errorf("az %s: exit code %d, want %d\ngot  %s%s\nwant %s", tt.args, code, tt.code, out, stderr, tt.want)
		}
		// By these SDKs know a missing program and one that nobody has signed in to.
		if regexp.MustCompile("az:.*not found|' is not recognized").MatchString(stderr) || strings.HasPrefix(tt.args, "account get") && strings.Contains(stderr, "az login") {
			t.Errorf("az %s: SDKs misread %s", tt.args, stderr)
		}
	}
}

func TestAzIsAName(t *testing.T) {
	for name, want := range map[string]bool{"az": true, "/opt/bin/az": true, "./AZ.EXE": true, "": false, "tokenbroker": false, "/opt/az/tokenbroker": false, "azd": false} {
		if got := calledAz(name); got != want {
			t.Errorf("%q: %t, want %t", name, got, want)
		}
	}
}
