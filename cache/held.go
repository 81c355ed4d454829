package cache

import (
	"time"

	"tokenbroker/entra"
)

// Holds reports whether the token is one that the cache holds and would still
// give to a caller. It looks at every entry: it is for questions that come
// rarely, not for the way of a request.
func (c *Cache) Holds(access entra.Secret) bool {
	now, fingerprint := time.Now(), access.Fingerprint()
	for _, e := range c.entries.Values() {
		if e.fingerprint == fingerprint && e.usable(now) && e.token.Access.Equal(access) {
			return true
		}
	}
	return false
}
