// Package emulator is what the fake Entra and the fake Defender stand on: a
// certificate authority made at start, and a network in memory, so that the
// demo and every test speak real TLS without a packet leaving the process.
package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"time"

	"tokenbroker/entra"
)

// validity is how long the authority and its certificates hold from the moment
// they are made; backdated is for clients whose clock is a little behind.
const (
	validity  = 365 * 24 * time.Hour
	backdated = time.Hour
)

// CA is a certificate authority that lives as long as the process. Its key is
// never written anywhere, so trusting its certificate trusts this process only.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes an authority whose certificate is good for a year from now. A
// synctest bubble has a clock of its own: make the authority inside.
func NewCA() (*CA, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "tokenbroker emulator CA"},
		NotBefore:             time.Now().Add(-backdated),
		NotAfter:              time.Now().Add(validity),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, entra.Errorf(entra.Internal, "emulator.ca", "make a key: %w", err)
	}
	cert, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &CA{cert: cert, key: key}, nil
}

// PEM returns the authority's certificate, the one to trust.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// Pool returns a pool with nothing but the authority's certificate.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// WriteFile writes the authority's certificate to a file, in one step: whoever
// waits for the file never reads half of it.
func (c *CA) WriteFile(name string) error {
	if err := c.writeFile(name); err != nil {
		return entra.Errorf(entra.Invalid, "emulator.ca", "write the certificate of the authority: %w: name a file in a folder that can be written to", err)
	}
	return nil
}

func (c *CA) writeFile(name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".ca-*.pem")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(c.PEM())
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err = os.Chmod(f.Name(), 0o644); err != nil { //nolint:gosec // a certificate is public, and CreateTemp made it private
		return err
	}
	return os.Rename(f.Name(), name)
}

// ServerTLS returns the TLS side of a server that stands for the hosts, names
// or IP addresses. With hosts that no certificate can name, every handshake
// fails.
func (c *CA) ServerTLS(hosts ...string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if leaf, err := c.leaf(hosts); err != nil {
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, err }
	} else {
		config.Certificates = []tls.Certificate{*leaf}
	}
	return config
}

func (c *CA) leaf(hosts []string) (*tls.Certificate, error) {
	template := &x509.Certificate{
		NotBefore:   time.Now().Add(-backdated),
		NotAfter:    c.cert.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, entra.Errorf(entra.Internal, "emulator.ca", "make a key: %w", err)
	}
	cert, err := sign(template, c.cert, &key.PublicKey, c.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// sign makes a certificate; a missing serial number is drawn at random.
func sign(template, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, entra.Errorf(entra.Invalid, "emulator.ca", "sign a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, entra.Errorf(entra.Internal, "emulator.ca", "read back a certificate: %w", err)
	}
	return cert, nil
}
