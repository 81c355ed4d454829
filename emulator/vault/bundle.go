package vaultemu

import (
	"crypto/sha1" //nolint:gosec // RFC 7517 §4.8: an x5t is a SHA-1
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"time"
)

// bundle is an object of a vault's answers.
type bundle map[string]any

// id is the full name of a version.
func (c *call) id(in Collection, v *version) string {
	return "https://" + c.host + "/" + string(in) + "/" + c.name + "/" + v.id
}

// describe writes the attributes; times that are not said are left out.
func (v *version) describe() bundle {
	b := bundle{
		"enabled": !v.attributes.Disabled, "created": v.created.Unix(), "updated": v.updated.Unix(),
		"recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90,
	}
	for name, t := range map[string]time.Time{"nbf": v.attributes.NotBefore, "exp": v.attributes.Expires} {
		if !t.IsZero() {
			b[name] = t.Unix()
		}
	}
	return b
}

// secret answers GET /secrets. Disabling a version is what takes it away; its
// times do not.
func (s *Server) secret(c *call) (any, *refusal) {
	v, no := s.find(Secrets, c)
	if no != nil {
		return nil, no
	}
	if v.attributes.Disabled {
		return nil, forbidden("SecretDisabled", "Operation get is not allowed on a disabled secret.")
	}
	b := bundle{"value": v.secret.Reveal(), "id": c.id(Secrets, v), "attributes": v.describe(), "tags": bundle{}}
	if v.managed {
		b["contentType"], b["kid"], b["managed"] = v.contentType, c.id(Keys, v), true
	}
	return b, nil
}

// key answers GET /keys, with the public half. A disabled key can be looked at.
func (s *Server) key(c *call) (any, *refusal) {
	v, no := s.find(Keys, c)
	if no != nil {
		return nil, no
	}
	jwk := bundle{
		"kid": c.id(Keys, v), "kty": "RSA", "key_ops": []string{"sign", "verify"},
		"n": base64.RawURLEncoding.EncodeToString(v.key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(v.key.E)).Bytes()),
	}
	b := bundle{"key": jwk, "attributes": v.describe(), "tags": bundle{}}
	if v.managed {
		b["managed"] = true
	}
	return b, nil
}

// certificate answers GET /certificates. Of a chain only the leaf is told here;
// the secret has the rest. A disabled certificate can be looked at.
func (s *Server) certificate(c *call) (any, *refusal) {
	v, no := s.find(Certificates, c)
	if no != nil {
		return nil, no
	}
	sum := sha1.Sum(v.cert.Raw) //nolint:gosec // see the import
	issuer := "Unknown"
	if string(v.cert.RawIssuer) == string(v.cert.RawSubject) {
		issuer = "Self"
	}
	months := int(v.cert.NotAfter.Sub(v.cert.NotBefore) / (30 * 24 * time.Hour))
	return bundle{
		"id": c.id(Certificates, v), "kid": c.id(Keys, v), "sid": c.id(Secrets, v),
		"x5t": base64.RawURLEncoding.EncodeToString(sum[:]), "cer": v.cert.Raw, // encoding/json: standard base64, as here
		"attributes": v.describe(), "tags": bundle{},
		"policy": bundle{
			"id":               "https://" + c.host + "/certificates/" + c.name + "/policy",
			"key_props":        bundle{"exportable": v.exportable, "kty": "RSA", "key_size": v.key.N.BitLen(), "reuse_key": false},
			"secret_props":     bundle{"contentType": v.contentType},
			"x509_props":       bundle{"subject": v.cert.Subject.String(), "sans": bundle{"dns_names": v.cert.DNSNames}, "validity_months": months},
			"issuer":           bundle{"name": issuer},
			"lifetime_actions": []bundle{},
			"attributes":       bundle{"enabled": true, "created": v.created.Unix(), "updated": v.updated.Unix()},
		},
	}, nil
}

// pem is the content of the certificate's secret: its key, if that may leave,
// its leaf and its chain.
func (c *Certificate) pem() (string, error) {
	var b strings.Builder
	if c.Exportable {
		der, err := x509.MarshalPKCS8PrivateKey(c.Key)
		if err != nil {
			return "", err
		}
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	for _, cert := range append([]*x509.Certificate{c.Leaf}, c.Chain...) {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	return b.String(), nil
}
