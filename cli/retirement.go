package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
	"tokenbroker/setup"
)

// ending is what check says of those endpoints that a route lets through and
// that end on one day.
type ending struct {
	Route        string            `json:"route"`
	Ends         string            `json:"ends"`                   // the day, at midnight UTC
	DaysLeft     int               `json:"days_left"`              // none: it has come
	Settled      bool              `json:"settled"`                // said by the documentation too, and not by the notice's wording alone
	Endpoints    []string          `json:"endpoints"`              // by name
	Counterparts map[string]string `json:"counterparts,omitempty"` // of some of them: what does the same in Graph
	Remedy       string            `json:"remedy,omitempty"`       // how the counterparts are called
}

// endings lists what ends of what the routes let through that the configuration
// names, and the default one.
func (a *app) endings(now time.Time) []ending {
	all := []ending{}
	for _, r := range a.table.Routes() {
		if r.Optional && r.Name != a.cfg.DefaultRoute {
			continue
		}
		for _, e := range a.catalogue.Endpoints() {
			if on, settled := e.Retirement(); !on.IsZero() && a.reaches(r, &e) && !a.isBridged(r, &e) {
				all = gathered(all, &e, ending{Route: r.Name, Ends: on.Format(time.DateOnly), DaysLeft: daysLeft(on, now), Settled: settled})
			}
		}
	}
	for i := range all {
		all[i].Remedy = a.remedy(&all[i])
	}
	return all
}

// gathered adds an endpoint to its like, or to a new entry.
func gathered(all []ending, e *defender.Endpoint, like ending) []ending {
	i := slices.IndexFunc(all, func(n ending) bool { return n.Route == like.Route && n.Ends == like.Ends && n.Settled == like.Settled })
	if i < 0 {
		i, all = len(all), append(all, like)
		all[i].Counterparts = map[string]string{}
	}
	all[i].Endpoints = append(all[i].Endpoints, e.String())
	if e.Counterpart != "" {
		all[i].Counterparts[e.String()] = e.Counterpart
	}
	return all
}

// reaches reports whether the route lets calls of the endpoint through, to an
// upstream that has it. The path alone does not tell: other APIs have /api too.
func (a *app) reaches(r *route.Route, e *defender.Endpoint) bool {
	call, err := a.table.Resolve(target(r, e))
	return err == nil && call.Endpoint != nil && call.Endpoint.String() == e.String() &&
		a.catalogue.Opens(entra.Audience{call.Scope.Audience()}, e.API) && a.lets(r, e)
}

// daysLeft counts the days until a day, by the calendar of UTC.
func daysLeft(until, now time.Time) int {
	return max(0, int(until.Sub(now.UTC().Truncate(24*time.Hour)).Hours()/24))
}

// remedy says how the counterparts are called: by the first route that lets one
// through.
func (a *app) remedy(n *ending) string {
	there := a.inGraph(n)
	if len(there) == 0 {
		return ""
	}
	for _, r := range a.table.Routes() {
		if slices.ContainsFunc(there, func(e defender.Endpoint) bool { return a.reaches(r, &e) }) {
			return "call it by route " + r.Name
		}
	}
	return "add a route that lets it through (routes: {graph: {}}), and call it there"
}

// inGraph lists the counterparts.
func (a *app) inGraph(n *ending) []defender.Endpoint {
	names := slices.Collect(maps.Values(n.Counterparts))
	return slices.DeleteFunc(slices.Clone(a.catalogue.Endpoints()), func(e defender.Endpoint) bool { return !slices.Contains(names, e.String()) })
}

// writeEndings says it in lines: one for each route of what is settled, and one
// of all that is not.
func (a *app) writeEndings(w io.Writer, now time.Time) {
	var routes []string
	open, known, when := map[string]bool{}, map[string]string{}, "" // each endpoint once, whatever routes lead there
	for _, n := range a.endings(now) {
		if n.Settled {
			fmt.Fprintf(w, "\nends %s: %s by route %s%s\n", n.when(), strings.Join(n.Endpoints, ", "), n.Route, a.instead(&n))
			continue
		}
		routes, when = append(routes, n.Route), n.when()
		for _, name := range n.Endpoints {
			open[name] = true
		}
		maps.Copy(known, n.Counterparts)
	}
	if len(open) > 0 {
		fmt.Fprintf(w, "\nnot settled: Microsoft's notice %s, by its wording, also ends %s: %d more endpoints by %s. The documentation speaks of hunting alone. %d of them have a counterpart in Graph: see tokenbroker endpoints\n",
			defender.RetirementNotice, when, len(open), strings.Join(routes, ", "), len(known))
	}
}

// instead says what there is in their place.
func (a *app) instead(n *ending) string {
	there := a.inGraph(n)
	if len(there) == 0 {
		return ""
	}
	var names, permissions []string
	for _, e := range there {
		names = append(names, e.String())
	}
	for _, needed := range setup.Least(there, false) {
		permissions = append(permissions, needed.Name)
	}
	return fmt.Sprintf("; Graph has %s (%s): %s", strings.Join(names, ", "), strings.Join(permissions, ", "), n.Remedy)
}

// when says when they end, and how many days are left.
func (n *ending) when() string {
	if n.DaysLeft == 0 {
		return "on " + n.Ends
	}
	return fmt.Sprintf("on %s, in %d days", n.Ends, n.DaysLeft)
}
