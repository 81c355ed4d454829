package entraemu_test

import (
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

func TestTokenHasTheShapeOfARealOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *entraemu.Config) {
			c.Apps[0].Consents[0].Roles = entraemu.Roles{entraemu.XDR: {"Incident.Read.All"}}
		})
		token, claims := w.token(t, w.bySecret())
		now := entra.Epoch(time.Now().Unix())
		if claims.Object == "" || claims.Object != claims.Subject || claims.TokenID == "" {
			t.Errorf("oid %q, sub %q, uti %q: want one service principal and an id", claims.Object, claims.Subject, claims.TokenID)
		}
		claims.Object, claims.Subject, claims.TokenID = "", "", ""
		want := entra.Claims{
			Audience: entra.Audience{"https://api.security.microsoft.com"},
			Issuer:   "https://sts.windows.net/" + tenant + "/",
			Tenant:   tenant, AppID: client, Roles: []string{"Incident.Read.All"}, IDType: "app", Version: "1.0",
			IssuedAt: now - 300, NotBefore: now - 300, Expires: now + 3599,
		}
		if diff := cmp.Diff(claims, want); diff != "" {
			t.Errorf("claims (-got +want):\n%s", diff)
		}
		if token.Type != "Bearer" || token.ExpiresIn != 3599 || token.RefreshIn != 0 {
			t.Errorf("got %+v", token)
		}
		parsed, err := entra.ParseJWT(token.Access)
		if err != nil {
			t.Fatal(err)
		}
		var header struct{ Alg, Typ, Kid, X5t string }
		if err := json.Unmarshal(parsed.Header, &header); err != nil || header.Alg != "RS256" || header.Kid == "" || header.Kid != header.X5t {
			t.Errorf("header: got %s, %v", parsed.Header, err)
		}
		if another, _ := w.token(t, w.bySecret()); another.Access == token.Access {
			t.Error("two requests got the same token")
		}
	})
}

func TestVersionOneAnswersInStrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *entraemu.Config) { c.RefreshIn = 30 * time.Minute })
		got := w.post(t, "oauth2/token", w.bySecret("scope", "", "resource", "https://api.security.microsoft.com"))
		var fields map[string]any
		if err := json.Unmarshal([]byte(got.body), &fields); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Verify(fields["access_token"].(string)); err != nil {
			t.Error(err)
		}
		delete(fields, "access_token")
		now := time.Now().Unix()
		want := map[string]any{
			"token_type": "Bearer", "resource": "https://api.security.microsoft.com",
			"expires_in": "3599", "ext_expires_in": "3599", "refresh_in": "1800",
			"expires_on": fmt.Sprint(now + 3599), "not_before": fmt.Sprint(now - 300),
		}
		if diff := cmp.Diff(fields, want); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
	})
}

func TestAudienceIsSpelledAsAskedFor(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		audience, role string
	}{
		{"https://api.security.microsoft.com", "Incident.Read.All"},
		{"https://api.security.microsoft.com/", "Incident.Read.All"},
		{"https://security.microsoft.com/mtp", "Incident.Read.All"},
		{"https://api.securitycenter.microsoft.com", "Machine.Isolate"},
		{"https://api.securitycenter.windows.com", "Machine.Isolate"},
		{"https://api.securitycenter.windows.com/", "Machine.Isolate"},
		{"https://securitycenter.onmicrosoft.com/windowsatpservice", "Machine.Isolate"},
		{"fc780465-2017-40d4-a0c5-307022471b92", "Machine.Isolate"},
		{"https://graph.microsoft.com", "ThreatHunting.Read.All"},
		{"https://graph.microsoft.com/", "ThreatHunting.Read.All"},
		{"05a65629-4c1b-48c1-a78b-804c4abdd4af", "Investigation.read"},
	} {
		t.Run(tc.audience, func(t *testing.T) {
			_, claims := w.token(t, w.bySecret("scope", tc.audience+"/.default openid offline_access profile"))
			if got := claims.Audience[0]; got != tc.audience {
				t.Errorf("aud: got %q, want %q", got, tc.audience)
			}
			if !strings.Contains(strings.Join(claims.Roles, " "), tc.role) {
				t.Errorf("roles: got %q, want %s among them", claims.Roles, tc.role)
			}
		})
	}
}

func TestTokenWithoutConsentHasNoRoles(t *testing.T) {
	w := newWorld(t, func(c *entraemu.Config) { c.Apps[0].Consents[0].Roles = nil })
	token, _ := w.token(t, w.bySecret())
	parsed, err := entra.ParseJWT(token.Access)
	if err != nil || strings.Contains(string(parsed.Payload), `"roles"`) {
		t.Errorf("got %s, %v, want no roles claim", parsed.Payload, err)
	}
	if err := w.SetRoles(tenant, client, entraemu.XDR, "Incident.Read.All"); err != nil {
		t.Fatal(err)
	}
	if _, claims := w.token(t, w.bySecret()); !cmp.Equal(claims.Roles, []string{"Incident.Read.All"}) {
		t.Errorf("after the consent: got %q", claims.Roles)
	}
	if got := w.post(t, "/"+entraemu.OtherTenant+"/oauth2/v2.0/token", w.bySecret()); strings.Contains(rolesOf(t, got.body), `["Incident.Read.All"]`) {
		t.Error("a consent in one tenant counts in another")
	}
}

// rolesOf is the payload of the token in an answer.
func rolesOf(t *testing.T, body string) string {
	t.Helper()
	var token tokenAnswer
	if err := json.Unmarshal([]byte(body), &token); err != nil {
		t.Fatal(err)
	}
	parsed, err := entra.ParseJWT(token.Access)
	if err != nil {
		t.Fatal(err)
	}
	return string(parsed.Payload)
}

func TestEveryProofIsGoodForAToken(t *testing.T) {
	w := newWorld(t)
	federated, err := cluster().Token(subject, "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	rs256 := w.assertion()
	rs256.method = jwt.SigningMethodRS256
	rs256.header = map[string]any{"x5t": sha1Print(w.cert)}
	issuerAudience := w.assertion()
	issuerAudience.claims["aud"] = "https://sts.windows.net/" + tenant + "/"
	v2Issuer := w.assertion()
	v2Issuer.claims["aud"] = "https://" + host + "/contoso.example/v2.0"
	for name, form := range map[string]map[string][]string{
		"1 secret":                     w.bySecret(),
		"2 PS256, SHA-256 thumbprint":  w.byAssertion(w.assertion().sign(t)),
		"2 RS256, SHA-1 thumbprint":    w.byAssertion(rs256.sign(t)),
		"2 audience: v1 issuer":        w.byAssertion(issuerAudience.sign(t)),
		"2 audience: domain's issuer":  w.byAssertion(v2Issuer.sign(t)),
		"2 federated token":            w.byAssertion(federated),
		"2 federated token once again": w.byAssertion(federated),
	} {
		t.Run(name, func(t *testing.T) {
			token, claims := w.token(t, form)
			if claims.Client() != client {
				t.Errorf("client: got %q", claims.Client())
			}
			parsed, _ := entra.ParseJWT(token.Access)
			if want := `"appidacr":"` + name[:1] + `"`; !strings.Contains(string(parsed.Payload), want) {
				t.Errorf("got %s, want %s", parsed.Payload, want)
			}
		})
	}
	t.Run("1 basic", func(t *testing.T) {
		basic := base64.StdEncoding.EncodeToString([]byte(client + ":" + w.secret))
		got, err := w.do(t.Context(), t, http.MethodPost, "/"+tenant+"/oauth2/v2.0/token",
			w.bySecret("client_id", "", "client_secret", "").Encode(),
			"Content-Type", "application/x-www-form-urlencoded", "Authorization", "Basic "+basic)
		if err != nil || got.StatusCode != http.StatusOK {
			t.Errorf("got %s, %v", got.body, err)
		}
	})
}

func TestTenantsGoByDomainToo(t *testing.T) {
	w := newWorld(t)
	for name, want := range map[string]string{"contoso.example": tenant, "Fabrikam.example": entraemu.OtherTenant} {
		got := w.post(t, "/"+name+"/oauth2/v2.0/token", w.bySecret())
		if payload := rolesOf(t, got.body); !strings.Contains(payload, `"tid":"`+want+`"`) {
			t.Errorf("%s: got %s, want tenant %s", name, payload, want)
		}
	}
}

func TestSecretsCanBeRotated(t *testing.T) {
	w := newWorld(t)
	next := entraemu.Secret{Value: entra.NewSecret("next")}
	if err := w.SetSecrets(client, next); err != nil {
		t.Fatal(err)
	}
	if got := w.post(t, "oauth2/v2.0/token", w.bySecret()); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("the old secret: got %s", got.Status)
	}
	w.token(t, w.bySecret("client_secret", "next"))
	for name, err := range map[string]error{
		"secrets":      w.SetSecrets(stranger, next),
		"certificates": w.SetCertificates(stranger),
		"roles":        w.SetRoles(tenant, stranger, entraemu.XDR),
	} {
		if entra.KindOf(err) != entra.NotFound {
			t.Errorf("%s of an unknown app: got %v", name, err)
		}
	}
}

func TestCertificatesCanBeRotated(t *testing.T) {
	w := newWorld(t)
	by := func(cert *x509.Certificate) url.Values {
		w.cert = cert
		return w.byAssertion(w.assertion().sign(t))
	}
	old, next := w.cert, certificate(t, clientKey(), time.Now().Add(time.Hour))
	for _, step := range []struct {
		registered []*x509.Certificate
		good, bad  []*x509.Certificate
	}{
		{[]*x509.Certificate{old}, []*x509.Certificate{old}, []*x509.Certificate{next}},
		{[]*x509.Certificate{old, next}, []*x509.Certificate{old, next}, nil},
		{[]*x509.Certificate{next}, []*x509.Certificate{next}, []*x509.Certificate{old}},
		{nil, nil, []*x509.Certificate{old, next}},
	} {
		if err := w.SetCertificates(client, step.registered...); err != nil {
			t.Fatal(err)
		}
		for _, cert := range step.good {
			w.token(t, by(cert))
		}
		for _, cert := range step.bad {
			if e := parseError(t, w.post(t, "oauth2/v2.0/token", by(cert)).body); e.Codes[0] != 700027 {
				t.Errorf("%d certificates: got %+v, want 700027", len(step.registered), e)
			}
		}
	}
}

func TestIssuerKeysCanBeRotated(t *testing.T) {
	w := newWorld(t)
	by := func(issuer *entraemu.FederatedIssuer) url.Values {
		token, err := issuer.Token(subject, "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return w.byAssertion(token)
	}
	w.token(t, by(cluster()))
	keys := impostor().Issuer().Keys
	if err := w.SetIssuerKeys(clusterID, keys); err != nil {
		t.Fatal(err)
	}
	w.token(t, by(impostor()))
	if e := parseError(t, w.post(t, "oauth2/v2.0/token", by(cluster())).body); e.Codes[0] != 7000272 {
		t.Errorf("the old key: got %+v, want 7000272", e)
	}
	clear(keys)
	w.token(t, by(impostor())) // the keys are the server's own
	if err := w.SetIssuerKeys("https://stranger.example", nil); entra.KindOf(err) != entra.NotFound {
		t.Errorf("keys of an unknown issuer: got %v", err)
	}
}

func TestClientCertificateNamesItsFault(t *testing.T) {
	now := time.Now()
	if _, err := entraemu.NewClientCertificate(clientKey(), now, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)); entra.KindOf(err) != entra.Invalid {
		t.Errorf("a time that no certificate can hold: got %v", err)
	}
}

func TestChangesStayInTheirServer(t *testing.T) {
	config := entraemu.Default()
	config.SigningKey = signingKey()
	share := func(c *entraemu.Config) { *c = config }
	one, other := newWorld(t, share), newWorld(t, share)
	if err := one.SetRoles(tenant, client, entraemu.XDR, "One.Role"); err != nil {
		t.Fatal(err)
	}
	if err := one.SetSecrets(client); err != nil {
		t.Fatal(err)
	}
	if _, claims := other.token(t, other.bySecret("client_secret", config.Apps[0].Secrets[0].Value.Reveal())); cmp.Equal(claims.Roles, []string{"One.Role"}) {
		t.Error("a role granted in one Server is in the tokens of another")
	}
}

func TestClientIDIsWrittenAsRegistered(t *testing.T) {
	const registered = "abcdef00-1111-2222-3333-444444444444"
	w := newWorld(t, func(c *entraemu.Config) { c.Apps[0].ClientID = registered })
	if _, claims := w.token(t, w.bySecret("client_id", strings.ToUpper(registered))); claims.AppID != registered {
		t.Errorf("appid: got %q, want %q", claims.AppID, registered)
	}
}

func TestVerifyRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		elsewhere := newWorldElsewhere(t)
		good, _ := w.token(t, w.bySecret())
		foreign, _ := elsewhere.token(t, elsewhere.bySecret())
		resign := func(claims jwt.MapClaims) string {
			return (&assertion{method: jwt.SigningMethodRS256, key: signingKey(), claims: claims}).sign(t)
		}
		exp := time.Now().Add(time.Hour).Unix()
		for name, tc := range map[string]struct{ token, want string }{
			"garbage":             {"garbage", "malformed"},
			"another signature":   {foreign.Access, "signature"},
			"no expiry":           {resign(jwt.MapClaims{"tid": tenant}), "exp"},
			"another issuer":      {resign(jwt.MapClaims{"tid": tenant, "iss": "https://sts.windows.net/" + stranger + "/", "exp": exp}), "issuer"},
			"another tenant":      {resign(jwt.MapClaims{"tid": stranger, "iss": "https://sts.windows.net/" + stranger + "/", "exp": exp}), "issuer"},
			"claims of odd types": {resign(jwt.MapClaims{"tid": 1, "exp": exp}), "types"},
		} {
			if _, err := w.Verify(tc.token); entra.KindOf(err) != entra.Invalid || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want %q", name, err, tc.want)
			}
		}
		time.Sleep(3599 * time.Second)
		if _, err := w.Verify(good.Access); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("an hour later: got %v, want it expired", err)
		}
	})
}

// newWorldElsewhere makes a world with another signing key.
func newWorldElsewhere(t *testing.T) *world {
	t.Helper()
	return newWorld(t, func(c *entraemu.Config) { c.SigningKey = otherKey() })
}
