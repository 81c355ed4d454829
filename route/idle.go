package route

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"tokenbroker/defender"
)

// Idle says which allow and deny rules of the configured routes do nothing, why,
// and what to do: one line each, which begins with the rule's place in the
// configuration. Of a rule at which the catalogue merely knows no endpoint, it
// asks whether that is meant.
//
// A line is never wrong, but not every idle rule has one: a rule is compared
// with each other rule, not with several of them together.
func (t *Table) Idle() []string {
	var lines []string
	for _, r := range t.routes {
		if r.Optional {
			continue
		}
		list := func(key string, rules []Rule, why func(r *Route, i int) string) {
			for i, rule := range rules {
				if why := why(r, i); why != "" {
					lines = append(lines, r.place(key, i)+": "+rule.String()+" "+why)
				}
			}
		}
		if (&Route{Host: r.Host, Allow: r.Allow}).narrowed() { // nobody wrote the built-in list
			list("allow", r.Allow, t.whyAllowIdle)
		}
		list("deny", r.Deny, t.whyDenyIdle)
	}
	return lines
}

// place is where a rule of the route stands in the configuration.
func (r *Route) place(key string, i int) string {
	return fmt.Sprintf("routes.%s.%s[%d]", r.Name, key, i)
}

// whyAllowIdle says why no call is let through because of an allow rule; empty:
// one can be.
func (t *Table) whyAllowIdle(r *Route, i int) string {
	rule := r.Allow[i]
	if !t.serves(r, rule.Path) {
		return notServed(r)
	}
	if by := rule.coveredBy(r.Deny, (*Call).denied); by >= 0 {
		return "lets nothing through, since " + r.place("deny", by) + " refuses all that it names; narrow that rule, or remove this one"
	}
	if by := rule.coveredBy(r.Allow[:i], (*Call).allowed); by >= 0 {
		return "adds nothing to " + r.place("allow", by) + ", which names all of it; remove one of them"
	}
	if !t.knows(r, rule, defender.Action) {
		if why := (&Call{Route: r, Path: rule.Path.path()}).evasion(); why != "" {
			return "lets nothing through: " + why
		}
	}
	if r.Access == ReadOnly && !t.knows(r, rule, defender.Read) {
		return "lets nothing through, since routes." + r.Name + ".access is read-only and the catalogue knows no read at it; mend the rule, or remove it"
	}
	return t.whyUnknown(r, rule)
}

// whyDenyIdle says why no call is refused that would be let through without a
// deny rule; empty: one can be.
func (t *Table) whyDenyIdle(r *Route, i int) string {
	rule := r.Deny[i]
	if !t.serves(r, rule.Path) {
		return notServed(r)
	}
	if by := rule.coveredBy(r.Deny[:i], (*Call).denied); by >= 0 {
		return "adds nothing to " + r.place("deny", by) + ", which names all of it; remove one of them"
	}
	if !slices.ContainsFunc(rule.versions(), func(v Rule) bool { return t.opens(r, v) }) {
		return "refuses nothing, since " + r.whatIsShut() + "; mend the rule, or remove it"
	}
	return t.whyUnknown(r, rule)
}

// whatIsShut says what of the route lets nothing of a deny rule through.
func (r *Route) whatIsShut() string {
	access, allow := "routes."+r.Name+".access", "routes."+r.Name+".allow"
	switch {
	case r.Access == Full:
		return "no rule of " + allow + " names any of it"
	case len(r.Allow) == 0:
		return access + " is read-only and lets none of it through"
	default:
		return access + ", which is read-only, and " + allow + " let none of it through"
	}
}

func notServed(r *Route) string {
	return "can never match, since " + r.Host.Name + " serves no API there; mend the rule, or move it to a route that leads where it is served"
}

// whyUnknown says that the catalogue knows no endpoint at a rule, of a host
// that it knows.
func (t *Table) whyUnknown(r *Route, rule Rule) string {
	if r.Host == nil || slices.ContainsFunc(rule.versions(), func(v Rule) bool { return t.knows(r, v, defender.Action) }) {
		return ""
	}
	list := "tokenbroker endpoints"
	if r.Host.Route != "" {
		list += " --route " + r.Host.Route
	}
	return "may never match, since the catalogue knows no endpoint at it: is it spelt right? see " + list
}

// serves reports whether the route's upstream serves an API at one of the
// pattern's paths. The first two segments decide, and the catalogue has an
// endpoint behind each choice of them that makes a difference.
func (t *Table) serves(r *Route, p Pattern) bool {
	for _, e := range t.catalogue.Endpoints() {
		root := endpointRule(&e).Path.segments
		for n := range 3 {
			both, ok := p.meet(Pattern{segments: root[:min(n, len(root))], any: true})
			if ok && r.ScopeFor(both.path()) != "" {
				return true
			}
		}
	}
	return false
}

// opens reports whether the route's access and allow let a call through that
// the rule picks.
func (t *Table) opens(r *Route, rule Rule) bool {
	allow := r.Allow
	if len(allow) == 0 {
		allow = []Rule{rule}
	}
	return slices.ContainsFunc(allow, func(allowed Rule) bool {
		both, ok := rule.meet(allowed)
		return ok && (r.Access != ReadOnly || t.knows(r, both, defender.Read))
	})
}

// knows reports whether the catalogue knows an endpoint of the route that the
// rule picks, with that effect or a more harmless one.
func (t *Table) knows(r *Route, rule Rule, effect defender.Effect) bool {
	return slices.ContainsFunc(t.catalogue.Endpoints(), func(e defender.Endpoint) bool {
		return e.Effect >= effect && slices.ContainsFunc(endpointRule(&e).versions(), func(version Rule) bool {
			both, ok := rule.meet(version)
			// What both pick need not be a call of an endpoint: to the catalogue
			// ('1') is no id.
			return ok && t.endpoint(r, e.Method, both.Path.path()) != nil
		})
	})
}

// endpointRule is the rule that picks an endpoint's calls. It can pick more of
// them: see [defender.Catalogue.Match].
func endpointRule(e *defender.Endpoint) Rule {
	segments := segmentsOf(defender.Canonical(e.Path))
	for i, segment := range segments {
		if name, _, isFunction := strings.Cut(segment, "("); isFunction {
			segments[i] = name + "(*)"
		} else if strings.HasPrefix(segment, "{") {
			segments[i] = "*"
		}
	}
	return Rule{Methods: []string{e.Method}, Path: Pattern{segments: segments}}
}

// coveredBy returns the first of the rules that picks all that r picks, or -1.
// How a rule picks a call is for picked to say.
func (r Rule) coveredBy(rules []Rule, picked func(*Call, Rule) bool) int {
	return slices.IndexFunc(rules, func(wide Rule) bool {
		if r.Path.any && !wide.Path.any {
			return false
		}
		for _, m := range methods() {
			call := Call{Method: m, Path: r.Path.path()}
			if r.picks(m, call.Path) && !picked(&call, wide) {
				return false
			}
		}
		return true
	})
}

// meet returns the rule that picks what both pick, if there is any such call.
func (r Rule) meet(other Rule) (Rule, bool) {
	path, ok := r.Path.meet(other.Path)
	if !ok {
		return Rule{}, false
	}
	both := Rule{Path: path}
	for _, m := range methods() {
		if r.picks(m, path.path()) && other.picks(m, path.path()) {
			both.Methods = append(both.Methods, m)
		}
	}
	return both, len(both.Methods) > 0
}

// versions lists the rule and, where it names a version of Graph, the same rule
// of the other version: see [Call.denied].
func (r Rule) versions() []Rule {
	if len(r.Path.segments) > 0 {
		twin := r
		twin.Path.segments = slices.Clone(r.Path.segments)
		switch first := &twin.Path.segments[0]; *first {
		case "v1.0":
			*first = "beta"
			return []Rule{r, twin}
		case "beta":
			*first = "v1.0"
			return []Rule{r, twin}
		}
	}
	return []Rule{r}
}

// path is the path that stands for all those of a pattern: a * in it is a
// segment like no other, and (*) are parameters like no others. A pattern that
// matches it matches them all, but for what follows it where ** stood.
func (p Pattern) path() Path { return Path{match: "/" + strings.Join(p.segments, "/")} }

// meet returns the pattern that matches what both match, if there can be such a
// path. What two segments stand for is disjoint, or one has all of the other.
func (p Pattern) meet(other Pattern) (Pattern, bool) {
	short, long := p, other
	if len(short.segments) > len(long.segments) {
		short, long = long, short
	}
	if len(short.segments) < len(long.segments) && !short.any {
		return Pattern{}, false
	}
	both := Pattern{segments: slices.Clone(long.segments), any: short.any && long.any}
	for i, segment := range short.segments {
		switch {
		case standsFor(segment, both.segments[i]):
		case standsFor(both.segments[i], segment):
			both.segments[i] = segment
		default:
			return Pattern{}, false
		}
	}
	return both, true
}

// standsFor reports whether a segment of a pattern stands for all that another
// one stands for.
func standsFor(wide, narrow string) bool {
	return Pattern{segments: []string{wide}}.Match(Pattern{segments: []string{narrow}}.path())
}

// methods lists those that rules can name: see [isMethod].
func methods() []string {
	return []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	}
}
