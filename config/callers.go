package config

import (
	"path/filepath"
	"slices"

	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/route"
)

// checkCallers checks who the named callers are, and what each may have.
func (l *loader) checkCallers() {
	callers := l.cfg.Callers
	for i := range callers {
		c, path := &callers[i], element("callers", i)
		if l.faults.has(path) {
			continue
		}
		l.checkCallerName(c, callers[:i], join(path, "name"))
		if c.Name == guard.Anonymous {
			l.checkAnonymous(c, path)
		} else {
			l.checkProof(c, path)
			l.checkProofIsOnes(c, callers[:i], path)
		}
		l.checkGrant(c, path)
	}
	if len(callers) > 0 && l.cfg.CallerKeyFile != "" && !l.names(guard.Local) {
		l.faults.add("caller_key_file", "whoever has a key of it is the caller local, and callers has no entry of that name; add one that says what it may have, or remove caller_key_file")
	}
	l.checkIdle()
}

// names reports whether callers has an entry of that name.
func (l *loader) names(caller string) bool {
	return slices.ContainsFunc(l.cfg.Callers, func(c Caller) bool { return c.Name == caller })
}

// anyKeys reports whether a caller can prove itself by a key.
func (l *loader) anyKeys() bool {
	return l.cfg.CallerKeyFile != "" || slices.ContainsFunc(l.cfg.Callers, func(c Caller) bool { return c.KeyFile != "" })
}

// anySocket reports whether a caller can come by a Unix socket.
func (l *loader) anySocket() bool {
	return slices.ContainsFunc(l.cfg.Listen.Callers, func(c Listener) bool { return c.Address.Socket != "" })
}

func (l *loader) checkCallerName(c *Caller, earlier []Caller, path string) {
	switch i := slices.IndexFunc(earlier, func(other Caller) bool { return other.Name == c.Name }); {
	case c.Name == "":
		l.faults.add(path, "missing; %s", route.WantName)
	case !route.IsName(c.Name):
		l.faults.add(path, "%s: %s", entra.Quote(c.Name), route.WantName)
	case i >= 0:
		l.faults.add(path, "%s has that name already; want one entry for each caller", element("callers", i))
	}
}

func (l *loader) checkAnonymous(c *Caller, path string) {
	const text = "anonymous is whoever proves nothing; remove it, or give the caller another name"
	if c.KeyFile != "" {
		l.faults.add(join(path, "key_file"), text)
	}
	if c.UID.Set {
		l.faults.add(join(path, "uid"), text)
	}
	l.warn(path + ": anonymous is every process that reaches a listener, in a Pod every container; it may have what stands there")
}

// checkProof checks that the caller can prove itself, here and by one of the
// listeners.
func (l *loader) checkProof(c *Caller, path string) {
	keyFile, uid := join(path, "key_file"), join(path, "uid")
	keyed := c.KeyFile != "" || c.Name == guard.Local && l.cfg.CallerKeyFile != ""
	switch {
	case c.UID.Set && l.opts.goos != "linux":
		l.faults.add(uid, "only Linux tells which user is at the other end of a Unix socket; use key_file")
	case l.faults.has(uid), c.UID.Set && (l.anySocket() || l.faults.within("listen.callers")):
	case c.UID.Set && keyed:
		l.warn(uid + " has no effect: it proves who comes by a Unix socket, and listen.callers has none")
	case c.UID.Set:
		l.faults.add(uid, "proves who comes by a Unix socket, and listen.callers has none; add unix:/path there, or use key_file")
	case keyed:
	case c.Name == guard.Local:
		l.faults.add(keyFile, "missing; local is whoever has a key of caller_key_file: set that, or key_file or uid here")
	default:
		l.faults.add(keyFile, "missing; want the file with the caller's keys, or its uid")
	}
}

// checkProofIsOnes checks that the caller's proof is no other's.
func (l *loader) checkProofIsOnes(c *Caller, earlier []Caller, path string) {
	keyFile, uid := join(path, "key_file"), join(path, "uid")
	if sameFile(c.KeyFile, l.cfg.CallerKeyFile) {
		l.faults.add(keyFile, "the same as caller_key_file, whose keys prove local; want a file of the caller's own")
	}
	for i, other := range earlier {
		if sameFile(c.KeyFile, other.KeyFile) {
			l.faults.add(keyFile, "the same as that of %s; want a file of the caller's own", element("callers", i))
		}
		if c.UID.Set && c.UID == other.UID {
			l.faults.add(uid, "the same as that of %s, so it does not tell who calls; run one of them as another user, or use key_file", element("callers", i))
		}
	}
}

// sameFile reports whether two settings name one file, as far as the names tell.
func sameFile(a, b string) bool {
	return a != "" && b != "" && filepath.Clean(a) == filepath.Clean(b)
}
