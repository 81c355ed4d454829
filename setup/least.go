package setup

import (
	"slices"

	"tokenbroker/defender"
)

// Needed is a permission with the endpoints that it opens.
type Needed struct {
	Permission
	Opens []string
}

// Least finds the least permissions that open the endpoints: of an application,
// or delegated ones. Endpoints that no such permission opens are left out.
func Least(endpoints []defender.Endpoint, delegated bool) []Needed {
	open := slices.DeleteFunc(slices.Clone(endpoints), func(e defender.Endpoint) bool { return len(alternatives(&e, delegated)) == 0 })
	var all []Needed
	for _, h := range least(open, nil, delegated) {
		all = append(all, Needed{h.Permission, h.opens})
	}
	return all
}

// Resource is what the portal calls the resource application of an API.
func Resource(api defender.API) string { return titleOf(api) }
