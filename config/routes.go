package config

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
)

// preferred is the default route where the cloud has it.
const preferred = "defender"

// makeTable makes the table from the identities and from the routes: those of
// the file, merged by name into the built-in ones, and the rest of these.
func (l *loader) makeTable(identities []route.Identity) {
	builtin := map[string]defender.Builtin{}
	if err := l.opts.Catalogue.CheckRegion(l.cfg.Cloud, l.cfg.Region); err != nil && !l.faults.has("cloud") {
		l.faults.add("region", "%s", message(err))
	}
	for _, b := range l.opts.Catalogue.Builtin(l.cfg.Cloud, l.cfg.Region) {
		builtin[b.Name] = b
		l.routes = append(l.routes, b.Name)
	}
	for name := range l.cfg.Routes {
		if _, ok := builtin[name]; !ok {
			l.routes = append(l.routes, name)
		}
	}
	slices.Sort(l.routes)

	if len(identities) == 0 { // that is a fault already, and the routes' own are to be found beside it
		identities = []route.Identity{{Name: defaultName}}
	}
	cfg := route.Config{Catalogue: l.opts.Catalogue, Identities: identities}
	for _, name := range l.routes {
		set, named := l.cfg.Routes[name]
		l.checkRate(&set.Rate, join(join("routes", name), "rate"))
		r := route.Route{
			Name:     name,
			Upstream: set.Upstream,
			Identity: set.Identity,
			Scope:    set.Scope,
			Access:   set.Access,
			Allow:    tableRules(set.Allow),
			Deny:     tableRules(set.Deny),
			Rate:     route.Rate(set.Rate),
			Bridge:   set.Bridge,
			Optional: !named,
		}
		if b, ok := builtin[name]; ok {
			l.complete(&r, b, set)
		}
		cfg.Routes = append(cfg.Routes, r)
	}
	var err error
	l.cfg.Table, err = route.NewTable(cfg)
	l.addAll(err)
}

// complete gives a route what the built-in one of its name has and the file
// does not say. An upstream of one's own, such as an emulator, keeps the
// audiences of the one that it stands for.
func (l *loader) complete(r *route.Route, b defender.Builtin, set Route) {
	if r.Upstream == nil {
		r.Upstream = &url.URL{Scheme: "https", Host: b.Host.Name}
	}
	if _, known := l.opts.Catalogue.Host(r.Upstream.Hostname()); !known && r.Scope == "" {
		r.Host = b.Host
	}
	if set.Allow != nil {
		return
	}
	for _, path := range b.Paths {
		pattern, err := route.ParsePattern(path)
		if err != nil {
			l.faults.add(join("routes", b.Name), "%s", message(err))
		}
		r.Allow = append(r.Allow, route.Rule{Path: pattern})
	}
}

// checkRate checks a route's own figures.
func (l *loader) checkRate(r *Rate, path string) {
	_, said := l.faults.origins[path]
	switch {
	case !said, l.faults.within(path), r.Off, *r == Rate{}:
	case r.PerMinute < 1:
		l.faults.add(join(path, "per_minute"), "want 1 or more; to pace nothing set rate: off")
	case r.Burst < 0 || r.Burst > r.PerMinute:
		l.faults.add(join(path, "burst"), "want 1 to per_minute, or nothing")
	}
}

// tableRules are rules as the table has them.
func tableRules(set []Rule) []route.Rule {
	var rules []route.Rule
	for _, rule := range set {
		var methods []string
		for _, m := range rule.Methods {
			if m != "" { // it could not be read
				methods = append(methods, string(m))
			}
		}
		rules = append(rules, route.Rule{Methods: methods, Path: rule.Path})
	}
	return rules
}

// addAll notes the faults that the table found. Each begins with its path.
func (l *loader) addAll(err error) {
	if err == nil {
		return
	}
	all := []error{err}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		all = joined.Unwrap()
	}
	for _, err := range all {
		path, text, _ := strings.Cut(message(err), ": ")
		// An upstream that could not be read has a fault, and its scope is not known for that reason.
		if section, ok := strings.CutSuffix(path, ".scope"); !ok || !l.faults.has(section+".upstream") {
			l.faults.add(path, "%s", text)
		}
	}
}

// checkRouteName checks that the setting at path names a route that is open.
func (l *loader) checkRouteName(path, name string) {
	if !slices.Contains(l.routes, name) {
		l.faults.add(path, "no route %s; there are: %s", entra.Quote(name), strings.Join(l.routes, ", "))
	} else if l.cfg.Table != nil {
		if _, err := l.cfg.Table.Route(name); err != nil {
			l.faults.add(path, "%s", message(err))
		}
	}
}

// checkDefaultRoute checks the default route, or chooses it.
func (l *loader) checkDefaultRoute() {
	if l.cfg.DefaultRoute != "" {
		l.checkRouteName("default_route", l.cfg.DefaultRoute)
		return
	}
	for _, r := range l.openRoutes() {
		if r.Name == preferred || l.cfg.DefaultRoute == "" {
			l.cfg.DefaultRoute = r.Name
		}
	}
}

// openRoutes lists the routes of the table; none where there is no table.
func (l *loader) openRoutes() []*route.Route {
	if l.cfg.Table == nil {
		return nil
	}
	return l.cfg.Table.Routes()
}

// noteClosed notes which routes are closed, and why.
func (l *loader) noteClosed() {
	if l.cfg.Table == nil {
		return
	}
	for _, name := range l.routes {
		if _, err := l.cfg.Table.Route(name); err != nil {
			l.cfg.Notes = append(l.cfg.Notes, message(err))
		}
	}
}

// checkClouds warns of routes whose upstreams do not take the tokens of the
// authority: the cloud and the authority do not fit.
func (l *loader) checkClouds() {
	microsofts := slices.ContainsFunc(entra.Clouds(), func(c entra.Cloud) bool { return c.Authority() == l.cfg.Authority })
	if !microsofts {
		return // an emulator's
	}
	byAuthority := map[entra.Authority][]string{}
	for _, r := range l.openRoutes() {
		if r.Host != nil && r.Host.Authority != l.cfg.Authority {
			byAuthority[r.Host.Authority] = append(byAuthority[r.Host.Authority], r.Name)
		}
	}
	for _, authority := range slices.Sorted(maps.Keys(byAuthority)) {
		l.warn("routes " + strings.Join(byAuthority[authority], ", ") + ": the upstreams take tokens of " + string(authority) +
			", the authority is " + string(l.cfg.Authority) + "; set cloud")
	}
}
