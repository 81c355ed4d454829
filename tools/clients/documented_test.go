package clients

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// The requests of Microsoft's pages, with another host: for an application, see
// "Create an app to access Microsoft Defender for Endpoint without a user"
// (exposed-apis-create-app-webapp) and "Create an app to access Microsoft Defender
// XDR APIs without a user" (api-create-app-web).
func TestDocumentedRequests(t *testing.T) {
	b := start(t, keyed)
	const form = "Content-Type:application/x-www-form-urlencoded"
	for name, tt := range map[string]struct {
		path  string
		asked []string // what the pages send beside the application and its secret, each by a -d
		aud   string
		reads string // a path of the API that the token opens
	}{
		"curl": {
			"/oauth2/v2.0/token",
			[]string{"scope=https://securitycenter.onmicrosoft.com/windowsatpservice/.default"},
			"https://securitycenter.onmicrosoft.com/windowsatpservice", "/api/machines",
		},
		"PowerShell, Defender for Endpoint": {
			"/oauth2/token", []string{"resource=https://api.securitycenter.microsoft.com"}, "https://api.securitycenter.microsoft.com", "/api/alerts",
		},
		"PowerShell, of before": {
			"/oauth2/token", []string{"resource=https://api.securitycenter.windows.com"}, "https://api.securitycenter.windows.com", "/api/alerts",
		},
		"PowerShell, XDR": {
			"/oauth2/token", []string{"resource=https://api.security.microsoft.com"}, "https://api.security.microsoft.com", "/api/incidents",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := b.in(t)
			args := []string{"-s", "-S", "--fail-with-body", "-X", "POST", "-H", form, "-d", "grant_type=client_credentials", "-d", "client_id=" + b.fakes.ClientID, "-d", "client_secret=" + key}
			for _, said := range tt.asked {
				args = append(args, "-d", said)
			}
			out := b.curl(append(args, b.url+"/"+b.fakes.Tenant+tt.path)...)
			var answer struct {
				Access string `json:"access_token"`
				Type   string `json:"token_type"`
			}
			if err := json.Unmarshal(out, &answer); err != nil || answer.Type != "Bearer" {
				t.Fatalf("%s", out)
			}
			if claims := b.claims(answer.Access); claims.Audience != tt.aud || claims.App != b.fakes.ClientID {
				t.Errorf("%+v", claims)
			}
			read := b.curl("-s", "-S", "--fail-with-body", "--cacert", b.path("emulator.pem"), "-H", "Authorization: Bearer "+answer.Access, b.fakes.Defender+tt.reads)
			if !strings.Contains(string(read), `"value":[{`) {
				t.Errorf("%.300s", read)
			}
		})
	}
}

func (b *broker) curl(args ...string) []byte {
	b.t.Helper()
	out, err := exec.CommandContext(b.t.Context(), "curl", append([]string{"--max-time", "60"}, args...)...).Output()
	if err != nil {
		b.t.Fatalf("curl: %v\n%s", err, out)
	}
	return out
}
