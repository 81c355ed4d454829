package entra

import (
	"crypto/sha256"
	"strings"
)

// IdentityID names an app registration or user that the broker can act as, for
// good: it is made from what decides whose token comes back, not from the name
// in the configuration, so that an identity repointed by a reload never meets
// the tokens of the old one.
type IdentityID string

// NewIdentityID makes an id from the parts that decide whose token comes back:
// authority, tenant, client, flow, account.
func NewIdentityID(parts ...string) IdentityID { return IdentityID(strings.Join(parts, "|")) }

// Use says what a token is for.
type Use uint8

const (
	// HandOut gives the token to the caller. It is the zero value because it
	// is the use that policy restricts most.
	HandOut Use = iota
	// Proxy puts the token on a call that the broker makes itself.
	Proxy
	// Inspect shows the token's claims, never the token.
	Inspect
)

// Request asks a [Source] for a token.
type Request struct {
	Identity  IdentityID
	Account   string // the user who is signed in, for an identity that is a user's; empty: it is none
	Tenant    Tenant
	Scope     Scope
	Assertion Secret // the user's token, for on-behalf-of; zero: the identity itself
	Route     string // the route it is for; empty: asked for by scope
	Use       Use
	Claims    string // of a claims challenge, decoded JSON; empty: none
	Rejected  string // the fingerprint of a token that an upstream refused; empty: none
}

// Key tells one token from another in a cache: two requests with equal keys
// may be answered with the same token, and no others. It is comparable.
type Key struct {
	Identity  IdentityID
	Account   string
	Tenant    Tenant
	Scope     Scope
	Assertion [sha256.Size]byte
}

// Key returns the request's cache key. Route, use, claims and the rejected
// token do not tell tokens apart and are not part of it.
func (r *Request) Key() Key {
	k := Key{Identity: r.Identity, Account: r.Account, Tenant: r.Tenant, Scope: r.Scope}
	if !r.Assertion.IsZero() {
		k.Assertion = sha256.Sum256([]byte(r.Assertion.Reveal()))
	}
	return k
}
