package verify

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/entra"
)

const (
	maxAnswer = 256 << 10 // bytes, and what is cut there is no JSON; Entra's key sets are some 20 KiB

	// RFC 7518 §3.3 wants 2048 bits at least; a key of far more would make every
	// verification slow.
	minModulus, maxModulus = 2048, 8192
)

// authority publishes what its tenants sign with.
type authority struct {
	url    entra.Authority
	client *http.Client
}

// publication fetches a tenant's discovery document and keys. Those of version
// 2 cover the tokens of both versions.
func (a *authority) publication(ctx context.Context, tenant entra.Tenant) (*publication, error) {
	p, err := a.read(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("tenant %s: its signing keys cannot be had: %w", tenant, err)
	}
	return p, nil
}

func (a *authority) read(ctx context.Context, tenant entra.Tenant) (*publication, error) {
	doc, err := fetch[struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}](ctx, a.client, a.url.Tenant(tenant)+"/v2.0/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	id, err := a.tenantOf(doc.Issuer)
	if err != nil || entra.IsGUID(string(tenant)) && id != tenant {
		return nil, fmt.Errorf("the authority calls itself %s, want %s: check authority and tenant", entra.Quote(doc.Issuer), issuerOf(a.url, tenant))
	}
	keys, err := url.Parse(doc.Keys)
	if err != nil || !a.owns(keys) {
		return nil, fmt.Errorf("the authority says they are at %s, want a place of %s", entra.Quote(doc.Keys), a.url)
	}
	set, err := fetch[struct {
		Keys []json.RawMessage `json:"keys"`
	}](ctx, a.client, keys.String())
	if err != nil {
		return nil, err
	}
	p := &publication{tenant: id, keys: map[string][]key{}}
	for _, member := range set.Keys {
		if kid, key, ok := parseKey(member, id); ok {
			p.keys[kid] = append(p.keys[kid], key)
		}
	}
	if len(p.keys) == 0 {
		return nil, errors.New("the authority answered without an RSA key for signatures: is a proxy in between?")
	}
	return p, nil
}

// tenantOf takes the tenant's GUID from an issuer of this authority.
func (a *authority) tenantOf(issuer string) (entra.Tenant, error) {
	name, _ := strings.CutSuffix(strings.TrimPrefix(issuer, string(a.url)+"/"), "/v2.0")
	id, err := entra.ParseTenant(name)
	if err != nil || !entra.IsGUID(name) || issuerOf(a.url, id) != issuer {
		return "", errors.New("no issuer of this authority's")
	}
	return id, nil
}

// owns reports whether the place is the authority's own, by one of its names.
func (a *authority) owns(u *url.URL) bool {
	host, err := entra.ParseAuthority(u.Scheme + "://" + u.Host)
	return err == nil && host == a.url && u.User == nil
}

// fetch gets a JSON document.
func fetch[T any](ctx context.Context, client *http.Client, address string) (doc T, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return doc, err
	}
	resp, err := client.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // it begins with the address, which says nothing new
		}
		return doc, fmt.Errorf("the authority does not answer (%w): check the network and HTTPS_PROXY", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return doc, fmt.Errorf("the authority answered with status %d: check authority and tenant", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && json.Unmarshal(body, &doc) == nil {
		return doc, nil
	}
	return doc, errors.New("the authority's answer is cut off, too long or no JSON: is a proxy in between?")
}

// key is a public key that signs tokens.
type key struct {
	public *rsa.PublicKey
	alg    string // the only algorithm that it is for; empty: any
}

// parseKey reads a member of a tenant's key set (RFC 7517 §4, RFC 7518 §6.3.1).
// One that cannot be read, or that is for something else, is passed over; so is
// one that names another tenant, since the sets of Entra hold consumer accounts'
// keys too. See "Validate the signing key issuer" on the page that checkIssuer
// names.
func parseKey(raw json.RawMessage, tenant entra.Tenant) (kid string, k key, ok bool) {
	var member struct {
		Type   string   `json:"kty"`
		Use    string   `json:"use"`
		Ops    []string `json:"key_ops"`
		Alg    string   `json:"alg"`
		ID     string   `json:"kid"`
		Issuer string   `json:"issuer"`
		N      string   `json:"n"`
		E      string   `json:"e"`
	}
	err := json.Unmarshal(raw, &member)
	switch {
	case err != nil, member.Type != "RSA":
	case member.Use != "" && member.Use != "sig":
	case member.Ops != nil && !slices.Contains(member.Ops, "verify"):
	case member.Issuer != "" && !strings.Contains(member.Issuer, "/{tenantid}/") && !strings.Contains(member.Issuer, "/"+string(tenant)+"/"):
	default:
		public, ok := parseRSA(member.N, member.E)
		return member.ID, key{public, member.Alg}, ok
	}
	return "", key{}, false
}

// parseRSA makes a public key of its two numbers.
func parseRSA(modulus, exponent string) (*rsa.PublicKey, bool) {
	n, nErr := base64.RawURLEncoding.DecodeString(modulus)
	e, eErr := base64.RawURLEncoding.DecodeString(exponent)
	if nErr != nil || eErr != nil {
		return nil, false
	}
	public, power := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}, new(big.Int).SetBytes(e)
	if size := public.N.BitLen(); size < minModulus || size > maxModulus || public.N.Bit(0) == 0 {
		return nil, false
	}
	if power.BitLen() > 31 || power.Bit(0) == 0 || power.Int64() < 3 { // what crypto/rsa takes
		return nil, false
	}
	public.E = int(power.Int64())
	return public, true
}
