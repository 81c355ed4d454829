package broker

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"path"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/google/uuid"

	"tokenbroker/entra"
)

// assertionLifetime is how long Entra may take an assertion, of which each
// exchange has its own.
const assertionLifetime = 10 * time.Minute

// VaultCertificate is a certificate whose key is in an Azure Key Vault and
// never leaves it: the vault signs, once for each exchange. Of versions goes
// what [VaultSecret] says.
type VaultCertificate struct {
	object vaulted
	chain  bool
	memo   memo[certificateVersion]
}

// certificateVersion is a version of a certificate.
type certificateVersion struct {
	leaf *x509.Certificate
	key  *rsa.PublicKey
	id   string // of the key's version, which is the certificate's too
}

// NewVaultCertificate names the certificate. The vault is asked at the first
// exchange. With sendChain the certificate is sent along, for an app that
// trusts by subject and issuer. Its issuers are not: in a vault they are to be
// had with the key only.
func NewVaultCertificate(vault *Vault, name string, sendChain bool, logger *slog.Logger) (*VaultCertificate, error) {
	if !isVaultName(name) {
		return nil, noVaultName(name)
	}
	c := &VaultCertificate{object: vaulted{vault, "certificate", name, "Key Vault Reader"}, chain: sendChain}
	c.memo = memo[certificateVersion]{what: c.String(), fetch: c.fetch, logger: logger}
	return c, nil
}

// String names the certificate.
func (c *VaultCertificate) String() string { return c.object.String() }

func (c *VaultCertificate) fetch(ctx context.Context) (k kept[certificateVersion], err error) {
	vault := c.object.vault
	ctx, cancel := vault.limit(ctx)
	defer cancel()
	got, err := vault.certificate(ctx, c.object.name)
	if err != nil {
		return k, c.object.classify(ctx, err)
	}
	if got.Attributes.Enabled != nil && !*got.Attributes.Enabled {
		return k, c.object.withdrawn("its newest version is disabled: enable it, or add one")
	}
	leaf, err := x509.ParseCertificate(got.DER)
	if err != nil || path.Base(got.Key) == "." {
		return k, c.object.errorf(entra.Unavailable, "the vault answered without a certificate: is a proxy in between?")
	}
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok {
		return k, c.object.errorf(entra.Misconfigured, "its key is no RSA key, the only kind that Entra takes: make a certificate with one")
	}
	v := certificateVersion{leaf, key, path.Base(got.Key)}
	return kept[certificateVersion]{value: v, version: v.id, fresh: time.Now().Add(versionFresh), good: forever()}, nil
}

func (c *VaultCertificate) proof(ctx context.Context) (proof, error) { return c.prove(c.memo.get(ctx)) }

func (c *VaultCertificate) renew(ctx context.Context) (proof, error) {
	return c.prove(c.memo.renew(ctx))
}

func (c *VaultCertificate) prove(v certificateVersion, err error) (proof, error) {
	if err != nil {
		return proof{}, err
	}
	if err := outOfTime(c.object.name+" of vault "+c.object.vault.host, "make it the newest version", v.leaf); err != nil {
		return proof{}, err
	}
	return proof{
		credential: confidential.NewCredFromAssertionCallback(func(ctx context.Context, o confidential.AssertionRequestOptions) (string, error) {
			return c.assert(ctx, v, o)
		}),
		name:    c.String() + " (" + describe(v.leaf) + ")",
		unknown: "upload it there, under Certificates & secrets: a vault that renews a certificate does not",
		renew:   c.renew,
		version: v.id,
	}, nil
}

// assert makes an assertion (RFC 7523 §2.2) and has it signed. The header is
// that of "Microsoft identity platform application authentication certificate
// credentials".
func (c *VaultCertificate) assert(ctx context.Context, v certificateVersion, o confidential.AssertionRequestOptions) (string, error) {
	thumbprint := sha256.Sum256(v.leaf.Raw)
	header := struct {
		Algorithm  string   `json:"alg"`
		Type       string   `json:"typ"`
		Thumbprint string   `json:"x5t#S256"`
		Chain      [][]byte `json:"x5c,omitempty"` // RFC 7515 §4.1.6: standard base64, as encoding/json has it
	}{Algorithm: "PS256", Type: "JWT", Thumbprint: base64.RawURLEncoding.EncodeToString(thumbprint[:])}
	if c.chain {
		header.Chain = [][]byte{v.leaf.Raw}
	}
	now := time.Now()
	unsigned := segment(header) + "." + segment(map[string]any{
		"aud": o.TokenEndpoint, "iss": o.ClientID, "sub": o.ClientID, "jti": uuid.NewString(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(assertionLifetime).Unix(),
	})
	signature, err := c.sign(ctx, v, sha256.Sum256([]byte(unsigned)))
	if err != nil {
		return "", err
	}
	return unsigned + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// sign has the vault sign (PS256, RFC 7518 §3.5), and checks that it did.
func (c *VaultCertificate) sign(ctx context.Context, v certificateVersion, digest [sha256.Size]byte) ([]byte, error) {
	key := vaulted{c.object.vault, "key", c.object.name, "Key Vault Crypto User"}
	ctx, cancel := key.vault.limit(ctx)
	defer cancel()
	algorithm := azkeys.SignatureAlgorithmPS256
	got, err := key.vault.keys.Sign(ctx, key.name, v.id, azkeys.SignParameters{Algorithm: &algorithm, Value: digest[:]}, nil)
	if err != nil {
		return nil, key.classify(ctx, err)
	}
	if rsa.VerifyPSS(v.key, crypto.SHA256, digest[:], got.Result, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) != nil {
		return nil, key.errorf(entra.Unavailable, "the vault answered without a signature of the certificate's key: is a proxy in between?")
	}
	return got.Result, nil
}

// segment encodes a part of a JWT (RFC 7519 §3).
func segment(v any) string {
	text, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(text)
}
