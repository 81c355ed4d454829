package entraemu_test

import (
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	entraemu "tokenbroker/emulator/entra"
)

func TestOpenIDDiscovery(t *testing.T) {
	w := newWorld(t)
	base := "https://" + host + "/" + tenant
	for _, tc := range []struct {
		path, issuer, token, keys string
	}{
		{"/" + tenant + "/v2.0", base + "/v2.0", base + "/oauth2/v2.0/token", base + "/discovery/v2.0/keys"},
		{"/" + tenant, "https://sts.windows.net/" + tenant + "/", base + "/oauth2/token", base + "/discovery/keys"},
		{"/contoso.example/v2.0", base + "/v2.0", base + "/oauth2/v2.0/token", base + "/discovery/v2.0/keys"},
	} {
		var got struct {
			Issuer    string `json:"issuer"`
			Token     string `json:"token_endpoint"`
			Authorize string `json:"authorization_endpoint"`
			Keys      string `json:"jwks_uri"`
		}
		if err := json.Unmarshal([]byte(w.get(t, tc.path+"/.well-known/openid-configuration").body), &got); err != nil {
			t.Fatal(err)
		}
		if got.Issuer != tc.issuer || got.Token != tc.token || got.Keys != tc.keys || got.Authorize != strings.TrimSuffix(tc.token, "token")+"authorize" {
			t.Errorf("%s: got %+v", tc.path, got)
		}
	}
	unknown := w.get(t, "/"+stranger+"/v2.0/.well-known/openid-configuration")
	if e := parseError(t, unknown.body); e.Codes[0] != 90002 || unknown.StatusCode != http.StatusBadRequest {
		t.Errorf("unknown tenant: got %s %+v", unknown.Status, e)
	}
}

func TestPublishedKeyVerifiesTheTokens(t *testing.T) {
	w := newWorld(t)
	token, _ := w.token(t, w.bySecret())
	for _, path := range []string{"/" + tenant + "/discovery/v2.0/keys", "/common/discovery/keys"} {
		var set struct {
			Keys []struct {
				Kty, Use, Kid, X5t, N, E string
				X5c                      []string
			}
		}
		if err := json.Unmarshal([]byte(w.get(t, path).body), &set); err != nil || len(set.Keys) != 1 {
			t.Fatalf("%s: got %+v, %v", path, set, err)
		}
		key := set.Keys[0]
		n, _ := base64.RawURLEncoding.DecodeString(key.N)
		e, _ := base64.RawURLEncoding.DecodeString(key.E)
		public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		parsed, err := jwt.Parse(token.Access, func(*jwt.Token) (any, error) { return public, nil })
		if err != nil || parsed.Header["kid"] != key.Kid || key.Kty != "RSA" || key.Use != "sig" {
			t.Errorf("%s: %v, header %v, key %+v", path, err, parsed.Header, key)
		}
		der, err := base64.StdEncoding.DecodeString(key.X5c[0])
		if err != nil {
			t.Fatal(err)
		}
		sum := sha1.Sum(der)
		if cert, err := x509.ParseCertificate(der); err != nil || !public.Equal(cert.PublicKey) || base64.RawURLEncoding.EncodeToString(sum[:]) != key.X5t {
			t.Errorf("%s: the certificate is not the key's: %v", path, err)
		}
	}
}

func TestStatsCountWhatWasAsked(t *testing.T) {
	w := newWorld(t)
	w.get(t, "/"+tenant+"/v2.0/.well-known/openid-configuration")
	w.get(t, "/common/discovery/keys")
	w.token(t, w.bySecret())
	w.token(t, w.bySecret())
	w.token(t, w.bySecret("scope", "https://graph.microsoft.com/.default"))
	w.post(t, "oauth2/v2.0/token", w.bySecret("grant_type", "password"))
	w.post(t, "oauth2/v2.0/token", w.bySecret("grant_type", "magic"))
	w.SetFaults(entraemu.Faults{Status: 500, Times: 1})
	w.post(t, "oauth2/v2.0/token", w.bySecret())

	want := entraemu.Stats{
		Tokens: 6, Discovery: 2, Issued: 3, Faulted: 1,
		Grants:    map[string]int{"client_credentials": 4, "password": 1, "other": 1},
		Given:     map[string]int{"client_credentials": 3},
		Audiences: map[string]int{"https://api.security.microsoft.com": 2, "https://graph.microsoft.com": 1},
		Refused:   map[int]int{70003: 1, 900144: 1, 90033: 1},
	}
	if diff := cmp.Diff(w.Stats(), want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	var shown entraemu.Stats
	if err := json.Unmarshal([]byte(w.get(t, "/_emulator/stats").body), &shown); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(shown, want); diff != "" {
		t.Errorf("as JSON (-got +want):\n%s", diff)
	}
	w.Stats().Grants["other"] = 99 // a copy
	if got := w.Stats().Grants["other"]; got != 1 {
		t.Errorf("a caller changed the statistics: %d", got)
	}
}
