package vaultemu_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	vaultemu "tokenbroker/emulator/vault"
	"tokenbroker/entra"
)

const signBody = `{"alg":"RS256","value":"` + digest + `"}`

// read makes a request that must be served, and reads its answer.
func (w *world) read(t *testing.T, path string) map[string]any {
	t.Helper()
	got := w.do(t, w.token(t, tenant, vaultemu.Resource), http.MethodGet, path+version, "")
	var body map[string]any
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || got.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %s %s", path, got.Status, got.body)
	}
	return body
}

func TestCertificateInItsShape(t *testing.T) {
	w := newWorld(t)
	id := w.install(t, "login", vaultemu.Certificate{})
	got := w.read(t, "/certificates/login")
	attributes := got["attributes"].(map[string]any)
	sum := sha1.Sum(w.cert.Raw)
	want := map[string]any{
		"id": vaultURL + "/certificates/login/" + id, "kid": vaultURL + "/keys/login/" + id, "sid": vaultURL + "/secrets/login/" + id,
		"x5t": base64.RawURLEncoding.EncodeToString(sum[:]), "cer": base64.StdEncoding.EncodeToString(w.cert.Raw), "tags": map[string]any{},
		"attributes": map[string]any{
			"enabled": true, "created": attributes["created"], "updated": attributes["created"], "recoverableDays": 90., "recoveryLevel": "Recoverable+Purgeable",
			"nbf": float64(w.cert.NotBefore.Unix()), "exp": float64(w.cert.NotAfter.Unix()),
		},
		"policy": map[string]any{
			"id":               vaultURL + "/certificates/login/policy",
			"key_props":        map[string]any{"exportable": false, "kty": "RSA", "key_size": 2048., "reuse_key": false},
			"secret_props":     map[string]any{"contentType": "application/x-pem-file"},
			"x509_props":       map[string]any{"subject": "CN=hunter", "sans": map[string]any{"dns_names": []any{"hunter.example"}}, "validity_months": 0.},
			"issuer":           map[string]any{"name": "Self"},
			"lifetime_actions": []any{},
			"attributes":       map[string]any{"enabled": true, "created": attributes["created"], "updated": attributes["created"]},
		},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestCertificateHasAKeyAndASecret(t *testing.T) {
	w := newWorld(t)
	chain := []*x509.Certificate{certificate(t, time.Now(), time.Now().Add(time.Hour))}
	for _, exportable := range []bool{false, true} {
		id := w.install(t, "login", vaultemu.Certificate{Exportable: exportable, Chain: chain})
		secret := w.read(t, "/secrets/login/"+id)
		var types []string
		var leaf []byte
		for rest := []byte(secret["value"].(string)); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			types = append(types, block.Type)
			if leaf == nil && block.Type == "CERTIFICATE" {
				leaf = block.Bytes
			}
		}
		want := []string{"CERTIFICATE", "CERTIFICATE"}
		if exportable {
			want = append([]string{"PRIVATE KEY"}, want...)
		}
		if diff := cmp.Diff(types, want); diff != "" || !bytes.Equal(leaf, w.cert.Raw) {
			t.Errorf("exportable %t: got -, want +:\n%s", exportable, diff)
		}
		if secret["kid"] != vaultURL+"/keys/login/"+id || secret["managed"] != true || secret["contentType"] != "application/x-pem-file" {
			t.Errorf("got %v", secret)
		}
		if key := w.read(t, "/keys/login")["key"].(map[string]any); key["kid"] != secret["kid"] || key["kty"] != "RSA" {
			t.Errorf("key %v", key)
		}
	}
}

func TestVersionsRotate(t *testing.T) {
	w := newWorld(t)
	first := w.set(t, "app", "one", vaultemu.Attributes{})
	second := w.set(t, "app", "two", vaultemu.Attributes{})
	for path, want := range map[string]struct{ value, version string }{
		"/secrets/app": {"two", second}, "/secrets/app/": {"two", second}, "//secrets/app": {"two", second},
		"/secrets/app/" + first: {"one", first}, "/secrets/app/" + second: {"two", second},
	} {
		if got := w.read(t, path); got["value"] != want.value || got["id"] != vaultURL+"/secrets/app/"+want.version {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}

func TestWhatCanBeUsedWhen(t *testing.T) {
	w := newWorld(t)
	token := w.token(t, tenant, vaultemu.Resource)
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for _, tc := range []struct {
		name       string
		attributes vaultemu.Attributes
		read, sign string // inner codes; empty: it can be done
	}{
		{"now", vaultemu.Attributes{NotBefore: past, Expires: future}, "", ""},
		{"disabled", vaultemu.Attributes{Disabled: true}, "SecretDisabled", "KeyDisabled"},
		{"not-yet", vaultemu.Attributes{NotBefore: future, Expires: future}, "", "KeyNotYetValid"},
		{"expired", vaultemu.Attributes{NotBefore: past, Expires: past}, "", "KeyExpired"},
	} {
		w.install(t, tc.name, vaultemu.Certificate{Attributes: tc.attributes})
		for path, want := range map[string]string{"/secrets/" + tc.name: tc.read, "/keys/" + tc.name + "/sign": tc.sign, "/keys/" + tc.name: "", "/certificates/" + tc.name: ""} {
			method, body := http.MethodGet, ""
			if strings.HasSuffix(path, "/sign") {
				method, body = http.MethodPost, signBody
			}
			got := w.do(t, token, method, path+version, body)
			if want != "" {
				equal(t, path, got.refusal(t), refused{status: 403, code: "Forbidden", inner: want})
			} else if got.StatusCode != http.StatusOK {
				t.Errorf("%s: got %s %s", path, got.Status, got.body)
			}
		}
	}
	if got := w.read(t, "/certificates/disabled")["attributes"].(map[string]any)["enabled"]; got != false {
		t.Errorf("a disabled certificate says enabled: %v", got)
	}
}

// The newest version is meant even when it is disabled.
func TestVersionsAreSwitchedOffAndOn(t *testing.T) {
	w := newWorld(t)
	first, second := w.install(t, "login", vaultemu.Certificate{}), w.install(t, "login", vaultemu.Certificate{})
	token := w.token(t, tenant, vaultemu.Resource)
	sign := func(id string) int {
		return w.do(t, token, http.MethodPost, "/keys/login/"+id+"/sign"+version, signBody).StatusCode
	}
	set := func(id string, enabled bool) {
		t.Helper()
		if err := w.SetEnabled(vaultemu.Certificates, "login", id, enabled); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, one, two, newest int) {
		t.Helper()
		if got, want := [3]int{sign(first), sign(second), sign("")}, [3]int{one, two, newest}; got != want {
			t.Errorf("%s: got %v, want %v", when, got, want)
		}
	}
	check("at first", 200, 200, 200)
	set("", false)
	check("newest off", 200, 403, 403)
	set(first, false)
	set(second, true)
	check("oldest off", 403, 200, 200)
}

func TestDeletedAndRecovered(t *testing.T) {
	w := newWorld(t)
	w.install(t, "login", vaultemu.Certificate{})
	w.set(t, "app", secretOf, vaultemu.Attributes{})
	token := w.token(t, tenant, vaultemu.Resource)
	if err := w.Delete(vaultemu.Certificates, "login"); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(vaultemu.Secrets, "app"); err != nil {
		t.Fatal(err)
	}
	for path, code := range map[string]string{"/certificates/login": "CertificateNotFound", "/keys/login": "KeyNotFound", "/secrets/login": "SecretNotFound", "/secrets/app": "SecretNotFound"} {
		equal(t, path, w.do(t, token, http.MethodGet, path+version, "").refusal(t), refused{status: 404, code: code})
	}
	if _, err := w.SetSecret("app", entra.NewSecret("x"), vaultemu.Attributes{}); entra.KindOf(err) != entra.Invalid {
		t.Errorf("set over a deleted one: %v", err)
	}
	if err := w.Recover(vaultemu.Certificates, "login"); err != nil {
		t.Fatal(err)
	}
	w.read(t, "/secrets/login")
}

func TestWhatAVaultDoesNotTake(t *testing.T) {
	w := newWorld(t)
	faults := map[string]error{}
	_, faults["underscore"] = w.SetSecret("a_b", entra.NewSecret("x"), vaultemu.Attributes{})
	_, faults["no name"] = w.AddKey("", leafKey(), vaultemu.Attributes{})
	_, faults["long name"] = w.AddKey(strings.Repeat("a", 128), leafKey(), vaultemu.Attributes{})
	_, faults["another key"] = w.AddCertificate("login", vaultemu.Certificate{Leaf: w.cert, Key: otherKey()})
	_, faults["no leaf"] = w.AddCertificate("login", vaultemu.Certificate{Key: leafKey()})
	for name, err := range faults {
		if entra.KindOf(err) != entra.Invalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
	w.set(t, "app", secretOf, vaultemu.Attributes{})
	for name, err := range map[string]error{
		"unknown": w.SetEnabled(vaultemu.Keys, "none", "", true), "unknown version": w.SetEnabled(vaultemu.Secrets, "app", "0", true), "unknown to delete": w.Delete(vaultemu.Certificates, "app"),
	} {
		if entra.KindOf(err) != entra.NotFound {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := w.AddKey("own", otherKey(), vaultemu.Attributes{}); err != nil {
		t.Fatal(err)
	}
	if got := w.read(t, "/keys/own"); got["managed"] != nil {
		t.Errorf("a key of its own is managed: %v", got)
	}
}
