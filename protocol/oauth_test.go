package protocol_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
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
	appID    = "1111111a-1111-1111-1111-111111111111"
	publicID = "33333333-3333-3333-3333-333333333333"
	behalfID = "55555555-5555-5555-5555-555555555555"
	alice    = "alice@contoso.example"

	xdr    = entra.Scope("https://api.security.microsoft.com/.default")
	mde    = entra.Scope("https://api.securitycenter.microsoft.com/.default")
	legacy = entra.Scope("https://api.securitycenter.windows.com/.default")

	onBehalfOf = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&requested_token_use=on_behalf_of"
	forXDR     = "grant_type=client_credentials&scope=https://api.security.microsoft.com/.default"
)

// oauthTable has Defender's routes, and identities as an organisation would: an
// application, which also acts on behalf of users, and a user with a password.
func oauthTable(tb testing.TB) *route.Table {
	tb.Helper()
	catalogue, err := defender.Load()
	if err != nil {
		tb.Fatal(err)
	}
	at := func(host string) *url.URL { return &url.URL{Scheme: "https", Host: host} }
	made, err := route.NewTable(route.Config{
		Catalogue: catalogue,
		Identities: []route.Identity{
			{Name: "default", ID: "app", Tenant: tenant, Tenants: []entra.Tenant{customer}, Known: route.Known{ClientID: appID}},
			{Name: "people", ID: "people", Tenant: tenant, OnBehalfOf: true, Known: route.Known{ClientID: appID}},
			{Name: "behalf", ID: "behalf", Tenant: tenant, OnBehalfOf: true, Known: route.Known{ClientID: behalfID}},
			{Name: "alice", ID: "alice", Tenant: tenant, Known: route.Known{ClientID: publicID, User: alice}},
		},
		Routes: []route.Route{
			{Name: "defender", Upstream: at("api.security.microsoft.com")},
			{Name: "mde-legacy", Upstream: at("api.securitycenter.windows.com")},
			{Name: "graph", Upstream: at("graph.microsoft.com")},
			{Name: "behalf", Upstream: at("own.example"), Identity: "behalf", Scope: own},
			{Name: "people", Upstream: at("api.security.microsoft.com"), Identity: "people", Optional: true},
			{Name: "alice", Upstream: at("api.security.microsoft.com"), Identity: "alice", Optional: true},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return made
}

// oauth is the token endpoint, in front of a policy and a source.
func oauth(tb testing.TB, s *wire, source entra.SourceFunc) http.Handler {
	tb.Helper()
	table := oauthTable(tb)
	policy := guard.NewPolicy(guard.PolicyConfig{Table: table, HandOut: true, Scopes: []entra.Scope{"https://granted.example/.default"}})
	o := protocol.OAuth{Tokens: protocol.Tokens{Table: visible(table), Source: entra.SourceFunc(func(ctx context.Context, req entra.Request) (entra.Token, error) {
		if err := policy.Decide(guard.Principal{Name: guard.Local}, guard.Ask{Request: req}).Err(); err != nil {
			return entra.Token{}, err
		}
		if req.Identity == "behalf" && req.Assertion.IsZero() {
			return entra.Token{}, entra.Errorf(entra.Invalid, "", "user assertion: there is none")
		}
		s.asked = append(s.asked, req)
		return source(ctx, req)
	})}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", o.TokenV2)
	mux.HandleFunc("POST /{tenant}/oauth2/token", o.TokenV1)
	mux.HandleFunc("POST /adfs/oauth2/v2.0/token", o.TokenADFS)
	mux.HandleFunc("POST /adfs/oauth2/token", o.TokenADFS)
	mux.HandleFunc("GET /adfs/.well-known/openid-configuration", protocol.DiscoverADFS)
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", protocol.Discover)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.trail = &entra.Trail{RequestID: "request-1"}
		mux.ServeHTTP(w, r.WithContext(entra.WithTrail(r.Context(), s.trail)))
	})
}

func serveOAuth(t *testing.T, source entra.SourceFunc) *wire {
	t.Helper()
	s := new(wire)
	s.Server = httptest.NewServer(oauth(t, s, source))
	t.Cleanup(s.Close)
	return s
}

// asked compares what the source was asked for.
func (s *wire) askedFor(t *testing.T, want ...entra.Request) {
	t.Helper()
	sealed := cmp.Comparer(func(a, b entra.Secret) bool { return a.Reveal() == b.Reveal() })
	if diff := cmp.Diff(want, s.asked, sealed); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
}

func TestOAuthAnswers(t *testing.T) {
	source := func(payload string) entra.SourceFunc {
		return func(_ context.Context, req entra.Request) (entra.Token, error) {
			access := "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
			if payload == "" {
				access = "opaque"
			}
			return entra.NewToken(access, req.Scope, time.Now().Add(3599*time.Second), time.Time{})
		}
	}
	const (
		v1      = "/22222222-2222-2222-2222-222222222222/oauth2/token"
		v2      = "/22222222-2222-2222-2222-222222222222/oauth2/v2.0/token"
		with    = `"access_token":"e30.eyJuYmYiOjk0NjY4NDUwMH0.c2ln"`
		answer1 = `{` + with + `,"expires_in":"3599","expires_on":"946688399","ext_expires_in":"3599","not_before":"946684500","resource":"RESOURCE","token_type":"Bearer"}` + "\n"
		answer2 = `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,` + with + `}` + "\n"
	)
	for name, tt := range map[string]struct{ path, form, payload, want string }{
		"v2":                 {v2, "scope=https://api.security.microsoft.com/.default", `{"nbf":946684500}`, answer2},
		"v2 by resource":     {v2, "resource=https://api.security.microsoft.com", `{"nbf":946684500}`, answer2},
		"v1":                 {v1, "resource=https://api.security.microsoft.com", `{"nbf":946684500}`, strings.Replace(answer1, "RESOURCE", "https://api.security.microsoft.com", 1)},
		"v1, byte for byte":  {v1, "resource=HTTPS://api.Security.microsoft.com/", `{"nbf":946684500}`, strings.Replace(answer1, "RESOURCE", "HTTPS://api.Security.microsoft.com/", 1)},
		"v1 by scope":        {v1, "scope=https://api.security.microsoft.com//.default", `{"nbf":946684500}`, strings.Replace(answer1, "RESOURCE", "https://api.security.microsoft.com", 1)},
		"v1, an opaque one":  {v1, "resource=8ee8fdad-f234-4243-8f3b-15c294843740", "", `{"access_token":"opaque","expires_in":"3599","expires_on":"946688399","ext_expires_in":"3599","not_before":"946684800","resource":"8ee8fdad-f234-4243-8f3b-15c294843740","token_type":"Bearer"}` + "\n"},
		"adfs":               {"/adfs/oauth2/token", "scope=https://api.security.microsoft.com/.default openid offline_access profile", `{"nbf":946684500}`, answer2},
		"adfs, ADAL":         {"/adfs/oauth2/token", "resource=https://api.security.microsoft.com", `{"nbf":946684500}`, answer2},
		"adfs, v2's path":    {"/adfs/oauth2/v2.0/token", "scope=https://api.security.microsoft.com/.default", `{"nbf":946684500}`, answer2},
		"a customer's, by a": {"/Customer.example/oauth2/v2.0/token", "scope=https://api.security.microsoft.com/.default", `{"nbf":946684500}`, answer2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which begins at 946684800
				w := httptest.NewRecorder()
				oauth(t, new(wire), source(tt.payload)).ServeHTTP(w, tokenRequest(t, "https://localhost"+tt.path, "grant_type=client_credentials&"+tt.form))
				if diff := cmp.Diff(tt.want, w.Body.String()); diff != "" || w.Code != http.StatusOK {
					t.Errorf("%d (-want +got):\n%s", w.Code, diff)
				}
				want := http.Header{
					"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "Pragma": {"no-cache"},
					"Content-Length": {strconv.Itoa(w.Body.Len())},
				}
				if diff := cmp.Diff(want, w.Header()); diff != "" {
					t.Errorf("headers (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// tokenRequest is a request to the token endpoint, over TLS where the URL says so.
func tokenRequest(tb testing.TB, target, form string) *http.Request {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodPost, target, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestWhatOAuthAsksTheSource(t *testing.T) {
	const v2 = "/22222222-2222-2222-2222-222222222222/oauth2/v2.0/token"
	basic := func(user, password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	app := entra.Request{Identity: "app", Tenant: tenant, Scope: xdr}
	for name, tt := range map[string]struct {
		path, form string
		headers    []string
		want       entra.Request
	}{
		"no client":                {v2, forXDR, nil, app},
		"a client":                 {v2, forXDR + "&client_id=" + appID + "&client_secret=x", nil, app},
		"an empty secret":          {v2, forXDR + "&client_id=" + appID + "&client_secret=", nil, app},
		"an empty resource":        {v2, forXDR + "&resource=&client_id=", nil, app},
		"Basic":                    {v2, forXDR, []string{basic(appID, "x%2By")}, app},
		"Basic, encoded":           {v2, forXDR, []string{basic(strings.ReplaceAll(publicID, "-", "%2D"), "")}, entra.Request{Identity: "alice", Tenant: tenant, Scope: xdr}},
		"Basic without a client":   {v2, forXDR, []string{basic("", "x")}, app},
		"Basic and the form alike": {v2, forXDR + "&client_id=" + strings.ToUpper(appID) + "&client_secret=x", []string{basic(appID, "x")}, app},
		"a client that is a user":  {v2, forXDR + "&client_id=" + publicID, nil, entra.Request{Identity: "alice", Tenant: tenant, Scope: xdr}},
		"a certificate's app":      {v2, forXDR + "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=x", nil, app},
		"what SDKs add": {
			v2 + "?client-request-id=1&api-version=1.0&x-client-SKU=msal.js.node",
			forXDR + "+openid+offline_access+profile&claims=%7B%7D&client_info=1&x-client-OS=linux&x-ms-lib-capability=retry-after", nil, app,
		},
		"a customer":          {"/Customer.example/oauth2/token", "grant_type=client_credentials&resource=https://api.security.microsoft.com/", nil, entra.Request{Identity: "app", Tenant: customer, Scope: xdr}},
		"both, alike":         {v2, forXDR + "&resource=https://api.security.microsoft.com/", nil, app},
		"an empty assertion":  {v2, forXDR + "&assertion=", nil, app},
		"ADAL's openid":       {v2, "grant_type=client_credentials&scope=openid&resource=https://api.security.microsoft.com", nil, app},
		"tokens.scopes":       {v2, "grant_type=client_credentials&scope=https://granted.example/.default", nil, entra.Request{Identity: "app", Tenant: tenant, Scope: "https://granted.example/.default"}},
		"on behalf of a user": {v2, onBehalfOf + "&assertion=a.b.c&client_id=" + appID + "&scope=" + string(xdr), nil, entra.Request{Identity: "people", Tenant: tenant, Scope: xdr, Assertion: entra.NewSecret("a.b.c")}},
		"on behalf, permissions": {
			v2, onBehalfOf + "&assertion=a.b.c&client_id=" + appID + "&resource=https://api.security.microsoft.com", nil,
			entra.Request{Identity: "people", Tenant: tenant, Scope: xdr, Assertion: entra.NewSecret("a.b.c")},
		},
		"a password": {v2, "grant_type=password&username=Alice@contoso.example&password=x&client_id=" + publicID + "&scope=" + string(xdr), nil, entra.Request{Identity: "alice", Tenant: tenant, Scope: xdr}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveOAuth(t, issue)
			a := s.do(t, http.MethodPost, tt.path, strings.NewReader(tt.form), append(tt.headers, isForm+"; charset=utf-8")...)
			if a.StatusCode != http.StatusOK {
				t.Errorf("got %d %s", a.StatusCode, a.body)
			}
			s.askedFor(t, tt.want)
		})
	}
}

// The token requests of Microsoft's pages and of products that are in use, with
// nothing changed but the host. The credentials in them are made up.
func TestDocumentedTokenRequests(t *testing.T) {
	const credentials = "&client_id=" + appID + "&client_secret=xxxxxxxxxxxxxxxxxxxx"
	for name, tt := range map[string]struct {
		path, form string
		scope      entra.Scope
	}{
		"PowerShell, XDR, v1":                   {"/oauth2/token", "resource=https%3A%2F%2Fapi.security.microsoft.com&grant_type=client_credentials" + credentials, xdr},
		"PowerShell, Defender for Endpoint, v1": {"/oauth2/token", "resource=https%3A%2F%2Fapi.securitycenter.windows.com" + credentials + "&grant_type=client_credentials", legacy},
		"C#, ADAL, XDR":                         {"/oauth2/token?api-version=1.0", "resource=https%3A%2F%2Fapi.security.microsoft.com%2F" + credentials + "&grant_type=client_credentials", xdr},
		"C#, ADAL, Defender for Endpoint":       {"/oauth2/token", "resource=https%3A%2F%2Fapi.securitycenter.microsoft.com" + credentials + "&grant_type=client_credentials", mde},
		"C#, MSAL":                              {"/oauth2/v2.0/token", "scope=https%3A%2F%2Fapi.securitycenter.microsoft.com%2F.default" + credentials + "&grant_type=client_credentials", mde},
		"Python, v1, the audience of before":    {"/oauth2/token", "resource=https%3A%2F%2Fapi.securitycenter.windows.com" + credentials + "&grant_type=client_credentials", legacy},
		"curl, v2, windowsatpservice":           {"/oauth2/v2.0/token", "grant_type=client_credentials" + credentials + "&scope=https://securitycenter.onmicrosoft.com/windowsatpservice/.default", "https://securitycenter.onmicrosoft.com/windowsatpservice/.default"},
		"windowsatpservice as a v1 resource":    {"/oauth2/token", "grant_type=client_credentials" + credentials + "&resource=https://securitycenter.onmicrosoft.com/windowsatpservice", "https://securitycenter.onmicrosoft.com/windowsatpservice/.default"},
		"Cortex XSOAR, XDR":                     {"/oauth2/v2.0/token", "scope=offline_access+https%3A%2F%2Fsecurity.microsoft.com%2Fmtp%2F.default" + credentials + "&grant_type=client_credentials", "https://security.microsoft.com/mtp/.default"},
		"the application's id":                  {"/oauth2/token", "resource=fc780465-2017-40d4-a0c5-307022471b92" + credentials + "&grant_type=client_credentials", "fc780465-2017-40d4-a0c5-307022471b92/.default"},
		"C#, user name and password":            {"/oauth2/token", "resource=https://api.securitycenter.windows.com&client_id=" + publicID + "&grant_type=password&username=" + alice + "&password=x", legacy},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveOAuth(t, issue)
			a := s.post(t, "/"+string(tenant)+tt.path, tt.form)
			if a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"access_token":"`+jwt("first")) {
				t.Errorf("got %d %s", a.StatusCode, a.body)
			}
			want := entra.Request{Identity: "app", Tenant: tenant, Scope: tt.scope}
			if strings.Contains(name, "user name") {
				want.Identity = "alice"
			}
			s.askedFor(t, want)
		})
	}
}

func TestDiscovery(t *testing.T) {
	for target, want := range map[string]string{
		"https://localhost:8443/adfs/.well-known/openid-configuration":                       `{"issuer":"https://localhost:8443/adfs","authorization_endpoint":"https://localhost:8443/adfs/oauth2/authorize","token_endpoint":"https://localhost:8443/adfs/oauth2/token","jwks_uri":"https://localhost:8443/adfs/discovery/keys"}`,
		"https://localhost:8443/contoso.example/v2.0/.well-known/openid-configuration":       `{"issuer":"https://localhost:8443/contoso.example/v2.0","authorization_endpoint":"https://localhost:8443/contoso.example/oauth2/v2.0/authorize","token_endpoint":"https://localhost:8443/contoso.example/oauth2/v2.0/token","jwks_uri":"https://localhost:8443/contoso.example/discovery/v2.0/keys"}`,
		"http://127.0.0.1:5178/" + string(tenant) + "/v2.0/.well-known/openid-configuration": strings.ReplaceAll(`{"issuer":"http://127.0.0.1:5178/T/v2.0","authorization_endpoint":"http://127.0.0.1:5178/T/oauth2/v2.0/authorize","token_endpoint":"http://127.0.0.1:5178/T/oauth2/v2.0/token","jwks_uri":"http://127.0.0.1:5178/T/discovery/v2.0/keys"}`, "T/", string(tenant)+"/"),
		"http://localhost/common/v2.0/.well-known/openid-configuration":                      `400 invalid_request: tenant 'common': want a GUID or a domain name such as contoso.onmicrosoft.com`,
		"http://localhost/adfs/.well-known/openid-configuration":                             `400 invalid_request: tenant adfs: served over TLS alone; call a listener that has it (listen.callers[].tls), or /{tenant}/oauth2/v2.0/token`,
	} {
		w := httptest.NewRecorder()
		oauth(t, new(wire), issue).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
		got := strings.TrimSpace(w.Body.String())
		if w.Code != http.StatusOK {
			got = refused(t, w.Result())
		}
		if diff := cmp.Diff(want, got); diff != "" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d (-want +got):\n%s", target, w.Code, diff)
		}
	}
}
