package config

import (
	"maps"
	"slices"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// checkGrant checks what a caller may have.
func (l *loader) checkGrant(c *Caller, path string) {
	routes, scopes, tenants, identities := join(path, "routes"), join(path, "scopes"), join(path, "tenants"), join(path, "identities")
	if len(c.Routes) == 0 && len(c.Scopes) == 0 && !l.faults.has(scopes) {
		l.faults.add(routes, "missing; a caller without routes and without scopes may have nothing")
	}
	l.checkNames(routes, c.Routes, l.checkRouteName)
	for i, scope := range c.Scopes {
		if scope == "" {
			l.faults.add(element(scopes, i), "empty; want https://host/.default")
		}
	}
	for i, tenant := range c.Tenants {
		c.Tenants[i] = strings.ToLower(tenant) // as entra.ParseTenant has it
	}
	l.checkNames(tenants, c.Tenants, func(at, tenant string) {
		if _, err := entra.ParseTenant(tenant); err != nil {
			l.faults.add(at, "%s", message(err))
		}
	})
	for i, name := range c.Identities {
		if _, ok := l.cfg.Identities[name]; !ok {
			l.faults.add(element(identities, i), "no identity %s; there are: %s", entra.Quote(name), strings.Join(slices.Sorted(maps.Keys(l.cfg.Identities)), ", "))
		}
	}
	if l.cfg.Table != nil && !slices.ContainsFunc([]string{routes, scopes, tenants, identities}, l.faults.within) {
		l.checkReach(c, path)
	}
}

// checkNames checks the names of a list one by one. "*" stands for all there
// are, and alone.
func (l *loader) checkNames(path string, names []string, check func(at, name string)) {
	for i, name := range names {
		switch at := element(path, i); {
		case l.faults.has(at):
		case name != route.Every:
			check(at, name)
		case len(names) > 1:
			l.faults.add(at, `"*" stands for all there are; want it alone, or the names`)
		}
	}
}

// view is the table as the caller sees it.
func (l *loader) view(c *Caller) *route.Table {
	tenants := make([]entra.Tenant, len(c.Tenants))
	for i, tenant := range c.Tenants {
		tenants[i] = entra.Tenant(tenant)
	}
	return l.cfg.Table.View(route.View{Routes: c.Routes, Identities: c.Identities, Default: len(c.Scopes) > 0, Tenants: tenants})
}

// checkReach checks that what a caller may have comes to something: an entry
// that excludes another is a slip in one of them.
func (l *loader) checkReach(c *Caller, path string) {
	view := l.view(c)
	for i, tenant := range c.Tenants {
		open := func(id *route.Identity) bool { return view.Open(id.ID, entra.Tenant(tenant)) }
		if tenant != route.Every && !slices.ContainsFunc(view.Identities(), open) {
			l.faults.add(element(join(path, "tenants"), i), "no identity of the caller is configured for %s; the caller's are: %s", tenant, identityNames(view))
		}
	}
	for i, name := range c.Routes {
		l.checkRouteReach(view, element(join(path, "routes"), i), name)
	}
	for i, scope := range c.Scopes {
		if len(c.Identities) == 0 && view.DefaultIdentity() == "" && !slices.ContainsFunc(view.Routes(), l.uses(scope)) {
			l.faults.add(element(join(path, "scopes"), i), "no route of the caller uses it, and no identity is the default; say in identities whose tokens it may have")
		}
	}
	for i, name := range c.Identities {
		at, has := element(join(path, "identities"), i), func(r *route.Route) bool { return r.Identity == name }
		switch {
		case len(c.Scopes) == 0 && !slices.ContainsFunc(view.Routes(), has):
			l.warn(at + " has no effect: no route of the caller has that identity")
		case !anyTenant(view, name):
			l.warn(at + " has no effect: the identity has none of the caller's tenants")
		}
	}
}

// checkRouteReach checks that the caller can use a route that it names.
func (l *loader) checkRouteReach(view *route.Table, path, name string) {
	if name == route.Every {
		if len(view.Routes()) == 0 {
			l.faults.add(path, "there is no open route with an identity of the caller's")
		}
		return
	}
	r, _ := l.cfg.Table.Route(name) // there is one: the names have no faults
	if _, err := view.Route(name); err != nil {
		l.faults.add(path, "its tokens are of identity %s, which the caller's identities leave out; add it there, or remove the route", r.Identity)
	} else if !anyTenant(view, r.Identity) {
		l.faults.add(path, "its tokens are of identity %s, which has none of the caller's tenants; add one of its tenants, or remove the route", r.Identity)
	}
}

// anyTenant reports whether the identity of the view may be used in any tenant.
func anyTenant(view *route.Table, name string) bool {
	identity, err := view.Identity(name)
	return err == nil && (!identity.Guest || len(identity.Tenants) > 0)
}

// checkIdle warns of routes that stand in the file and that no caller has.
func (l *loader) checkIdle() {
	if l.cfg.Table == nil || len(l.cfg.Callers) == 0 {
		return
	}
	had := map[string]bool{}
	for i := range l.cfg.Callers {
		for _, r := range l.view(&l.cfg.Callers[i]).Routes() {
			had[r.Name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.cfg.Routes)) {
		if !had[name] {
			l.warn("routes." + name + ": no caller has it")
		}
	}
}

func identityNames(table *route.Table) string {
	var names []string
	for _, identity := range table.Identities() {
		names = append(names, identity.Name)
	}
	return strings.Join(names, ", ")
}

// uses picks the routes whose calls can need a token of the scope, under
// whichever of its resource application's names.
func (l *loader) uses(scope entra.Scope) func(*route.Route) bool {
	names := append(l.opts.Catalogue.Aliases(scope), scope)
	return func(r *route.Route) bool {
		return slices.ContainsFunc(r.Scopes(), func(own entra.Scope) bool { return slices.Contains(names, own) })
	}
}
