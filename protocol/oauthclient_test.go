package protocol_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/protocol"
)

const callerKey = "0123456789+caller%key/0123456789"

// admitting lets only those through to the token endpoint who show the key.
func admitting(next http.Handler) http.Handler {
	g := guard.New(guard.Config{Keys: guard.NewKeyring(map[string][]entra.Secret{"local": {entra.NewSecret(callerKey)}})})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := g.WithRedaction(entra.WithTrail(r.Context(), &entra.Trail{RequestID: "request-1"}))
		r = r.WithContext(ctx)
		who, err := g.Admit(r, protocol.OAuthKeys)
		if err != nil {
			protocol.WriteOAuthError(w, r, entra.AsError(err))
			return
		}
		next.ServeHTTP(w, r.WithContext(guard.WithPrincipal(ctx, who)))
	})
}

func TestCallerKeysOfOAuth(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	const escaped = "0123456789%2Bcaller%25key%2F0123456789"
	var (
		inForm  = "&client_secret=" + escaped
		basic   = "Authorization: Basic " + encode([]byte(appID+":"+escaped))
		foreign = "Authorization: Basic " + encode([]byte(appID+":another-key-of-32-characters----"))
		header  = "X-Broker-Key: " + callerKey
		bearer  = "Authorization: Bearer " + callerKey
	)
	const none = "401 invalid_client: caller key: none in the request"
	for name, tt := range map[string]struct {
		form    string
		headers []string
		want    string // the refusal's beginning; empty: a token
		dare    bool   // with WWW-Authenticate
	}{
		"form":                     {form: inForm},
		"Basic":                    {headers: []string{basic}},
		"Basic, odd case":          {headers: []string{strings.Replace(basic, "Basic", "bASIC", 1)}},
		"header":                   {headers: []string{header}},
		"Bearer":                   {headers: []string{bearer}},
		"all of them":              {form: inForm, headers: []string{basic, header}},
		"form, and another's JWT":  {form: inForm, headers: []string{"Authorization: Bearer another"}},
		"header, and no secret":    {form: "&client_secret=", headers: []string{header}},
		"header and a certificate": {form: "&client_assertion=x&client_assertion_type=y", headers: []string{header}},

		"none":                   {want: none},
		"an empty one":           {form: "&client_secret=", want: none},
		"a certificate":          {form: "&client_assertion=x&client_assertion_type=y", want: none},
		"an empty one, Basic":    {headers: []string{"Authorization: Basic " + encode([]byte(appID+":"))}, want: none, dare: true},
		"another":                {form: "&client_secret=another-key-of-32-characters----", want: "401 invalid_client: caller key: not one of those configured"},
		"another, Basic":         {headers: []string{foreign}, want: "401 invalid_client: caller key: not one of those configured", dare: true},
		"form and another":       {form: inForm, headers: []string{"X-Broker-Key: another-key-of-32-characters----"}, want: "401 invalid_client: caller key: the request carries two that disagree"},
		"form and another Basic": {form: inForm, headers: []string{foreign}, want: "400 invalid_request: client_secret: one in the form and another"},
		"twice":                  {form: inForm + inForm, want: "400 invalid_request: parameter 'client_secret': said twice"},
		"too large":              {form: inForm + "&x=" + strings.Repeat("a", 64<<10), want: "400 invalid_request: form: larger than 65536 bytes"},
		"in JSON":                {headers: []string{"Content-Type: application/json"}, form: inForm, want: none},
		"JSON and a header":      {headers: []string{"Content-Type: application/json", header}, form: inForm, want: "400 invalid_request: Content-Type 'application/json': want"},
	} {
		t.Run(name, func(t *testing.T) {
			s := new(wire)
			s.Server = httptest.NewServer(admitting(oauth(t, s, issue)))
			t.Cleanup(s.Close)
			headers := tt.headers
			if !strings.HasPrefix(strings.Join(headers, ""), "Content-Type") {
				headers = append(headers, isForm)
			}
			a := s.do(t, http.MethodPost, "/"+string(tenant)+"/oauth2/v2.0/token", strings.NewReader(forXDR+tt.form), headers...)
			if tt.want == "" {
				if a.StatusCode != http.StatusOK {
					t.Errorf("got %d %s", a.StatusCode, a.body)
				}
				s.askedFor(t, entra.Request{Identity: "app", Tenant: tenant, Scope: xdr})
				return
			}
			a.Body = io.NopCloser(strings.NewReader(a.body))
			if got := refused(t, a.Response); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
			if got := a.Header.Get("WWW-Authenticate"); (got == `Basic realm="tokenbroker"`) != tt.dare || (got != "") != tt.dare {
				t.Errorf("got WWW-Authenticate %q, want one: %v", got, tt.dare)
			}
			s.askedFor(t)
		})
	}
}

// What is no form is not read for a key: it may be large, and is nobody's.
func TestKeysAreNotLookedForInOtherBodies(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", iotest.ErrReader(errors.New("it was read")))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Broker-Key", callerKey)
	keys, err := protocol.OAuthKeys(r)
	if err != nil || len(keys) != 1 || !keys[0].Equal(entra.NewSecret(callerKey)) {
		t.Errorf("got %d keys, %v", len(keys), err)
	}
}
