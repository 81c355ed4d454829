package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// envOf runs env with a configuration; keys of the identity stand in it.
func envOf(t *testing.T, settings string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokenbroker.yaml")
	if !strings.Contains(settings, "identities:") {
		settings += `
identities:
  default: {tenant: contoso.example, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: secret, file: /s}}
`
	}
	must(t, os.WriteFile(file, []byte(settings), 0o600))
	var out, complaints bytes.Buffer
	code = Main(t.Context(), System{Args: append([]string{"env", "--config", file}, args...), Out: &out, Err: &complaints})
	return code, out.String(), complaints.String()
}

// What keeps an application from using a protocol is said, with the setting
// that mends it.
func TestEnvRefuses(t *testing.T) {
	const keyed = "caller_key_file: /k\n"
	for _, tt := range []struct{ name, settings, args, want string }{
		{"nothing to show", "", "", "--protocol app-service: it demands a key; set identity_header_file, where the broker writes one at its start, or caller_key_file"},
		{"nothing to show either", "", "--protocol azure-ml", "--protocol azure-ml: it demands a key; set identity_header_file"},
		{"nobody has a key", "listen: {callers: ['localhost:5178', 'unix:/s']}\ncallers: [{name: anonymous, routes: ['*']}]", "", "no caller has one; set caller_key_file, or a caller's key_file"},
		{"App Service off", keyed + "protocols: {app_service: false}", "", "off in the configuration; set protocols.app_service: true"},
		{"IMDS off", "", "--protocol imds", "off in the configuration; set protocols.imds: true"},
		{"Cloud Shell off", "", "--protocol cloud-shell", "off in the configuration; set protocols.cloud_shell: true"},
		{"the sidecar off", "protocols: {entra_sidecar: false}", "--protocol sidecar", "off in the configuration; set protocols.entra_sidecar: true"},
		{"OAuth off", "protocols: {oauth: false}", "--protocol oauth", "off in the configuration; set protocols.oauth: true"},
		{"adfs off", "protocols: {oauth: false}", "--protocol adfs", "off in the configuration; set protocols.oauth: true"},
		{"IMDS among keys", keyed + "protocols: {imds: true}", "--protocol imds", "it cannot carry a key, and the broker asks for one; add a caller named anonymous"},
		{"a sidecar among keys", keyed, "--protocol sidecar", "it cannot carry a key, and the broker asks for one; add a caller named anonymous"},
		{"no tokens", keyed + "tokens: {hand_out: false}", "", "the broker hands out no tokens; set tokens.hand_out: true"},
		{"any port", keyed + "listen: {callers: ['localhost:0']}", "", "listener localhost:0: any free port, which nobody knows before the start; set one in listen.callers"},
		{"a socket", keyed + "listen: {callers: ['unix:/s']}", "", "no listener for it: it needs a TCP one in listen.callers, without route"},
		{"a route's listener", keyed + "listen: {callers: [{address: 'localhost:1', route: defender}]}", "", "no listener for it"},
		{"no TLS", "", "--protocol adfs", "no listener for it"},
		{"untrusted", "listen: {callers: [{address: 'localhost:1', tls: {}}]}", "--protocol adfs", "listener localhost:1: its certificate is made at the start, and nobody could trust it; set ca_out below its tls"},
		{"TLS alone for the command", "listen: {callers: [{address: 'localhost:1', tls: {ca_out: /c}}]}", "--protocol az", "no listener for it: it needs a Unix socket or a TCP listener without tls and route"},
		{"whose key", "callers: [{name: a, key_file: /a, routes: ['*']}, {name: b, key_file: /b, routes: ['*']}]", "", "several callers have a key; say which it is for, by --caller: a, b"},
		{"nobody's key", keyed, "--caller c", `--caller "c": no such caller with a key; there are: local`},
		{"no tenant", "identities: {default: {credential: {kind: managed-identity}}}", "--protocol oauth", "the configuration says none for the default identity; set its tenant"},
		{"no client id", "identities: {default: {credential: {kind: managed-identity}}}\nlisten: {callers: [{address: 'localhost:1', tls: {ca_out: /c}}]}", "--protocol adfs", "the configuration says none for the default identity; set its client_id"},
		{"a fault of the configuration", "listne: {}", "", "listne: no such key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, stderr := envOf(t, tt.settings, strings.Fields(tt.args)...)
			if code != exitUsage || out != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d\ngot  %s%s\nwant %s", code, out, stderr, tt.want)
			}
		})
	}
}

func TestEnvFindsTheListenerAndTheKey(t *testing.T) {
	const secure = "{address: 'localhost:8443', tls: {ca_out: /ca.pem}}"
	for _, tt := range []struct {
		name, settings, args string
		want                 []string
	}{
		{"the default", "caller_key_file: /k", "", []string{"IDENTITY_ENDPOINT=http://127.0.0.1:5178/msi/token", "IDENTITY_HEADER < " + absolute(t, "/k")}},
		{"the key of the start", "identity_header_file: /h", "", []string{"IDENTITY_ENDPOINT=http://127.0.0.1:5178/msi/token", "IDENTITY_HEADER < " + absolute(t, "/h")}},
		{"the only caller", "callers: [{name: a, key_file: /a, routes: ['*']}, {name: anonymous, routes: ['*']}]", "--protocol azure-ml", []string{"MSI_ENDPOINT=http://127.0.0.1:5178/msi/token", "MSI_SECRET < " + absolute(t, "/a")}},
		{
			"local's before others'", "caller_key_file: /k\ncallers: [{name: local, routes: ['*']}, {name: a, key_file: /a, routes: ['*']}]", "",
			[]string{"IDENTITY_ENDPOINT=http://127.0.0.1:5178/msi/token", "IDENTITY_HEADER < " + absolute(t, "/k")},
		},
		{
			"a caller's", "caller_key_file: /k\ncallers: [{name: local, routes: ['*']}, {name: a, key_file: /a, routes: ['*']}]", "--caller a",
			[]string{"IDENTITY_ENDPOINT=http://127.0.0.1:5178/msi/token", "IDENTITY_HEADER < " + absolute(t, "/a")},
		},
		{
			"old tools too", "identity_header_file: /h\nprotocols: {cloud_shell: true}", "",
			[]string{"IDENTITY_ENDPOINT=http://127.0.0.1:5178/msi/token", "IDENTITY_HEADER < " + absolute(t, "/h"), "MSI_ENDPOINT=http://127.0.0.1:5178/msi/token"},
		},
		{"old tools without a key", "caller_key_file: /k\nprotocols: {cloud_shell: true}", "", []string{"IDENTITY_ENDPOINT=http://127.0.0.1:5178/msi/token", "IDENTITY_HEADER < " + absolute(t, "/k")}},
		{
			"over TLS alone", "listen: {callers: [unix:/s, " + secure + "]}", "--protocol sidecar",
			[]string{"SIDECAR_URL=https://localhost:8443", "SSL_CERT_FILE=" + absolute(t, "/ca.pem"), "REQUESTS_CA_BUNDLE=" + absolute(t, "/ca.pem"), "NODE_EXTRA_CA_CERTS=" + absolute(t, "/ca.pem")},
		},
		{"a certificate of one's own", "listen: {callers: [{address: '127.0.0.2:8443', tls: {cert_file: /c, key_file: /c}}]}", "--protocol sidecar", []string{"SIDECAR_URL=https://127.0.0.2:8443"}},
		{"plain rather", "listen: {callers: [" + secure + ", 'localhost:5180']}", "--protocol sidecar", []string{"SIDECAR_URL=http://127.0.0.1:5180"}},
		{"everywhere", "caller_key_file: /k\nlisten: {callers: [':5180'], unsafe_non_loopback: true}", "--protocol az", []string{"TOKENBROKER_URL=http://127.0.0.1:5180", "TOKENBROKER_KEY_FILE=" + absolute(t, "/k")}},
		{"everywhere by number", "caller_key_file: /k\nlisten: {callers: ['0.0.0.0:5180'], unsafe_non_loopback: true}", "--protocol az", []string{"TOKENBROKER_URL=http://127.0.0.1:5180", "TOKENBROKER_KEY_FILE=" + absolute(t, "/k")}},
		{"a socket first", "listen: {callers: ['localhost:5180', 'unix:/s']}", "--protocol az", []string{"TOKENBROKER_SOCKET=" + filepath.Clean("/s")}},
		{"where all look", "protocols: {imds: true}\nlisten: {callers: ['169.254.169.254:80', 'localhost:5180']}", "--protocol imds", nil},
		{"beside where all look", "protocols: {imds: true}\nlisten: {callers: ['169.254.169.254:80', 'localhost:5180']}", "--protocol sidecar", []string{"SIDECAR_URL=http://127.0.0.1:5180"}},
		{
			"any secret", "listen: {callers: [" + secure + ", {address: 'localhost:1', tls: {}}]}\nidentity_header_file: /h", "--protocol oauth",
			[]string{
				"TOKEN_URL=https://localhost:8443/contoso.example/oauth2/v2.0/token", "CLIENT_ID=11111111-1111-1111-1111-111111111111", "CLIENT_SECRET=unused",
				"SSL_CERT_FILE=" + absolute(t, "/ca.pem"), "REQUESTS_CA_BUNDLE=" + absolute(t, "/ca.pem"), "NODE_EXTRA_CA_CERTS=" + absolute(t, "/ca.pem"),
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, stderr := envOf(t, tt.settings, append(strings.Fields(tt.args), "-o", "json")...)
			var view envView
			if err := json.Unmarshal([]byte(out), &view); code != exitDone || err != nil {
				t.Fatalf("exit code %d, %v\n%s", code, err, stderr)
			}
			var got []string
			for _, v := range view.Variables {
				if v.KeyFile != "" {
					got = append(got, v.Name+" < "+v.KeyFile)
				} else {
					got = append(got, v.Name+"="+v.Value)
				}
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	whole, err := filepath.Abs(path)
	must(t, err)
	return whole
}

// Whatever a path is made of, it stays one word of its reader's.
func TestEnvQuotes(t *testing.T) {
	for _, tt := range []struct{ value, shell, dotenv, k8s, powershell string }{
		{"/run/ca.pem", `'/run/ca.pem'`, `/run/ca.pem`, `"/run/ca.pem"`, `'/run/ca.pem'`},
		{`C:\Program Files\ca.pem`, `'C:\Program Files\ca.pem'`, `'C:\Program Files\ca.pem'`, `"C:\\Program Files\\ca.pem"`, `'C:\Program Files\ca.pem'`},
		{`/a'b $(c) "d`, `'/a'\''b $(c) "d'`, `"/a'b \$(c) \"d"`, `"/a'b $(c) \"d"`, `'/a''b $(c) "d'`},
		{"/a’b; rm #", `'/a’b; rm #'`, `'/a’b; rm #'`, `"/a’b; rm #"`, `'/a’’b; rm #'`},
	} {
		v := envVariable{name: "V", value: tt.value}
		for got, want := range map[string]string{
			shellLine(v): "export V=" + tt.shell + "\n", dotenvLine(v): "V=" + tt.dotenv + "\n",
			k8sLine(v): "  - {name: V, value: " + tt.k8s + "}\n", powershellLine(v): "$env:V = " + tt.powershell + "\n",
		} {
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
}
