package broker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	"tokenbroker/entra"
)

const correlation = "0a1b2c3d-0000-4000-8000-0123456789ab"

// refuse answers as Entra does, with a description that nobody may see.
func refuse(status int, code string, number int, header ...string) http.HandlerFunc {
	return answer(status, fmt.Sprintf(
		`{"error":%q,"error_description":"AADSTS%d: canary. Trace ID: x","error_codes":[%d],"correlation_id":%q,"error_uri":"https://canary"}`,
		code, number, number, correlation), header...)
}

func TestRefusalsByKind(t *testing.T) {
	const app, in = "app " + client, "tenant " + string(tenant)
	const consent = "https://login.example/" + string(tenant) + "/adminconsent?client_id=" + client
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		kind   entra.Kind
		says   string
	}{
		{
			"wrong secret", refuse(401, "invalid_client", 7000215), entra.Misconfigured,
			"wrong client secret for " + app + ": put the secret's value, not its id, into environment variable AZURE_CLIENT_SECRET (AADSTS7000215)",
		},
		{"expired secret", refuse(401, "invalid_client", 7000222), entra.Misconfigured, "has expired: make a new one"},
		{"unknown app", refuse(400, "unauthorized_client", 700016), entra.Misconfigured, app + " is not in " + in + ": check client_id and tenant, or have an administrator of the tenant consent at " + consent},
		{"disabled app", refuse(401, "invalid_client", 7000112), entra.Misconfigured, app + " is disabled in " + in},
		{"unknown tenant", refuse(400, "invalid_request", 90002), entra.Misconfigured, in + " is not known to login.example: check tenant and cloud"},
		{"tenant of another cloud", refuse(400, "invalid_request", 900382), entra.Misconfigured, "of another cloud than login.example"},
		{"unknown resource", refuse(400, "invalid_resource", 500011), entra.Misconfigured, "consent brings it in: " + consent},
		{"disabled resource", refuse(400, "invalid_resource", 500014), entra.Misconfigured, "has its subscription lapsed?"},
		{"no consent", refuse(400, "invalid_grant", 65001), entra.Misconfigured, "have an administrator of the tenant consent at " + consent},
		{"no role", refuse(400, "invalid_grant", 501051), entra.Misconfigured, "have an administrator assign it"},
		{"unknown scope", refuse(400, "invalid_scope", 70011), entra.Misconfigured, "want https://host/.default"},
		{"late assertion", refuse(401, "invalid_client", 700024), entra.Misconfigured, "is it renewed"},
		{"assertion's signature", refuse(401, "invalid_client", 700027), entra.Misconfigured, "refuses the signature"},
		{"certificate out of its time", refuse(401, "invalid_client", 1000502), entra.Misconfigured, "for expired or not valid yet"},
		{"chain that is not trusted", refuse(401, "invalid_client", 50012), entra.Misconfigured, "does not trust"},
		{"subject that is not trusted", refuse(401, "invalid_client", 700030), entra.Misconfigured, "or the subject in it, for " + app + ": upload the certificate"},
		{"no such federation", refuse(401, "unauthorized_client", 70021), entra.Misconfigured, "compare all three"},
		{"other issuer", refuse(401, "invalid_client", 700211), entra.Misconfigured, "has the issuer of"},
		{"other audience", refuse(401, "invalid_client", 700212), entra.Misconfigured, "api://AzureADTokenExchange"},
		{"other subject", refuse(401, "invalid_client", 700213), entra.Misconfigured, "system:serviceaccount:"},
		{"no federation at all", refuse(401, "invalid_client", 70025), entra.Misconfigured, "has no federated credential"},
		{"issuer not to be reached", refuse(401, "invalid_client", 501661), entra.Misconfigured, "has to be public"},
		{"conditional access", refuse(400, "access_denied", 53003), entra.Challenged, "Conditional Access keeps " + app + " out"},
		{"loop", refuse(400, "invalid_grant", 50196), entra.Throttled, "asked too often"},
		{"transient", refuse(400, "invalid_request", 90033), entra.Unavailable, "fails for the moment (AADSTS90033)"},

		{
			"unknown number", refuse(400, "invalid_request", 1234567), entra.Misconfigured,
			"login.example refuses " + app + " in " + in + " for " + string(scope) + ": invalid_request: see https://login.example/error?code=1234567",
		},
		{"no number", answer(400, `{"error":"invalid_request"}`), entra.Misconfigured, ": invalid_request"},
		{"number in the description alone", answer(401, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret"}`), entra.Misconfigured, "wrong client secret"},
		{"fields of odd types", answer(401, `{"error":"invalid_client","error_codes":["7000215"],"correlation_id":7,"error_description":"AADSTS7000215: x"}`), entra.Misconfigured, "wrong client secret"},
		{"claims challenge", answer(400, `{"error":"interaction_required","claims":"{}"}`), entra.Challenged, "interaction_required"},
		{"claims with another error", answer(400, `{"error":"invalid_request","claims":"{\"access_token\":{}}"}`), entra.Challenged, "invalid_request"},
		{"person has to act", refuse(400, "interaction_required", 50076), entra.Challenged, "interaction_required (AADSTS50076)"},
		{"temporarily unavailable", answer(400, `{"error":"temporarily_unavailable"}`), entra.Unavailable, "fails (temporarily_unavailable)"},

		{"429", refuse(429, "invalid_request", 90055), entra.Throttled, "asked too often for " + app},
		{"429 of a proxy", answer(429, `<html>canary`), entra.Throttled, "asked too often"},
		{"500", refuse(500, "server_error", 50000), entra.Unavailable, "login.example fails (status 500)"},
		{"503 of a proxy", answer(503, `canary`), entra.Unavailable, "login.example fails (status 503)"},
		{"408", answer(408, ``), entra.Unavailable, "login.example fails (status 408)"},
		{"404 page", answer(404, `<html>canary</html>`), entra.Unavailable, "status 404 and no OAuth error: is it an Entra authority"},
		{"error that is a text", answer(400, `{"error":"Canary canary"}`), entra.Unavailable, "status 400 and no OAuth error"},
		{"empty answer", answer(204, ``), entra.Unavailable, "status 204 and no OAuth error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.authority(t, tc.answer)
				_, err := w.confidential(t).Token(t.Context(), ask())
				wantError(t, err, tc.kind, tc.says)
			})
		})
	}
}

func TestRefusalCarriesEntrasFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		authority := w.authority(t, refuse(401, "invalid_client", 7000215))
		source := w.confidential(t)
		_, err := source.Token(t.Context(), ask())
		e := wantError(t, err, entra.Misconfigured, "")
		if e.Code != "invalid_client" || e.AADSTS != 7000215 || e.CorrelationID != correlation {
			t.Errorf("got %q, %d, %q", e.Code, e.AADSTS, e.CorrelationID)
		}

		// Without an id of Entra's, the one that we sent finds it in its log.
		authority.answer = answer(500, "")
		_, err = source.Token(t.Context(), ask())
		e = wantError(t, err, entra.Unavailable, "")
		if got, want := e.CorrelationID, authority.requests()[1].Header.Get("Client-Request-Id"); got != want {
			t.Errorf("got correlation id %q, want %q", got, want)
		}
	})
}

func TestRetryAfterIsReadAndBounded(t *testing.T) {
	for _, tc := range []struct {
		name, header string
		want         time.Duration
	}{
		{"none", "", 0},
		{"seconds", "17", 17 * time.Second},
		{"zero", "0", 0},
		{"negative", "-5", 0},
		{"a day", "86400", time.Hour},
		{"beyond a duration", "9223372036854775807", time.Hour},
		{"beyond an integer", "92233720368547758070", 0},
		{"date", "Sat, 01 Jan 2000 00:01:30 GMT", 90 * time.Second},
		{"date that is past", "Fri, 31 Dec 1999 00:00:00 GMT", 0},
		{"date far away", "Sat, 01 Jan 2050 00:00:00 GMT", time.Hour},
		{"words", "soon", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // whose clock starts with the year 2000
				w := newWorld(t)
				w.authority(t, refuse(429, "temporarily_unavailable", 90055, "Retry-After", tc.header))
				_, err := w.confidential(t).Token(t.Context(), ask())
				if e := wantError(t, err, entra.Throttled, ""); e.RetryAfter != tc.want {
					t.Errorf("got %v, want %v", e.RetryAfter, tc.want)
				}
			})
		})
	}
}

// MSAL repeats an answer that it cannot decode in its error, token and all.
func TestAnswerThatIsNoTokenShowsNothing(t *testing.T) {
	for name, body := range map[string]string{
		"cut off":         `{"access_token":"` + bearer + `","token_type":"Bea`,
		"no expiry":       `{"access_token":"` + bearer + `","token_type":"Bearer"}`,
		"odd expiry":      `{"access_token":"` + bearer + `","expires_in":"soon-canary"}`,
		"no token":        `{"token_type":"Bearer","expires_in":3599,"id_token":"e30.canary.e30"}`,
		"error with 200":  `{"error":"canary","error_description":"canary","expires_in":3599}`,
		"declined scopes": `{"access_token":"` + bearer + `","token_type":"Bearer","expires_in":3599,"scope":"https://canary/A"}`,
		"page":            `<html>canary</html>`,
		"empty":           ``,
		"no bearer token": `{"access_token":"canary with spaces","token_type":"Bearer","expires_in":3599}`,
		"expired":         `{"access_token":"` + bearer + `","token_type":"Bearer","expires_in":0}`,
		"long expired":    `{"access_token":"` + bearer + `","token_type":"Bearer","expires_on":"1"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.authority(t, answer(http.StatusOK, body))
				_, err := w.confidential(t).Token(t.Context(), ask())
				wantError(t, err, entra.Unavailable, "answered with")
			})
		})
	}
}

func TestClaimsOfAChallengeAreHandedOn(t *testing.T) {
	const claims = `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`
	for said, want := range map[string]string{
		claims: claims,
		"{\n \"id_token\": {\"a\": null},\r\n \"access_token\": {} }": `{"id_token":{"a":null},"access_token":{}}`,
		"": "", "{}": "", "null": "", "[1]": "", `"x"`: "", "x": "", claims + "x": "",
		`{"access_token":"` + strings.Repeat("x", 4<<10) + `"}`: "",
	} {
		body, err := json.Marshal(map[string]string{"error": "interaction_required", "claims": said})
		if err != nil {
			t.Fatal(err)
		}
		if e := broker.ClassifyBody(400, string(body)); e.Claims != want || e.Kind != entra.Challenged {
			t.Errorf("claims %.80q: got %v, %q, want %q", said, e.Kind, e.Claims, want)
		}
	}
}

func FuzzClassifyBody(f *testing.F) {
	f.Add(401, `{"error":"invalid_client","error_description":"AADSTS7000215: x","error_codes":[7000215],"correlation_id":"`+correlation+`"}`)
	f.Add(400, `{"error":"interaction_required","claims":"{}","suberror":"basic_action"}`)
	f.Add(400, `{"error":{"code":1},"error_codes":[-1,2e99],"error_description":"AADSTS-99999999999999999999999"}`)
	f.Add(400, `{"error":"`+strings.Repeat("a", 41)+`","error_codes":[2000000000],"correlation_id":"no GUID"}`)
	f.Add(400, `{"error":"invalid_request","error_codes":[2000000000],"correlation_id":"no GUID"}`)
	f.Add(302, `<html>`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		e := broker.ClassifyBody(status, body)
		if e.Kind == entra.Internal || e.Kind == entra.Canceled || e.Message() == "" {
			t.Errorf("got %v, %q", e.Kind, e.Message())
		}
		// With its own error, number and id out of the way, nothing that the
		// body says may change a word of ours.
		blank := broker.ClassifyBody(status, fmt.Sprintf(`{"error":%q,"error_codes":[%d],"correlation_id":%q}`, e.Code, e.AADSTS, e.CorrelationID))
		if e.Kind == blank.Kind && e.Error() != blank.Error() {
			t.Errorf("got %q, want %q", e, blank)
		}
		if e.AADSTS < 0 || e.AADSTS > 1e9 || len(e.Code) > 40 || !entra.IsGUID(e.CorrelationID) {
			t.Errorf("got code %q, AADSTS %d, correlation id %q", e.Code, e.AADSTS, e.CorrelationID)
		}
		if e.Claims != "" && (len(e.Claims) > 4<<10 || !json.Valid([]byte(e.Claims)) || strings.ContainsAny(e.Claims, "\r\n")) {
			t.Errorf("got claims %q", e.Claims)
		}
		for _, c := range e.Code {
			if c != '_' && (c < 'a' || c > 'z') {
				t.Errorf("got code %q", e.Code)
			}
		}
	})
}
