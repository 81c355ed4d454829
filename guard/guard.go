// Package guard decides who is calling and what they may have.
//
// [Guard.Admit] authenticates a local caller; [Policy] authorizes what it asks
// for. Both are closed by default: what no rule names is refused.
package guard

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"tokenbroker/entra"
)

// Local is the name of every admitted caller: whoever has a key, or needs none,
// may use all routes.
const Local = "local"

// Principal is a local caller that was admitted. The zero value is nobody.
type Principal struct {
	Name string
	Via  string // how it proved itself: "key", or "peer" where none was needed
}

type principalKey struct{}

// WithPrincipal notes who is calling.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalOf returns who is calling; false where nobody was admitted.
func PrincipalOf(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok && p.Name != ""
}

// Config says whom to admit. Its zero value admits every local caller.
type Config struct {
	// Keys returns the caller keys that are good now; none: nobody is admitted.
	// Nil: callers need no key.
	Keys func() []entra.Secret
	// Hosts are names that the listeners go by beside localhost and its
	// addresses: the hosts of their configured addresses. The unspecified
	// addresses (0.0.0.0, ::) are nobody's name and do not count.
	Hosts []string
}

// Guard admits callers. It is safe for concurrent use.
type Guard struct {
	keys  func() []entra.Secret
	hosts map[string]bool
}

// New makes a guard.
func New(cfg Config) *Guard {
	g := &Guard{keys: cfg.Keys, hosts: map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}}
	for _, host := range cfg.Hosts {
		if addr, err := netip.ParseAddr(host); err == nil && addr.IsUnspecified() {
			continue
		}
		g.hosts[strings.ToLower(host)] = true
	}
	return g
}

// Admit authenticates the caller of r, or says why not: [entra.Denied] for a
// request that no local program would send, [entra.Unadmitted] for a key that
// is missing or wrong. The order of the checks is that of the documentation;
// a caller learns nothing about keys before it has passed the others.
func (g *Guard) Admit(r *http.Request, keysOf KeysOf) (Principal, error) {
	for _, check := range [...]func(*http.Request) error{g.checkPeer, g.checkHost, checkForwarded, checkSite} {
		if err := check(r); err != nil {
			return Principal{}, err
		}
	}
	if g.keys == nil {
		return Principal{Name: Local, Via: "peer"}, nil
	}
	if err := g.checkKeys(keysOf(r)); err != nil {
		return Principal{}, err
	}
	return Principal{Name: Local, Via: "key"}, nil
}

// KeysOf reads the caller keys that a request carries, in the way of one
// mount. It may return several; [Guard.Admit] judges them.
type KeysOf func(r *http.Request) []entra.Secret

// HeaderKeys is the [KeysOf] of the broker's own paths: X-Broker-Key, or where
// the request has no such header, Authorization: Bearer.
func HeaderKeys(r *http.Request) []entra.Secret {
	var keys []entra.Secret
	add := func(key string) {
		if key != "" {
			keys = append(keys, entra.NewSecret(key))
		}
	}
	if values, ok := r.Header["X-Broker-Key"]; ok {
		for _, value := range values {
			add(value)
		}
		return keys
	}
	for _, value := range r.Header["Authorization"] {
		if scheme, key, _ := strings.Cut(value, " "); strings.EqualFold(scheme, "Bearer") {
			add(strings.TrimLeft(key, " ")) // RFC 9110 §11.4: one space or several
		}
	}
	return keys
}

// checkKeys refuses a request without a key, with two that differ, or with
// one that is not good.
func (g *Guard) checkKeys(presented []entra.Secret) error {
	const op = "guard.key"
	if len(presented) == 0 {
		return entra.Errorf(entra.Unadmitted, op, "caller key: none in the request; send it as X-Broker-Key")
	}
	for _, other := range presented[1:] {
		if !other.Equal(presented[0]) {
			return entra.Errorf(entra.Unadmitted, op, "caller key: the request carries two that disagree; send one")
		}
	}
	good := false
	for _, key := range g.keys() { // all of them, so that time does not tell which
		good = key.Equal(presented[0]) || good
	}
	if !good {
		return entra.Errorf(entra.Unadmitted, op, "caller key: not one of those configured")
	}
	return nil
}
