package cli

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
)

// decoded is what decode prints of a token with the header and the claims.
func decoded(t *testing.T, header, claims string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(header)) + "." + encode([]byte(claims)) + ".eA"
	var out bytes.Buffer
	if code := Main(t.Context(), System{Args: []string{"decode"}, In: strings.NewReader(token), Out: &out, Err: &out}); code != exitDone {
		t.Fatalf("exit code %d: %s", code, out.String())
	}
	return out.String()
}

func TestDecodeTellsWhatATokenIsGoodFor(t *testing.T) {
	const (
		header = `{"alg":"RS256"}`
		xdr    = `"aud":"https://api.security.microsoft.com","tid":"22222222-2222-2222-2222-222222222222"`
		graph  = `"aud":"00000003-0000-0000-c000-000000000000"`
	)
	past, future := time.Now().Add(-90*time.Minute).Unix(), time.Now().Add(90*time.Minute).Unix()
	for _, tt := range []struct {
		name, header, claims string
		lines                []string // that begin so
		not                  string
	}{
		{"an application's", header, `{` + xdr + `,"appid":"app-1","roles":["Incident.Read.All"],"oid":"o"}`, []string{
			"tenant       22222222-2222-2222-2222-222222222222", "client       app-1", "kind         application (roles)", "permissions  Incident.Read.All",
			"opens        GET /api/incidents", "missing      AdvancedHunting.Read.All (for POST /api/advancedhunting/run)",
			"missing      Incident.ReadWrite.All (for PATCH /api/incidents/{id})",
		}, "user  "},
		{"a user's", header, `{` + xdr + `,"appid":"app-1","scp":"Incident.Read","upn":"alice@contoso.example","oid":"o"}`, []string{
			"user         alice@contoso.example", "kind         delegated (scp)", "permissions  Incident.Read", "opens        GET /api/incidents",
			"missing      AdvancedHunting.Read (for POST",
		}, "missing      Incident.Read (for"},
		{"a user's in version 2", header, `{` + xdr + `,"azp":"app-2","scp":"Incident.Read","preferred_username":"bob@contoso.example"}`, []string{
			"client       app-2", "user         bob@contoso.example",
		}, ""},
		{"of version 1", header, `{` + xdr + `,"appid":"a","ver":"1.0","iss":"https://sts.windows.net/t/"}`, []string{"issuer       https://sts.windows.net/t/ (version 1.0)"}, ""},
		{"of version 2", header, `{` + xdr + `,"azp":"a","ver":"2.0","iss":"https://login.microsoftonline.com/t/v2.0"}`, []string{"issuer       https://login.microsoftonline.com/t/v2.0 (version 2.0)"}, ""},
		{"of nobody", header, `{` + xdr + `,"azp":"a"}`, []string{"issuer       not named"}, ""},
		{"a nameless user's", header, `{` + xdr + `,"azp":"app-2","scp":"Incident.Read","preferred_username":7,"oid":"o-1"}`, []string{"user         o-1"}, ""},
		{"the plural of the documentation", header, `{` + xdr + `,"appid":"a","roles":["Incidents.Read.All"]}`, []string{"opens        GET /api/incidents"}, "missing      Incident.Read.All"},
		{"Graph's own", `{"alg":"RS256","nonce":"x"}`, `{` + graph + `,"appid":"a","roles":["SecurityAlert.Read.All"]}`, []string{
			"api          GRAPH", "note         it is one of Microsoft Graph's own (nonce in its header): nobody but Graph can verify it",
		}, ""},
		{"an ID token", header, `{"aud":"app-1","preferred_username":"alice@contoso.example"}`, []string{
			"client       not named", "tenant       not named", "note         it names no client (appid, azp): it is no access token",
		}, ""},
		{"no permissions", header, `{` + xdr + `,"appid":"a"}`, []string{"permissions  none", "note         it has no permissions"}, "opens  "},
		{"others' permissions", header, `{` + xdr + `,"appid":"a","roles":["Else.Read.All"]}`, []string{"note         its permissions open no endpoint"}, "opens  "},
		{"another API", header, `{"aud":"https://vault.azure.net","appid":"a","roles":["x"]}`, []string{"api          unknown", "note         its audience is no Defender API"}, "missing  "},
		{"over", header, fmt.Sprintf(`{%s,"appid":"a","roles":["x"],"exp":%d}`, xdr, past), []string{"time         expires ", "note         it has expired"}, ""},
		{"not yet", header, fmt.Sprintf(`{%s,"appid":"a","roles":["x"],"nbf":%d}`, xdr, future), []string{"note         it is not valid yet"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := decoded(t, tt.header, tt.claims)
			for _, want := range tt.lines {
				if !strings.Contains(got, "\n"+want) {
					t.Errorf("no line %q in\n%s", want, got)
				}
			}
			if tt.not != "" && strings.Contains(got, "\n"+tt.not) {
				t.Errorf("a line %q in\n%s", tt.not, got)
			}
		})
	}
}

// Endpoints without delegated permissions are not for users, and no permission
// would open them.
func TestDecodeNamesWhatIsForApplications(t *testing.T) {
	got := decoded(t, `{}`, `{"aud":"https://api.securitycenter.microsoft.com","appid":"a","scp":"Alert.Read"}`)
	if !strings.Contains(got, "for applications, no user's token opens that") || !strings.Contains(got, "\nopens        GET /api/alerts\n") {
		t.Errorf("got\n%s", got)
	}
}
