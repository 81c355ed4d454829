package protocol_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/protocol"
)

func TestSidecarRefusedHeadersAndBodies(t *testing.T) {
	s := serveSidecar(t, sidecar(t, issue))
	for _, tt := range []struct{ target, body, header, want string }{
		{"/AuthorizationHeaderUnauthenticated/one", "", anyUser + userToken, "header Authorization: not read here"},
		{"/DownstreamApiUnauthenticated/one", "", "Authorization: Basic canary", "header Authorization: not read here"},
		{"/AuthorizationHeaderUnauthenticated/one", "", "X-User-Assertion: canary", "header X-User-Assertion: not read here"},
		{"/AuthorizationHeaderUnauthenticated/one", "", "X-User-Assertion: ", "header X-User-Assertion: not read here"},
		{"/AuthorizationHeaderUnauthenticated/one", "canary", "A: b", "no call is made here"},
		{"/DownstreamApiUnauthenticated/one", "canary", "A: b", "body: a call by GET has none"},
	} {
		a := s.do(t, http.MethodPost, tt.target, strings.NewReader(tt.body), tt.header)
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, tt.want) || strings.Contains(a.body, "canary") || len(s.asked) > 0 {
			t.Errorf("%s: got %d %s, want %q", tt.target, a.StatusCode, a.body, tt.want)
		}
	}
}

func TestSidecarWantsAUsersToken(t *testing.T) {
	c := sidecar(t, issue)
	c.Overrides = true
	s := serveSidecar(t, c)
	const plain, bad = "Bearer", `Bearer error="invalid_token"`
	for _, tt := range []struct {
		headers   []string
		challenge string
		detail    string
	}{
		{nil, plain, "user token: want one"},
		{[]string{"Authorization: Basic canary"}, plain, "user token: want one"},
		{[]string{"Authorization: Bearer"}, plain, "user token: want one"},
		{[]string{"Authorization: " + userToken}, plain, "user token: want one"},
		{[]string{anyUser + userToken, anyUser + userToken}, plain, "user token: want one"},
		{[]string{anyUser + "canary"}, bad, "user token: opaque"},
		{[]string{anyUser + expiredToken}, bad, "user token: expired 2m0s ago"},
	} {
		for _, path := range []string{"/Validate", "/AuthorizationHeader/people", "/AuthorizationHeader/none?x=y", "/DownstreamApi/people"} {
			a := s.get(t, path, tt.headers...)
			if a.StatusCode != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") != tt.challenge || !strings.Contains(a.body, `"detail":"`+tt.detail) {
				t.Errorf("%s %.40q: got %d %v %s", path, tt.headers, a.StatusCode, a.Header, a.body)
			}
			if strings.Contains(a.body, "canary") || strings.Contains(a.body, "eyJ") {
				t.Errorf("%s: a token in the refusal: %s", path, a.body)
			}
		}
	}
	if len(s.asked) > 0 {
		t.Errorf("asked %+v", s.asked)
	}
	// That there is no verdict is not the token's fault.
	if a := s.get(t, "/Validate", anyUser+unknownToken); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") != "3" {
		t.Errorf("got %d %v %s", a.StatusCode, a.Header, a.body)
	}
	if a := s.get(t, "/Validate", "authorization: bEARER   "+userToken); a.StatusCode != http.StatusOK {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
}

func TestSidecarFailures(t *testing.T) {
	const claims = `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`
	const insufficient = `Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19"`
	text := errors.New("text <a>")
	for _, tt := range []struct {
		name    string
		err     entra.Error
		status  int
		body    string // from type to status
		more    string // behind instance
		headers map[string]string
	}{
		{"invalid", entra.Error{Kind: entra.Invalid}, 400, `15.5.1","title":"Bad Request","status":400`, `"kind":"invalid"`, nil},
		{"not found", entra.Error{Kind: entra.NotFound}, 400, `15.5.1","title":"Bad Request","status":400`, `"kind":"not_found"`, nil},
		{"denied", entra.Error{Kind: entra.Denied}, 403, `15.5.4","title":"Forbidden","status":403`, `"kind":"denied"`, nil},
		{"admission", entra.Error{Kind: entra.Unadmitted}, 401, `15.5.2","title":"Unauthorized","status":401`, `"kind":"unadmitted"`, map[string]string{"WWW-Authenticate": "Bearer"}},
		{
			"our credential",
			entra.Error{Kind: entra.Misconfigured, Code: "invalid_client", AADSTS: 7000215, CorrelationID: "c-1"},
			403, `15.5.4","title":"Forbidden","status":403`,
			`"kind":"misconfigured","code":"invalid_client","aadsts":7000215,"correlation_id":"c-1"`, nil,
		},
		{
			"sign-in",
			entra.Error{Kind: entra.Challenged, Code: "login_required", Claims: claims},
			403, `15.5.4","title":"Forbidden","status":403`,
			`"kind":"challenged","code":"login_required","claims":"{\"access_token\":{\"acrs\":{\"essential\":true,\"value\":\"c1\"}}}"`,
			map[string]string{"WWW-Authenticate": ""},
		},
		{
			"challenge",
			entra.Error{Kind: entra.Challenged, Code: "interaction_required", Claims: claims},
			401, `15.5.2","title":"Unauthorized","status":401`,
			`"kind":"challenged","code":"interaction_required","claims":"{\"access_token\":{\"acrs\":{\"essential\":true,\"value\":\"c1\"}}}"`,
			map[string]string{"WWW-Authenticate": insufficient},
		},
		{"claims that are not the user's", entra.Error{Kind: entra.Misconfigured, Claims: "{}"}, 403, `15.5.4","title":"Forbidden","status":403`, `"kind":"misconfigured","claims":"{}"`, map[string]string{"WWW-Authenticate": ""}},
		{"consent", entra.Error{Kind: entra.Challenged, AADSTS: 65001}, 403, `15.5.4","title":"Forbidden","status":403`, `"kind":"challenged","aadsts":65001`, nil},
		{"throttled", entra.Error{Kind: entra.Throttled, RetryAfter: 1500 * time.Millisecond}, 503, `15.6.4","title":"Service Unavailable","status":503`, `"kind":"throttled"`, map[string]string{"Retry-After": "2"}},
		{"away", entra.Error{Kind: entra.Unavailable, RetryAfter: time.Second}, 503, `15.6.4","title":"Service Unavailable","status":503`, `"kind":"unavailable"`, map[string]string{"Retry-After": "1"}},
		{"internal", entra.Error{Kind: entra.Internal}, 500, `15.6.1","title":"An error occurred while processing your request.","status":500`, `"kind":"internal"`, nil},
		{"upstream", entra.Error{Kind: entra.Upstream}, 502, `15.6.3","title":"Bad Gateway","status":502`, `"kind":"upstream"`, nil},
		{"late", entra.Error{Kind: entra.Timeout}, 504, `15.6.5","title":"Gateway Timeout","status":504`, `"kind":"timeout"`, nil},
		{
			"the user's token, for another app",
			entra.Error{Kind: entra.Invalid, Code: "audience"},
			401, `15.5.2","title":"Unauthorized","status":401`, `"kind":"unadmitted","code":"invalid_token"`,
			map[string]string{"WWW-Authenticate": `Bearer error="invalid_token"`},
		},
		{"Entra's invalid_scope", entra.Error{Kind: entra.Invalid, Code: "invalid_scope", CorrelationID: "c-1"}, 400, `15.5.1","title":"Bad Request","status":400`, `"kind":"invalid","code":"invalid_scope","correlation_id":"c-1"`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			failure := tt.err
			failure.Err = text
			detail := "text <a>"
			switch {
			case failure.Kind == entra.Internal:
				detail = "internal error"
			case failure.Code == "audience":
				detail = "user token: text <a>"
			}
			s := serveSidecar(t, sidecar(t, func(context.Context, entra.Request) (entra.Token, error) { return entra.Token{}, &failure }))
			a := s.get(t, "/AuthorizationHeader/people", anyUser+userToken)
			want := `{"type":"https://tools.ietf.org/html/rfc9110#section-` + tt.body + `,"detail":"` + detail + `","instance":"request-1",` + tt.more + "}\n"
			if diff := cmp.Diff(want, a.body); diff != "" || a.StatusCode != tt.status {
				t.Errorf("got %d (-want +got):\n%s", a.StatusCode, diff)
			}
			if a.Header.Get("Content-Type") != "application/problem+json" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("got headers %v", a.Header)
			}
			for name, value := range tt.headers {
				if got := a.Header.Get(name); got != value {
					t.Errorf("%s: got %q, want %q", name, got, value)
				}
			}
		})
	}
}

// Where no user's token was shown, none is to blame.
func TestSidecarBlamesNoTokenThatIsNotThere(t *testing.T) {
	s := serveSidecar(t, sidecar(t, func(context.Context, entra.Request) (entra.Token, error) {
		return entra.Token{}, &entra.Error{Kind: entra.Invalid, Code: "audience", Err: errors.New("text")}
	}))
	if a := s.get(t, "/AuthorizationHeaderUnauthenticated/one"); a.StatusCode != http.StatusBadRequest {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
}

func TestSidecarWritesNothingForWhoLeft(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/Validate", nil)
	protocol.WriteSidecarError(w, r, &entra.Error{Kind: entra.Canceled})
	if w.Body.Len() > 0 || len(w.Header()) > 0 {
		t.Errorf("got %v %s", w.Header(), w.Body)
	}
}

func TestSidecarKeys(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/Validate", nil)
	r.Header = http.Header{"X-Broker-Key": {"key-a", "", "key-b"}, "Authorization": {"Bearer user"}, "X-Identity-Header": {"x"}}
	keys, err := protocol.SidecarKeys(r)
	if diff := cmp.Diff([]entra.Secret{entra.NewSecret("key-a"), entra.NewSecret("key-b")}, keys, sameSecrets); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}
