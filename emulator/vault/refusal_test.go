package vaultemu_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	entraemu "tokenbroker/emulator/entra"
	vaultemu "tokenbroker/emulator/vault"
	"tokenbroker/entra"
)

const digest = "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg" // SHA-256 of "test"

// equal compares what refusals say.
func equal(t *testing.T, name string, got, want refused) {
	t.Helper()
	if diff := cmp.Diff(got, want, cmp.AllowUnexported(refused{})); diff != "" {
		t.Errorf("%s: got -, want +:\n%s", name, diff)
	}
}

func TestUnauthenticatedRequestsGetTheChallenge(t *testing.T) {
	w := newWorld(t)
	w.set(t, "app", secretOf, vaultemu.Attributes{})
	good := w.token(t, tenant, vaultemu.Resource)
	for name, tc := range map[string]struct{ token, text string }{
		"no token":              {"", "AKV10000"},
		"no JWT":                {"abc", "validating"},
		"spoilt":                {good[:len(good)-8] + "AAAAAAAA", "validating"},
		"other tenant":          {w.token(t, entraemu.OtherTenant, vaultemu.Resource), "AKV10032"},
		"other audience":        {w.token(t, tenant, "https://api.security.microsoft.com"), "AKV10022"},
		"audience with a slash": {w.token(t, tenant, vaultemu.Resource+"/"), "AKV10022"},
	} {
		got := w.do(t, tc.token, http.MethodGet, "/secrets/app"+version, "")
		equal(t, name, got.refusal(t), refused{status: 401, code: "Unauthorized"})
		if want := `Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://vault.azure.net"`; got.Header.Get("WWW-Authenticate") != want {
			t.Errorf("%s: challenge %q, want %q", name, got.Header.Get("WWW-Authenticate"), want)
		}
		if !strings.Contains(got.body, tc.text) {
			t.Errorf("%s: got %s, want %s", name, got.body, tc.text)
		}
	}
	for name, token := range map[string]string{"audience": good, "app id": w.token(t, tenant, "cfa8b339-82a2-471a-a3c9-0fc0be7a4093")} {
		if got := w.do(t, token, http.MethodGet, "/secrets/app"+version, ""); got.StatusCode != http.StatusOK {
			t.Errorf("%s: got %s %s", name, got.Status, got.body)
		}
	}
}

func TestExpiredTokenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(t, "app", secretOf, vaultemu.Attributes{})
		token := w.token(t, tenant, vaultemu.Resource)
		time.Sleep(time.Hour)
		equal(t, "expired", w.do(t, token, http.MethodGet, "/secrets/app"+version, "").refusal(t), refused{status: 401, code: "Unauthorized"})
	})
}

func TestRequestsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.set(t, "app", secretOf, vaultemu.Attributes{})
	w.install(t, "login", vaultemu.Certificate{})
	token := w.token(t, tenant, vaultemu.Resource)
	bad := refused{status: 400, code: "BadParameter"}
	for _, tc := range []struct {
		name, method, path, body string
		want                     refused
	}{
		{"no version", "GET", "/secrets/app", "", bad},
		{"odd version", "GET", "/secrets/app?api-version=x", "", bad},
		{"old version", "GET", "/secrets/app?api-version=7.12", "", bad},
		{"unknown secret", "GET", "/secrets/none" + version, "", refused{status: 404, code: "SecretNotFound"}},
		{"unknown secret version", "GET", "/secrets/app/0" + version, "", refused{status: 404, code: "SecretNotFound"}},
		{"unknown certificate", "GET", "/certificates/app" + version, "", refused{status: 404, code: "CertificateNotFound"}},
		{"unknown key", "GET", "/keys/app" + version, "", refused{status: 404, code: "KeyNotFound"}},
		{"unknown key to sign", "POST", "/keys/app/sign" + version, `{"alg":"RS256","value":"` + digest + `"}`, refused{status: 404, code: "KeyNotFound"}},
		{"nothing", "GET", "/" + version, "", refused{status: 404, code: "NotFound"}},
		{"list", "GET", "/secrets" + version, "", refused{status: 404, code: "NotFound"}},
		{"too deep", "GET", "/secrets/app/1/2" + version, "", refused{status: 404, code: "NotFound"}},
		{"put", "PUT", "/secrets/app" + version, "{}", refused{status: 405, code: "MethodNotAllowed"}},
		{"sign by get", "GET", "/keys/login/sign" + version, "", refused{status: 405, code: "MethodNotAllowed"}},
		{"no body", "POST", "/keys/login/sign" + version, "", bad},
		{"no algorithm", "POST", "/keys/login/sign" + version, `{"value":"` + digest + `"}`, bad},
		{"algorithm of another key", "POST", "/keys/login/sign" + version, `{"alg":"ES256","value":"` + digest + `"}`, bad},
		{"unknown algorithm", "POST", "/keys/login/sign" + version, `{"alg":"HS256","value":"` + digest + `"}`, bad},
		{"nearly an algorithm", "POST", "/keys/login/sign" + version, `{"alg":"RSS256","value":"` + digest + `"}`, bad},
		{"one letter", "POST", "/keys/login/sign" + version, `{"alg":"R","value":"` + digest + `"}`, bad},
		{"digest of another length", "POST", "/keys/login/sign" + version, `{"alg":"RS512","value":"` + digest + `"}`, bad},
		{"no base64", "POST", "/keys/login/sign" + version, `{"alg":"RS256","value":"*"}`, bad},
	} {
		equal(t, tc.name, w.do(t, token, tc.method, tc.path, tc.body).refusal(t), tc.want)
	}
	if stats := w.Stats(); len(stats.Served) != 0 || stats.Refused["BadParameter"] != 11 || stats.Refused["SecretNotFound"] != 2 {
		t.Errorf("got %+v", stats)
	}
}

func TestPoliciesDecide(t *testing.T) {
	w := newWorld(t)
	w.set(t, "app", secretOf, vaultemu.Attributes{})
	w.install(t, "login", vaultemu.Certificate{})
	token := w.token(t, tenant, vaultemu.Resource)
	claims, err := w.entra.Verify(token)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[vaultemu.Operation]func() answer{
		vaultemu.GetSecret:      func() answer { return w.do(t, token, http.MethodGet, "/secrets/app"+version, "") },
		vaultemu.GetCertificate: func() answer { return w.do(t, token, http.MethodGet, "/certificates/login"+version, "") },
		vaultemu.GetKey:         func() answer { return w.do(t, token, http.MethodGet, "/keys/login"+version, "") },
		vaultemu.Sign: func() answer {
			return w.do(t, token, http.MethodPost, "/keys/login/sign"+version, `{"alg":"RS256","value":"`+digest+`"}`)
		},
	}
	try := func(name string, allowed ...vaultemu.Operation) {
		t.Helper()
		for operation, call := range calls {
			got, want := call(), false
			for _, o := range allowed {
				want = want || o == operation
			}
			switch {
			case want && got.StatusCode != http.StatusOK:
				t.Errorf("%s: %s: got %s %s", name, operation, got.Status, got.body)
			case !want:
				equal(t, name+": "+string(operation), got.refusal(t), refused{status: 403, code: "Forbidden", inner: "AccessDenied"})
			}
		}
	}
	for operation := range calls {
		w.SetPolicy(client, operation)
		try("by client id", operation)
	}
	w.SetPolicy(client)
	try("nothing")
	w.SetPolicy(strings.ToUpper(claims.Object), vaultemu.Sign)
	try("by object id", vaultemu.Sign)
	got := calls[vaultemu.GetSecret]()
	if want := "appid=" + client + ";oid=" + claims.Object + ";iss=https://sts.windows.net/" + tenant + "/' does not have secrets get permission on key vault 'contoso;"; !strings.Contains(got.body, want) {
		t.Errorf("got %s, want %s", got.body, want)
	}
}

func TestNewRefusesWhatCannotBe(t *testing.T) {
	verify := func(string) (entra.Claims, error) { return entra.Claims{}, nil }
	for want, config := range map[string]vaultemu.Config{
		"verify: required": {Tenant: tenant},
		`tenant "contoso"`: {Tenant: "contoso", Verify: verify},
	} {
		if _, err := vaultemu.New(config); entra.KindOf(err) != entra.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestVaultOfAnotherCloud(t *testing.T) {
	w := newWorld(t)
	gov, err := vaultemu.New(vaultemu.Config{Tenant: tenant, Verify: w.entra.Verify, Login: "login.microsoftonline.us", Resource: "https://vault.usgovcloudapi.net"})
	if err != nil {
		t.Fatal(err)
	}
	w.Server = gov
	w.serve(t, "contoso.vault.usgovcloudapi.net", gov)
	resp, err := w.http.Get("https://contoso.vault.usgovcloudapi.net/secrets/app" + version)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, want := resp.Header.Get("WWW-Authenticate"), `Bearer authorization="https://login.microsoftonline.us/`+tenant+`", resource="https://vault.usgovcloudapi.net"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
