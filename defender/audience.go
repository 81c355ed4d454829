package defender

import (
	"slices"
	"strings"

	"tokenbroker/entra"
)

// aliases are the other names by which the resource applications are known:
// their application ids, and URIs that stand in samples and in public clients.
func aliases(api API) []string {
	switch api {
	case XDR:
		return []string{"8ee8fdad-f234-4243-8f3b-15c294843740", "https://security.microsoft.com/mtp"}
	case MDE:
		return []string{
			"fc780465-2017-40d4-a0c5-307022471b92",
			"https://securitycenter.onmicrosoft.com/windowsatpservice",
			"https://securitycenter.onmicrosoft.us/windowsatpservice",
		}
	case Graph:
		return []string{"00000003-0000-0000-c000-000000000000"}
	default:
		return nil
	}
}

// SameResource reports whether tokens of the two scopes are for one resource
// application, under whatever names the scopes have for it.
func (c *Catalogue) SameResource(a, b entra.Scope) bool {
	one, other := entra.Audience{a.Audience()}, entra.Audience{b.Audience()}
	return one[0] == other[0] ||
		slices.ContainsFunc(apis(), func(api API) bool { return c.Opens(one, api) && c.Opens(other, api) })
}

// Aliases lists the .default scopes of a resource application under its other
// names than the one that a .default scope has for it. Of other scopes, and of
// resources that the catalogue does not know, there are none.
func (c *Catalogue) Aliases(scope entra.Scope) []entra.Scope {
	var all []entra.Scope
	for _, api := range apis() {
		if own := scope.Audience(); string(scope) != own+"/.default" || !c.Opens(entra.Audience{own}, api) {
			continue
		}
		for _, name := range aliases(api) {
			all = append(all, entra.Scope(name+"/.default"))
		}
		for i := range c.hosts {
			if other := c.hosts[i].Scope(api); other != "" {
				all = append(all, other)
			}
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(other entra.Scope) bool { return other == scope })
}

// Opens reports whether a token with these audiences is for the API, in any
// cloud and under any of the names of its resource application.
func (c *Catalogue) Opens(audience entra.Audience, api API) bool {
	return slices.ContainsFunc(audience, func(a string) bool {
		a = strings.ToLower(strings.TrimSuffix(a, "/"))
		return slices.Contains(aliases(api), a) ||
			slices.ContainsFunc(c.hosts, func(h Host) bool { return a != "" && h.Scope(api).Audience() == a })
	})
}
