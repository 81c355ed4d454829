package cli

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
	"tokenbroker/proxy"
)

const (
	legacyScope = "https://api.securitycenter.windows.com/.default"
	atpScope    = "https://securitycenter.onmicrosoft.com/windowsatpservice/.default"
)

// samples are the documented ways of getting a token for an application and of
// using it, each with what it asks for. See "Create an app to access Microsoft
// Defender for Endpoint without a user" (exposed-apis-create-app-webapp), "Create
// an app to access Microsoft Defender XDR APIs without a user" (api-create-app-web),
// and their editions of before.
var samples = map[string]struct {
	form     string // of the token request, without the credential
	audience string
	calls    []string // with the token, at the API itself
}{
	"PowerShell, XDR, v1": {
		"resource=https://api.security.microsoft.com", "https://api.security.microsoft.com",
		[]string{"https://api.security.microsoft.com/api/incidents", "https://eu.api.security.microsoft.com/api/incidents", "https://api-eu.security.microsoft.com/api/incidents"},
	},
	"PowerShell, Defender for Endpoint, v1": {
		"resource=https://api.securitycenter.windows.com", "https://api.securitycenter.windows.com",
		[]string{"https://api.securitycenter.windows.com/api/alerts", "https://api.securitycenter.microsoft.com/api/machines"},
	},
	"C#, ADAL, XDR": {
		"resource=https://api.security.microsoft.com/", "https://api.security.microsoft.com",
		[]string{"https://api.security.microsoft.com/api/incidents"},
	},
	"C#, ADAL, Defender for Endpoint": {
		"resource=https://api.securitycenter.microsoft.com", "https://api.securitycenter.microsoft.com",
		[]string{"https://api.securitycenter.microsoft.com/api/alerts", "https://api.security.microsoft.com/api/alerts"},
	},
	"C#, MSAL": {
		"scope=https://api.securitycenter.microsoft.com/.default", "https://api.securitycenter.microsoft.com",
		[]string{"https://api.security.microsoft.com/api/machines"},
	},
	"Python, v1, the audience of before": {
		"resource=https://api.securitycenter.windows.com", "https://api.securitycenter.windows.com",
		[]string{"https://api.securitycenter.windows.com/api/alerts", "https://api.securitycenter.microsoft.com/api/alerts"},
	},
	"curl, v2, windowsatpservice": {
		"scope=https://securitycenter.onmicrosoft.com/windowsatpservice/.default", "https://securitycenter.onmicrosoft.com/windowsatpservice",
		[]string{"https://api.securitycenter.microsoft.com/api/alerts", "https://api.security.microsoft.com/api/machines"},
	},
	"windowsatpservice as a v1 resource": {
		"resource=https://securitycenter.onmicrosoft.com/windowsatpservice", "https://securitycenter.onmicrosoft.com/windowsatpservice",
		[]string{"https://api.securitycenter.windows.com/api/alerts"},
	},
	"Cortex XSOAR, XDR": {
		"scope=offline_access https://security.microsoft.com/mtp/.default", "https://security.microsoft.com/mtp",
		[]string{"https://api.security.microsoft.com/api/incidents"},
	},
	"the application's id": {
		"resource=fc780465-2017-40d4-a0c5-307022471b92", "fc780465-2017-40d4-a0c5-307022471b92",
		[]string{"https://api.securitycenter.microsoft.com/api/alerts"},
	},
}

func TestDocumentedSamplesWorkWithTheBrokersTokens(t *testing.T) {
	for name, sample := range samples {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAzure(t)
				for _, host := range []string{"eu.api.security.microsoft.com", "api-eu.security.microsoft.com"} {
					a.serve(host, a.defender)
				}
				b := a.broker("secret", "")
				for _, resp := range []*http.Response{
					b.call(http.MethodPost, "/token", strings.ReplaceAll(sample.form, " ", "+")),
					b.get("/token?" + strings.ReplaceAll(sample.form, " ", "+")),
				} {
					var answer struct {
						Access  string `json:"access_token"`
						Type    string `json:"token_type"`
						Expires int    `json:"expires_in"`
					}
					body := text(t, resp)
					if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.StatusCode != http.StatusOK || answer.Type != "Bearer" || answer.Expires != 3599 {
						t.Fatalf("%s %.300s", resp.Status, body)
					}
					claims, err := a.entra.Verify(answer.Access)
					must(t, err)
					if wrong := fault(&claims, entraemu.DefaultClient, contoso, entra.Scope(sample.audience+"/.default")); wrong != "" {
						t.Error(wrong)
					}
					for _, call := range sample.calls {
						if status, body := a.direct(call, answer.Access); status != http.StatusOK || !strings.Contains(body, `"value":[{`) {
							t.Errorf("GET %s: %d %.300s", call, status, body)
						}
					}
				}
				if got := a.entra.Stats().Tokens; got != 1 {
					t.Errorf("%d requests to Entra, want 1", got)
				}
			})
		})
	}
}

// direct makes a call without the broker.
func (a *azure) direct(target, token string) (status int, body string) {
	a.t.Helper()
	roots, err := readRoots(filepath.Join(a.dir, "ca.pem"))
	must(a.t, err)
	transport := proxy.NewTransport(proxy.TransportConfig{Roots: roots.pool, DialContext: a.network.DialContext})
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, target, nil)
	must(a.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	must(a.t, err)
	defer resp.Body.Close()
	return resp.StatusCode, text(a.t, resp)
}

// An edition of the Python sample asks for Defender for Endpoint's audience, and
// then for incidents. That never worked; by the proxy it does.
func TestSampleThatContradictsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t)
		b := a.broker("secret", "")
		const incidents = "/api/incidents"
		token := text(t, b.call(http.MethodGet, "/token?resource=https://api.securitycenter.windows.com", "", "Accept", "text/plain"))
		if status, body := a.direct("https://api.security.microsoft.com"+incidents, token); status != http.StatusUnauthorized {
			t.Errorf("at the API: %d %.300s", status, body)
		}
		if resp := b.call(http.MethodGet, "/proxy/defender"+incidents, "", "Authorization", "Bearer "+token); resp.StatusCode != http.StatusOK {
			t.Errorf("by the proxy: %s %.300s", resp.Status, text(t, resp))
		}
	})
}

// A token under another name of its resource application opens as much.
func TestEveryNameOfAResourceIsJudgedAlike(t *testing.T) {
	names := catalogue(t).Aliases
	mde, xdr, graph := append(names(mdeScope), mdeScope), append(names(xdrScope), xdrScope), append(names(graphDefault), graphDefault)
	for name, tc := range map[string]struct {
		settings      string
		mde, xdr, grf int // the statuses
	}{
		"nothing restricted":         {"", 200, 200, 403},
		"read-only":                  {"routes: {defender: {access: read-only}}", 403, 403, 403},
		"allow":                      {"routes: {defender: {allow: [{path: /api/incidents/**}]}}", 403, 403, 403},
		"deny":                       {"routes: {defender: {deny: [{path: /api/machines/*/isolate}]}}", 403, 403, 403},
		"one of two":                 {"routes: {defender: {access: read-only}, mde: {}}", 200, 403, 403},
		"one lifted":                 {"routes: {defender: {access: read-only}}\ntokens: {scopes: ['" + atpScope + "']}", 403, 403, 403},
		"not handed out":             {"tokens: {hand_out: false}", 403, 403, 403},
		"a caller of Endpoint's":     {"callers: [{name: local, routes: [mde]}]\ncaller_key_file: 'DIR/key'", 200, 403, 403},
		"a caller, read-only":        {"callers: [{name: local, routes: [mde], access: read-only}]\ncaller_key_file: 'DIR/key'", 403, 403, 403},
		"a caller with other routes": {"callers: [{name: local, routes: [graph]}]\ncaller_key_file: 'DIR/key'", 403, 403, 403},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.write("key", keyOf("local"))
				b := w.broker("secret", tc.settings)
				check := func(scopes []entra.Scope, want int) {
					for _, scope := range scopes {
						want := want
						if strings.Contains(tc.settings, string(scope)) {
							want = http.StatusOK // in so many words
						}
						before := w.entra.Stats().Tokens
						resp := b.call(http.MethodGet, "/token?scope="+url.QueryEscape(string(scope)), "", "X-Broker-Key", keyOf("local"))
						if asked := w.entra.Stats().Tokens > before; resp.StatusCode != want || asked != (want == 200) {
							t.Errorf("%s: %s, want %d; Entra was asked: %t", scope, resp.Status, want, asked)
						}
					}
				}
				check(mde, tc.mde)
				check(xdr, tc.xdr)
				check(graph, tc.grf)
			})
		})
	}
}
