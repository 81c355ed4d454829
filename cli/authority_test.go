package cli

import (
	"crypto/x509"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/config"
)

// A broker that runs for years shows a certificate that is good, and one that
// its authority has signed.
func TestMadeCertificateIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made, err := newAuthority(names{[]string{"localhost", "broker.internal"}, []net.IP{net.IPv4(127, 0, 0, 1).To4()}})
		must(t, err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(made.pem())
		shown := map[string]bool{}
		for begun := time.Now(); time.Since(begun) < 9*365*24*time.Hour; time.Sleep(29 * 24 * time.Hour) {
			pair, err := made.certificate(nil)
			must(t, err)
			for _, name := range []string{"localhost", "broker.internal", "127.0.0.1"} {
				if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
					t.Fatalf("after %v: %s: %v", time.Since(begun), name, err)
				}
			}
			if again, _ := made.certificate(nil); again != pair {
				t.Error("each handshake has a certificate of its own")
			}
			if left := time.Until(pair.Leaf.NotAfter); left < leafRenewal || left > leafLife {
				t.Errorf("%v is left of it", left)
			}
			shown[pair.Leaf.SerialNumber.String()] = true
		}
		if len(shown) < 9*365/90 {
			t.Errorf("%d certificates in nine years", len(shown))
		}
	})
}

// Whoever had the authority's key could not make a certificate for others.
func TestAuthorityIsForTheListenersOnly(t *testing.T) {
	cfg := &config.Config{}
	cfg.Listen.Callers = []config.Listener{
		{Address: config.Address{Host: "broker.internal"}, TLS: config.TLS{On: true}},
		{Address: config.Address{Host: "10.1.2.3"}, TLS: config.TLS{On: true}},
		{Address: config.Address{Host: "fe80::1%eth0"}, TLS: config.TLS{On: true}},
		{Address: config.Address{Host: "0.0.0.0"}, TLS: config.TLS{On: true}},
		{Address: config.Address{}, TLS: config.TLS{On: true}},
		{Address: config.Address{Host: "plain.internal"}},
		{Address: config.Address{Host: "other.internal"}, TLS: config.TLS{On: true, CertFile: "/c", KeyFile: "/k"}},
	}
	made, err := newAuthority(namesOf(cfg))
	must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(made.cert)
	for host, good := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "::1": true, "broker.internal": true, "10.1.2.3": true, "fe80::1": true,
		"plain.internal": false, "other.internal": false, "login.microsoftonline.com": false, "127.0.0.2": false, "0.0.0.0": false,
	} {
		template := &x509.Certificate{NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = []net.IP{ip}
		} else {
			template.DNSNames = []string{host}
		}
		leaf, _, err := certify(template, made.cert, made.key)
		must(t, err)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots}); (err == nil) != good {
			t.Errorf("%s: %v", host, err)
		}
	}
	// Nor could somebody below it.
	lifetime := func(c x509.Certificate) *x509.Certificate {
		c.NotBefore, c.NotAfter = time.Now(), time.Now().Add(time.Hour)
		return &c
	}
	below, key, err := certify(lifetime(x509.Certificate{IsCA: true, BasicConstraintsValid: true}), made.cert, made.key)
	must(t, err)
	leaf, _, err := certify(lifetime(x509.Certificate{DNSNames: []string{"localhost"}}), below, key)
	must(t, err)
	between := x509.NewCertPool()
	between.AddCert(below)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err == nil {
		t.Error("an authority below it certifies too")
	}
	// Nor is what it signs good for anything but a listener.
	leaf, _, err = certify(lifetime(x509.Certificate{DNSNames: []string{"localhost"}}), made.cert, made.key)
	must(t, err)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("it certifies clients")
	}
}
