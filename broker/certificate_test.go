package broker_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// appKeys are two keys of the app's, and a third that is no one's. They take
// longer to make than all tests that use them.
var appKeys = sync.OnceValues(func() (keys [3]*rsa.PrivateKey, err error) {
	for i := range keys {
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return keys, err
		}
	}
	return keys, nil
})

// identity is a key of the app's with a certificate for it.
type identity struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

// newIdentity takes one of the keys; its certificate is valid from an hour ago.
func newIdentity(t *testing.T, key int, lifetime time.Duration) identity {
	t.Helper()
	keys, err := appKeys()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := entraemu.NewClientCertificate(keys[key], time.Now().Add(-time.Hour), time.Now().Add(lifetime))
	if err != nil {
		t.Fatal(err)
	}
	return identity{keys[key], cert}
}

func (i identity) certPEM() string { return certsPEM(i.cert) }

func certsPEM(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, cert := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	return b.String()
}

func (i identity) keyPEM() string { return keyPEM(i.key) }

// keyPEM is a key of any kind.
func keyPEM(key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (i identity) pfx(t *testing.T, encoder *pkcs12.Encoder, password string) string {
	t.Helper()
	content, err := encoder.Encode(i.key, i.cert, nil, password)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// openssl is a file that OpenSSL made.
func openssl(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "openssl", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// openCertificate writes the contents into a folder, and opens the certificate.
func openCertificate(t *testing.T, dir string, file, keyFile, passwordFile string, log *bytes.Buffer) (*broker.CertificateFile, error) {
	t.Helper()
	cfg := broker.CertificateConfig{File: filepath.Join(dir, "tls.crt")}
	writeFile(t, cfg.File, file)
	if keyFile != "" {
		cfg.KeyFile = filepath.Join(dir, "tls.key")
		writeFile(t, cfg.KeyFile, keyFile)
	}
	if passwordFile != "" {
		cfg.PasswordFile = filepath.Join(dir, "password")
		writeFile(t, cfg.PasswordFile, passwordFile)
	}
	return broker.OpenCertificate(cfg, slog.New(slog.NewTextHandler(log, nil)))
}

// certified is the source of the world's app with the certificate.
func (w *world) certified(t *testing.T, cert *broker.CertificateFile) *broker.Confidential {
	t.Helper()
	source, err := broker.NewConfidential(w.app(t), cert)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestCertificateGetsAToken(t *testing.T) {
	const password = "canary"
	for name, files := range map[string]func(i identity) [3]string{
		"one file":              func(i identity) [3]string { return [3]string{i.certPEM() + i.keyPEM()} },
		"the key first":         func(i identity) [3]string { return [3]string{"of Contoso\n" + i.keyPEM() + i.certPEM()} },
		"a key file":            func(i identity) [3]string { return [3]string{i.certPEM(), i.keyPEM()} },
		"a password of nothing": func(i identity) [3]string { return [3]string{i.certPEM(), i.keyPEM(), password} },
		"PKCS#1": func(i identity) [3]string {
			return [3]string{i.certPEM(), string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(i.key)}))}
		},
		"PKCS#12":                  func(i identity) [3]string { return [3]string{i.pfx(t, pkcs12.Modern, password), "", password + "\n"} },
		"PKCS#12 of 2026":          func(i identity) [3]string { return [3]string{i.pfx(t, pkcs12.Modern2026, password), "", password} },
		"PKCS#12 with 3DES":        func(i identity) [3]string { return [3]string{i.pfx(t, pkcs12.LegacyDES, password), "", password} },
		"PKCS#12 with RC2":         func(i identity) [3]string { return [3]string{i.pfx(t, pkcs12.LegacyRC2, password), "", password} },
		"PKCS#12, empty password":  func(i identity) [3]string { return [3]string{i.pfx(t, pkcs12.Modern, "")} },
		"PKCS#12 without password": func(i identity) [3]string { return [3]string{i.pfx(t, pkcs12.Passwordless, "")} },
		"PKCS#12, password in UTF8": func(i identity) [3]string {
			return [3]string{i.pfx(t, pkcs12.Modern, "пароль"), "", "пароль"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				emulated := w.emulate(t)
				own := newIdentity(t, 0, time.Hour)
				if err := emulated.SetCertificates(client, own.cert); err != nil {
					t.Fatal(err)
				}
				var log bytes.Buffer
				content := files(own)
				cert, err := openCertificate(t, dir, content[0], content[1], content[2], &log)
				if err != nil {
					t.Fatal(err)
				}
				source := w.certified(t, cert)
				for range 2 { // each exchange signs anew: Entra takes no assertion twice
					if _, err := source.Token(t.Context(), ask()); err != nil {
						t.Fatal(err)
					}
				}
				if got := emulated.Stats().Issued; got != 2 || log.Len() > 0 {
					t.Errorf("%d tokens, want 2; logged %q", got, log.String())
				}
			})
		})
	}
}

func TestChainIsSentWhereAskedFor(t *testing.T) {
	leaf, issuers := chained(t)
	for _, send := range []bool{false, true} {
		w := newWorld(t)
		authority := w.authority(t, grant(bearer, 3600))
		path := secretFile(t, certsPEM(issuers[1], issuers[0], leaf.cert)+leaf.keyPEM())
		cert, err := broker.OpenCertificate(broker.CertificateConfig{File: path, KeyFile: path, SendChain: send}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.certified(t, cert).Token(t.Context(), ask()); err != nil {
			t.Fatal(err)
		}
		assertion, err := entra.ParseJWT(authority.requests()[0].FormValue("client_assertion"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(assertion.Header), `"x5c"`); got != send {
			t.Errorf("send_chain %t: got %s", send, assertion.Header)
		}
	}
}

func TestUnknownCertificateIsNamed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.emulate(t)
		own := newIdentity(t, 0, time.Hour)
		cert, err := openCertificate(t, dir, own.certPEM(), own.keyPEM(), "", new(bytes.Buffer))
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.certified(t, cert).Token(t.Context(), ask())
		e := wantError(t, err, entra.Misconfigured, fmt.Sprintf("Entra refuses the signature of certificate %s (SHA-1 thumbprint %s, SHA-256 %s, expires 2000-01-01T01:00:00Z) for app %s: upload it there",
			filepath.Join(dir, "tls.crt"), thumbprints(own.cert)[0], thumbprints(own.cert)[1], client))
		if e.AADSTS != 700027 {
			t.Errorf("got AADSTS%d, want 700027", e.AADSTS)
		}
	})
}

func TestCertificateOutOfItsTimeIsNamed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		keys, err := appKeys()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := entraemu.NewClientCertificate(keys[0], time.Now().Add(time.Hour), time.Now().Add(2*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if err := emulated.SetCertificates(client, cert); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		file, err := openCertificate(t, dir, certsPEM(cert), keyPEM(keys[0]), "", &log)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "tls.crt")
		if got, want := log.String(), "level=WARN msg=\"certificate is out of its time\""; !strings.Contains(got, want) {
			t.Errorf("logged %q, want %s", got, want)
		}
		source := w.certified(t, file)
		exchange := func() error {
			_, err := source.Token(t.Context(), ask())
			return err
		}
		wantError(t, exchange(), entra.Misconfigured, "certificate "+path+": not valid before 2000-01-01T01:00:00Z: wait, or is the clock of this machine right?")
		time.Sleep(55 * time.Minute) // within the grace Entra decides
		wantError(t, exchange(), entra.Misconfigured, "(AADSTS700027)")
		time.Sleep(5 * time.Minute)
		if err := exchange(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour + time.Minute)
		wantError(t, exchange(), entra.Misconfigured, "(AADSTS700027)")
		time.Sleep(5 * time.Minute)
		wantError(t, exchange(), entra.Misconfigured, "certificate "+path+": expired at 2000-01-01T02:00:00Z: make a new one, upload it to the app, and put it into the file")
		if got := strings.Count(log.String(), "is out of its time"); got != 1 {
			t.Errorf("%d warnings, want one: the same bytes are not parsed again", got)
		}
		writeFile(t, path, "canary") // a new one that is no good is what has to be mended
		wantError(t, exchange(), entra.Misconfigured, "file "+path+": is neither PEM nor a PKCS#12 file")
	})
}

func TestCertificateIsReadAgain(t *testing.T) {
	var log bytes.Buffer
	dir := t.TempDir()
	file, key, password := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "password")
	synctest.Test(t, func(t *testing.T) {
		first, second := newIdentity(t, 0, time.Hour), newIdentity(t, 1, time.Hour)
		w := newWorld(t)
		emulated := w.emulate(t)
		cert, err := openCertificate(t, dir, first.certPEM(), first.keyPEM(), "canary", &log)
		if err != nil {
			t.Fatal(err)
		}
		source := w.certified(t, cert)
		const again, mismatch = "level=INFO msg=\"credential read again\" what=certificate file=", "does not belong to the certificate"
		for _, step := range []struct {
			name    string
			change  func()
			want    identity
			changed bool
			logs    string // the one line that is written at the change; empty: none
		}{
			{"as it was", func() {}, first, false, ""},
			{"written again", func() { writeFile(t, file, first.certPEM()) }, first, false, ""},
			{"the certificate first", func() { writeFile(t, file, second.certPEM()) }, first, false, mismatch},
			{"and then the key", func() { writeFile(t, key, second.keyPEM()) }, second, true, again + file},
			{"the key first", func() { writeFile(t, key, first.keyPEM()) }, second, false, mismatch},
			{"and the wrong one", func() { writeFile(t, file, first.certPEM()[:100]) }, second, false, "neither PEM"},
			{"and then the certificate", func() { writeFile(t, file, first.certPEM()) }, first, true, again + file},
			{"the password gone", func() { _ = os.Remove(password) }, first, false, "file " + password + ": does not exist"},
			{"the password back", func() { writeFile(t, password, "canary") }, first, false, again + file},
			{"the key empty", func() { writeFile(t, key, "") }, first, false, "is empty"},
		} {
			log.Reset()
			step.change()
			if got := cert.Reload(); got != step.changed {
				t.Errorf("%s: changed %t, want %t", step.name, got, step.changed)
			}
			if err := emulated.SetCertificates(client, step.want.cert); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the log says it once
				if _, err := source.Token(t.Context(), ask()); err != nil {
					t.Errorf("%s: %v", step.name, err)
				}
			}
			got := log.String()
			if step.logs == "" && got != "" || !strings.Contains(got, step.logs) || strings.Count(got, "\n") > 1 {
				t.Errorf("%s: logged %q, want one line with %q", step.name, got, step.logs)
			}
			if strings.Contains(got, "canary") {
				t.Errorf("%s: the log leaks: %s", step.name, got)
			}
		}
	})
}
