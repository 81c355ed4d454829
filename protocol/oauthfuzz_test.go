package protocol_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/protocol"
)

// FuzzOAuth sends any form with any Authorization. Whatever is answered with a
// token said each thing once, and alike where it was said in two places; what is
// refused is asked of nobody.
func FuzzOAuth(f *testing.F) {
	for _, seed := range [][3]string{
		{"", forXDR, ""},
		{"api-version=1.0", "grant_type=client_credentials&resource=https://api.security.microsoft.com/&client_id=" + appID, "Basic MTExMTExMWEtMTExMS0xMTExLTExMTEtMTExMTExMTExMTExOngr"},
		{"scope=x", forXDR + "&client_id=" + publicID + "&client_secret=", "Basic eDpjYW5hcnklenoh"},
		{"", forXDR + "&resource=https://api.security.microsoft.com&scope=openid", "Bearer x"},
		{"", onBehalfOf + "&assertion=a.b.c&client_id=" + appID + "&scope=" + string(xdr), "basic Og=="},
		{"", "grant_type=password&username=" + alice + "&client_id=" + publicID + "&scope=" + string(xdr), ""},
		{"a;b", "grant_type=%zz", "Basic"},
		{"", forXDR + "&client_secret=x", "Basic Ong="},
		{"", onBehalfOf + "&assertion=&scope=" + string(xdr), ""},
		{"", onBehalfOf + "&assertion=a.b.c&scope=" + string(own), ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	s := new(wire)
	endpoint := oauth(f, s, issue)
	send := func(t *testing.T, query, form, authorization string, first func(*http.Request)) *httptest.ResponseRecorder {
		t.Helper()
		s.asked = nil
		r := tokenRequest(t, "http://localhost/"+string(tenant)+"/oauth2/token", form)
		r.URL.RawQuery = query
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		first(r)
		w := httptest.NewRecorder()
		endpoint.ServeHTTP(w, r)
		return w
	}
	f.Fuzz(func(t *testing.T, query, form, authorization string) {
		w := send(t, query, form, authorization, func(*http.Request) {})
		asked := s.asked
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("answered %q, which is no JSON", w.Body)
		}

		var keys []entra.Secret
		var keysErr error
		again := send(t, query, form, authorization, func(r *http.Request) { keys, keysErr = protocol.OAuthKeys(r) })
		if again.Code != w.Code || len(s.asked) != len(asked) {
			t.Errorf("answered %d, and %d where its key was read before", w.Code, again.Code)
		}
		if w.Code != http.StatusOK {
			if len(asked) > 0 {
				t.Errorf("refused, but asked for: %+v", asked)
			}
			return
		}

		said, err := url.ParseQuery(form)
		if err != nil || len(form) > 64<<10 || keysErr != nil || len(asked) != 1 {
			t.Fatalf("answered, after %d requests: %v, %v", len(asked), err, keysErr)
		}
		for name, values := range said {
			if len(values) != 1 {
				t.Errorf("answered, though it says %q %d times", name, len(values))
			}
		}
		for _, key := range keys {
			if secret := said.Get("client_secret"); secret != "" && !key.Equal(entra.NewSecret(secret)) {
				t.Errorf("answered, with another key than client_secret")
			}
		}
		checkMeaning(t, said, authorization, asked[0])
	})
}

// checkMeaning compares what was said with what was asked of the source.
func checkMeaning(t *testing.T, said url.Values, authorization string, asked entra.Request) {
	t.Helper()
	identity := map[string]entra.IdentityID{"client_credentials": "app", "password": "alice", "urn:ietf:params:oauth:grant-type:jwt-bearer": "people"}[said.Get("grant_type")]
	id := said.Get("client_id")
	if r := (&http.Request{Header: http.Header{"Authorization": {authorization}}}); authorization != "" {
		if user, _, ok := r.BasicAuth(); ok {
			user, err := url.QueryUnescape(user)
			if err != nil || user != "" && id != "" && !strings.EqualFold(user, id) {
				t.Errorf("answered, though client %q and %q disagree", id, user)
			}
			if id == "" {
				id = user
			}
		}
	}
	if strings.EqualFold(id, publicID) && identity == "app" {
		identity = "alice"
	}
	if identity == "people" && (strings.EqualFold(id, behalfID) || asked.Scope == own) {
		identity = "behalf"
	}
	if asked.Identity != identity || asked.Assertion.Reveal() != said.Get("assertion") || asked.Tenant != tenant {
		t.Errorf("%s as client %q: asked for %+v", said.Get("grant_type"), id, asked)
	}
	if scope := said.Get("scope"); scope != "" && said.Get("resource") == "" {
		if parsed, err := entra.ParseScope(scope); err != nil || parsed != asked.Scope {
			t.Errorf("scope %q: asked for %s", scope, asked.Scope)
		}
		return
	}
	if parsed, err := entra.ParseResource(said.Get("resource")); err != nil || parsed != asked.Scope {
		t.Errorf("resource %q: asked for %s", said.Get("resource"), asked.Scope)
	}
}
