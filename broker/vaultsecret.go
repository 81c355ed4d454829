package broker

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"tokenbroker/entra"
)

// VaultSecret is a client secret in an Azure Key Vault. Its newest version is
// used: one that is a minute old at most, or the one at hand where Entra does
// not take that. While the vault is away the last version goes on; once it
// is disabled or deleted it does not.
type VaultSecret struct {
	object vaulted
	memo   memo[secretVersion]
}

// secretVersion is a version of a secret.
type secretVersion struct {
	secret entra.Secret
	id     string
}

// NewVaultSecret names the secret. The vault is asked at the first exchange.
func NewVaultSecret(vault *Vault, name string, logger *slog.Logger) (*VaultSecret, error) {
	if !isVaultName(name) {
		return nil, noVaultName(name)
	}
	s := &VaultSecret{object: vaulted{vault, "secret", name, "Key Vault Secrets User"}}
	s.memo = memo[secretVersion]{what: s.String(), fetch: s.fetch, logger: logger}
	return s, nil
}

// String names the secret.
func (s *VaultSecret) String() string { return s.object.String() }

func (s *VaultSecret) fetch(ctx context.Context) (k kept[secretVersion], err error) {
	vault := s.object.vault
	ctx, cancel := vault.limit(ctx)
	defer cancel()
	got, err := vault.secrets.GetSecret(ctx, s.object.name, "", nil)
	if err != nil {
		return k, s.object.classify(ctx, err)
	}
	if got.Value == nil || got.ID == nil {
		return k, s.object.errorf(entra.Unavailable, "the vault answered without a secret: is a proxy in between?")
	}
	if got.ContentType != nil && isKeyPair(*got.ContentType) {
		return k, s.object.errorf(entra.Misconfigured, "it is a certificate with its key: use kind key-vault-certificate, and the key stays in the vault")
	}
	secret, fault := vetCredential([]byte(*got.Value))
	if fault != "" {
		return k, s.object.errorf(entra.Misconfigured, "%s", fault)
	}
	v := secretVersion{secret, got.ID.Version()}
	return kept[secretVersion]{value: v, version: v.id, fresh: time.Now().Add(versionFresh), good: forever()}, nil
}

func (s *VaultSecret) proof(ctx context.Context) (proof, error) { return s.prove(s.memo.get(ctx)) }

func (s *VaultSecret) renew(ctx context.Context) (proof, error) { return s.prove(s.memo.renew(ctx)) }

func (s *VaultSecret) prove(v secretVersion, err error) (proof, error) {
	if err != nil {
		return proof{}, err
	}
	p, err := secretProof(v.secret, s.String())
	p.renew, p.version = s.renew, v.id
	return p, err
}

// forever is later than anything.
func forever() time.Time { return time.Unix(1<<40, 0) }

// isKeyPair reports whether that is the content type of what a certificate
// leaves among the secrets.
func isKeyPair(contentType string) bool {
	return contentType == "application/x-pkcs12" || contentType == "application/x-pem-file"
}

// isVaultName reports whether something in a vault can be called so.
func isVaultName(s string) bool {
	const letters = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return s != "" && len(s) <= 127 && strings.Trim(s, letters) == ""
}

func noVaultName(s string) *entra.Error {
	return entra.Errorf(entra.Invalid, opVault, "name %s: want letters, digits and hyphens, as in the vault", entra.Quote(s))
}
