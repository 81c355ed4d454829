package protocol_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"

	"tokenbroker/entra"
)

// overTLS serves the token endpoint to those who show the key. Discovery is open.
func overTLS(t *testing.T, source entra.SourceFunc) *wire {
	t.Helper()
	s := new(wire)
	endpoint := oauth(t, s, source)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			endpoint.ServeHTTP(w, r)
			return
		}
		admitting(endpoint).ServeHTTP(w, r)
	}))
	s.URL = strings.Replace(s.URL, "127.0.0.1", "localhost", 1) // as AZURE_AUTHORITY_HOST has it
	s.TLS.ServerName = "example.com"                            // httptest's certificate
	s.Client().Transport.(*http.Transport).TLSClientConfig.ServerName = "example.com"
	t.Cleanup(s.Close)
	return s
}

// MSAL takes the tenant adfs for a server of one's own, and asks nobody else.
// With another tenant it does so where its instance discovery is off.
func TestMSALGetsTokens(t *testing.T) {
	secret, err := confidential.NewCredFromSecret(callerKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, authority := range []string{"/adfs", "/" + string(tenant)} {
		t.Run(authority, func(t *testing.T) {
			s := overTLS(t, issue)
			client, err := confidential.New(s.URL+authority, appID, secret,
				confidential.WithHTTPClient(s.Client()), confidential.WithInstanceDiscovery(false), confidential.WithClientCapabilities([]string{"CP1"}))
			if err != nil {
				t.Fatal(err)
			}
			result, err := client.AcquireTokenByCredential(t.Context(), []string{string(xdr)})
			if err != nil || result.AccessToken != jwt("first") {
				t.Errorf("an application's: %+v, %v", result, err)
			}
			result, err = client.AcquireTokenOnBehalfOf(t.Context(), "a.b.c", []string{string(xdr)})
			if err != nil || result.AccessToken != jwt("first") {
				t.Errorf("on behalf of a user: %+v, %v", result, err)
			}
			s.askedFor(t,
				entra.Request{Identity: "app", Tenant: tenant, Scope: xdr},
				entra.Request{Identity: "people", Tenant: tenant, Scope: xdr, Assertion: entra.NewSecret("a.b.c")})
		})
	}
}

func TestMSALShowsWhatTheBrokerSays(t *testing.T) {
	s := overTLS(t, func(context.Context, entra.Request) (entra.Token, error) {
		return entra.Token{}, &entra.Error{Kind: entra.Challenged, AADSTS: 50076, Err: errors.New("have the user sign in again"), Claims: `{"x":1}`}
	})
	for key, want := range map[string][]string{
		callerKey: {`"error":"interaction_required"`, "have the user sign in again", `"claims":"{\"x\":1}"`},
		"unused":  {`"error":"invalid_client"`, "caller key: not one of those configured"},
	} {
		secret, err := confidential.NewCredFromSecret(key)
		if err != nil {
			t.Fatal(err)
		}
		client, err := confidential.New(s.URL+"/adfs", appID, secret, confidential.WithHTTPClient(s.Client()))
		if err != nil {
			t.Fatal(err)
		}
		before := len(s.asked)
		_, err = client.AcquireTokenOnBehalfOf(t.Context(), "a.b.c", []string{string(xdr)})
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%v\nwant %s", err, part)
			}
		}
		if got := len(s.asked) - before; got > 1 {
			t.Errorf("asked %d times: it was asked again what a repetition cannot cure", got)
		}
	}
}
