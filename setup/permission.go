package setup

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// Permission is a permission of a resource application: an application role,
// or for a user's sign-in a delegated one.
type Permission struct {
	API  defender.API
	Name string
}

var permissionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*(\.[A-Za-z0-9]+)*$`)

func (p Permission) check() error {
	if len(p.Name) > 120 || !permissionName.MatchString(p.Name) || titleOf(p.API) == "" {
		return fmt.Errorf("role %s: want the name of a permission such as Incident.Read.All", entra.Quote(string(p.API)+"/"+p.Name))
	}
	return nil
}

// ParsePermission reads the name of a permission that the catalogue knows, or
// API/name for any of an API: GRAPH/User.Read.All.
func ParsePermission(catalogue *defender.Catalogue, s string) (Permission, error) {
	if api, name, ok := strings.Cut(s, "/"); ok {
		p := Permission{API: defender.API(strings.ToUpper(api)), Name: name}
		if p.check() == nil {
			return p, nil
		}
	}
	var found []Permission
	for _, e := range catalogue.Endpoints() {
		for _, name := range slices.Concat(e.App, e.Delegated) {
			if strings.EqualFold(name, s) {
				found = append(found, Permission{API: e.API, Name: name})
			}
		}
	}
	slices.SortFunc(found, compare)
	switch found = slices.Compact(found); len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Permission{}, entra.Errorf(entra.Invalid, opPlan, "role %s: not in the catalogue; say whose it is, as in GRAPH/%s (XDR, MDE, GRAPH or MDCA)", entra.Quote(s), "User.Read.All")
	default:
		return Permission{}, entra.Errorf(entra.Invalid, opPlan, "role %s: several APIs have it; say whose, as in %s/%s", entra.Quote(s), found[0].API, found[0].Name)
	}
}

// holding is a permission that is needed, and the endpoints that it opens.
type holding struct {
	Permission
	opens []string
}

// need is what is needed of one resource application.
type need struct {
	API  defender.API
	held []holding
}

// least finds the permissions that open the endpoints: beyond those that are
// given, each of them is needed, and none could be a weaker one. First what has
// no alternative; then for what is still closed the weakest, and of equally weak
// ones the one that opens the most.
func least(endpoints []defender.Endpoint, given []Permission, delegated bool) []holding {
	held := slices.Clone(given)
	closed := func(without ...Permission) []defender.Endpoint {
		return slices.DeleteFunc(slices.Clone(endpoints), func(e defender.Endpoint) bool {
			return slices.ContainsFunc(held, func(p Permission) bool { return opens(p, &e, delegated) && !slices.Contains(without, p) })
		})
	}
	for _, e := range endpoints {
		if names := alternatives(&e, delegated); len(names) == 1 {
			held = append(held, Permission{API: e.API, Name: names[0]})
		}
	}
	for left := closed(); len(left) > 0; left = closed() {
		var all []Permission
		for _, e := range left {
			for _, name := range alternatives(&e, delegated) {
				all = append(all, Permission{API: e.API, Name: name})
			}
		}
		held = append(held, slices.MinFunc(all, func(a, b Permission) int { // of equals the first
			return cmp.Or(cmp.Compare(power(a.Name), power(b.Name)), cmp.Compare(count(left, b, delegated), count(left, a, delegated)))
		}))
	}
	slices.SortFunc(held, compare)
	held = slices.CompactFunc(held, func(a, b Permission) bool { return a.API == b.API && strings.EqualFold(a.Name, b.Name) })
	for _, p := range slices.Clone(held) { // a stronger one, taken later, may have made it needless
		if !slices.Contains(given, p) && len(closed(p)) == 0 {
			held = slices.DeleteFunc(held, func(h Permission) bool { return h == p })
		}
	}

	holdings := make([]holding, len(held))
	for i, p := range held {
		holdings[i].Permission = p
		for _, e := range endpoints {
			if opens(p, &e, delegated) && !slices.Contains(holdings[i].opens, e.String()) {
				holdings[i].opens = append(holdings[i].opens, e.String())
			}
		}
	}
	return holdings
}

// byAPI groups the holdings, which are sorted, by resource application.
func byAPI(all []holding) []need {
	var needs []need
	for _, h := range all {
		if n := len(needs); n == 0 || needs[n-1].API != h.API {
			needs = append(needs, need{API: h.API})
		}
		last := &needs[len(needs)-1]
		last.held = append(last.held, h)
	}
	return needs
}

func alternatives(e *defender.Endpoint, delegated bool) []string {
	if delegated {
		return e.Delegated
	}
	return e.App
}

func opens(p Permission, e *defender.Endpoint, delegated bool) bool {
	return p.API == e.API && slices.ContainsFunc(alternatives(e, delegated), func(name string) bool { return strings.EqualFold(name, p.Name) })
}

func count(endpoints []defender.Endpoint, p Permission, delegated bool) int {
	n := 0
	for _, e := range endpoints {
		if opens(p, &e, delegated) {
			n++
		}
	}
	return n
}

// power orders permissions by what a thief of them could do.
func power(name string) int {
	_, verb, _ := strings.Cut(strings.ToLower(name), ".")
	verb, everything := strings.CutSuffix(verb, ".all")
	rank := map[string]int{"read": 0, "scan": 1, "readwrite": 2, "manage": 2, "offboard": 4, "liveresponse": 4}
	p, known := rank[verb]
	if !known {
		p = 3 // it reaches a machine
	}
	p *= 2
	if everything { // Ti.ReadWrite is one's own indicators, Ti.ReadWrite.All everybody's
		p++
	}
	return p
}

func compare(a, b Permission) int {
	order := []defender.API{defender.XDR, defender.MDE, defender.Graph, defender.MDCA}
	return cmp.Or(cmp.Compare(slices.Index(order, a.API), slices.Index(order, b.API)), cmp.Compare(a.Name, b.Name))
}

// fromScopes reads what scopes ask for: the delegated permissions that they
// name, and the resource applications whose .default they want.
func fromScopes(catalogue *defender.Catalogue, scopes []entra.Scope, delegated bool) (given []Permission, named []defender.API, faults []error) {
	for _, scope := range scopes {
		i := slices.IndexFunc(apis(), func(r resource) bool { return catalogue.Opens(entra.Audience{scope.Audience()}, r.api) })
		if i < 0 {
			faults = append(faults, fmt.Errorf("scopes: %s: not of a Defender API or Graph", scope))
			continue
		}
		for _, name := range scope.Names() {
			name = name[strings.LastIndexByte(name, '/')+1:]
			switch {
			case name == ".default":
				named = append(named, apis()[i].api)
			case delegated:
				given = append(given, Permission{API: apis()[i].api, Name: name})
			default:
				faults = append(faults, fmt.Errorf("scopes: %s: an application gets /.default; name the role instead", scope))
			}
		}
	}
	return given, named, faults
}
