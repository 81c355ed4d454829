package protocol_test

import (
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/protocol"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Libraries in seven languages read these bytes, each in its own way: which
// members there are, in which order, and which of them are strings. After a
// change, run the tests with -update and read the difference.
func TestTokenAnswersAreAsInTheGoldenFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which begins at 2000-01-01
		source := func(_ context.Context, req entra.Request) (entra.Token, error) {
			return entra.NewToken(unsigned(payload), req.Scope, time.Now().Add(3599*time.Second), time.Time{})
		}
		sent := func(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		get := func(h http.HandlerFunc, target string, headers ...string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost"+target, http.NoBody)
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			return sent(h, r)
		}
		identities, endpoint := newIdentities(t, nil), oauth(t, new(wire), source)
		grant := func(path, target string) *httptest.ResponseRecorder {
			return sent(endpoint, tokenRequest(t, "https://localhost"+path, "grant_type=client_credentials&"+target))
		}
		native := protocol.Native{Tokens: protocol.Tokens{Table: visible(table(t)), Source: entra.SourceFunc(source)}, WriteError: refusal}
		side := sidecar(t, source)
		side.Downstream = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"error":"<wait>"}`))
		})
		for name, w := range map[string]*httptest.ResponseRecorder{
			"app-service":          identities.ask(t, appService, "resource=https://api.example"),
			"app-service-managed":  identities.ask(t, appService, "resource=https://managed.example&object_id="+objectID),
			"azure-ml":             identities.ask(t, azureML, "resource=https://api.example&clientid="),
			"cloud-shell":          identities.ask(t, cloudShell, "resource=https://api.example"),
			"imds":                 identities.ask(t, imds, "resource=https://api.example/"),
			"oauth-v1":             grant("/"+string(tenant)+"/oauth2/token", "resource=https://api.security.microsoft.com"),
			"oauth-v2":             grant("/"+string(tenant)+"/oauth2/v2.0/token", "scope="+string(xdr)),
			"oauth-adfs":           grant("/adfs/oauth2/token", "scope="+string(xdr)+" openid offline_access profile"),
			"oauth-adfs-discovery": get(protocol.DiscoverADFS, "/adfs/.well-known/openid-configuration"),
			"sidecar-header":       get(side.AuthorizationHeaderUnauthenticated, "/AuthorizationHeaderUnauthenticated/one"),
			"sidecar-validate":     get(side.Validate, "/Validate", "Authorization", "Bearer "+userToken),
			"sidecar-envelope":     get(side.DownstreamAPIUnauthenticated, "/DownstreamApiUnauthenticated/one"),
			"token":                get(native.Token, "/token?route=two"),
			"token-text":           get(native.Token, "/token?route=one", "Accept", "text/plain"),
		} {
			if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %v %s", name, w.Code, w.Header(), w.Body)
			}
			checkGolden(t, name, w.Header().Get("Content-Type")+"\n\n"+w.Body.String())
		}
	})
}

func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	golden := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}
