package protocol_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/protocol"
	"tokenbroker/route"
)

const (
	appClient    = "11111111-1111-1111-1111-111111111111"
	peopleClient = "33333333-3333-3333-3333-333333333333"
	objectID     = "44444444-4444-4444-4444-444444444444"
	resourceID   = "/subscriptions/1/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi"
	appResource  = "55555555-5555-5555-5555-555555555555"

	identityKey = "identity-header-canary"
)

// identityTable has the identities that these protocols can name: an app by its
// client id, a managed identity by its object and resource ids, and one that
// acts on behalf of users. Two have routes for https://managed.example, and the
// one for https://shut.example is restricted.
func identityTable(tb testing.TB) *route.Table {
	tb.Helper()
	upstream := &url.URL{Scheme: "https", Host: "api.example"}
	made, err := route.NewTable(route.Config{
		Catalogue: new(defender.Catalogue),
		Identities: []route.Identity{
			{Name: "default", ID: "id-1", Tenant: tenant, Known: route.Known{ClientID: appClient}},
			{Name: "managed", ID: "id-2", Tenant: tenant, Known: route.Known{ObjectID: objectID, ResourceID: resourceID}},
			{Name: "people", ID: "id-3", Tenant: tenant, Known: route.Known{ClientID: peopleClient}, OnBehalfOf: true},
		},
		Routes: []route.Route{
			{Name: "api", Upstream: upstream, Scope: "https://api.example/.default"},
			{Name: "guid", Upstream: upstream, Scope: appResource + "/.default"},
			{Name: "managed", Upstream: upstream, Identity: "managed", Scope: "https://managed.example/.default"},
			{Name: "managed-too", Upstream: upstream, Scope: "https://managed.example/.default"},
			{Name: "people", Upstream: upstream, Identity: "people", Scope: "https://people.example/.default"},
			{Name: "shut", Upstream: upstream, Scope: "https://shut.example/.default", Access: route.ReadOnly},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return made
}

// identities are the three protocols behind real admission and policy, at their
// paths. It counts requests.
type identities struct {
	http.Handler
	requests []string        // what came in: method and URL
	asked    []entra.Request // what the source was asked
}

// newIdentities serves tokens whose "signature" is the audience and the
// identity. Callers prove themselves by identityKey, or are anonymous where the
// protocol has no place for it. A failure is the source's answer to all.
func newIdentities(tb testing.TB, failure error) *identities {
	tb.Helper()
	keys := guard.NewKeyring(map[string][]entra.Secret{guard.Local: {entra.NewSecret(identityKey)}})
	admission := guard.New(guard.Config{Keys: keys, Anonymous: true, Hosts: []string{"169.254.169.254"}})
	table := identityTable(tb)
	policy := guard.NewPolicy(guard.PolicyConfig{Table: table, HandOut: true})
	local := guard.Principal{Name: guard.Local}

	s := &identities{}
	tokens := protocol.Tokens{Table: visible(table), Source: entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
		if err := policy.Decide(local, guard.Ask{Request: req}).Err(); err != nil {
			return entra.Token{}, err
		}
		s.asked = append(s.asked, req)
		switch {
		case failure != nil:
			return entra.Token{}, failure
		case req.Identity == "id-3":
			return entra.Token{}, entra.Errorf(entra.Invalid, "test", "user assertion: put it into the header X-User-Assertion")
		}
		return entra.NewToken(identityToken(req), req.Scope, time.Now().Add(time.Hour), time.Time{})
	})}
	mux := http.NewServeMux()
	mount := func(pattern string, keys guard.KeysOf, writeError func(http.ResponseWriter, *http.Request, *entra.Error), h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if _, err := admission.Admit(r, keys); err != nil {
				writeError(w, r, entra.AsError(err))
				return
			}
			h(w, r)
		})
	}
	mount("GET /msi/token", protocol.AppServiceKeys, protocol.WriteAppServiceError, protocol.AppService{Tokens: tokens}.Token)
	mount("POST /msi/token", nil, protocol.WriteAppServiceError, protocol.CloudShell{Tokens: tokens}.Token)
	mount("GET /metadata/identity/oauth2/token", nil, protocol.WriteIMDSError, protocol.IMDS{Tokens: tokens}.Token)
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests = append(s.requests, r.Method+" "+r.URL.String())
		mux.ServeHTTP(w, r)
	})
	return s
}

// identityToken is the token for a request: a JWT that began 5 minutes ago.
func identityToken(req entra.Request) string {
	encode := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"aud":%q,"nbf":%d}`, req.Scope.Audience(), time.Now().Add(-5*time.Minute).Unix())
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte(req.Identity))
}

// send sends a request from this machine. In headers a colon separates.
func (s *identities) send(tb testing.TB, method, target, form string, headers ...string) *httptest.ResponseRecorder {
	tb.Helper()
	path, query, _ := strings.Cut(target, "?")
	r := httptest.NewRequestWithContext(tb.Context(), method, "http://localhost"+path, http.NoBody)
	if form != "" {
		r = httptest.NewRequestWithContext(tb.Context(), method, "http://localhost"+path, strings.NewReader(form))
	}
	r.URL.RawQuery = query
	r.RemoteAddr = "127.0.0.1:4711"
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	if form != "" && r.Header["Content-Type"] == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// spoken is one protocol as a library would speak it.
type spoken struct {
	method, path, version, header string
}

var (
	appService = spoken{http.MethodGet, "/msi/token", "api-version=2019-08-01", "X-IDENTITY-HEADER: " + identityKey}
	azureML    = spoken{http.MethodGet, "/msi/token", "api-version=2017-09-01", "secret: " + identityKey}
	cloudShell = spoken{http.MethodPost, "/msi/token", "", "Metadata: true"}
	imds       = spoken{http.MethodGet, "/metadata/identity/oauth2/token", "api-version=2018-02-01", "Metadata: true"}

	everySpoken = map[string]spoken{"app-service": appService, "azure-ml": azureML, "cloud-shell": cloudShell, "imds": imds}
)

// ask sends a good request but for the parameters.
func (s *identities) ask(tb testing.TB, as spoken, parameters string, headers ...string) *httptest.ResponseRecorder {
	tb.Helper()
	if as.version != "" {
		parameters = as.version + "&" + parameters
	}
	headers = append(headers, as.header)
	if as.method == http.MethodPost {
		return s.send(tb, as.method, as.path, parameters, headers...)
	}
	return s.send(tb, as.method, as.path+"?"+parameters, "", headers...)
}

func TestIdentityAnswer(t *testing.T) {
	for _, tt := range []struct{ parameters, client, identity, resource string }{
		{"resource=https%3A%2F%2Fapi.example", appClient, "id-1", "https://api.example"},
		{"resource=https://api.example/", appClient, "id-1", "https://api.example/"}, // of https://api.example//.default
		{"resource=HTTPS://API.example:443", appClient, "id-1", "HTTPS://API.example:443"},
		{"resource=" + appResource, appClient, "id-1", appResource},
		{"resource=https://api.example&client_id=" + appClient, appClient, "id-1", "https://api.example"},
		{"resource=https://api.example&clientid=" + appClient, appClient, "id-1", "https://api.example"},
		{"resource=https://api.example&clientid=", appClient, "id-1", "https://api.example"},
		{"resource=https://managed.example&object_id=" + objectID, "", "id-2", "https://managed.example"},
		{"resource=https://managed.example&principal_id=" + objectID, "", "id-2", "https://managed.example"},
		{"resource=https://managed.example&mi_res_id=" + resourceID, "", "id-2", "https://managed.example"},
		{"resource=https://managed.example&msi_res_id=" + strings.ToUpper(resourceID), "", "id-2", "https://managed.example"},
		{"resource=https://api.example&xms_cc=cp1,cp2", appClient, "id-1", "https://api.example"},
	} {
		for name, as := range everySpoken {
			synctest.Test(t, func(t *testing.T) {
				s := newIdentities(t, nil)
				w := s.ask(t, as, tt.parameters)
				if len(s.asked) != 1 {
					t.Fatalf("%s %s: the source was asked %+v; %s", name, tt.parameters, s.asked, w.Body)
				}
				client := ""
				if tt.client != "" {
					client = `"client_id":"` + tt.client + `",`
				}
				// The bubble's clock stands at 2000-01-01.
				want := `{"access_token":"` + identityToken(s.asked[0]) + `",` + client + `"expires_in":"3600","expires_on":"946688400",` +
					`"ext_expires_in":"3600","not_before":"946684500","resource":"` + tt.resource + `","token_type":"Bearer"}`
				if diff := cmp.Diff(want, w.Body.String()); diff != "" || w.Code != http.StatusOK {
					t.Errorf("%s %s: got %d (-want +got):\n%s", name, tt.parameters, w.Code, diff)
				}
				wantHeader := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "Content-Length": {fmt.Sprint(len(want))}}
				if diff := cmp.Diff(wantHeader, w.Header()); diff != "" {
					t.Errorf("%s %s: headers (-want +got):\n%s", name, tt.parameters, diff)
				}
				if got := s.asked[0]; string(got.Identity) != tt.identity || got.Use != entra.HandOut {
					t.Errorf("%s %s: the source was asked %+v", name, tt.parameters, got)
				}
			})
		}
	}
}

// As msal-node asks Cloud Shell, where the client has capabilities.
func TestCloudShellTakesCapabilitiesInTheQuery(t *testing.T) {
	s := newIdentities(t, nil)
	w := s.send(t, http.MethodPost, "/msi/token?xms_cc=cp1", "resource=https://api.example", cloudShell.header)
	if w.Code != http.StatusOK || len(s.asked) != 1 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestIdentityAnswerOfAnOpaqueToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := protocol.Tokens{Table: visible(identityTable(t)), Source: entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
			return entra.NewToken("opaque", req.Scope, time.Now().Add(-time.Second), time.Time{})
		})}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?api-version=2019-08-01&resource="+appResource, nil)
		w := httptest.NewRecorder()
		protocol.AppService{Tokens: tokens}.Token(w, r)
		want := `{"access_token":"opaque","client_id":"` + appClient + `","expires_in":"0","expires_on":"946684799","ext_expires_in":"0","not_before":"946684800","resource":"` + appResource + `","token_type":"Bearer"}`
		if diff := cmp.Diff(want, w.Body.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAppServiceKeys(t *testing.T) {
	for _, tt := range []struct {
		headers []string
		want    []string
	}{
		{nil, nil},
		{[]string{"X-IDENTITY-HEADER: a"}, []string{"a"}},
		{[]string{"x-identity-header: a"}, []string{"a"}},
		{[]string{"secret: a"}, []string{"a"}},
		{[]string{"X-Broker-Key: a"}, []string{"a"}},
		{[]string{"X-IDENTITY-HEADER: a", "secret: b", "X-Broker-Key: c"}, []string{"a", "b", "c"}},
		{[]string{"X-IDENTITY-HEADER: a", "X-IDENTITY-HEADER: b"}, []string{"a", "b"}},
		{[]string{"X-IDENTITY-HEADER: ", "secret: a"}, []string{"a"}},
		{[]string{"Authorization: Bearer a"}, []string{"a"}},
		{[]string{"Authorization: Bearer a", "secret: b"}, []string{"b"}},
		{[]string{"Authorization: Bearer a", "X-Broker-Key: "}, nil},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		for _, h := range tt.headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Add(name, value)
		}
		keys, err := protocol.AppServiceKeys(r)
		var got []string
		for _, key := range keys {
			got = append(got, key.Reveal())
		}
		if !slices.Equal(got, tt.want) || err != nil {
			t.Errorf("%v: got %v, %v, want %v", tt.headers, got, err, tt.want)
		}
	}
}
