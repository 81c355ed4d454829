package protocol_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/protocol"
)

// refusedAs is a refusal as App Service and Cloud Shell write it.
func refusedAs(status int, code, message string) string {
	return fmt.Sprintf(`{"statusCode":%d,"message":%s,"error":%q,"error_description":%[2]s}`+"\n", status, quoted(message), code)
}

// refusedByIMDS is a refusal as IMDS writes it.
func refusedByIMDS(code, message string) string {
	return fmt.Sprintf(`{"error":%q,"error_description":%s}`+"\n", code, quoted(message))
}

func quoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)
	return strings.TrimSpace(b.String())
}

// checkRefusal holds an answer to the bytes of its protocol's refusal.
func checkRefusal(t *testing.T, name string, as spoken, w *httptest.ResponseRecorder, status int, code, message string) {
	t.Helper()
	want := refusedAs(status, code, message)
	if as == imds {
		want = refusedByIMDS(code, message)
		if status < 500 {
			status = http.StatusBadRequest
		}
	}
	if diff := cmp.Diff(want, w.Body.String()); diff != "" || w.Code != status {
		t.Errorf("%s: got %d, want %d (-want +got):\n%s", name, w.Code, status, diff)
	}
	if h := w.Header(); h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: got headers %v", name, h)
	}
}

func TestIdentityRequestsRefused(t *testing.T) {
	const (
		known  = "resource, client_id, clientid, object_id, principal_id, mi_res_id, msi_res_id or xms_cc"
		allAre = "https://api.example, " + appResource + ", https://managed.example, https://people.example, https://shut.example"
	)
	for _, tt := range []struct{ parameters, code, message string }{
		{"", "invalid_request", "parameter resource: missing; say whom the token is for, resource=https://host"},
		{"resource=", "invalid_request", "parameter resource: empty; give it a value or leave it off"},
		{"resource=a&resource=a", "invalid_request", "parameter resource: said twice; say it once"},
		{"resource=https://api.example&client_id=", "invalid_request", "parameter client_id: empty; give it a value or leave it off"},
		{"resource=https://api.example&clientid=&clientid=", "invalid_request", "parameter clientid: said twice; say it once"},
		{"resource=%zz", "invalid_request", ""},
		{"resource=a;b", "invalid_request", ""},
		{"resource=https://api.example/.default", "invalid_resource", `resource "https://api.example/.default": a resource has no /.default, leave it off or use scope`},
		{"resource=https://api.example+https://shut.example", "invalid_resource", `resource "https://api.example https://shut.example": want https://host`},
		{"resource=http://api.example", "invalid_resource", `resource "http://api.example": want https://host`},
		{"resource=https://other.example", "invalid_resource", `resource "https://other.example": no route needs a token for it; want one of: ` + allAre},
		{"resource=https://api.example/User.Read", "invalid_resource", `resource "https://api.example/User.Read": no route needs a token for it; want one of: ` + allAre},
		{"resource=https://api.example&client_id=" + objectID, "invalid_request", ""},
		{"resource=https://api.example&object_id=" + appClient, "invalid_request", ""},
		{"resource=https://api.example&mi_res_id=/x", "invalid_request", ""},
		{"resource=https://api.example&client_id=" + appClient + "&object_id=" + objectID, "invalid_request", "client_id and object_id: several names for one identity; keep one of them"},
		{"resource=https://api.example&client_id=" + appClient + "&clientid=" + appClient, "invalid_request", "client_id and clientid: several names for one identity; keep one of them"},
		{"resource=https://managed.example", "invalid_request", ""}, // whose of two?
		{"resource=https://people.example", "invalid_request", `identity "people": acts on behalf of users alone, and a managed identity's request names none; ask /token with X-User-Assertion, or name another identity by client_id`},
		{"resource=https://people.example&client_id=" + peopleClient, "invalid_request", ""},
		{"resource=https://api.example&scope=x", "invalid_request", `parameter "scope": not known; want ` + known},
		{"resource=https://api.example&claims=%7B%7D", "invalid_request", `parameter "claims": not known; want ` + known},
		{"resource=https://api.example&token_sha256_to_refresh=x", "invalid_request", `parameter "token_sha256_to_refresh": not known; want ` + known},
	} {
		for name, as := range everySpoken {
			s := newIdentities(t, nil)
			w := s.ask(t, as, tt.parameters)
			message := tt.message
			switch {
			case message == "":
				message = says(t, w) // some words are another package's
			case as.version != "":
				message = strings.Replace(message, "want resource, ", "want api-version, resource, ", 1)
			}
			checkRefusal(t, name+" "+tt.parameters, as, w, http.StatusBadRequest, tt.code, message)
		}
	}
}

// says is the text of a refusal.
func says(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct {
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Description == "" {
		t.Errorf("got %s: %v", w.Body, err)
	}
	return body.Description
}

// What is not of the source's making: versions, headers, methods of asking, and
// admission.
func TestIdentityMannersRefused(t *testing.T) {
	const good = "resource=https://api.example"
	form := func(s *identities, target, form string, headers ...string) *httptest.ResponseRecorder {
		return s.send(t, http.MethodPost, target, form, headers...)
	}
	get := func(s *identities, target string, headers ...string) *httptest.ResponseRecorder {
		return s.send(t, http.MethodGet, target, "", headers...)
	}
	for name, tt := range map[string]struct {
		as            spoken
		status        int
		code, message string
		send          func(s *identities) *httptest.ResponseRecorder
	}{
		"no version": {appService, 400, "invalid_request", "parameter api-version: missing; say 2019-08-01 or 2017-09-01", func(s *identities) *httptest.ResponseRecorder {
			return get(s, "/msi/token?"+good, appService.header)
		}},
		"unknown version": {appService, 400, "invalid_request", `api-version "2018-02-01": not served; say 2019-08-01 or 2017-09-01`, func(s *identities) *httptest.ResponseRecorder {
			return get(s, "/msi/token?api-version=2018-02-01&"+good, appService.header)
		}},
		"two versions": {appService, 400, "invalid_request", "parameter api-version: said twice; say it once", func(s *identities) *httptest.ResponseRecorder {
			return get(s, "/msi/token?api-version=2019-08-01&api-version=2017-09-01&"+good, appService.header)
		}},
		"body": {appService, 400, "invalid_request", "body: not read here; put the parameters into the query", func(s *identities) *httptest.ResponseRecorder {
			return s.send(t, http.MethodGet, "/msi/token?api-version=2019-08-01&"+good, good, appService.header)
		}},
		"user": {appService, 400, "invalid_request", "header X-User-Assertion: not read here, where no user can be named; leave it off, or ask /token", func(s *identities) *httptest.ResponseRecorder {
			return s.ask(t, appService, good, "X-User-Assertion: x.y.z")
		}},
		"no key": {appService, 401, "unauthorized_client", "", func(s *identities) *httptest.ResponseRecorder {
			return get(s, "/msi/token?api-version=2019-08-01&"+good)
		}},
		"wrong key": {appService, 401, "unauthorized_client", "", func(s *identities) *httptest.ResponseRecorder {
			return get(s, "/msi/token?api-version=2019-08-01&"+good, "X-IDENTITY-HEADER: wrong")
		}},
		"two keys": {appService, 401, "unauthorized_client", "", func(s *identities) *httptest.ResponseRecorder {
			return s.ask(t, appService, good, "secret: other")
		}},
		"through a proxy": {appService, 403, "access_denied", "", func(s *identities) *httptest.ResponseRecorder {
			return s.ask(t, appService, good, "X-Forwarded-For: 192.0.2.1")
		}},
		"restricted": {appService, 403, "access_denied", "", func(s *identities) *httptest.ResponseRecorder {
			return s.ask(t, appService, "resource=https://shut.example")
		}},
		"of another identity": {appService, 403, "access_denied", "", func(s *identities) *httptest.ResponseRecorder {
			return s.ask(t, appService, good+"&object_id="+objectID)
		}},
		"cloud shell without Metadata": {cloudShell, 400, "invalid_request", "header Metadata: want Metadata: true, once", func(s *identities) *httptest.ResponseRecorder {
			return form(s, "/msi/token", good)
		}},
		"cloud shell with a version": {cloudShell, 400, "invalid_request", `parameter "api-version": not known; want resource, client_id, clientid, object_id, principal_id, mi_res_id, msi_res_id or xms_cc`, func(s *identities) *httptest.ResponseRecorder {
			return form(s, "/msi/token?api-version=2019-08-01", good, cloudShell.header)
		}},
		"cloud shell, said in both places": {cloudShell, 400, "invalid_request", "parameter resource: said twice; say it once", func(s *identities) *httptest.ResponseRecorder {
			return form(s, "/msi/token?"+good, good, cloudShell.header)
		}},
		"cloud shell in JSON": {cloudShell, 400, "invalid_request", "", func(s *identities) *httptest.ResponseRecorder {
			return form(s, "/msi/token", `{"resource":"https://api.example"}`, cloudShell.header, "Content-Type: application/json")
		}},
		"cloud shell through a proxy": {cloudShell, 403, "access_denied", "", func(s *identities) *httptest.ResponseRecorder {
			return s.ask(t, cloudShell, good, "X-Forwarded-For: 192.0.2.1")
		}},
		"probe": {imds, 400, "invalid_request", "header Metadata: want Metadata: true, once", func(s *identities) *httptest.ResponseRecorder {
			return get(s, imds.path)
		}},
		"Metadata false": {imds, 400, "invalid_request", "header Metadata: want Metadata: true, once", func(s *identities) *httptest.ResponseRecorder {
			return get(s, imds.path+"?api-version=2018-02-01&"+good, "Metadata: false")
		}},
		"Metadata twice": {imds, 400, "invalid_request", "header Metadata: want Metadata: true, once", func(s *identities) *httptest.ResponseRecorder {
			return s.ask(t, imds, good, "Metadata: true")
		}},
		"imds, unknown version": {imds, 400, "invalid_request", `api-version "2019-08-01": not served; say 2018-02-01`, func(s *identities) *httptest.ResponseRecorder {
			return get(s, imds.path+"?api-version=2019-08-01&"+good, imds.header)
		}},
		"imds through a proxy": {imds, 400, "access_denied", "", func(s *identities) *httptest.ResponseRecorder {
			return s.ask(t, imds, good, "X-Forwarded-For: 192.0.2.1")
		}},
		"imds, restricted": {imds, 400, "access_denied", "", func(s *identities) *httptest.ResponseRecorder {
			return s.ask(t, imds, "resource=https://shut.example")
		}},
	} {
		s := newIdentities(t, nil)
		w := tt.send(s)
		message := tt.message
		if message == "" {
			message = says(t, w)
		}
		checkRefusal(t, name, tt.as, w, tt.status, tt.code, message)
		if len(s.asked) > 0 {
			t.Errorf("%s: the source was asked %+v", name, s.asked)
		}
		if strings.Contains(w.Body.String(), "canary") {
			t.Errorf("%s: the key in the answer: %s", name, w.Body)
		}
	}
}

// Every kind of failure of the source, so that nobody asks again in vain, nor
// gives up where waiting helps.
func TestIdentityFailures(t *testing.T) {
	for _, tt := range []struct {
		failure    entra.Error
		status     int
		code       string
		retryAfter string
	}{
		{entra.Error{Kind: entra.Internal}, 500, "server_error", ""},
		{entra.Error{Kind: entra.Invalid}, 400, "invalid_request", ""},
		{entra.Error{Kind: entra.Unadmitted}, 401, "unauthorized_client", ""},
		{entra.Error{Kind: entra.Denied}, 403, "access_denied", ""},
		{entra.Error{Kind: entra.NotFound}, 400, "invalid_request", ""},
		{entra.Error{Kind: entra.Misconfigured, RetryAfter: time.Minute}, 403, "unauthorized_client", ""},
		{entra.Error{Kind: entra.Misconfigured, Code: "invalid_client"}, 403, "invalid_client", ""},
		{entra.Error{Kind: entra.Challenged}, 403, "interaction_required", ""},
		{entra.Error{Kind: entra.Challenged, Code: "login_required"}, 403, "login_required", ""},
		{entra.Error{Kind: entra.Throttled, RetryAfter: 1500 * time.Millisecond}, 503, "temporarily_unavailable", "2"},
		{entra.Error{Kind: entra.Unavailable, RetryAfter: time.Minute}, 503, "temporarily_unavailable", "60"},
		{entra.Error{Kind: entra.Upstream}, 503, "temporarily_unavailable", ""},
		{entra.Error{Kind: entra.Timeout}, 503, "temporarily_unavailable", ""},
	} {
		for name, as := range everySpoken {
			failure := tt.failure
			failure.Err = errors.New("the cause")
			s := newIdentities(t, fmt.Errorf("fill: %w", &failure))
			w := s.ask(t, as, "resource=https://api.example")
			message := "the cause"
			if failure.Kind == entra.Internal {
				message = "internal error"
			}
			name += " " + failure.Kind.String()
			checkRefusal(t, name, as, w, tt.status, tt.code, message)
			if got := w.Header().Get("Retry-After"); got != tt.retryAfter {
				t.Errorf("%s: got Retry-After %q, want %q", name, got, tt.retryAfter)
			}
		}
	}
}

func TestIdentityFailureOfACallerThatLeft(t *testing.T) {
	for name, as := range everySpoken {
		w := newIdentities(t, context.Canceled).ask(t, as, "resource=https://api.example")
		if w.Body.Len() > 0 || len(w.Header()) > 0 {
			t.Errorf("%s: got %v %s, want nothing written", name, w.Header(), w.Body)
		}
	}
}

func TestIdentityFailureNamesWhereToLook(t *testing.T) {
	for correlation, want := range map[string]string{"": "our-request", "entras-own": "entras-own"} {
		trail := entra.Trail{RequestID: "our-request"}
		r := httptest.NewRequestWithContext(entra.WithTrail(t.Context(), &trail), http.MethodGet, "/", nil)
		failure := &entra.Error{Kind: entra.Misconfigured, CorrelationID: correlation, Err: errors.New("x")}
		w := httptest.NewRecorder()
		protocol.WriteAppServiceError(w, r, failure)
		if want := `,"correlationId":"` + want + `"}` + "\n"; !strings.HasSuffix(w.Body.String(), want) {
			t.Errorf("got %s, want it to end in %s", w.Body, want)
		}
		if trail.Failure != failure {
			t.Errorf("got failure %v in the trail", trail.Failure)
		}
	}
}
