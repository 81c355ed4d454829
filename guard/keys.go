package guard

import (
	"net/http"
	"net/url"
	"strings"

	"tokenbroker/entra"
)

// KeysOf reads the caller keys that a request carries, in the way of one
// mount. It may return several; [Guard.Admit] judges them. Its error is the
// request's: a body that cannot be read.
type KeysOf func(r *http.Request) ([]entra.Secret, error)

// HeaderKeys is the [KeysOf] of the broker's own paths: X-Broker-Key, or where
// the request has no such header, Authorization: Bearer.
func HeaderKeys(r *http.Request) ([]entra.Secret, error) {
	if _, ok := r.Header["X-Broker-Key"]; ok {
		return KeysIn(r.Header, "X-Broker-Key"), nil
	}
	var keys []entra.Secret
	for _, value := range r.Header["Authorization"] {
		scheme, key, _ := strings.Cut(value, " ")
		key = strings.TrimLeft(key, " ") // RFC 9110 §11.4: one space or several
		if strings.EqualFold(scheme, "Bearer") && key != "" {
			keys = append(keys, entra.NewSecret(key))
		}
	}
	return keys, nil
}

// KeysIn returns the keys that stand in headers, by their canonical names. An
// empty one is none.
func KeysIn(h http.Header, names ...string) []entra.Secret {
	var keys []entra.Secret
	for _, name := range names {
		for _, key := range h[name] {
			if key != "" {
				keys = append(keys, entra.NewSecret(key))
			}
		}
	}
	return keys
}

// callerByKey names the caller that the request's key proves; empty: it carries
// none, or keys are not looked at. It refuses two keys that differ, and one that
// is not good.
func (g *Guard) callerByKey(a arrival, keysOf KeysOf) (string, error) {
	const op = "guard.key"
	if g.keys == nil || keysOf == nil {
		return "", nil
	}
	presented, err := keysOf(a.Request)
	if err != nil || len(presented) == 0 {
		return "", err
	}
	for _, other := range presented[1:] {
		if !other.Equal(presented[0]) {
			return "", entra.Errorf(entra.Unadmitted, op, "caller key: the request carries two that disagree; send one")
		}
	}
	name, ok := g.keys.Caller(presented[0])
	if !ok {
		return "", entra.Errorf(entra.Unadmitted, op, "caller key: not one of those configured")
	}
	return name, nil
}

// checkPlaces refuses a caller key where logs and browsers keep it: in the path,
// in the query, and in a cookie, which a browser also sends to every other port
// of the host.
func (g *Guard) checkPlaces(a arrival) error {
	if g.HoldsKey(a.URL.EscapedPath()) {
		return misplaced("path")
	}
	if query := a.URL.RawQuery; query != "" && g.pairsHoldKey(query) {
		return misplaced("query")
	}
	for _, cookies := range a.Header["Cookie"] {
		if g.pairsHoldKey(cookies) {
			return misplaced("cookie")
		}
	}
	return nil
}

func misplaced(place string) error {
	return entra.Errorf(entra.Denied, "guard.place", "%s: has a caller key in it, where others may read it; send it as X-Broker-Key, and replace it by a new one", place)
}

// pairsHoldKey reports whether a query or a Cookie header has a parameter named as
// one for keys, or a good key anywhere: as a value, as a name, or alone.
func (g *Guard) pairsHoldKey(pairs string) bool {
	for more := true; more; {
		// Both have their separators, and some servers take a semicolon for an ampersand.
		pair, rest := pairs, ""
		if end := strings.IndexAny(pairs, "&; \t\r\n"); end >= 0 {
			pair, rest = pairs[:end], pairs[end+1:]
		}
		name, value, _ := strings.Cut(pair, "=")
		alone := strings.Trim(value, "=") == "" // base64 ends with them
		if namesKey(name) || g.isKey(name) || g.isKey(strings.Trim(value, `"`)) || alone && g.isKey(pair) {
			return true
		}
		pairs, more = rest, rest != ""
	}
	return false
}

// namesKey reports whether a parameter is named as those that carry caller keys
// elsewhere, in whatever spelling: X-Broker-Key, X-IDENTITY-HEADER, and OAuth's
// client_secret, which RFC 6749 §2.3.1 wants nowhere in a URI. Names that an
// upstream may have for something of its own do not count: key, secret, token.
func namesKey(name string) bool {
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	if len(name) < len("brokerkey") {
		return false
	}
	switch strings.TrimPrefix(strings.Map(lowerLetter, name), "x") {
	case "brokerkey", "callerkey", "identityheader", "clientsecret":
		return true
	}
	return false
}

// lowerLetter keeps ASCII letters, in lower case.
func lowerLetter(r rune) rune {
	if r |= 0x20; 'a' <= r && r <= 'z' {
		return r
	}
	return -1
}

// isKey reports whether text, as it stands or percent-decoded, is a good key.
func (g *Guard) isKey(text string) bool { return g.secrets != nil && g.secrets.knows(text) }
