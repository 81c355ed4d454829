package entraemu_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	msalerrors "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"

	entraemu "tokenbroker/emulator/entra"
)

// credentials are the ways for MSAL to prove an app.
func credentials(t *testing.T, w *world) map[string]confidential.Credential {
	t.Helper()
	secret, err := confidential.NewCredFromSecret(w.secret)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := confidential.NewCredFromCert([]*x509.Certificate{w.cert}, crypto.PrivateKey(clientKey()))
	if err != nil {
		t.Fatal(err)
	}
	federated := confidential.NewCredFromAssertionCallback(func(context.Context, confidential.AssertionRequestOptions) (string, error) {
		return cluster().Token(subject, "", time.Hour)
	})
	return map[string]confidential.Credential{"secret": secret, "certificate": cert, "federated": federated}
}

func newClient(t *testing.T, authority string, credential confidential.Credential, options ...confidential.Option) confidential.Client {
	t.Helper()
	c, err := confidential.New(authority, client, credential, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMSALOnTheNetworkInMemory(t *testing.T) {
	for _, discovery := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(c *entraemu.Config) { c.RefreshIn = 30 * time.Minute })
			for name, credential := range credentials(t, w) {
				before := w.Stats()
				c := newClient(t, "https://"+host+"/"+tenant, credential, confidential.WithHTTPClient(w.http), confidential.WithInstanceDiscovery(discovery))
				var first confidential.AuthResult
				for range 2 {
					got, err := c.AcquireTokenByCredential(t.Context(), []string{xdrScope})
					if err != nil {
						t.Fatalf("%s, discovery %t: %v", name, discovery, err)
					}
					if first.AccessToken == "" {
						first = got
					}
					if got.AccessToken != first.AccessToken {
						t.Errorf("%s, discovery %t: MSAL does not find its token again", name, discovery)
					}
				}
				if _, err := w.Verify(first.AccessToken); err != nil {
					t.Error(err)
				}
				if got := time.Until(first.Metadata.RefreshOn); got != 30*time.Minute {
					t.Errorf("%s: refresh in %v, want 30m", name, got)
				}
				if after := w.Stats(); after.Issued != before.Issued+1 || after.Discovery == before.Discovery {
					t.Errorf("%s, discovery %t: before %+v, after %+v", name, discovery, before, after)
				}
			}
		})
	}
}

func TestMSALOverTCP(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewUnstartedServer(w.Server)
	server.TLS = w.ca.ServerTLS("127.0.0.1")
	server.StartTLS()
	defer server.Close()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.ca.Pool(), MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	for name, credential := range credentials(t, w) {
		c := newClient(t, server.URL+"/contoso.example", credential,
			confidential.WithHTTPClient(&http.Client{Transport: transport}), confidential.WithInstanceDiscovery(false))
		got, err := c.AcquireTokenByCredential(t.Context(), []string{xdrScope})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := w.Verify(got.AccessToken); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMSALReadsOurErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wrong, err := confidential.NewCredFromSecret("wrong")
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, "https://"+host+"/"+tenant, wrong, confidential.WithHTTPClient(w.http), confidential.WithInstanceDiscovery(false))
		_, err = c.AcquireTokenByCredential(t.Context(), []string{xdrScope})
		if failed, ok := errors.AsType[msalerrors.CallErr](err); !ok || failed.Resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("wrong secret: got %v", err)
		}

		w.network.SetDown(host, true)
		_, err = c.AcquireTokenByCredential(t.Context(), []string{xdrScope})
		if _, ok := errors.AsType[net.Error](err); !ok {
			t.Errorf("host down: got %v, want a network error", err)
		}
	})
}

// MSAL never finds a token again that it cannot file under the authority that
// it asked about; and what the real service does not know, we do not either.
func TestInstanceDiscoveryOfAnotherHost(t *testing.T) {
	w := newWorld(t)
	path := "/common/discovery/instance?api-version=1.1&authorization_endpoint="
	for _, tc := range []struct {
		asked  string
		want   string
		number int
	}{
		{"https://login.windows.net/" + tenant + "/oauth2/v2.0/authorize", "https://login.windows.net/" + tenant + "/v2.0/.well-known/openid-configuration", 0},
		{"https://login.microsoftonline.us/" + tenant + "/oauth2/authorize", "https://login.microsoftonline.us/" + tenant + "/.well-known/openid-configuration", 0},
		{"https://login.elsewhere.example/" + tenant, "", 50049},
		{"http://login.windows.net/" + tenant, "", 50050},
		{"", "", 50050},
	} {
		got := w.get(t, path+tc.asked)
		if tc.number != 0 {
			if e := parseError(t, got.body); e.Codes[0] != tc.number {
				t.Errorf("%s: got %+v, want %d", tc.asked, e, tc.number)
			}
		} else if !strings.Contains(got.body, `"tenant_discovery_endpoint":"`+tc.want+`"`) {
			t.Errorf("%s: got %s, want %s", tc.asked, got.body, tc.want)
		}
	}

	// A host of one's own is known to itself.
	own := httptest.NewRecorder()
	w.ServeHTTP(own, httptest.NewRequest(http.MethodGet, "https://login.private.example"+path+"https://login.private.example/contoso.example/v2.0", nil))
	if want := `"aliases":["login.private.example"]`; !strings.Contains(own.Body.String(), want) || own.Code != http.StatusOK {
		t.Errorf("own host: got %d %s, want %s", own.Code, own.Body, want)
	}
}
