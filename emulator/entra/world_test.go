package entraemu_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"tokenbroker/emulator"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	host      = "login.microsoftonline.com"
	tenant    = entraemu.DefaultTenant
	client    = entraemu.DefaultClient
	stranger  = "99999999-9999-9999-9999-999999999999"
	xdrScope  = "https://api.security.microsoft.com/.default"
	jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	subject   = "system:serviceaccount:soc:hunter"
	clusterID = "https://oidc.cluster.example/"
)

// Keys take long to make, and no test changes one.
var (
	signingKey = sync.OnceValue(newKey)
	clientKey  = sync.OnceValue(newKey)
	otherKey   = sync.OnceValue(newKey)
	cluster    = sync.OnceValue(newIssuer)
	impostor   = sync.OnceValue(newIssuer)
)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func newIssuer() *entraemu.FederatedIssuer {
	issuer, err := entraemu.NewFederatedIssuer(clusterID)
	if err != nil {
		panic(err)
	}
	return issuer
}

// certificate makes one for the key that is valid for a year until then.
func certificate(tb testing.TB, key crypto.Signer, until time.Time) *x509.Certificate {
	tb.Helper()
	cert, err := entraemu.NewClientCertificate(key, until.Add(-365*24*time.Hour), until)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

// world is a fake Entra at its host in memory, and a client that gets there.
type world struct {
	*entraemu.Server
	network *emulator.Network
	ca      *emulator.CA
	http    *http.Client
	secret  string
	cert    *x509.Certificate // of clientKey; registered
}

// newWorld makes a world in which the app can prove itself in every way.
func newWorld(tb testing.TB, edits ...func(*entraemu.Config)) *world {
	tb.Helper()
	config := entraemu.Default()
	config.SigningKey = signingKey()
	config.Issuers = []entraemu.Issuer{cluster().Issuer()}
	app := &config.Apps[0]
	cert := certificate(tb, clientKey(), time.Now().Add(24*time.Hour))
	app.Certificates = []*x509.Certificate{cert}
	app.Federated = []entraemu.FederatedCredential{cluster().Trust(subject)}
	for _, edit := range edits {
		edit(&config)
	}
	server, err := entraemu.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	ca, err := emulator.NewCA()
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{Server: server, network: emulator.NewNetwork(), ca: ca, cert: cert, secret: app.Secrets[0].Value.Reveal()}
	l, err := w.network.Listen(host)
	if err != nil {
		tb.Fatal(err)
	}
	httpServer := &http.Server{Handler: server, TLSConfig: ca.ServerTLS(host)}
	done := make(chan error, 1)
	go func() { done <- httpServer.ServeTLS(l, "", "") }()
	transport := &http.Transport{
		DialContext:     w.network.DialContext,
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12},
	}
	w.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = httpServer.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("serve: %v", err)
		}
	})
	return w
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (w *world) do(ctx context.Context, tb testing.TB, method, path, body string, header ...string) (answer, error) {
	tb.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "https://"+host+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp, string(b)}, err
}

func (w *world) get(tb testing.TB, path string) answer {
	tb.Helper()
	got, err := w.do(tb.Context(), tb, http.MethodGet, path, "")
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

// post sends a form to a path of the default tenant, or to another where the
// path is a whole one.
func (w *world) post(tb testing.TB, path string, form url.Values) answer {
	tb.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/" + tenant + "/" + path
	}
	got, err := w.do(tb.Context(), tb, http.MethodPost, path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

// form makes a form from names and values; a later value replaces an earlier
// one, an empty one takes the name away.
func form(base url.Values, pairs ...string) url.Values {
	made := url.Values{}
	for name, values := range base {
		made[name] = values
	}
	for i := 0; i < len(pairs); i += 2 {
		made.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			made.Del(pairs[i])
		}
	}
	return made
}

// bySecret is a good request on the v2 endpoint with the app's secret.
func (w *world) bySecret(pairs ...string) url.Values {
	return form(url.Values{
		"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {w.secret}, "scope": {xdrScope},
	}, pairs...)
}

// byAssertion is a good request with the assertion.
func (w *world) byAssertion(assertion string) url.Values {
	return w.bySecret("client_secret", "", "client_assertion", assertion, "client_assertion_type", jwtBearer)
}

// assertion is a client assertion that a test may spoil.
type assertion struct {
	method jwt.SigningMethod
	key    any
	header map[string]any
	claims jwt.MapClaims
}

func (w *world) assertion() *assertion {
	sum := sha256.Sum256(w.cert.Raw)
	return &assertion{
		method: jwt.SigningMethodPS256,
		key:    clientKey(),
		header: map[string]any{"typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])},
		claims: jwt.MapClaims{
			"iss": client, "sub": client, "jti": rand.Text(),
			"aud": "https://" + host + "/" + tenant + "/oauth2/v2.0/token",
			"nbf": time.Now().Unix(), "exp": time.Now().Add(10 * time.Minute).Unix(),
		},
	}
}

func sha1Print(cert *x509.Certificate) string {
	sum := sha1.Sum(cert.Raw)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (a *assertion) sign(tb testing.TB) string {
	tb.Helper()
	token := jwt.NewWithClaims(a.method, a.claims)
	for name, value := range a.header {
		token.Header[name] = value
	}
	signed, err := token.SignedString(a.key)
	if err != nil {
		tb.Fatal(err)
	}
	return signed
}

// tokenAnswer is a token answer of version 2.
type tokenAnswer struct {
	Type      string `json:"token_type"`
	Access    string `json:"access_token"`
	ExpiresIn int    `json:"expires_in"`
	RefreshIn int    `json:"refresh_in"`
}

// token asks for a token, which must be given, and verifies it.
func (w *world) token(tb testing.TB, form url.Values) (tokenAnswer, entra.Claims) {
	tb.Helper()
	got := w.post(tb, "oauth2/v2.0/token", form)
	var token tokenAnswer
	if err := json.Unmarshal([]byte(got.body), &token); err != nil || got.StatusCode != http.StatusOK {
		tb.Fatalf("got %s %s, want a token", got.Status, got.body)
	}
	claims, err := w.Verify(token.Access)
	if err != nil {
		tb.Fatal(err)
	}
	return token, claims
}
