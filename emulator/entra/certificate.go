package entraemu

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"time"

	"tokenbroker/entra"
)

// NewClientCertificate returns a certificate for an app's key, signed with the
// key itself, which is all that Entra asks of one.
func NewClientCertificate(key crypto.Signer, from, until time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "tokenbroker emulator client"},
		NotBefore:   from,
		NotAfter:    until,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, entra.Errorf(entra.Invalid, "emulator.certificate", "sign a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, entra.Errorf(entra.Internal, "emulator.certificate", "read back a certificate: %w", err)
	}
	return cert, nil
}
