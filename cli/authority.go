package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tokenbroker/config"
	"tokenbroker/entra"
)

// How long the certificates that are made here are good. Programs read the
// authority's once, so it outlives the process; the listeners' own is made anew
// while there is time left of the one before.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	leafRenewal   = 30 * 24 * time.Hour // before its end
	backdated     = time.Hour           // for clients whose clock is a little behind
)

// authority certifies the listeners of this process, and ends with it: its key
// is never written, so to trust it is to trust this process only. It can certify
// the listeners' names and no others (RFC 5280 §4.2.1.10), so that whoever got
// at the key could not stand for anybody else. It is safe for concurrent use.
type authority struct {
	names names
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey

	mu   sync.Mutex // guards leaf, and is held while it is made anew
	leaf *tls.Certificate
}

// names are what a certificate is for.
type names struct {
	dns []string
	ips []net.IP
}

// namesOf are those by which programs call the listeners whose certificate is
// made here: localhost, its addresses, the hosts of the settings, and those that
// a hosts file may point to them.
func namesOf(cfg *config.Config) names {
	n := names{[]string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback}}
	for _, l := range cfg.Listen.Callers {
		if l.TLS.On && l.TLS.CertFile == "" {
			n.add(l.Address.Host)
			n.add(impersonated(cfg, &l))
		}
	}
	return n
}

func (n *names) add(host string) {
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "":
	case err != nil && !slices.Contains(n.dns, host):
		n.dns = append(n.dns, host)
	case err == nil && !ip.IsUnspecified():
		n.ips = append(n.ips, net.IP(ip.Unmap().AsSlice()))
	}
}

// impersonated is the host of the upstream for which a listener can stand
// unnoticed, where a hosts file leads there; empty: none. It takes TLS: by that
// name, no page gets there whose own name was rebound.
func impersonated(cfg *config.Config, l *config.Listener) string {
	if l.Route == "" || l.Forward || !l.TLS.On {
		return ""
	}
	r, err := cfg.Table.Route(l.Route)
	if err != nil { // closed since the listener was opened
		return ""
	}
	return r.Upstream.Hostname()
}

func newAuthority(n names) (*authority, error) {
	template := &x509.Certificate{
		Subject:                     pkix.Name{CommonName: "tokenbroker listener CA"},
		NotBefore:                   time.Now().Add(-backdated),
		NotAfter:                    time.Now().Add(authorityLife),
		KeyUsage:                    x509.KeyUsageCertSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         n.dns,
	}
	for _, ip := range n.ips {
		bits := 8 * len(ip)
		template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)})
	}
	a := &authority{names: n}
	var err error
	a.cert, a.key, err = certify(template, template, nil)
	return a, err
}

// pem is the certificate to trust.
func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// certificate returns the listeners' certificate, a new one where the time of
// the one before is nearly up.
func (a *authority) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaf != nil && time.Until(a.leaf.Leaf.NotAfter) > leafRenewal {
		return a.leaf, nil
	}
	cert, key, err := certify(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "tokenbroker"},
		NotBefore:   time.Now().Add(-backdated),
		NotAfter:    time.Now().Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    a.names.dns,
		IPAddresses: a.names.ips,
	}, a.cert, a.key)
	if err != nil {
		return nil, err
	}
	a.leaf = &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
	return a.leaf, nil
}

// certify makes a key and a certificate for it, signed by the issuer; without
// an issuer's key, by itself.
func certify(template, issuer *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	const op = "cli.certify"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, entra.Errorf(entra.Internal, op, "make a key: %w", err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, by)
	if err != nil {
		return nil, nil, entra.Errorf(entra.Internal, op, "sign a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, entra.Errorf(entra.Internal, op, "read back a certificate: %w", err)
	}
	return cert, key, nil
}
