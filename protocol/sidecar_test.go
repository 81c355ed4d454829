package protocol_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/protocol"
	"tokenbroker/route"
)

// The users' tokens that the tests show. Only the first is right.
var (
	userToken    = unsigned(`{"aud":"https://own.example","oid":"user-canary","scp":"Machine.Read"}`)
	expiredToken = unsigned(`{"oid":"expired-canary"}`)
	unknownToken = unsigned(`{"oid":"nokeys-canary"}`)
)

const anyUser = "Authorization: Bearer "

// sidecarTable is a table with the routes "two", whose calls need either of two
// scopes, "one", and "people", which acts on behalf of users.
func sidecarTable(tb testing.TB) *route.Table {
	tb.Helper()
	upstream := func(host string) *url.URL { return &url.URL{Scheme: "https", Host: host} }
	made, err := route.NewTable(route.Config{
		Catalogue: new(defender.Catalogue),
		Identities: []route.Identity{
			{Name: "default", ID: "id-1", Tenant: tenant, Tenants: []entra.Tenant{customer}},
			{Name: "app-2", ID: "id-2", Tenant: tenant},
			{Name: "behalf", ID: "id-3", Tenant: tenant, OnBehalfOf: true},
		},
		Routes: []route.Route{
			{Name: "two", Upstream: upstream("own.example"), Host: &defender.Host{Name: "own.example", XDR: own, MDE: second}},
			{Name: "one", Upstream: upstream("one.example"), Identity: "app-2", Scope: single},
			{Name: "people", Upstream: upstream("own.example"), Identity: "behalf", Scope: own},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return made
}

// sidecar is a sidecar over a source, which may be changed before it serves.
func sidecar(tb testing.TB, source entra.SourceFunc) protocol.Sidecar {
	tb.Helper()
	return protocol.Sidecar{
		Tokens:  protocol.Tokens{Table: visible(sidecarTable(tb)), Source: source},
		Default: "two",
		Verify: func(_ context.Context, shown entra.Secret) (entra.JWT, error) {
			switch shown.Reveal() {
			case userToken:
				return entra.ParseJWT(userToken)
			case unknownToken:
				err := entra.Errorf(entra.Unavailable, "verify.keys", "its keys cannot be had")
				err.RetryAfter = 3 * time.Second
				return entra.JWT{}, err
			case expiredToken:
				err := entra.Errorf(entra.Unadmitted, "verify.token", "token: expired 2m0s ago")
				err.Code = "expired"
				return entra.JWT{}, err
			}
			err := entra.Errorf(entra.Invalid, "verify.token", "token: opaque")
			err.Code = "opaque"
			return entra.JWT{}, err
		},
	}
}

// serveSidecar serves all five paths, and notes what the source is asked.
func serveSidecar(t *testing.T, c protocol.Sidecar) *wire {
	t.Helper()
	var s wire
	inner := c.Source
	c.Source = entra.SourceFunc(func(ctx context.Context, req entra.Request) (entra.Token, error) {
		s.asked = append(s.asked, req)
		return inner.Token(ctx, req)
	})
	handlers := map[string]http.HandlerFunc{
		"AuthorizationHeader": c.AuthorizationHeader, "AuthorizationHeaderUnauthenticated": c.AuthorizationHeaderUnauthenticated,
		"DownstreamApi": c.DownstreamAPI, "DownstreamApiUnauthenticated": c.DownstreamAPIUnauthenticated, "Validate": c.Validate,
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.trail = &entra.Trail{RequestID: "request-1"}
		name, _, _ := strings.Cut(r.URL.EscapedPath()[1:], "/")
		handlers[name](w, r.WithContext(entra.WithTrail(r.Context(), s.trail)))
	}))
	t.Cleanup(s.Close)
	return &s
}

var sameSecrets = cmp.Comparer(func(a, b entra.Secret) bool { return a.Reveal() == b.Reveal() })

// The request lines are those of SidecarAuthProvider, @microsoft/agents-hosting
// 1.8.1, with the headers of Node's fetch.
func TestSidecarsOfficialClient(t *testing.T) {
	const path = "/AuthorizationHeaderUnauthenticated/"
	for _, tt := range []struct {
		name, request string
		overrides     bool
		want          string // of a refusal; empty: a token
		asked         entra.Request
	}{
		{
			"getAccessToken", path + "default?optionsOverride.Scopes=https%3A%2F%2Fown.example%2F.default&optionsOverride.RequestAppToken=true", false, "",
			entra.Request{Identity: "id-1", Tenant: tenant, Scope: own, Route: "two"},
		},
		{
			"getAccessToken, of the other API", path + "default?optionsOverride.Scopes=https%3A%2F%2Fsecond.example%2F.default&optionsOverride.RequestAppToken=true", false, "",
			entra.Request{Identity: "id-1", Tenant: tenant, Scope: second},
		},
		{
			"getAccessToken, of another service", path + "default?optionsOverride.Scopes=https%3A%2F%2Fsingle.example%2F.default&optionsOverride.RequestAppToken=true", false,
			"it is that of service one",
			entra.Request{},
		},
		{
			"getAccessToken, overriding", path + "default?optionsOverride.Scopes=https%3A%2F%2Fsingle.example%2F.default&optionsOverride.RequestAppToken=true", true, "",
			entra.Request{Identity: "id-1", Tenant: tenant, Scope: single},
		},
		{
			"tenant and ForceRefresh", path + "one?optionsOverride.Scopes=https%3A%2F%2Fsingle.example%2F.default&optionsOverride.RequestAppToken=true&optionsOverride.AcquireTokenOptions.Tenant=" + string(tenant) + "&optionsOverride.AcquireTokenOptions.ForceRefresh=false", false, "",
			entra.Request{Identity: "id-2", Tenant: tenant, Scope: single, Route: "one"},
		},
		{
			"getAgenticApplicationToken", path + "agenticblueprint?AgentIdentity=canary&optionsOverride.AcquireTokenOptions.Tenant=" + string(tenant), true,
			"parameter AgentIdentity: not taken",
			entra.Request{},
		},
		{
			"getAgenticInstanceToken", path + "default?AgentIdentity=canary&optionsOverride.Scopes=a&optionsOverride.RequestAppToken=true&optionsOverride.AcquireTokenOptions.Tenant=" + string(tenant), true,
			"parameter AgentIdentity: not taken",
			entra.Request{},
		},
		{
			"getAgenticUserToken", path + "default?AgentUsername=canary&optionsOverride.Scopes=a&optionsOverride.Scopes=b", true,
			"parameter AgentUsername: not taken",
			entra.Request{},
		},
		{
			"a service that is none", path + "my%20svc%2F1?optionsOverride.RequestAppToken=true", false,
			`service \"my svc/1\": no such service; there are: default, two, one, people`,
			entra.Request{},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sidecar(t, issue)
			c.Overrides = tt.overrides
			s := serveSidecar(t, c)
			a := s.get(t, tt.request, "accept: */*", "accept-language: *", "sec-fetch-mode: cors", "user-agent: node", "accept-encoding: gzip, deflate")
			if tt.want != "" {
				if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, tt.want) || len(s.asked) > 0 {
					t.Errorf("got %d %s, want %q", a.StatusCode, a.body, tt.want)
				}
				return
			}
			var got struct {
				AuthorizationHeader string `json:"authorizationHeader"`
			}
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != http.StatusOK || got.AuthorizationHeader != "Bearer "+jwt("first") {
				t.Errorf("got %d %s", a.StatusCode, a.body)
			}
			if diff := cmp.Diff([]entra.Request{tt.asked}, s.asked, sameSecrets); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSidecarAnswers(t *testing.T) {
	end := time.Date(2031, 2, 3, 4, 5, 6, 789e6, time.FixedZone("", 3600))
	s := serveSidecar(t, sidecar(t, func(_ context.Context, req entra.Request) (entra.Token, error) {
		return entra.NewToken("tok~en", req.Scope, end, time.Time{})
	}))
	const header = `{"authorizationHeader":"Bearer tok~en","expiresOn":"2031-02-03T03:05:06+00:00"}` + "\n"
	claims := `{"aud":"https://own.example","oid":"user-canary","scp":"Machine.Read"}`
	for path, want := range map[string]string{
		"/AuthorizationHeaderUnauthenticated/one": header,
		"/AuthorizationHeader/people":             header,
		"/Validate":                               `{"protocol":"Bearer","token":"` + userToken + `","claims":` + claims + "}\n",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			var who []string
			if !strings.Contains(path, "Unauthenticated") {
				who = append(who, anyUser+userToken)
			}
			a := s.do(t, method, path, nil, who...)
			if diff := cmp.Diff(want, a.body); diff != "" || a.StatusCode != http.StatusOK {
				t.Errorf("%s %s: got %d (-want +got):\n%s", method, path, a.StatusCode, diff)
			}
			if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json; charset=utf-8" {
				t.Errorf("%s %s: got headers %v", method, path, a.Header)
			}
		}
	}
}

// Whose token it is, by the path, the service and RequestAppToken.
func TestSidecarActor(t *testing.T) {
	user := entra.Request{Identity: "id-3", Tenant: tenant, Scope: own, Route: "people", Assertion: entra.NewSecret(userToken)}
	app := entra.Request{Identity: "id-2", Tenant: tenant, Scope: single, Route: "one"}
	const (
		withUser, without = "/AuthorizationHeader/", "/AuthorizationHeaderUnauthenticated/"
		appToken          = "?optionsOverride.RequestAppToken=true"
	)
	for _, tt := range []struct {
		target          string
		overrides, open bool // open: what is the same without overrides
		want            entra.Request
		refusal         string
	}{
		{target: withUser + "people", want: user},
		{target: withUser + "people?optionsOverride.RequestAppToken=False", want: user},
		{target: withUser + "people" + appToken, overrides: true, refusal: "on behalf of users alone; name a service"},
		{target: withUser + "one", overrides: true, refusal: "does not act on behalf of users; call the path that ends in Unauthenticated"},
		{target: withUser + "one" + appToken, refusal: "protocols.entra_sidecar.overrides is false"},
		{target: withUser + "one" + appToken, overrides: true, want: app},
		{target: without + "people", overrides: true, refusal: "call the path without Unauthenticated"},
		{target: without + "people" + appToken, overrides: true, refusal: "on behalf of users alone; name a service"},
		{target: without + "one", want: app},
		{target: without + "one" + appToken, want: app},
		{target: without + "one?OptionsOverride.requestapptoken=True", want: app},
	} {
		c := sidecar(t, issue)
		c.Overrides = tt.overrides
		s := serveSidecar(t, c)
		var who []string
		if strings.HasPrefix(tt.target, withUser) {
			who = append(who, anyUser+userToken)
		}
		a := s.get(t, tt.target, who...)
		if tt.refusal != "" {
			if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, tt.refusal) || len(s.asked) > 0 {
				t.Errorf("%s: got %d %s, asked %v; want %q", tt.target, a.StatusCode, a.body, s.asked, tt.refusal)
			}
			continue
		}
		if diff := cmp.Diff([]entra.Request{tt.want}, s.asked, sameSecrets); diff != "" || a.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d %s (-want +got):\n%s", tt.target, a.StatusCode, a.body, diff)
		}
	}
}

// An application that asks for a token of its own is not given a user's.
func TestSidecarAppTokenOfSomebodySignedIn(t *testing.T) {
	s := serveSidecar(t, sidecar(t, func(_ context.Context, req entra.Request) (entra.Token, error) {
		return entra.NewToken(unsigned(`{"scp":"Machine.Read"}`), req.Scope, time.Now().Add(time.Hour), time.Time{})
	}))
	for target, want := range map[string]int{
		"/AuthorizationHeaderUnauthenticated/one":                                      http.StatusOK,
		"/AuthorizationHeaderUnauthenticated/one?optionsOverride.RequestAppToken=true": http.StatusBadRequest,
		"/DownstreamApiUnauthenticated/one?optionsOverride.RequestAppToken=true":       http.StatusBadRequest,
	} {
		if a := s.get(t, target); a.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", target, a.StatusCode, a.body, want)
		}
	}
}
