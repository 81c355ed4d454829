package entraemu

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokenbroker/entra"
)

// KeyVault is the name of the resource application of Azure Key Vault.
const KeyVault = "Azure Key Vault"

// KeyVaultResource returns Azure Key Vault in all clouds, for
// [Config.Resources].
func KeyVaultResource() Resource {
	return Resource{Name: KeyVault, Audiences: []string{
		"cfa8b339-82a2-471a-a3c9-0fc0be7a4093",
		"https://vault.azure.net",
		"https://vault.usgovcloudapi.net",
		"https://vault.azure.cn",
	}}
}

// ServicePrincipal is a managed identity: an [App] without a credential, whose
// consent in the tenant says which roles it has.
type ServicePrincipal struct {
	Tenant     entra.Tenant // a GUID
	ClientID   string
	ObjectID   string // a GUID; whoever holds a token of its is told by this one
	ResourceID string // in Azure Resource Manager; empty: the token does not say
}

// IssuedToken is a token with its times.
type IssuedToken struct {
	Access             string
	NotBefore, Expires time.Time
}

// IssueFor makes the token that the platform gets for a managed identity,
// without a request: what IMDS does behind its address. The audience is spelled
// as it is asked for. A zero lifetime is the configuration's. A refusal has
// Entra's code and number.
func (s *Server) IssueFor(p ServicePrincipal, resource string, lifetime time.Duration) (IssuedToken, error) {
	tenant, roles, no := s.granted(p, resource)
	if no != nil {
		return IssuedToken{}, no.failure()
	}
	if lifetime == 0 {
		lifetime = s.config.Lifetime
	}
	now := time.Now().Truncate(time.Second)
	t := IssuedToken{NotBefore: now.Add(-backdated), Expires: now.Add(lifetime)}
	issuer := issuerOf(tenant)
	claims := jwt.MapClaims{
		"aud": resource, "iss": issuer, "idp": issuer, "tid": string(tenant),
		"iat": t.NotBefore.Unix(), "nbf": t.NotBefore.Unix(), "exp": t.Expires.Unix(),
		"appid": p.ClientID, "appidacr": byAssertion, "idtyp": "app", "oid": p.ObjectID, "sub": p.ObjectID,
		"uti": base64.RawURLEncoding.EncodeToString([]byte(rand.Text())), "ver": "1.0",
	}
	if p.ResourceID != "" {
		claims["xms_mirid"] = p.ResourceID
	}
	if len(roles) > 0 {
		claims["roles"] = roles
	}
	var err error
	if t.Access, err = s.sign(claims); err != nil {
		return IssuedToken{}, entra.Errorf(entra.Internal, "emulator.issue", "sign a token: %w", err)
	}
	s.count(func(stats *Stats) {
		stats.Issued++
		stats.Audiences[resource]++
	})
	return t, nil
}

// granted finds the identity's tenant, and its roles for the resource there.
func (s *Server) granted(p ServicePrincipal, resource string) (entra.Tenant, []string, *refusal) {
	tenant, no := s.tenant(string(p.Tenant))
	if no != nil {
		return "", nil, no
	}
	_, consent, no := s.principal(p.ClientID, tenant)
	if no != nil {
		return "", nil, no
	}
	found, no := s.resource(tenant, resource)
	if no != nil {
		return "", nil, no
	}
	return tenant.ID, consent.Roles[found.Name], nil
}

// failure is the refusal for a caller in the same process.
func (r *refusal) failure() error {
	return &entra.Error{Kind: entra.Invalid, Op: "emulator.issue", Code: r.code, AADSTS: r.number, Err: r}
}
