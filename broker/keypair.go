package broker

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"software.sslmate.com/src/go-pkcs12"

	"tokenbroker/entra"
)

// minKeyBits is the shortest RSA key that package rsa signs with.
const minKeyBits = 1024

// How a file becomes one that can be read.
const (
	reencode  = ": convert it with openssl pkcs12 -in OLD -nodes -out NEW"
	reencrypt = ": convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW"
)

// keyPair is a key, the certificate that it belongs to, and those that certify
// this one, each followed by its issuer's (RFC 7515 §4.1.6).
type keyPair struct {
	key     *rsa.PrivateKey
	leaf    *x509.Certificate
	issuers []*x509.Certificate
}

func (p *keyPair) certificates() []*x509.Certificate {
	return append([]*x509.Certificate{p.leaf}, p.issuers...)
}

// keyParts are the certificates and the one key that files turn out to hold.
type keyParts struct {
	password     entra.Secret
	key          *rsa.PrivateKey
	keyPath      string
	certificates []*x509.Certificate
}

// add takes what a file holds.
func (p *keyParts) add(path string, content []byte) error {
	if fault := p.read(path, content); fault != "" {
		return refuse(path, fault)
	}
	return nil
}

func (p *keyParts) read(path string, content []byte) (fault string) {
	block, rest := pem.Decode(content)
	if block == nil {
		return p.readPFX(path, content)
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return fmt.Sprintf("a certificate in it cannot be decoded (%v)", err)
			}
			p.certificates = append(p.certificates, cert)
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY":
			key, fault := decodeKey(block, p.password.Reveal())
			if fault == "" {
				fault = p.addKey(path, key)
			}
			if fault != "" {
				return fault
			}
		}
	}
	return ""
}

// readPFX reads PKCS#12 (RFC 7292).
func (p *keyParts) readPFX(path string, content []byte) (fault string) {
	if len(bytes.TrimSpace(content)) == 0 {
		return "is empty: put the certificate with its key there"
	}
	if _, err := x509.ParseCertificate(content); err == nil {
		return "is a certificate in DER without its key: convert it with openssl x509 -inform der -in OLD -out NEW, and name the key's file in key_file"
	}
	if tooSlow(content) { // what its password's check covers needs no bound
		return "asks for more work to check its password than can be borne" + reencode
	}
	key, leaf, others, err := pkcs12.DecodeChain(content, p.password.Reveal())
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return passwordFault(p.password.Reveal())
	case err != nil:
		return fmt.Sprintf("is neither PEM nor a PKCS#12 file that can be read (%v)"+reencode, err)
	}
	p.certificates = append(append(p.certificates, leaf), others...)
	return p.addKey(path, key)
}

// addKey takes a key, where it is the only one and can be used.
func (p *keyParts) addKey(path string, key any) (fault string) {
	const remedy = "Entra takes RSA keys only: make a certificate with one (openssl req -x509 -newkey rsa:2048), and upload it to the app"
	switch key := key.(type) {
	case *rsa.PrivateKey:
		switch {
		case p.key != nil && p.keyPath == path:
			return "holds several private keys: leave the one of the certificate"
		case p.key != nil:
			return "holds a private key, and so does " + p.keyPath + ": want one"
		case key.N.BitLen() < minKeyBits:
			return fmt.Sprintf("its key has %d bits, which is no protection: make one of 2048 (openssl req -x509 -newkey rsa:2048)", key.N.BitLen())
		}
		p.key, p.keyPath = key, path
		return ""
	case *ecdsa.PrivateKey:
		return "holds an elliptic-curve key (" + key.Curve.Params().Name + "): " + remedy
	case ed25519.PrivateKey:
		return "holds an Ed25519 key: " + remedy
	}
	return "holds a key that is not RSA: " + remedy
}

// pair puts the parts together; path is that of the certificate.
func (p *keyParts) pair(path string) (*keyPair, error) {
	switch {
	case len(p.certificates) == 0:
		return nil, refuse(path, "holds no certificate: put the one that was uploaded to the app there, as PEM or PKCS#12")
	case p.key == nil:
		return nil, refuse(path, "holds no private key: append it, or name its file in key_file")
	}
	pair := &keyPair{key: p.key}
	var others []*x509.Certificate
	for _, cert := range p.certificates {
		switch own := p.key.PublicKey.Equal(cert.PublicKey); {
		case !own:
			others = append(others, cert)
		case pair.leaf == nil || cert.NotAfter.After(pair.leaf.NotAfter): // of one that was renewed with its key the new one
			pair.leaf = cert
		}
	}
	if pair.leaf == nil {
		return nil, refuse(path, "the private key of "+p.keyPath+" does not belong to the certificate: want the two that were made together")
	}
	pair.issuers = chainOf(pair.leaf, others)
	return pair, nil
}

// chainOf puts the issuers of a certificate in order, as far as they are
// there, and leaves out what is not one of them.
func chainOf(leaf *x509.Certificate, others []*x509.Certificate) (chain []*x509.Certificate) {
	for below := leaf; ; {
		i := slices.IndexFunc(others, func(c *x509.Certificate) bool { return below.CheckSignatureFrom(c) == nil })
		if i < 0 {
			return chain
		}
		below = others[i]
		chain = append(chain, below)
		others = slices.Delete(others, i, i+1)
	}
}

// decodeKey returns the private key of a PEM block, of whichever algorithm.
func decodeKey(block *pem.Block, password string) (key any, fault string) {
	var err error
	switch {
	case block.Type == "OPENSSH PRIVATE KEY":
		return nil, "holds a key of OpenSSH: want the key that the certificate was made with"
	case block.Headers["DEK-Info"] != "": // RFC 1421: one round of MD5
		return nil, "its key is encrypted in the old way of PEM, which protects it badly" + reencrypt
	case block.Type == "ENCRYPTED PRIVATE KEY":
		if password == "" {
			return nil, passwordFault(password)
		}
		der, fault := decryptKey(block.Bytes, password)
		if fault != "" {
			return nil, fault
		}
		if key, err = x509.ParsePKCS8PrivateKey(der); err != nil {
			return nil, passwordFault(password) // one of 256 leaves a padding
		}
		return key, ""
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Sprintf("its private key cannot be decoded (%v)", err)
	}
	return key, ""
}

func passwordFault(password string) string {
	if password == "" {
		return "is encrypted: name the file with its password in password_file"
	}
	return "is encrypted with another password than the one given: correct that"
}
