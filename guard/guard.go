// Package guard decides who is calling and what they may have.
//
// [Guard.Admit] authenticates a local caller; [Policy] authorizes what it asks
// for. Both are closed by default: what no rule names is refused.
package guard

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/netip"
	"strings"

	"tokenbroker/entra"
)

const (
	// Local is the name of whoever calls where callers need no proof.
	Local = "local"
	// Anonymous is the name of whoever calls by a protocol that cannot carry a
	// key, where a caller of that name is configured.
	Anonymous = "anonymous"
)

// Principal is a local caller that was admitted. The zero value is nobody.
type Principal struct {
	Name string
	Via  string // how it proved itself: "key", "uid", "peer" (nothing was needed) or "none" (it could not)
	Peer *Peer  // its process; nil: not known
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

// Config says whom to admit. Without Keys, UIDs and Anonymous, every process of
// this machine that reaches a listener is [Local].
type Config struct {
	// Keys prove callers. Nil: nobody proves itself by key, and what a request
	// carries as one is not looked at.
	Keys *Keyring
	// Elsewhere are keys that admit nobody here, but at another guard of the same
	// listener: like Keys they are refused where others may read them, and kept
	// out of what is written down. Beside Keys they do not count.
	Elsewhere *Keyring
	// UIDs are callers by the uid of their process. They count where
	// [TellsUID], for peers on Unix sockets.
	UIDs map[int]string
	// Anonymous admits who calls by a protocol that cannot carry a key, as
	// [Anonymous], from this machine only.
	Anonymous bool
	// Hosts are names that the listeners go by beside localhost and its
	// addresses: the hosts of their configured addresses. The unspecified
	// addresses (0.0.0.0, ::) are nobody's name and do not count.
	Hosts []string
}

// Guard admits callers. It is safe for concurrent use.
type Guard struct {
	keys      *Keyring
	secrets   *Keyring // the keys, or those of elsewhere
	uids      map[int]string
	anonymous bool
	open      bool // callers need no proof
	hosts     map[string]bool
	forward   bool // it stands at a forward proxy
}

// New makes a guard.
func New(cfg Config) *Guard {
	g := &Guard{
		keys:      cfg.Keys,
		secrets:   cmp.Or(cfg.Keys, cfg.Elsewhere),
		uids:      maps.Clone(cfg.UIDs),
		anonymous: cfg.Anonymous,
		open:      cfg.Keys == nil && len(cfg.UIDs) == 0 && !cfg.Anonymous,
		hosts:     map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true},
	}
	maps.DeleteFunc(g.uids, func(uid int, _ string) bool { return !tellsUser(uid) })
	g.name(cfg.Hosts)
	return g
}

// name adds to the names that the listeners go by.
func (g *Guard) name(hosts []string) {
	for _, host := range hosts {
		if addr, err := netip.ParseAddr(host); err == nil && addr.IsUnspecified() {
			continue
		}
		g.hosts[strings.ToLower(host)] = true
	}
}

// Open reports whether callers need no proof.
func (g *Guard) Open() bool { return g.open }

// Admit authenticates the caller of r, or says why not: [entra.Denied] for a
// request that no local program would send, [entra.Unadmitted] for a caller
// that does not prove itself, or what keysOf has to say. The order of the checks
// is that of the documentation; a caller learns nothing about keys before it has
// passed the others.
//
// A nil keysOf stands for a protocol that cannot carry a key.
func (g *Guard) Admit(r *http.Request, keysOf KeysOf) (Principal, error) {
	a := arrive(r)
	host, site := g.checkHost, checkSite
	if g.forward {
		host, site = checkTarget, checkNoPage
	}
	for _, check := range [...]func(arrival) error{g.checkPeer, host, checkForwarded, site, g.checkPlaces} {
		if err := check(a); err != nil {
			return Principal{}, err
		}
	}
	if g.open {
		return Principal{Name: Local, Via: "peer", Peer: a.peer}, nil
	}
	return g.identify(a, keysOf)
}

// identify says which caller it is, by key and by uid. Whoever shows a key must
// show a good one, whatever its uid; where both prove a caller it is the same.
func (g *Guard) identify(a arrival, keysOf KeysOf) (Principal, error) {
	const op = "guard.caller"
	byKey, err := g.callerByKey(a, keysOf)
	if err != nil {
		return Principal{}, err
	}
	byUID := g.callerByUID(a.peer)
	switch {
	case byKey != "" && byUID != "" && byKey != byUID:
		return Principal{}, entra.Errorf(entra.Unadmitted, op, "caller: the key proves another one than the uid of the process; call without a key, or as another user")
	case byKey != "":
		return Principal{Name: byKey, Via: "key", Peer: a.peer}, nil
	case byUID != "":
		return Principal{Name: byUID, Via: "uid", Peer: a.peer}, nil
	case keysOf == nil && g.anonymous && a.near:
		return Principal{Name: Anonymous, Via: "none", Peer: a.peer}, nil
	case keysOf == nil:
		return Principal{}, entra.Errorf(entra.Unadmitted, op, "caller: unknown, and this protocol cannot carry a key; use one that can, or configure a caller named %s", Anonymous)
	case g.keys == nil:
		return Principal{}, entra.Errorf(entra.Unadmitted, op, "caller: unknown, and no caller keys are configured; call by Unix socket, as a user whose uid a caller has")
	case g.forward:
		return Principal{}, entra.Errorf(entra.Unadmitted, "guard.key", "caller key: none in the request; send it as the password of the proxy, as in HTTP_PROXY=http://broker:KEY@localhost:5180")
	}
	return Principal{}, entra.Errorf(entra.Unadmitted, "guard.key", "caller key: none in the request; send it as X-Broker-Key, an SDK as IDENTITY_HEADER, an OAuth 2.0 client as client_secret")
}

// callerByUID names the caller whose process it is; empty: nobody's.
func (g *Guard) callerByUID(p *Peer) string {
	if p == nil {
		return ""
	}
	return g.uids[p.UID]
}
