package cache

import (
	"time"

	"tokenbroker/entra"
)

// The cache outlives a configuration. What follows is how it learns of a new
// one.

// Retain forgets what belongs to identities that are not kept: their tokens
// and their failures. What is being fetched for one goes to those who wait for
// it, and is not kept either.
func (c *Cache) Retain(keep func(entra.IdentityID) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = keep
	c.drop(func(id entra.IdentityID) bool { return !keep(id) })
}

// drop takes what belongs to some identities out of the memory. The caller has
// the lock.
func (c *Cache) drop(of func(entra.IdentityID) bool) {
	for _, key := range c.entries.Keys() {
		if !of(key.Identity) {
			continue
		}
		if e, ok := c.entries.Peek(key); ok {
			e.replaced.Store(true)
		}
		c.entries.Remove(key)
	}
	for _, q := range c.failures.Keys() {
		if of(q.key.Identity) {
			c.failures.Remove(q)
		}
	}
}

// Forget forgets the tokens and failures of an identity once: its user has
// signed out, or in. What is being fetched for it goes to those who wait for it,
// and is neither kept nor waited for by those who come now.
func (c *Cache) Forget(id entra.IdentityID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgotten[id] = c.epoch.Add(1)
	c.drop(func(other entra.IdentityID) bool { return other == id })
}

// Forgive forgets every failure, so that what was mended, a credential or a
// configuration, is tried by the next caller instead of after a back-off. What
// is being fetched was asked for before: it is not waited for by those who come
// now, and its failure says nothing.
func (c *Cache) Forgive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch.Add(1)
	c.failures.Purge()
}

// SetFillTimeout changes how long the source may take for a token from now on.
// The duration is positive.
func (c *Cache) SetFillTimeout(d time.Duration) { c.timeout.Store(int64(d)) }

// Resize changes how many tokens are held; the ones that were asked for least
// recently go. The size is positive.
func (c *Cache) Resize(size int) {
	c.entries.Resize(size)
	c.failures.Resize(size)
}
