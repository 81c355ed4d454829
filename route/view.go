package route

import (
	"slices"

	"tokenbroker/entra"
)

// Every stands, in a [View], for all there are.
const Every = "*"

// View names the part of a table that one caller may see. Its zero value is
// nothing.
type View struct {
	Routes     []string       // by name; [Every]: all that are open
	Identities []string       // by name; none: those of the routes
	Default    bool           // the default identity too, where Identities names none
	Tenants    []entra.Tenant // none: the identities' own; [Every]: all that they may be used in
}

// View returns the table as one caller sees it. What is outside of the view
// does not exist there: no name resolves to it, and no error speaks of it.
func (t *Table) View(v View) *Table {
	part := &Table{catalogue: t.catalogue, bridges: t.bridges}
	for _, r := range t.routes {
		if names(v.Routes, r.Name) && (len(v.Identities) == 0 || slices.Contains(v.Identities, r.Identity)) {
			part.routes = append(part.routes, r)
		}
	}
	for _, i := range t.identities {
		if v.shows(i, t, part) {
			part.identities = append(part.identities, v.confine(i))
		}
	}
	part.byDefault = part.chooseDefault()
	part.indexUsers()
	return part
}

func names(list []string, name string) bool {
	return slices.Contains(list, name) || slices.Contains(list, Every)
}

// shows reports whether the view has an identity.
func (v View) shows(i *Identity, whole, part *Table) bool {
	if len(v.Identities) > 0 {
		return slices.Contains(v.Identities, i.Name)
	}
	return v.Default && i == whole.byDefault ||
		slices.ContainsFunc(part.routes, func(r *Route) bool { return r.Identity == i.Name })
}

// confine returns the identity with the tenants of the view.
func (v View) confine(i *Identity) *Identity {
	if slices.Contains(v.Tenants, Every) {
		return i
	}
	confined := *i
	confined.Tenants = nil
	for _, tenant := range v.Tenants {
		if tenant != i.Tenant && i.in(tenant) {
			confined.Tenants = append(confined.Tenants, tenant)
		}
	}
	confined.Guest = len(v.Tenants) > 0 && !slices.Contains(v.Tenants, i.Tenant)
	return &confined
}

// Open reports whether the table has the identity, and it may be used in the
// tenant.
func (t *Table) Open(id entra.IdentityID, tenant entra.Tenant) bool {
	return slices.ContainsFunc(t.identities, func(i *Identity) bool { return i.ID == id && i.in(tenant) })
}
