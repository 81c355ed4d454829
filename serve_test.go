package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestServeFromProjectedToken is the norm on AKS: no file, no secret, only the
// variables that the webhook sets.
func TestServeFromProjectedToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "unused", honest)
	file := filepath.Join(w.dir, "federated-token")
	p := start(t, []string{
		"AZURE_TENANT_ID=22222222-2222-2222-2222-222222222222",
		"AZURE_CLIENT_ID=11111111-1111-1111-1111-111111111111",
		"AZURE_FEDERATED_TOKEN_FILE=" + file,
		"AZURE_AUTHORITY_HOST=" + w.entraURL + "/",
		"TOKENBROKER_CA_FILE=" + filepath.Join(w.dir, "ca.pem"),
	}, "serve")

	a := call{url: p.vars["CALLERS"] + "/token?route=defender"}.do(t)
	if got, err := jsonField([]byte(a.body), "access_token"); err != nil || a.status != http.StatusOK || got != w.tokens()[0] {
		t.Errorf("%s, want the token that Entra gave", a)
	}

	// Something else stands there for a while. The token of before goes on.
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 20)+".e30.eA"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := (call{url: p.vars["CALLERS"] + "/token?route=defender&path=/api/machines"}).do(t); a.status != http.StatusOK {
		t.Errorf("with a file that holds none:\n%s", a)
	}

	w.write("federated-token", w.federate)
	if a := (call{url: p.vars["CALLERS"] + "/token?route=mde-legacy"}).do(t); a.status != http.StatusOK {
		t.Errorf("with a good one again:\n%s", a)
	}
}
