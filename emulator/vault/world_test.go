package vaultemu_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"go.uber.org/goleak"

	"tokenbroker/emulator"
	entraemu "tokenbroker/emulator/entra"
	vaultemu "tokenbroker/emulator/vault"
	"tokenbroker/entra"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	loginHost = "login.microsoftonline.com"
	vaultHost = "contoso.vault.azure.net"
	vaultURL  = "https://" + vaultHost
	tenant    = entraemu.DefaultTenant
	client    = entraemu.DefaultClient
	version   = "?api-version=7.4"
	secretOf  = "the-client-secret-in-the-vault"
)

// Keys take long to make, and no test changes one.
var (
	signingKey = sync.OnceValue(newKey)
	leafKey    = sync.OnceValue(newKey)
	otherKey   = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// certificate makes one of leafKey that is valid between the times.
func certificate(tb testing.TB, from, until time.Time) *x509.Certificate {
	tb.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hunter"}, DNSNames: []string{"hunter.example"}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, leafKey().Public(), leafKey())
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

// world is a vault and an Entra at their hosts in memory, and a client that
// gets there.
type world struct {
	*vaultemu.Server
	entra  *entraemu.Server
	ca     *emulator.CA
	net    *emulator.Network
	http   *http.Client
	secret string            // the app's
	cert   *x509.Certificate // of leafKey; registered for the app
}

// newWorld makes a world whose app may do everything in the vault.
func newWorld(tb testing.TB) *world {
	tb.Helper()
	config := entraemu.Default()
	config.SigningKey = signingKey()
	config.Resources = append(config.Resources, entraemu.KeyVaultResource())
	cert := certificate(tb, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
	config.Apps[0].Certificates = []*x509.Certificate{cert}
	authority, err := entraemu.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	vault, err := vaultemu.New(vaultemu.Config{
		Verify: authority.Verify, Tenant: tenant,
		Policies: vaultemu.Policies{client: {vaultemu.GetSecret, vaultemu.GetCertificate, vaultemu.GetKey, vaultemu.Sign}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	ca, err := emulator.NewCA()
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{Server: vault, entra: authority, ca: ca, net: emulator.NewNetwork(), cert: cert, secret: config.Apps[0].Secrets[0].Value.Reveal()}
	transport := &http.Transport{DialContext: w.net.DialContext, TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}}
	w.http = &http.Client{Transport: transport}
	w.serve(tb, loginHost, authority)
	w.serve(tb, vaultHost, vault)
	tb.Cleanup(transport.CloseIdleConnections)
	return w
}

// serve puts a handler on the network.
func (w *world) serve(tb testing.TB, host string, handler http.Handler) {
	tb.Helper()
	l, err := w.net.Listen(host)
	if err != nil {
		tb.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: w.ca.ServerTLS(host), ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	tb.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("serve: %v", err)
		}
	})
}

// GetToken makes a world the credential of the SDK's clients: its app, with its
// secret, at whatever tenant and for whatever scope the vault says.
func (w *world) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {w.secret}, "scope": options.Scopes}
	uri := "https://" + loginHost + "/" + options.TenantID + "/oauth2/v2.0/token"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, strings.NewReader(form.Encode()))
	if err != nil {
		return azcore.AccessToken{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.http.Do(req)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	defer resp.Body.Close()
	var answer struct {
		Access    string `json:"access_token"`
		ExpiresIn int    `json:"expires_in"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Access == "" {
		return azcore.AccessToken{}, errors.Join(err, errors.New("no token: "+resp.Status))
	}
	return azcore.AccessToken{Token: answer.Access, ExpiresOn: time.Now().Add(time.Duration(answer.ExpiresIn) * time.Second)}, nil
}

// token gets a token of the app's for a resource.
func (w *world) token(tb testing.TB, tenant, resource string) string {
	tb.Helper()
	got, err := w.GetToken(tb.Context(), policy.TokenRequestOptions{TenantID: tenant, Scopes: []string{resource + "/.default"}})
	if err != nil {
		tb.Fatal(err)
	}
	return got.Token
}

// secrets and keys are the SDK's clients, as they come, but for the transport.
func (w *world) secrets(tb testing.TB) *azsecrets.Client {
	tb.Helper()
	c, err := azsecrets.NewClient(vaultURL, w, &azsecrets.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: w.http}})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func (w *world) keys(tb testing.TB) *azkeys.Client {
	tb.Helper()
	c, err := azkeys.NewClient(vaultURL, w, &azkeys.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: w.http}})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// set makes a new version of a secret, or ends the test.
func (w *world) set(tb testing.TB, name, value string, a vaultemu.Attributes) string {
	tb.Helper()
	id, err := w.SetSecret(name, entra.NewSecret(value), a)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// install makes a new version of a certificate, or ends the test.
func (w *world) install(tb testing.TB, name string, c vaultemu.Certificate) string {
	tb.Helper()
	if c.Leaf == nil {
		c.Leaf, c.Key = w.cert, leafKey()
	}
	id, err := w.AddCertificate(name, c)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// call makes a request with a token; an empty one is left out.
func (w *world) call(ctx context.Context, tb testing.TB, token, method, path, body string) (answer, error) {
	tb.Helper()
	req, err := http.NewRequestWithContext(ctx, method, vaultURL+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp, string(b)}, err
}

// do makes a request that must be answered.
func (w *world) do(tb testing.TB, token, method, path, body string) answer {
	tb.Helper()
	got, err := w.call(tb.Context(), tb, token, method, path, body)
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

// refused is what a vault's error says.
type refused struct {
	status      int
	code, inner string
}

// refusal reads an error. Names are compared letter by letter, which
// encoding/json does only into a map.
func (a answer) refusal(tb testing.TB) refused {
	tb.Helper()
	var body map[string]map[string]any
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body["error"]["message"] == "" {
		tb.Errorf("got %s %q, want an error", a.Status, a.body)
	}
	got := refused{status: a.StatusCode}
	got.code, _ = body["error"]["code"].(string)
	if inner, ok := body["error"]["innererror"].(map[string]any); ok {
		got.inner, _ = inner["code"].(string)
	}
	return got
}
