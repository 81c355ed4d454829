package cli

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	entraemu "tokenbroker/emulator/entra"
)

// An app may go by Application ID URIs of its own choice, which stand in the
// tokens of version 1 that are sent to it.
func TestUsersTokenForAnApplicationIDURI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(known *entraemu.Config) {
			for i := range known.Resources {
				if r := &known.Resources[i]; r.Name == entraemu.Broker {
					r.V2, r.Audiences = false, append(r.Audiences, "api://contoso/portal", "https://contoso.onmicrosoft.com/portal", "api://contoso/unnamed")
				}
			}
		})
		b := w.start(strings.Replace(peoplesApp, "{kind: on-behalf-of,", "{kind: on-behalf-of, audiences: ['api://Contoso/portal', 'https://contoso.onmicrosoft.com/portal/'],", 1))
		for audience, ours := range map[string]bool{
			"api://contoso/portal":                    true,
			"https://contoso.onmicrosoft.com/portal":  true,
			"api://" + entraemu.DefaultClient:         true,
			"api://contoso/unnamed":                   false,
			"https://contoso.onmicrosoft.com/portal/": true,
		} {
			shown := w.assertion(t, entraemu.DefaultUser, "", audience+"/access_as_user", 0).Reveal()
			exchanges := w.entra.Stats().Given[onBehalfOf]
			status, active, says := http.StatusOK, `"active":true`, ""
			if !ours {
				status, active, says = http.StatusBadRequest, `{"active":false,"reason":"audience"`, "put it into the audiences of its credential"
			}
			resp := b.call(http.MethodGet, "/token?route=theirs", "", "X-User-Assertion", shown)
			if body := text(t, resp); resp.StatusCode != status || !strings.Contains(body, says) {
				t.Errorf("for %s: %d %.300s, want %d", audience, resp.StatusCode, body, status)
			}
			if asked := w.entra.Stats().Given[onBehalfOf] > exchanges; asked != ours {
				t.Errorf("for %s: Entra was asked: %v", audience, asked)
			}
			if body := text(t, b.call(http.MethodPost, "/introspect", "token="+url.QueryEscape(shown))); !strings.Contains(body, active) {
				t.Errorf("for %s: introspected %s", audience, body)
			}
		}
	})
}
