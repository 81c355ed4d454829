package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPipeIsReadAtTheStartOnly has the configuration of a shell's <(...), and of
// somebody who puts a pipe into its place later, which must hold nobody up.
func TestPipeIsReadAtTheStartOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokenbroker.yaml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	again := func() error {
		_, err := Load(Options{Catalogue: catalogue(t), File: path, Again: true})
		return err
	}
	want := path + ": no regular file; anything else is read at the start only"
	if err := again(); err == nil || err.Error() != want {
		t.Errorf("again, and nobody writes: got %v, want %s", err, want)
	}
	fed := make(chan error)
	go func() {
		fed <- os.WriteFile(path, []byte("identities: {default: {tenant: contoso.example, client_id: "+client+", credential: {kind: secret, file: /secret}}}"), 0o600)
	}()
	cfg, err := Load(Options{Catalogue: catalogue(t), File: path})
	if err != nil || cfg.Identities["default"].Tenant != "contoso.example" {
		t.Errorf("at the start: got %v", err)
	}
	if err := <-fed; err != nil {
		t.Error(err)
	}
}

func TestFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokenbroker.yaml")
	if err := os.WriteFile(path, []byte("cash: {}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Options{Catalogue: catalogue(t), File: path, Again: true}); err == nil || !strings.Contains(err.Error(), "cash") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(Options{Catalogue: catalogue(t), File: path + ".none", Again: true}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing: got %v", err)
	}
}
