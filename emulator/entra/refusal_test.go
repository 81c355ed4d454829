package entraemu_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// entraError is the shape of Entra's errors.
type entraError struct {
	Error         string `json:"error"`
	Description   string `json:"error_description"`
	Codes         []int  `json:"error_codes"`
	Timestamp     string `json:"timestamp"`
	TraceID       string `json:"trace_id"`
	CorrelationID string `json:"correlation_id"`
	URI           string `json:"error_uri"`
	Suberror      string `json:"suberror"`
	Claims        string `json:"claims"`
}

func parseError(t *testing.T, body string) entraError {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	var e entraError
	if err := decoder.Decode(&e); err != nil || len(e.Codes) != 1 {
		t.Fatalf("got %q, %v, want an error of Entra's", body, err)
	}
	return e
}

func TestRefusals(t *testing.T) {
	const v2, v1 = "oauth2/v2.0/token", "oauth2/token"
	expired := certificate(t, clientKey(), time.Now().Add(-time.Second))
	w := newWorld(t, func(c *entraemu.Config) {
		c.Tenants[1].Resources = []string{entraemu.Graph} // a tenant without Defender
		c.Apps[0].Secrets = append(c.Apps[0].Secrets, entraemu.Secret{Value: entra.NewSecret("old"), Expires: time.Now()})
		c.Apps[0].Federated = append(c.Apps[0].Federated, entraemu.FederatedCredential{Issuer: clusterID, Subject: "other", Audience: "api://other"})
		c.Apps = append(c.Apps, entraemu.App{
			ClientID:     stranger,
			Secrets:      []entraemu.Secret{{Value: entra.NewSecret("home")}},
			Certificates: []*x509.Certificate{expired},
			Consents:     []entraemu.Consent{{Tenant: tenant}},
		})
	})
	good := w.bySecret()
	with := func(pairs ...string) url.Values { return form(good, pairs...) }
	spoiled := func(spoil func(*assertion)) url.Values {
		a := w.assertion()
		spoil(a)
		return w.byAssertion(a.sign(t))
	}
	claim := func(name string, value any) url.Values {
		return spoiled(func(a *assertion) { a.claims[name] = value })
	}
	byExpired := form(spoiled(func(a *assertion) {
		a.header = map[string]any{"x5t": sha1Print(expired)}
		a.claims["iss"], a.claims["sub"] = stranger, stranger
	}), "client_id", stranger)
	federated := func(issuer *entraemu.FederatedIssuer, subject, audience string, lifetime time.Duration) url.Values {
		token, err := issuer.Token(subject, audience, lifetime)
		if err != nil {
			t.Fatal(err)
		}
		return w.byAssertion(token)
	}
	elsewhere, err := entraemu.NewFederatedIssuer("https://oidc.other.example/")
	if err != nil {
		t.Fatal(err)
	}

	for _, tc := range []struct {
		name   string
		path   string
		form   url.Values
		number int
		status int
		code   string
	}{
		{"no grant", v2, with("grant_type", ""), 900144, 400, "invalid_request"},
		{"no client", v2, with("client_id", ""), 900144, 400, "invalid_request"},
		{"no scope", v2, with("scope", ""), 900144, 400, "invalid_request"},
		{"no resource", v1, good, 900144, 400, "invalid_request"},
		{"no assertion type", v2, form(w.byAssertion("x"), "client_assertion_type", ""), 900144, 400, "invalid_request"},
		{"odd assertion type", v2, form(w.byAssertion("x"), "client_assertion_type", "saml"), 9002313, 400, "invalid_request"},
		{"a parameter twice", v2, url.Values{"client_id": {client, client}}, 9000411, 400, "invalid_request"},
		{"secret and assertion", v2, with("client_assertion", "x"), 9002313, 400, "invalid_request"},
		{"too large", v2, with("x", strings.Repeat("x", 1<<17)), 9002313, 400, "invalid_request"},
		{"unknown grant", v2, with("grant_type", "magic"), 70003, 400, "unsupported_grant_type"},
		{"no credential", v2, with("client_secret", ""), 7000216, 401, "invalid_client"},
		{"malformed tenant", "/common/oauth2/v2.0/token", good, 900023, 400, "invalid_request"},
		{"unknown tenant", "/" + stranger + "/oauth2/v2.0/token", good, 90002, 400, "invalid_tenant"},
		{"unknown domain", "/unknown.example/oauth2/v2.0/token", good, 90002, 400, "invalid_tenant"},

		{"scope of nothing", v2, with("scope", "/.default"), 70011, 400, "invalid_scope"},
		{"malformed scope", v2, with("scope", `https://"/.default`), 70011, 400, "invalid_scope"},
		{"scope of a permission", v2, with("scope", "https://graph.microsoft.com/User.Read"), 1002012, 400, "invalid_scope"},
		{"OpenID's scopes alone", v2, with("scope", "openid profile"), 1002012, 400, "invalid_scope"},
		{"scopes of two resources", v2, with("scope", xdrScope+" https://graph.microsoft.com/.default"), 28000, 400, "invalid_scope"},
		{"unknown resource", v2, with("scope", "https://unknown.example/.default"), 500011, 400, "invalid_resource"},
		{"a scope as resource", v1, with("scope", "", "resource", xdrScope), 500011, 400, "invalid_resource"},
		{"tenant without the resource", "/" + entraemu.OtherTenant + "/oauth2/v2.0/token", good, 500011, 400, "invalid_resource"},

		{"unknown app", v2, with("client_id", "12345678-1234-1234-1234-123456789012"), 700016, 400, "unauthorized_client"},
		{"app of another tenant", "/" + entraemu.OtherTenant + "/oauth2/v2.0/token", with("client_id", stranger, "client_secret", "home"), 700016, 400, "unauthorized_client"},
		{"wrong secret", v2, with("client_secret", "wrong"), 7000215, 401, "invalid_client"},
		{"another app's secret", v2, with("client_secret", "home"), 7000215, 401, "invalid_client"},
		{"expired secret", v2, with("client_secret", "old"), 7000222, 401, "invalid_client"},

		{"no JWT", v2, w.byAssertion("nonsense"), 50027, 400, "invalid_request"},
		{"signature not base64", v2, w.byAssertion(w.assertion().sign(t) + "!"), 50027, 400, "invalid_request"},
		{"unsigned", v2, spoiled(func(a *assertion) { a.method, a.key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType }), 50027, 400, "invalid_request"},
		{"signed with HMAC", v2, spoiled(func(a *assertion) { a.method, a.key = jwt.SigningMethodHS256, w.cert.Raw }), 50027, 400, "invalid_request"},
		{"no thumbprint", v2, spoiled(func(a *assertion) { delete(a.header, "x5t#S256") }), 50027, 400, "invalid_request"},
		{"no expiry", v2, spoiled(func(a *assertion) { delete(a.claims, "exp") }), 50027, 400, "invalid_request"},
		{"issuer is another app", v2, claim("iss", stranger), 700021, 401, "invalid_client"},
		{"subject is another app", v2, claim("sub", stranger), 50048, 401, "invalid_client"},
		{"another host's audience", v2, claim("aud", "https://evil.example/"+tenant+"/oauth2/v2.0/token"), 700023, 401, "invalid_client"},
		{"another tenant's audience", v2, claim("aud", "https://"+host+"/"+entraemu.OtherTenant+"/oauth2/v2.0/token"), 700023, 401, "invalid_client"},
		{"two audiences", v2, claim("aud", []string{"https://" + host + "/" + tenant + "/v2.0", "https://evil.example"}), 700023, 401, "invalid_client"},
		{"expired", v2, claim("exp", time.Now().Unix()-1), 700024, 401, "invalid_client"},
		{"not yet valid", v2, claim("nbf", time.Now().Unix()+60), 700024, 401, "invalid_client"},
		{"another key", v2, spoiled(func(a *assertion) { a.key = otherKey() }), 700027, 401, "invalid_client"},
		{"unknown SHA-256 thumbprint", v2, spoiled(func(a *assertion) { a.header["x5t#S256"] = "AAAA" }), 700027, 401, "invalid_client"},
		{"unknown SHA-1 thumbprint", v2, spoiled(func(a *assertion) { a.header["x5t"] = "AAAA" }), 700027, 401, "invalid_client"},
		{"expired certificate", v2, byExpired, 700027, 401, "invalid_client"},

		{"no federation", v2, form(federated(cluster(), subject, "", time.Hour), "client_id", stranger), 70025, 401, "invalid_client"},
		{"another cluster", v2, federated(elsewhere, subject, "", time.Hour), 700211, 401, "invalid_client"},
		{"another audience", v2, federated(cluster(), subject, "https://kubernetes.default.svc", time.Hour), 700212, 401, "invalid_client"},
		{"another service account", v2, federated(cluster(), subject+"2", "", time.Hour), 700213, 401, "invalid_client"},
		{"another case", v2, federated(cluster(), strings.ToUpper(subject), "", time.Hour), 700213, 401, "invalid_client"},
		{"another credential's audience", v2, federated(cluster(), subject, "api://other", time.Hour), 700213, 401, "invalid_client"},
		{"unknown key", v2, federated(impostor(), subject, "", time.Hour), 7000272, 401, "invalid_client"},
		{"expired federated token", v2, federated(cluster(), subject, "", -time.Minute), 700024, 401, "invalid_client"},
		{"federated token with PS256", v2, spoiled(func(a *assertion) { a.claims["iss"] = clusterID }), 50027, 400, "invalid_request"},
		{"federated token with another signature", v2, swapSignature(t, federated(cluster(), subject, "", time.Hour)), 700027, 401, "invalid_client"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := w.Stats()
			got := w.post(t, tc.path, tc.form)
			e := parseError(t, got.body)
			if e.Codes[0] != tc.number || got.StatusCode != tc.status || e.Error != tc.code {
				t.Errorf("got %d %s %d, want %d %s %d: %s", got.StatusCode, e.Error, e.Codes[0], tc.status, tc.code, tc.number, e.Description)
			}
			after := w.Stats()
			if after.Issued != before.Issued || after.Tokens != before.Tokens+1 || after.Refused[tc.number] != before.Refused[tc.number]+1 {
				t.Errorf("statistics: before %+v, after %+v", before, after)
			}
			for _, secret := range []string{w.secret, "home", "old", tc.form.Get("client_assertion")} {
				if secret != "" && len(secret) > 4 && strings.Contains(got.body, secret) {
					t.Error("the answer holds a secret")
				}
			}
		})
	}
}

// swapSignature puts the signature of another token of the issuer's in place.
func swapSignature(t *testing.T, form url.Values) url.Values {
	t.Helper()
	another, err := cluster().Token("somebody", "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	token := form.Get("client_assertion")
	form.Set("client_assertion", token[:strings.LastIndexByte(token, '.')]+another[strings.LastIndexByte(another, '.'):])
	return form
}

func TestAssertionIsGoodOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		once := w.byAssertion(w.assertion().sign(t))
		w.token(t, once)
		if e := parseError(t, w.post(t, "oauth2/v2.0/token", once).body); e.Codes[0] != 50027 {
			t.Errorf("a replay: got %+v, want 50027", e)
		}
		w.token(t, w.byAssertion(w.assertion().sign(t)))

		nameless := w.assertion()
		delete(nameless.claims, "jti")
		for range 2 {
			w.token(t, w.byAssertion(nameless.sign(t)))
		}
		// What has expired is no longer remembered; its jti may come again.
		again := w.assertion()
		again.claims["jti"] = "one"
		w.token(t, w.byAssertion(again.sign(t)))
		time.Sleep(10 * time.Minute)
		later := w.assertion()
		later.claims["jti"] = "one"
		w.token(t, w.byAssertion(later.sign(t)))
	})
}

func TestCertificateMustBeRSA(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := certificate(t, key, time.Now().Add(time.Hour))
	w := newWorld(t, func(c *entraemu.Config) { c.Apps[0].Certificates = []*x509.Certificate{cert} })
	a := w.assertion()
	a.header = map[string]any{"x5t": sha1Print(cert)}
	if e := parseError(t, w.post(t, "oauth2/v2.0/token", w.byAssertion(a.sign(t))).body); e.Codes[0] != 50027 {
		t.Errorf("got %+v, want 50027", e)
	}
}

func TestErrorsCarryTheirIdentifiers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const id = "ABCDEF00-1111-2222-3333-444444444444"
		got, err := w.do(t.Context(), t, http.MethodPost, "/"+tenant+"/oauth2/v2.0/token", "", "client-request-id", id, "return-client-request-id", "true")
		if err != nil {
			t.Fatal(err)
		}
		e := parseError(t, got.body)
		at := time.Now().UTC().Format("2006-01-02 15:04:05Z")
		want := entraError{
			Error: "invalid_request", Codes: []int{900144}, Timestamp: at, TraceID: got.Header.Get("x-ms-request-id"),
			CorrelationID: strings.ToLower(id), URI: "https://login.microsoftonline.com/error?code=900144",
			Description: fmt.Sprintf("AADSTS900144: The request body lacks the parameter 'grant_type'. Trace ID: %s Correlation ID: %s Timestamp: %s", e.TraceID, strings.ToLower(id), at),
		}
		if diff := cmp.Diff(e, want); diff != "" || !entra.IsGUID(e.TraceID) {
			t.Errorf("(-got +want):\n%s", diff)
		}
		if got.Header.Get("client-request-id") != id || !strings.Contains(got.Header.Get("Cache-Control"), "no-store") {
			t.Errorf("headers: got %v", got.Header)
		}
		// Nobody asked: the header stays away. No id, or none that is one: a new one.
		for _, sent := range []string{"", "<script>"} {
			got, err := w.do(t.Context(), t, http.MethodPost, "/"+tenant+"/oauth2/v2.0/token", "", "client-request-id", sent)
			if err != nil {
				t.Fatal(err)
			}
			if e := parseError(t, got.body); !entra.IsGUID(e.CorrelationID) || got.Header.Get("client-request-id") != "" {
				t.Errorf("sent %q: got %q, header %q", sent, e.CorrelationID, got.Header.Get("client-request-id"))
			}
		}
	})
}

func TestRequestsThatAreNone(t *testing.T) {
	w := newWorld(t)
	basic := func(text string) []string {
		return []string{"Content-Type", "application/x-www-form-urlencoded", "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(text))}
	}
	path := "/" + tenant + "/oauth2/v2.0/token"
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		number                   int
	}{
		{"GET", http.MethodGet, path, "", nil, 900561},
		{"JSON", http.MethodPost, path, `{"grant_type":"client_credentials"}`, []string{"Content-Type", "application/json"}, 900144},
		{"bad escape", http.MethodPost, path, "grant_type=%zz", []string{"Content-Type", "application/x-www-form-urlencoded"}, 9002313},
		{"bad escape in the header", http.MethodPost, path, "", basic(client + ":%zz"), 9002313},
		{"two client ids", http.MethodPost, path, "client_id=" + client, basic(stranger + ":x"), 9002313},
		{"two secrets", http.MethodPost, path, "client_secret=a", basic(client + ":b"), 9002313},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := w.do(t.Context(), t, tc.method, tc.path, tc.body, tc.header...)
			if err != nil {
				t.Fatal(err)
			}
			if e := parseError(t, got.body); e.Codes[0] != tc.number || got.StatusCode != http.StatusBadRequest {
				t.Errorf("got %s %+v, want %d", got.Status, e, tc.number)
			}
		})
	}
}

// FuzzToken sends strangers' bytes as a form and as an assertion: there is an
// answer, it is no token and no 5xx.
func FuzzToken(f *testing.F) {
	w := newWorld(f)
	f.Add("grant_type=client_credentials&client_id="+client+"&scope="+xdrScope+"&client_secret=x", "a.b.c")
	// Signed with a key that is not registered, so that no mutation makes it good.
	a := w.assertion()
	a.key = otherKey()
	f.Add(w.byAssertion(a.sign(f)).Encode(), a.sign(f))
	f.Add(w.byPassword(f, alice, "password", "wrong").Encode(), "")
	f.Add(w.onBehalf(w.forBroker(f, alice, tenant), "client_secret", "wrong").Encode(), "")
	f.Add(byRefresh("x").Encode(), "")
	f.Add(byCode("x").Encode(), "")
	f.Add(poll("x").Encode(), "")
	f.Fuzz(func(t *testing.T, body, assertion string) {
		for _, sent := range []string{body, form(w.byAssertion(assertion), "scope", xdrScope).Encode()} {
			got, err := w.do(t.Context(), t, http.MethodPost, "/"+tenant+"/oauth2/v2.0/token", sent, "Content-Type", "application/x-www-form-urlencoded")
			if err != nil {
				t.Fatal(err)
			}
			if e := parseError(t, got.body); got.StatusCode/100 != 4 || e.Codes[0] == 0 {
				t.Errorf("got %s %s", got.Status, got.body)
			}
		}
	})
}
