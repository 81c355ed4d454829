package setup

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Certificate is a certificate whose public part Entra is told. The private key
// stays where it is.
type Certificate struct {
	PEM     []byte // the public part, alone
	File    string // where the broker reads the certificate
	KeyFile string // where the broker reads the private key; empty: in File too
}

func (c Certificate) check(w *Want) []error {
	faults := []error{checkPath("certificate file", c.File)}
	if c.KeyFile != "" {
		faults = append(faults, checkPath("key file", c.KeyFile))
	}
	cert, err := c.parse()
	if err != nil {
		return append(faults, err)
	}
	if _, isRSA := cert.PublicKey.(*rsa.PublicKey); !isRSA {
		faults = append(faults, fmt.Errorf("certificate: its key is %s; Entra takes RSA", cert.PublicKeyAlgorithm))
	}
	if !w.Now.Before(cert.NotAfter) {
		faults = append(faults, fmt.Errorf("certificate: expired on %s", cert.NotAfter.Format(time.DateOnly)))
	}
	return faults
}

// parse reads the certificate. A private key beside it is refused, not
// overlooked: the script that the certificate goes into is passed around.
func (c Certificate) parse() (*x509.Certificate, error) {
	if bytes.Contains(c.PEM, []byte("PRIVATE KEY")) {
		return nil, errors.New("certificate: has a private key in it; want the public part alone (openssl x509 -in FILE -out PUBLIC.pem)")
	}
	block, rest := pem.Decode(c.PEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("certificate: want one in PEM, beginning with -----BEGIN CERTIFICATE-----")
	}
	if another, _ := pem.Decode(rest); another != nil {
		return nil, errors.New("certificate: more than one; want the application's alone, without its chain")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, errors.New("certificate: cannot be read; is the file damaged?")
	}
	return cert, nil
}

func (c Certificate) config() []line {
	lines := []line{{text: "kind: certificate"}, {text: "file: " + yamlQuote(c.File)}}
	if c.KeyFile != "" {
		lines = append(lines, line{text: "key_file: " + yamlQuote(c.KeyFile)})
	}
	return lines
}

func (c Certificate) view(quote func(string) quoted) *certificateView {
	cert, err := c.parse()
	if err != nil {
		return nil // New has refused it
	}
	der := base64.StdEncoding.EncodeToString(cert.Raw)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	return &certificateView{
		PEM: quote(strings.TrimSuffix(string(text), "\n")), DER: quote(der), Until: rfc3339(cert.NotAfter),
	}
}
