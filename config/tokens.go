package config

import (
	"slices"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// checkTokens warns of tokens that are handed out, or are not, against what the
// settings seem to say.
func (l *loader) checkTokens() {
	tokens, callers := &l.cfg.Tokens, l.cfg.Callers
	if l.cfg.Table == nil {
		return // that is a fault
	}
	if !tokens.HandOut {
		if len(tokens.Scopes) > 0 {
			l.warn("tokens.scopes has no effect while tokens.hand_out is false")
		}
		for i := range callers {
			if len(callers[i].Scopes) > 0 {
				l.warn(join(element("callers", i), "scopes") + " has no effect while tokens.hand_out is false")
			}
		}
		return
	}
	for i, scope := range tokens.Scopes {
		if at := element("tokens.scopes", i); len(callers) > 0 {
			l.checkLifted(at, scope)
		} else {
			l.checkGranted(at, scope)
		}
	}
	for i := range callers {
		l.checkOwnScopes(&callers[i], element("callers", i))
	}
}

// checkGranted warns of a scope of tokens.scopes that undoes what a route
// restricts. Without named callers, everybody may have it under any of its names.
func (l *loader) checkGranted(at string, scope entra.Scope) {
	for _, r := range l.openRoutes() {
		if r.Restricted() && slices.ContainsFunc(r.Scopes(), l.sameResource(scope)) {
			l.warn(at + ": the token opens more than routes." + r.Name + " lets through, and every caller may have it")
		}
	}
}

// checkLifted does so with named callers. To them tokens.scopes gives nothing
// new: it lifts what their routes restrict, but not their own read-only.
func (l *loader) checkLifted(at string, scope entra.Scope) {
	holders := map[string][]string{} // of routes that use the scope, the callers
	for i := range l.cfg.Callers {
		if c := &l.cfg.Callers[i]; c.Access == route.Full {
			for _, r := range l.view(c).Routes() {
				if l.uses(scope)(r) {
					holders[r.Name] = append(holders[r.Name], c.Name)
				}
			}
		}
	}
	if len(holders) == 0 {
		l.warn(at + " has no effect: no caller of full access has a route that uses it; callers have scopes of their own")
	}
	for _, r := range l.openRoutes() {
		if who := holders[r.Name]; r.Restricted() && len(who) > 0 {
			l.warn(at + ": the token opens more than routes." + r.Name + " lets through; it is handed out to: " + strings.Join(who, ", "))
		}
	}
}

// checkOwnScopes warns of what a caller's scopes undo, and of an access that
// means nothing to them.
func (l *loader) checkOwnScopes(c *Caller, path string) {
	if c.Access == route.ReadOnly && len(c.Routes) == 0 {
		l.warn(join(path, "access") + " has no effect without routes")
	}
	for i, scope := range c.Scopes {
		for _, r := range l.view(c).Routes() {
			at := element(join(path, "scopes"), i)
			switch {
			case !slices.ContainsFunc(r.Scopes(), l.sameResource(scope)):
			case c.Access == route.ReadOnly:
				l.warn(at + ": the token opens more of route " + r.Name + " than " + join(path, "access") + " does")
			case r.Restricted():
				l.warn(at + ": the token opens more than routes." + r.Name + " lets through")
			}
		}
	}
}

// sameResource picks the scopes whose tokens are for the resource of one.
func (l *loader) sameResource(scope entra.Scope) func(entra.Scope) bool {
	return func(other entra.Scope) bool { return l.opts.Catalogue.SameResource(other, scope) }
}
