package broker_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// thumbprints are those that the portal shows, by SHA-1 and by SHA-256.
func thumbprints(cert *x509.Certificate) [2]string {
	return [2]string{fmt.Sprintf("%X", sha1.Sum(cert.Raw)), fmt.Sprintf("%X", sha256.Sum256(cert.Raw))}
}

// chained is an identity that is certified by two authorities, the root last.
func chained(t *testing.T) (leaf identity, issuers [2]*x509.Certificate) {
	t.Helper()
	keys, err := appKeys()
	if err != nil {
		t.Fatal(err)
	}
	certify := func(name string, key, by *rsa.PrivateKey, issuer *x509.Certificate) *x509.Certificate {
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			BasicConstraintsValid: true, IsCA: name != "leaf",
		}
		if issuer == nil {
			issuer = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	root := certify("root", keys[2], keys[2], nil)
	intermediate := certify("intermediate", keys[1], keys[2], root)
	return identity{keys[0], certify("leaf", keys[0], keys[1], intermediate)}, [2]*x509.Certificate{intermediate, root}
}

func TestLeafLeadsItsChainInOrder(t *testing.T) {
	leaf, issuers := chained(t)
	stranger := newIdentity(t, 2, time.Hour).cert
	renewed, err := entraemu.NewClientCertificate(leaf.key, time.Now(), time.Now().Add(48*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ certs, want []*x509.Certificate }{
		"alone":                      {[]*x509.Certificate{leaf.cert}, []*x509.Certificate{leaf.cert}},
		"in order":                   {[]*x509.Certificate{leaf.cert, issuers[0], issuers[1]}, []*x509.Certificate{leaf.cert, issuers[0], issuers[1]}},
		"root first":                 {[]*x509.Certificate{issuers[1], issuers[0], leaf.cert}, []*x509.Certificate{leaf.cert, issuers[0], issuers[1]}},
		"twice":                      {[]*x509.Certificate{leaf.cert, leaf.cert, issuers[0], issuers[0]}, []*x509.Certificate{leaf.cert, issuers[0]}},
		"a stranger between":         {[]*x509.Certificate{leaf.cert, stranger, issuers[0]}, []*x509.Certificate{leaf.cert, issuers[0]}},
		"a gap":                      {[]*x509.Certificate{leaf.cert, issuers[1]}, []*x509.Certificate{leaf.cert}},
		"renewed, the key as before": {[]*x509.Certificate{leaf.cert, renewed, issuers[0]}, []*x509.Certificate{renewed}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := broker.ParsePair([]byte(certsPEM(tc.certs...)), []byte(leaf.keyPEM()), "")
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got, tc.want, (*x509.Certificate).Equal) {
				t.Errorf("got %v, want %v", names(got), names(tc.want))
			}
			if len(tc.want) == 1 {
				return // PKCS#12 names the leaf first, so its order says nothing
			}
			pfx, err := pkcs12.Modern.Encode(leaf.key, tc.certs[0], tc.certs[1:], "")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := broker.ParsePair(pfx, nil, ""); err != nil || !slices.EqualFunc(got, tc.want, (*x509.Certificate).Equal) {
				t.Errorf("PKCS#12: got %v, %v; want %v", names(got), err, names(tc.want))
			}
		})
	}
}

func names(certs []*x509.Certificate) (names []string) {
	for _, cert := range certs {
		names = append(names, cert.Subject.CommonName)
	}
	return names
}

func TestFilesOfOpenSSLAreRead(t *testing.T) {
	cert := openssl(t, "cert.pem")
	for name, tc := range map[string]struct{ file, keyFile string }{
		"AES-256":                {cert, openssl(t, "aes256.key")},
		"AES-192 and SHA-512":    {cert, openssl(t, "aes192-sha512.key")},
		"AES-128 and SHA-1":      {cert, openssl(t, "aes128-sha1.key")},
		"3DES":                   {cert, openssl(t, "des3.key")},
		"key and cert, one file": {openssl(t, "aes256.key") + cert, ""},
		"PKCS#12":                {openssl(t, "modern.p12"), ""},
		"PKCS#12 -legacy":        {openssl(t, "legacy.p12"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := broker.ParsePair([]byte(tc.file), []byte(tc.keyFile), "canary")
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || got[0].Subject.CommonName != "openssl" {
				t.Errorf("got %v", names(got))
			}
		})
	}
}

// shortKey is one that package rsa does not make.
const shortKey = `-----BEGIN RSA PRIVATE KEY-----
MIIBOgIBAAJBAMg5SFkUicL7TdX3Abz3IUWFhiI7KgQ3rS9hOjD+RPH1rGhAXKZR
94qRoSOL8OQ392QxHI1OCpQet6wRsL43ct0CAwEAAQJAFPSB0OjoXiLFC661XNyU
e900o6KDjDtzgbDwUS5bcuMvCGysnOPtjWemSYKDgXcK1UggtEm3a2O0i9jSBBLT
gQIhAOdRAoPgs+Kk8lQj5Mitxx9D6rHbXXLitDm3cvxaycL9AiEA3Zbl3+Et3xoN
yfz5HkkU+wxrqncHLxwBp0oAdZPOJWECIEjD6w6hOPUq/jAJuoaGZAUp0EJyx0rE
lf0yADHyPVXhAiAsOodNhWubgV7JN1YeBmZKqbL/xlxHueZWlr26ujLGYQIhALmj
u9Dlf9qT9qTxmGfzglxKD+t4QdkjT1elstUH4i7n
-----END RSA PRIVATE KEY-----
`

// slow is DER whose check takes some hours.
func slow(t *testing.T) string {
	t.Helper()
	type macData struct {
		Salt       []byte
		Iterations int
	}
	der, err := asn1.Marshal(struct {
		Version int
		MAC     macData
	}{3, macData{[]byte("salt"), 1 << 31}})
	if err != nil {
		t.Fatal(err)
	}
	return string(der)
}

func TestUnusableCertificateIsNamed(t *testing.T) {
	own, other := newIdentity(t, 0, time.Hour), newIdentity(t, 1, time.Hour)
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecCert, err := entraemu.NewClientCertificate(ec, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ecPFX, err := pkcs12.Modern.Encode(ec, ecCert, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind, content string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)}))
	}
	const remedy = "Entra takes RSA keys only: make a certificate with one (openssl req -x509 -newkey rsa:2048), and upload it to the app"
	for name, tc := range map[string]struct {
		file, keyFile, password string
		says                    string // after the name of the file; K: of the key file, P: of that of the password
	}{
		"empty":                 {" \n", "", "", "is empty: put the certificate with its key there"},
		"garbage":               {"canary", "", "", "is neither PEM nor a PKCS#12 file that can be read (pkcs12: "},
		"base64 of PKCS#12":     {base64.StdEncoding.EncodeToString(ecPFX), "", "", "is neither PEM nor a PKCS#12 file"},
		"DER":                   {string(own.cert.Raw), "", "", "is a certificate in DER without its key: convert it with openssl x509 -inform der -in OLD -out NEW"},
		"no key":                {own.certPEM(), "", "", "holds no private key: append it, or name its file in key_file"},
		"no certificate":        {own.keyPEM(), "", "", "holds no certificate"},
		"a request":             {block("CERTIFICATE REQUEST", "x") + own.keyPEM(), "", "", "holds no certificate"},
		"damaged certificate":   {block("CERTIFICATE", "canary") + own.keyPEM(), "", "", "a certificate in it cannot be decoded (x509: "},
		"damaged key":           {own.certPEM(), block("PRIVATE KEY", "canary"), "", "K its private key cannot be decoded (asn1: "},
		"key of another":        {own.certPEM(), other.keyPEM(), "", "the private key of K does not belong to the certificate: want the two that were made together"},
		"two keys":              {own.certPEM() + own.keyPEM() + own.keyPEM(), "", "", "holds several private keys: leave the one of the certificate"},
		"two keys in two files": {own.certPEM() + own.keyPEM(), own.keyPEM(), "", "K holds a private key, and so does F: want one"},
		"EC":                    {certsPEM(ecCert), keyPEM(ec), "", "K holds an elliptic-curve key (P-384): " + remedy},
		"EC of SEC 1":           {certsPEM(ecCert) + block("EC PARAMETERS", "x") + block("EC PRIVATE KEY", string(sec1)), "", "", "holds an elliptic-curve key (P-384): " + remedy},
		"EC in PKCS#12":         {string(ecPFX), "", "", "holds an elliptic-curve key (P-384): " + remedy},
		"Ed25519":               {own.certPEM(), keyPEM(ed), "", "K holds an Ed25519 key: " + remedy},
		"X25519":                {own.certPEM(), keyPEM(x), "", "K holds a key that is not RSA: " + remedy},
		"short":                 {own.certPEM(), shortKey, "", "K its key has 512 bits, which is no protection: make one of 2048"},
		"of OpenSSH":            {own.certPEM(), block("OPENSSH PRIVATE KEY", "canary"), "", "K holds a key of OpenSSH"},

		"encrypted, no password":       {openssl(t, "cert.pem"), openssl(t, "aes256.key"), "", "K is encrypted: name the file with its password in password_file"},
		"encrypted, wrong password":    {openssl(t, "cert.pem"), openssl(t, "aes256.key"), "canary2", "K is encrypted with another password than the one given"},
		"PKCS#12, no password":         {openssl(t, "modern.p12"), "", "", "is encrypted: name the file with its password in password_file"},
		"PKCS#12, wrong password":      {openssl(t, "legacy.p12"), "", "canary2", "is encrypted with another password than the one given"},
		"PKCS#12, impossible password": {openssl(t, "legacy.p12"), "", "canary😀", "is neither PEM nor a PKCS#12 file that can be read (pkcs12: "},
		"PKCS#12, too many iterations": {slow(t), "", "", "asks for more work to check its password than can be borne: convert it with openssl pkcs12"},
		"encrypted with scrypt":        {openssl(t, "cert.pem"), openssl(t, "scrypt.key"), "canary", "K its key is encrypted in a way that is not known here, or damaged: convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW"},
		"encrypted with Camellia":      {openssl(t, "cert.pem"), openssl(t, "camellia.key"), "canary", "K its key is encrypted in a way that is not known here"},
		"keyed by SHA-384":             {openssl(t, "cert.pem"), openssl(t, "sha384.key"), "canary", "K its key is encrypted in a way that is not known here"},
		"encrypted with PBES1":         {openssl(t, "cert.pem"), openssl(t, "pbes1.key"), "canary", "K its key is encrypted in a way that is not known here"},
		"encrypted in the old way":     {openssl(t, "cert.pem"), openssl(t, "traditional.key"), "canary", "K its key is encrypted in the old way of PEM, which protects it badly: convert it with openssl pkcs8 -topk8"},
		"encrypted, damaged":           {openssl(t, "cert.pem"), block("ENCRYPTED PRIVATE KEY", "canary"), "canary", "K its key is encrypted in a way that is not known here, or damaged"},
		"a password of two lines":      {own.certPEM(), own.keyPEM(), "canary\ncanary", "P has several lines"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := openCertificate(t, dir, tc.file, tc.keyFile, tc.password, new(bytes.Buffer))
			file, key, password := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "password")
			says := "file " + file + ": " + tc.says
			if rest, ok := strings.CutPrefix(tc.says, "K "); ok {
				says = "file " + key + ": " + rest
			} else if rest, ok := strings.CutPrefix(tc.says, "P "); ok {
				says = "file " + password + ": " + rest
			}
			says = strings.NewReplacer(" K ", " "+key+" ", " F:", " "+file+":").Replace(says)
			wantError(t, err, entra.Misconfigured, says)
		})
	}
	t.Run("missing", func(t *testing.T) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "tls.crt"), own.certPEM())
		key := filepath.Join(dir, "tls.key")
		_, err := broker.OpenCertificate(broker.CertificateConfig{File: filepath.Join(dir, "tls.crt"), KeyFile: key}, slog.New(slog.DiscardHandler))
		wantError(t, err, entra.Misconfigured, "file "+key+": does not exist: mount it, or correct the path")
	})
}

// Whatever the files hold: they are refused by name, or they are a pair.
func FuzzCertificate(f *testing.F) {
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join("testdata", "openssl", name))
		if err != nil {
			f.Fatal(err)
		}
		return content
	}
	cert := read("cert.pem")
	f.Add(cert, []byte(shortKey), "")
	for _, name := range []string{"aes256.key", "des3.key", "aes128-sha1.key", "pbes1.key", "traditional.key"} {
		f.Add(cert, read(name), "canary")
	}
	for _, name := range []string{"modern.p12", "legacy.p12"} {
		f.Add(read(name), []byte(nil), "canary")
		f.Add(read(name), []byte(nil), "")
	}
	f.Fuzz(func(t *testing.T, file, keyFile []byte, password string) {
		certs, err := broker.ParsePair(file, keyFile, password)
		if err == nil && len(certs) == 0 {
			t.Error("a pair without a certificate")
		}
		if err != nil && (entra.KindOf(err) != entra.Misconfigured || !strings.Contains(err.Error(), "file: ")) {
			t.Errorf("got %v, want a file named", err)
		}
	})
}
