package protocol_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/protocol"
)

// refused reads a failure of the token endpoint, of which the shape is right:
// "400 invalid_request: why".
func refused(t *testing.T, res *http.Response) string {
	t.Helper()
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Timestamp   string `json:"timestamp"`
		TraceID     string `json:"trace_id"`
	}
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	if _, err := time.Parse("2006-01-02 15:04:05Z", body.Timestamp); err != nil || body.TraceID != "request-1" {
		t.Errorf("%s: want when it was, and which request", raw)
	}
	h := res.Header
	if h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" || h.Get("Pragma") != "no-cache" {
		t.Errorf("headers %v", h)
	}
	return fmt.Sprintf("%d %s: %s", res.StatusCode, body.Error, body.Description)
}

func TestOAuthRefuses(t *testing.T) {
	const (
		v1    = "/22222222-2222-2222-2222-222222222222/oauth2/token"
		v2    = "/22222222-2222-2222-2222-222222222222/oauth2/v2.0/token"
		needs = "https://api.security.microsoft.com/.default, https://api.securitycenter.microsoft.com/.default, https://api.securitycenter.windows.com/.default, https://graph.microsoft.com/.default, https://own.example/.default"
	)
	for name, tt := range map[string]struct {
		path, form string
		headers    []string
		want       string // its beginning
	}{
		"nothing":                   {v2, "", nil, "400 invalid_request: grant_type: missing"},
		"no grant":                  {v2, "scope=" + string(xdr), nil, "400 invalid_request: grant_type: missing"},
		"no target":                 {v2, "grant_type=client_credentials", nil, "400 invalid_request: what for? say scope="},
		"an empty target":           {v2, "grant_type=client_credentials&scope=", nil, "400 invalid_request: what for? say scope="},
		"another grant":             {v2, "grant_type=authorization_code&code=canary", nil, "400 unsupported_grant_type: grant_type 'authorization_code': want client_credentials, urn:ietf"},
		"a refresh token":           {v2, "grant_type=refresh_token&refresh_token=canary", nil, "400 unsupported_grant_type: grant_type 'refresh_token'"},
		"a device code":             {v2, "grant_type=urn:ietf:params:oauth:grant-type:device_code", nil, "400 unsupported_grant_type: grant_type 'urn:ietf"},
		"a grant, odd case":         {v2, "grant_type=Client_Credentials", nil, "400 unsupported_grant_type"},
		"said twice":                {v2, forXDR + "&scope=" + string(xdr), nil, "400 invalid_request: parameter 'scope': said twice"},
		"what nobody knows, twice":  {v2, forXDR + "&zeta=1&zeta=2&alpha=1&alpha=2", nil, "400 invalid_request: parameter 'alpha': said twice"},
		"in the query":              {v2 + "?scope=" + string(xdr), "grant_type=client_credentials", nil, "400 invalid_request: parameter scope: in the query"},
		"an empty one in the query": {v2 + "?client_id", forXDR, nil, "400 invalid_request: parameter client_id: in the query"},
		"a broken query":            {v2 + "?a=b;scope=c", forXDR, nil, "400 invalid_request: query: not well-formed"},
		"a broken form":             {v2, forXDR + "&x=canary%zz", nil, "400 invalid_request: form: not well-formed"},
		"too large":                 {v2, forXDR + "&x=" + strings.Repeat("a", 64<<10), nil, "400 invalid_request: form: larger than 65536 bytes"},
		"JSON":                      {v2, `{"grant_type":"client_credentials"}`, []string{"Content-Type: application/json"}, "400 invalid_request: Content-Type 'application/json': want application/x-www-form-urlencoded"},

		"another tenant":      {"/foreign.example/oauth2/v2.0/token", forXDR, nil, "403 access_denied: tenant foreign.example: not open to this caller as identity 'default'"},
		"another's tenant":    {"/customer.example/oauth2/v2.0/token", forXDR + "&client_id=" + publicID, nil, "403 access_denied: tenant customer.example"},
		"no tenant at all":    {"/common/oauth2/v2.0/token", forXDR, nil, "400 invalid_request: tenant 'common': want a GUID or a domain name"},
		"any organisation":    {"/organizations/oauth2/token", forXDR, nil, "400 invalid_request: tenant 'organizations'"},
		"an escaped tenant":   {"/customer%2Eexample/oauth2/token", forXDR, nil, "400 invalid_request: tenant 'customer%2Eexample'"},
		"adfs over http":      {"/adfs/oauth2/token", forXDR, nil, "400 invalid_request: tenant adfs: served over TLS alone; call a listener that has it (listen.callers[].tls)"},
		"adfs over http, too": {"/adfs/oauth2/v2.0/token", forXDR, nil, "400 invalid_request: tenant adfs: served over TLS alone"},

		"an unknown client":         {v2, forXDR + "&client_id=44444444-4444-4444-4444-444444444444", nil, "400 unauthorized_client: client id '44444444-4444-4444-4444-444444444444': no identity of the configuration is known by it; leave it off, or say one of: " + appID + ", " + publicID},
		"an unknown one, Basic":     {v2, forXDR, []string{"Authorization: Basic bm9ib2R5Og=="}, "400 unauthorized_client: client id 'nobody'"},
		"two clients":               {v2, forXDR + "&client_id=" + publicID, []string{"Authorization: Basic MTExMTExMWEtMTExMS0xMTExLTExMTEtMTExMTExMTExMTExOg=="}, "400 invalid_request: client_id: one in the form and another in the header"},
		"two secrets":               {v2, forXDR + "&client_secret=canary", []string{"Authorization: Basic OmNhbmFyeTI="}, "400 invalid_request: client_secret: one in the form and another in the header"},
		"two Authorizations":        {v2, forXDR, []string{"Authorization: Bearer x", "Authorization: Basic eDp5"}, "400 invalid_request: header Authorization: said twice"},
		"Basic, not base64":         {v2, forXDR, []string{"Authorization: Basic canary!"}, "400 invalid_request: header Authorization: want Basic with base64"},
		"Basic, not encoded":        {v2, forXDR, []string{"Authorization: Basic eDpjYW5hcnklenoh"}, "400 invalid_request: header Authorization: want Basic with base64"},
		"Basic without a colon":     {v2, forXDR, []string{"Authorization: Basic eA=="}, "400 invalid_request: header Authorization: want Basic with base64"},
		"the native assertion":      {v2, forXDR, []string{"X-User-Assertion: canary"}, "400 invalid_request: header X-User-Assertion: not read here"},
		"an assertion too many":     {v2, forXDR + "&assertion=canary", nil, "400 invalid_request: assertion: has no place beside grant_type=client_credentials"},
		"no assertion":              {v2, onBehalfOf + "&scope=" + string(xdr), nil, "400 invalid_request: grant_type urn:ietf:params:oauth:grant-type:jwt-bearer: want requested_token_use"},
		"an empty assertion":        {v2, onBehalfOf + "&assertion=&client_id=" + appID + "&scope=" + string(xdr), nil, "400 invalid_request: grant_type urn:ietf:params:oauth:grant-type:jwt-bearer: want requested_token_use"},
		"no use":                    {v2, strings.Replace(onBehalfOf, "on_behalf_of", "other", 1) + "&assertion=canary", nil, "400 invalid_request: grant_type urn:ietf:params:oauth:grant-type:jwt-bearer: want requested_token_use"},
		"nobody acts for users":     {v2, onBehalfOf + "&assertion=canary&client_id=" + publicID + "&scope=" + string(xdr), nil, "400 unauthorized_client: client_id '" + publicID + "': does not act on behalf of users"},
		"it acts for users":         {v2, forXDR + "&client_id=" + behalfID, nil, "400 unauthorized_client: client_id '" + behalfID + "': acts on behalf of users alone; send grant_type=urn:ietf"},
		"the route's identity does": {v2, "grant_type=client_credentials&scope=" + string(own), nil, "400 unauthorized_client: identity 'behalf': acts on behalf of users alone; send grant_type=urn:ietf"},
		"the app does not":          {v2, onBehalfOf + "&assertion=canary&scope=" + string(legacy), nil, "400 invalid_grant: user assertion: identity 'default' does not act on behalf of users"},
		"a password of nobody":      {v2, "grant_type=password&username=bob@contoso.example&password=canary&client_id=" + publicID + "&scope=" + string(xdr), nil, "400 unsupported_grant_type: grant_type password: no identity of client_id '" + publicID + "' has the password of user 'bob@contoso.example'"},
		"a password for the app":    {v2, "grant_type=password&username=" + alice + "&password=canary&client_id=" + appID + "&scope=" + string(xdr), nil, "400 unsupported_grant_type: grant_type password: no identity of client_id '" + appID + "'"},
		"a password, no user":       {v2, "grant_type=password&password=canary&client_id=" + publicID + "&scope=" + string(xdr), nil, "400 invalid_request: grant_type password: want username and client_id"},
		"a password, no client":     {v2, "grant_type=password&username=" + alice + "&password=canary&scope=" + string(xdr), nil, "400 invalid_request: grant_type password: want username and client_id"},

		"a scope that is none":        {v2, "grant_type=client_credentials&scope=user.read", nil, "400 invalid_scope: scope 'user.read': want https://host/.default"},
		"OIDC alone":                  {v2, "grant_type=client_credentials&scope=openid+profile", nil, "400 invalid_scope: scope 'openid profile': names no resource"},
		"two resources":               {v2, forXDR + "+" + string(mde), nil, "400 invalid_scope: scope '" + string(mde) + "': another resource"},
		"a scope as a resource":       {v1, "grant_type=client_credentials&resource=" + string(xdr), nil, "400 invalid_resource: resource '" + string(xdr) + "': a resource has no /.default"},
		"both, of two":                {v1, forXDR + "&resource=https://api.securitycenter.microsoft.com", nil, "400 invalid_request: resource 'https://api.securitycenter.microsoft.com' and scope '" + string(xdr) + "': two answers"},
		"both, more of one":           {v1, "grant_type=client_credentials&scope=https://api.security.microsoft.com/Incident.Read&resource=https://api.security.microsoft.com", nil, "400 invalid_request: resource 'https://api.security.microsoft.com' and scope"},
		"a scope of no route":         {v2, "grant_type=client_credentials&scope=https://vault.azure.net/.default", nil, "400 invalid_scope: scope 'https://vault.azure.net/.default': no route needs a token for it; want one of: " + needs},
		"a resource of no route":      {v1, "grant_type=client_credentials&resource=https://vault.azure.net", nil, "400 invalid_resource: resource 'https://vault.azure.net': no route needs a token for it; want one of: " + strings.ReplaceAll(needs, "/.default", "")},
		"a scope of another identity": {v2, "grant_type=client_credentials&client_id=" + publicID + "&scope=https://graph.microsoft.com/.default", nil, "403 access_denied: scope 'https://graph.microsoft.com/.default': no route uses it with this identity"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveOAuth(t, issue)
			headers := tt.headers
			if !strings.HasPrefix(strings.Join(headers, ""), "Content-Type") {
				headers = append(headers, isForm)
			}
			a := s.do(t, http.MethodPost, tt.path, strings.NewReader(tt.form), headers...)
			a.Body = io.NopCloser(strings.NewReader(a.body))
			if got := refused(t, a.Response); !strings.HasPrefix(got, tt.want) || strings.Contains(got, "canary") {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
			s.askedFor(t)
			if s.trail.Failure == nil {
				t.Error("nothing in the trail")
			}
		})
	}
}

func TestOAuthFailures(t *testing.T) {
	const claims = `{"access_token":{"nbf":{"essential":true}}}`
	text := errors.New(`app "x" says no`)
	for name, tt := range map[string]struct {
		failure error
		status  int
		retry   string
		want    string
	}{
		"Entra refuses our credential": {
			&entra.Error{Kind: entra.Misconfigured, Code: "invalid_client", AADSTS: 7000222, CorrelationID: "c", RetryAfter: time.Minute, Err: text}, 403, "",
			`{"error":"unauthorized_client","error_description":"app 'x' says no","error_codes":[7000222],"timestamp":"2000-01-01 00:00:00Z","trace_id":"request-1","correlation_id":"c"}`,
		},
		"a user has to sign in": {
			&entra.Error{Kind: entra.Challenged, Code: "login_required", AADSTS: 50076, CorrelationID: "c", Claims: claims, Err: text}, 400, "",
			`{"error":"interaction_required","error_description":"app 'x' says no","error_codes":[50076],"timestamp":"2000-01-01 00:00:00Z","trace_id":"request-1","correlation_id":"c","claims":"{\"access_token\":{\"nbf\":{\"essential\":true}}}"}`,
		},
		"Entra throttles": {
			&entra.Error{Kind: entra.Throttled, RetryAfter: 1500 * time.Millisecond, Err: text}, 503, "2",
			`{"error":"temporarily_unavailable","error_description":"app 'x' says no","timestamp":"2000-01-01 00:00:00Z","trace_id":"request-1"}`,
		},
		"Entra is away": {
			&entra.Error{Kind: entra.Unavailable, Err: text}, 503, "",
			`{"error":"temporarily_unavailable","error_description":"app 'x' says no","timestamp":"2000-01-01 00:00:00Z","trace_id":"request-1"}`,
		},
		"time is up": {
			context.DeadlineExceeded, 503, "",
			`{"error":"temporarily_unavailable","error_description":"fill: context deadline exceeded","timestamp":"2000-01-01 00:00:00Z","trace_id":"request-1"}`,
		},
		"ours": {
			text, 500, "",
			`{"error":"server_error","error_description":"internal error","timestamp":"2000-01-01 00:00:00Z","trace_id":"request-1"}`,
		},
		"an error of another's": {
			&entra.Error{Kind: entra.Invalid, Code: "audience", Err: errors.New("é \\ \n …")}, 400, "",
			`{"error":"invalid_request","error_description":". / . .","timestamp":"2000-01-01 00:00:00Z","trace_id":"request-1"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := httptest.NewRecorder()
				oauth(t, new(wire), func(context.Context, entra.Request) (entra.Token, error) {
					return entra.Token{}, fmt.Errorf("fill: %w", tt.failure)
				}).ServeHTTP(w, tokenRequest(t, "http://localhost/"+string(tenant)+"/oauth2/v2.0/token", forXDR))
				if diff := cmp.Diff(tt.want+"\n", w.Body.String()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if w.Code != tt.status || w.Header().Get("Retry-After") != tt.retry {
					t.Errorf("got %d, Retry-After %q, want %d, %q", w.Code, w.Header().Get("Retry-After"), tt.status, tt.retry)
				}
			})
		})
	}
}

func TestAssertionThatIsNotRight(t *testing.T) {
	s := serveOAuth(t, func(context.Context, entra.Request) (entra.Token, error) {
		return entra.Token{}, &entra.Error{Kind: entra.Invalid, Code: "expired", Err: errors.New("user assertion: expired")}
	})
	a := s.post(t, "/"+string(tenant)+"/oauth2/v2.0/token", onBehalfOf+"&assertion=a.b.c&client_id="+appID+"&scope="+string(xdr))
	a.Body = io.NopCloser(strings.NewReader(a.body))
	if got := refused(t, a.Response); got != "400 invalid_grant: user assertion: expired" {
		t.Error(got)
	}
}

func TestWhoLeftIsWrittenNothing(t *testing.T) {
	w := httptest.NewRecorder()
	trail := new(entra.Trail)
	r := tokenRequest(t, "http://localhost/", "")
	protocol.WriteOAuthError(w, r.WithContext(entra.WithTrail(r.Context(), trail)), &entra.Error{Kind: entra.Canceled})
	if w.Body.Len() > 0 || len(w.Header()) > 0 || trail.Failure == nil {
		t.Errorf("got %q %v, in the trail %v", w.Body, w.Header(), trail.Failure)
	}
}
