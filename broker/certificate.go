package broker

import (
	"context"
	"crypto/sha1" //nolint:gosec // the portal calls a certificate by its SHA-1
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"

	"tokenbroker/entra"
)

// CertificateConfig says where an app's certificate and its RSA key are.
type CertificateConfig struct {
	File         string       // PEM, or PKCS#12 (.pfx, .p12): the certificate, those of its issuers, and the key
	KeyFile      string       // PEM: the key; empty: it is in File
	PasswordFile string       // the password of the key or of the PKCS#12 file; empty: Password
	Password     entra.Secret // zero: there is none
	SendChain    bool         // sends the certificates along, for an app that trusts by subject and issuer
}

// CertificateFile is an app's certificate with its key, in files. The files
// are taken together or not at all: where the key does not belong to the
// certificate, as between two files that are replaced one after the other, the
// pair of before stays in use, and that is logged once.
type CertificateFile struct {
	*files[*keyPair]
	chain bool
}

// OpenCertificate reads the files for the first time; then they must be good.
// A certificate that is out of its time opens, with a warning: the fault may
// be that of the clock, and it is one identity's alone. Its exchanges fail.
func OpenCertificate(cfg CertificateConfig, logger *slog.Logger) (*CertificateFile, error) {
	if cfg.KeyFile == cfg.File {
		cfg.KeyFile = ""
	}
	parse := func(contents [][]byte) (*keyPair, error) {
		pair, err := cfg.parse(contents)
		if err != nil {
			return nil, err
		}
		if err := outOfTime(cfg.File, inFile, pair.leaf); err != nil {
			logger.Warn("certificate is out of its time", "err", err)
		}
		return pair, nil
	}
	held, err := openFiles("certificate", logger, parse, cfg.File, cfg.KeyFile, cfg.PasswordFile)
	if err != nil {
		return nil, err
	}
	return &CertificateFile{held, cfg.SendChain}, nil
}

// parse takes the pair out of the contents of the files.
func (c *CertificateConfig) parse(contents [][]byte) (*keyPair, error) {
	password := c.Password
	if c.PasswordFile != "" {
		var err error
		if password, err = parseCredential(c.PasswordFile, contents[2]); err != nil {
			return nil, err
		}
	}
	parts := keyParts{password: password}
	if err := parts.add(c.File, contents[0]); err != nil {
		return nil, err
	}
	if c.KeyFile != "" {
		if err := parts.add(c.KeyFile, contents[1]); err != nil {
			return nil, err
		}
	}
	return parts.pair(c.File)
}

// Expires is when the certificate ends.
func (f *CertificateFile) Expires() time.Time {
	pair, _ := f.now()
	return pair.leaf.NotAfter
}

func (f *CertificateFile) proof(context.Context) (proof, error) {
	pair, fault := f.now()
	if err := outOfTime(f.paths[0], inFile, pair.leaf); err != nil {
		if fault != nil {
			return proof{}, fault // mending it brings a new certificate
		}
		return proof{}, err
	}
	cred, err := confidential.NewCredFromCert(pair.certificates(), pair.key)
	if err != nil {
		return proof{}, entra.Errorf(entra.Internal, opCredential, "%s: MSAL takes no pair that matches", f)
	}
	p := proof{
		credential: cred,
		name:       "certificate " + f.paths[0] + " (" + describe(pair.leaf) + ")",
		unknown:    "upload it there, under Certificates & secrets, or put the one that is there into the file",
	}
	if f.chain {
		p.options = []confidential.Option{confidential.WithX5C()}
	}
	return p, nil
}

// describe names a certificate by what the portal shows of it.
func describe(cert *x509.Certificate) string {
	return fmt.Sprintf("SHA-1 thumbprint %X, SHA-256 %X, expires %s",
		sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw), stamp(cert.NotAfter)) //nolint:gosec // see the import
}

// inFile is what to do with a new certificate.
const inFile = "put it into the file"

// outOfTime names what is certain to be refused; replace is what to do with a
// new certificate.
func outOfTime(name, replace string, cert *x509.Certificate) error {
	switch now := time.Now(); {
	case now.After(cert.NotAfter.Add(expiryGrace)):
		return entra.Errorf(entra.Misconfigured, opCredential,
			"certificate %s: expired at %s: make a new one, upload it to the app, and %s", name, stamp(cert.NotAfter), replace)
	case now.Before(cert.NotBefore.Add(-expiryGrace)):
		return entra.Errorf(entra.Misconfigured, opCredential,
			"certificate %s: not valid before %s: wait, or is the clock of this machine right?", name, stamp(cert.NotBefore))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
