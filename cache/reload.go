package cache

import (
	"tokenbroker/entra"
)

// The cache outlives a configuration. What follows is how it learns of a new
// one.

// Retain forgets what belongs to identities that are not kept: their tokens
// and their failures. What is being fetched for one goes to those who wait for
// it.
func (c *Cache) Retain(keep func(entra.IdentityID) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range c.entries.Keys() {
		if keep(key.Identity) {
			continue
		}
		if e, ok := c.entries.Peek(key); ok {
			e.replaced.Store(true)
		}
		c.entries.Remove(key)
	}
	c.forgive(func(id entra.IdentityID) bool { return !keep(id) })
}

// Forgive forgets the failures of an identity, so that a credential that was
// mended is tried by the next caller instead of after a back-off.
func (c *Cache) Forgive(id entra.IdentityID) {
	c.forgive(func(other entra.IdentityID) bool { return other == id })
}

func (c *Cache) forgive(whose func(entra.IdentityID) bool) {
	for _, q := range c.failures.Keys() {
		if whose(q.key.Identity) {
			c.failures.Remove(q)
		}
	}
}

// Resize changes how many tokens are held; the ones that were asked for least
// recently go. The size is positive.
func (c *Cache) Resize(size int) {
	c.entries.Resize(size)
	c.failures.Resize(size)
}
