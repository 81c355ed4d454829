//go:build unix

package cli

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tokenbroker/emulator"
	entraemu "tokenbroker/emulator/entra"
)

// clientID is that of the nth app; the first is the default one.
func clientID(n int) string {
	return strings.ReplaceAll(entraemu.DefaultClient, "1", fmt.Sprint(n+1))
}

// rotatingIdentities are one identity of each kind of credential.
const rotatingIdentities = `
authority: ENTRA
identities:
  default: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: secret, file: DIR/secret/client-secret}}
  volume: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 22222222-2222-2222-2222-222222222222, credential: {kind: certificate, file: DIR/volume/tls.crt, key_file: DIR/volume/tls.key}}
  plain: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 33333333-3333-3333-3333-333333333333, credential: {kind: certificate, file: DIR/plain/tls.crt, key_file: DIR/plain/tls.key}}
  projected: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 44444444-4444-4444-4444-444444444444, credential: {kind: workload-identity, token_file: DIR/projected/token}}
routes:
  default: {upstream: DEFENDER, identity: default, scope: 'https://api.securitycenter.microsoft.com/.default', rate: off}
  volume: {upstream: DEFENDER, identity: volume, scope: 'https://api.securitycenter.microsoft.com/.default', rate: off}
  plain: {upstream: DEFENDER, identity: plain, scope: 'https://api.securitycenter.microsoft.com/.default', rate: off}
  projected: {upstream: DEFENDER, identity: projected, scope: 'https://api.securitycenter.microsoft.com/.default', rate: off}
`

// rotation is a kind of credential, its generations by number.
type rotation struct {
	identity string
	allow    func(generations ...int) error                      // makes Entra take these and no others
	proof    func(generation int) string                         // how the tap knows it
	files    func(generation int) map[string]string              // that hold it
	put      func(generation int, files map[string]string) error // into their place
}

func (r *rotation) swap(generation int) error { return r.put(generation, r.files(generation)) }

// into swaps the files of a volume.
func into(v *emulator.Volume) func(int, map[string]string) error {
	return func(_ int, files map[string]string) error { return v.Swap(files) }
}

// clientKeys are the keys of certificates. To make one takes longer than a rotation.
var clientKeys = sync.OnceValues(func() (keys [3]*rsa.PrivateKey, err error) {
	for i := range keys {
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return keys, err
		}
	}
	return keys, nil
})

// clusterKeys are an issuer that changes its key.
var clusterKeys = sync.OnceValues(func() (issuers [3]*entraemu.FederatedIssuer, err error) {
	for i := range issuers {
		if issuers[i], err = entraemu.NewFederatedIssuer("https://cluster.example"); err != nil {
			return issuers, err
		}
	}
	return issuers, nil
})

// pairs are certificates with their keys; no two in a row have the same key.
type pairs struct {
	t    *testing.T
	mu   sync.Mutex
	made map[int]*x509.Certificate
}

func (p *pairs) cert(generation int) *x509.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made == nil {
		p.made = map[int]*x509.Certificate{}
	}
	if p.made[generation] == nil {
		keys, err := clientKeys()
		if err == nil {
			p.made[generation], err = entraemu.NewClientCertificate(keys[generation%len(keys)], time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		}
		if err != nil {
			p.t.Error(err)
		}
	}
	return p.made[generation]
}

func (p *pairs) files(generation int) map[string]string {
	keys, err := clientKeys()
	if err != nil {
		p.t.Error(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return map[string]string{
		"tls.crt": block("CERTIFICATE", p.cert(generation).Raw),
		"tls.key": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(keys[generation%len(keys)])),
	}
}

func (p *pairs) thumbprint(generation int) string {
	sum := sha256.Sum256(p.cert(generation).Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (p *pairs) allow(s *site, client string) func(generations ...int) error {
	return func(generations ...int) error {
		var certs []*x509.Certificate
		for _, n := range generations {
			certs = append(certs, p.cert(n))
		}
		return s.entra.SetCertificates(client, certs...)
	}
}

// newRotations makes a site whose Entra knows an app for each kind, and what
// rotates their credentials. Generation 0 is in place.
func newRotations(t *testing.T) (*site, []rotation) {
	t.Helper()
	issuers, err := clusterKeys()
	must(t, err)
	s := newSite(t, func(known *entraemu.Config) {
		first := known.Apps[0]
		known.Apps = known.Apps[:1:1]
		for n := 1; n < 4; n++ {
			known.Apps = append(known.Apps, entraemu.App{ClientID: clientID(n), Consents: first.Consents})
		}
		known.Apps[3].Federated = []entraemu.FederatedCredential{issuers[0].Trust(subject)}
		known.Issuers = []entraemu.Issuer{issuers[0].Issuer()}
	})
	all := []rotation{s.secretRotation(), s.volumeRotation(), s.plainRotation(), s.projectedRotation(issuers)}
	for _, r := range all {
		must(t, r.allow(0))
		must(t, r.swap(0))
	}
	return s, all
}

// oneSecret puts a client secret there that stays.
func (s *site) oneSecret() {
	s.t.Helper()
	secret := s.secretRotation()
	must(s.t, secret.allow(0))
	must(s.t, secret.swap(0))
}

func (s *site) secretRotation() rotation {
	secret := func(n int) string { return fmt.Sprintf("client-secret-of-generation-%d", n) }
	return rotation{
		identity: "default", proof: secret, put: into(s.volume("secret", nil)),
		allow: func(generations ...int) error {
			var secrets []entraemu.Secret
			for _, n := range generations {
				secrets = append(secrets, newSecret(secret(n)))
			}
			return s.entra.SetSecrets(clientID(0), secrets...)
		},
		files: func(n int) map[string]string { return map[string]string{"client-secret": secret(n) + "\n"} },
	}
}

func (s *site) volumeRotation() rotation {
	p := &pairs{t: s.t}
	return rotation{identity: "volume", proof: p.thumbprint, allow: p.allow(s, clientID(1)), files: p.files, put: into(s.volume("volume", nil))}
}

// plainRotation replaces one file after the other, now the certificate first and
// now the key.
func (s *site) plainRotation() rotation {
	p := &pairs{t: s.t}
	return rotation{
		identity: "plain", proof: p.thumbprint, allow: p.allow(s, clientID(2)), files: p.files,
		put: func(n int, files map[string]string) error {
			names := [...]string{"tls.crt", "tls.key"}
			first, second := names[n%2], names[1-n%2]
			return errors.Join(s.replace("plain/"+first, files[first]), s.replace("plain/"+second, files[second]))
		},
	}
}

func (s *site) projectedRotation(issuers [3]*entraemu.FederatedIssuer) rotation {
	made := map[int]string{}
	token := func(n int) string {
		if made[n] == "" {
			var err error
			if made[n], err = issuers[n%3].Token(subject, "", time.Hour); err != nil {
				s.t.Error(err)
			}
		}
		return made[n]
	}
	return rotation{
		identity: "projected", proof: token, put: into(s.volume("projected", nil)),
		allow: func(generations ...int) error {
			keys := map[string]*rsa.PublicKey{}
			for _, n := range generations {
				for id, key := range issuers[n%3].Issuer().Keys {
					keys[id] = key
				}
			}
			return s.entra.SetIssuerKeys("https://cluster.example", keys)
		},
		files: func(n int) map[string]string { return map[string]string{"token": token(n)} },
	}
}
