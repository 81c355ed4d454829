package route_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
)

// routeTo is a route to the host that its name stands for in these tests.
func routeTo(tb testing.TB, name string, access route.Access, allow, deny []route.Rule) route.Route {
	tb.Helper()
	host := map[string]string{
		"defender": "api.security.microsoft.com",
		"older":    "api-us.security.microsoft.com",
		"gcc":      "api-gcc.security.microsoft.us",
		"mde":      "api.securitycenter.microsoft.com",
		"graph":    "graph.microsoft.com",
		"other":    "api.example.test",
	}[name]
	r := route.Route{Name: name, Upstream: upstream(tb, "https://"+host), Access: access, Allow: allow, Deny: deny}
	if name == "other" {
		r.Scope = "https://api.example.test/.default"
	}
	return r
}

func TestIdleAllowRules(t *testing.T) {
	for _, tt := range []idle{
		{name: "no rules", route: "defender"},
		{
			name: "rules that do something", route: "defender",
			allow: []string{"GET,PATCH /api/incidents/**", "POST /api/machines/*/isolate", "/api/machines/*", "/api/machineactions/*/GetLiveResponseResultDownloadLink(*)", "HEAD /api/users/*/alerts"},
			deny:  []string{"PATCH /api/incidents/*", "GET /api/incidents/1", "/api/machines/findbytag", "POST /api/v1.0/Machines/pc1/Isolate/"},
		},
		{
			name: "denied word for word", route: "defender", allow: []string{"GET /api/incidents", "GET,POST /api/incidents"}, deny: []string{"GET /api/incidents"},
			want: []string{"allow[0]: GET /api/incidents lets nothing through, since routes.defender.deny[0] refuses all that it names; narrow that rule, or remove this one"},
		},
		{
			name: "denied in another spelling", route: "defender", allow: []string{"GET /api/v1.0/Incidents/", "GET /api/alerts"}, deny: []string{"/API/incidents"},
			want: []string{"allow[0]: |deny[0] refuses"},
		},
		{
			name: "denied by **", route: "defender", allow: []string{"/api/machines/*/isolate", "/api/machines/**"}, deny: []string{"/api/machines/**"},
			want: []string{"allow[0]: |deny[0] refuses", "allow[1]: |deny[0] refuses"},
		},
		{name: "** is more than *", route: "defender", allow: []string{"/api/machines/**"}, deny: []string{"/api/machines/*", "/api/machines"}},
		{name: "* is more than a name", route: "defender", allow: []string{"/api/machines/*"}, deny: []string{"/api/machines/findbytag"}},
		{name: "a method is left", route: "defender", allow: []string{"/api/incidents"}, deny: []string{"GET,POST,PUT,PATCH,DELETE /api/incidents"}},
		{
			name: "every method is denied", route: "defender", allow: []string{"/api/incidents"}, deny: []string{"GET,POST,PUT,PATCH,DELETE,OPTIONS /api/incidents"},
			want: []string{"allow[0]: |deny[0] refuses"},
		},
		{
			name: "GET stands for HEAD", route: "defender", allow: []string{"HEAD /api/incidents"}, deny: []string{"GET /api/incidents"},
			want: []string{"allow[0]: |deny[0] refuses"},
		},
		{name: "HEAD does not stand for GET", route: "defender", allow: []string{"GET /api/incidents"}, deny: []string{"HEAD /api/incidents"}},
		{
			name: "denied in the other version of Graph", route: "graph",
			allow: []string{"/beta/security/incidents/**", "/v1.0/security/incidents/*", "/v1.0/security/alerts_v2"}, deny: []string{"/v1.0/security/incidents/**"},
			want: []string{"allow[0]: |deny[0] refuses", "allow[1]: |deny[0] refuses"},
		},
		{name: "beta itself has no other version", route: "graph", allow: []string{"/beta/**"}, deny: []string{"/v1.0/**"}},
		{
			name: "a function with any parameters", route: "defender",
			allow: []string{"/api/machines/findbyip(ip='1')", "/api/machines/findbyip(*)", "/api/machines/findbyip(ip=(*)", "/api/machines/findbyip"}, deny: []string{"/api/machines/findbyip(*)"},
			want: []string{"allow[0]: |deny[0] refuses", "allow[1]: |deny[0] refuses", "allow[2]: |deny[0] refuses"},
		},
		{
			name: "twice", route: "defender", allow: []string{"GET /api/incidents", "GET /api/V1.0/incidents"},
			want: []string{"allow[1]: GET /api/V1.0/incidents adds nothing to routes.defender.allow[0], which names all of it; remove one of them"},
		},
		{
			name: "in an earlier one", route: "defender", allow: []string{"/api/incidents/**", "GET /api/incidents/*", "/api/incidents/**"},
			want: []string{"allow[1]: |adds nothing to routes.defender.allow[0]", "allow[2]: |adds nothing to routes.defender.allow[0]"},
		},
		{name: "in a later one", route: "defender", allow: []string{"GET /api/incidents/*", "/api/incidents/**"}},
		{name: "a key in parentheses is not in *", route: "defender", allow: []string{"/api/*", "/api/machines('1')", "/api/incidents(*)"}, want: []string{
			"allow[1]: |may never match", "allow[2]: |may never match",
		}},
		{
			name: "what no rule sees", route: "graph", allow: []string{"POST /v1.0/$batch", "GET /v1.0/security/**"},
			want: []string{"allow[0]: POST /v1.0/$batch lets nothing through: $batch can reach what no rule sees; call that by its own path"},
		},
		{
			name: "another spelling beside a deny rule", route: "defender", allow: []string{"GET /api/machines('1')/**", "GET /api/alerts"}, deny: []string{"GET /api/alerts/*", "GET /api/alerts"},
			want: []string{"allow[0]: |lets nothing through: the catalogue does not know it, and it could be another spelling", "allow[1]: |deny[1] refuses", "deny[0]: |no rule of routes.defender.allow"},
		},
		{
			name: "no read", route: "defender", access: route.ReadOnly,
			allow: []string{"POST /api/machines/*/isolate", "GET /api/machineactions/*/getPackageUri", "POST /api/advancedhunting/run", "/api/alerts/batchUpdate", "HEAD /api/**", "GET /api/unheard-of/**", "GET /api/machines('1')", "GET /api/incidents/1/2"},
			want: []string{
				"allow[0]: POST /api/machines/*/isolate lets nothing through, since routes.defender.access is read-only and the catalogue knows no read at it; mend the rule, or remove it",
				"allow[1]: |knows no read", "allow[5]: |knows no read", "allow[6]: |knows no read", "allow[7]: |knows no read",
			},
		},
		{
			name: "no id", route: "defender", access: route.ReadOnly, allow: []string{"/api/incidents/('1')", "/api/incidents/('1')/**", "/api/incidents/1"},
			want: []string{"allow[0]: |knows no read", "allow[1]: |knows no read"},
		},
		{
			name: "no read at this host", route: "gcc", access: route.ReadOnly, allow: []string{"/api/*/*/alerts", "/api/*/*"},
			want: []string{"allow[0]: |knows no read"},
		},
		{
			name: "no read of a host that the catalogue does not know", route: "other", access: route.ReadOnly, allow: []string{"/v2/things", "/api/incidents", "/v1.0/**"},
			want: []string{"allow[0]: |knows no read"},
		},
	} {
		tt.check(t)
	}
}

func TestIdleDenyRules(t *testing.T) {
	for _, tt := range []idle{
		{name: "a route that is open but for them", route: "defender", deny: []string{"POST /api/machines/*/isolate", "/api/libraryfiles/**", "/**"}},
		{
			name: "in an earlier one", route: "defender", deny: []string{"/api/machines/*/isolate", "POST /api/machines/*/isolate", "/api/machines/**"},
			want: []string{"deny[1]: POST /api/machines/*/isolate adds nothing to routes.defender.deny[0], which names all of it; remove one of them"},
		},
		{
			name: "in an earlier one, in the other version of Graph", route: "graph", deny: []string{"/v1.0/security/**", "/beta/security/incidents"},
			want: []string{"deny[1]: |adds nothing to routes.graph.deny[0]"},
		},
		{
			name: "what is not allowed", route: "defender", allow: []string{"/api/machines/**"}, deny: []string{"POST /api/machine/*/isolate", "POST /api/machines/*/isolate"},
			want: []string{"deny[0]: POST /api/machine/*/isolate refuses nothing, since no rule of routes.defender.allow names any of it; mend the rule, or remove it"},
		},
		{
			name: "a method that is not allowed", route: "defender", allow: []string{"GET /api/machines/**"}, deny: []string{"POST /api/machines/*/isolate", "HEAD /api/machines", "/api/machines/*/isolate"},
			want: []string{"deny[0]: |no rule of routes.defender.allow"},
		},
		{
			name: "functions", route: "defender", allow: []string{"/api/machines/findbyip(*)"}, deny: []string{"/api/machines/findbyip(ip=(*)", "/api/machines/findbyip(ip=(1))", "/api/machines/find(*)", "/api/*/findbyip(x)"},
			want: []string{"deny[1]: |adds nothing to routes.defender.deny[0]", "deny[2]: |no rule"},
		},
		{name: "the other version of Graph is allowed", route: "graph", allow: []string{"/v1.0/security/**"}, deny: []string{"/beta/security/incidents"}},
		{
			name: "what read-only refuses", route: "defender", access: route.ReadOnly, deny: []string{"POST /api/machines/*/isolate", "GET /api/machineactions/*/getPackageUri", "/api/machines/**", "POST /api/*/run", "GET /api/alerts('1')/**"},
			want: []string{
				"deny[0]: POST /api/machines/*/isolate refuses nothing, since routes.defender.access is read-only and lets none of it through; mend the rule, or remove it",
				"deny[1]: |is read-only", "deny[4]: |is read-only",
			},
		},
		{name: "a read in the other version of Graph", route: "graph", access: route.ReadOnly, deny: []string{"/beta/security/runHuntingQuery"}},
		{
			name: "what read-only and allow refuse", route: "defender", access: route.ReadOnly, allow: []string{"/api/machines/**"}, deny: []string{"/api/alerts/**", "POST /api/machines/*/isolate", "GET /api/*/*/alerts"},
			want: []string{"deny[0]: |routes.defender.access, which is read-only, and routes.defender.allow let none of it through", "deny[1]: |let none of it through"},
		},
		{
			name: "where a read lies below, and none at it", route: "defender", access: route.ReadOnly, allow: []string{"/api/users/**"}, deny: []string{"/api/users/*", "/api/users/*/**"},
			want: []string{"deny[0]: |let none of it through"},
		},
	} {
		tt.check(t)
	}
}

func TestIdleRulesOfAHost(t *testing.T) {
	for _, tt := range []idle{
		{
			name: "an API that is not served there", route: "gcc", allow: []string{"/api/machines/**", "/api/incidents/**", "/api/*", "/*/incidents/1", "/**", "/api", "/*"}, deny: []string{"/api/alerts/1", "/v1.0/**"},
			want: []string{
				"allow[0]: /api/machines/** can never match, since api-gcc.security.microsoft.us serves no API there; mend the rule, or move it to a route that leads where it is served",
				"allow[5]: |serves no API", "allow[6]: |serves no API", "deny[0]: |serves no API", "deny[1]: |serves no API",
			},
		},
		{
			name: "no API there", route: "mde", allow: []string{"/apis/machines", "/machines/*", "/v1.0/security/**", "/*/*/*/alerts", "/api/**", "/api"},
			want: []string{"allow[0]: |serves no API", "allow[1]: |serves no API", "allow[2]: |serves no API", "allow[5]: |adds nothing"},
		},
		{
			name: "no endpoint", route: "defender", allow: []string{"/api/machine/*", "GET /api/machines/*/isolate", "/api/machines/**"},
			want: []string{
				"allow[0]: /api/machine/* may never match, since the catalogue knows no endpoint at it: is it spelt right? see tokenbroker endpoints --route defender",
				"allow[1]: |may never match",
			},
		},
		{
			name: "no endpoint, of a host without a built-in route", route: "older", deny: []string{"/api/incidents/*/close"},
			want: []string{"deny[0]: /api/incidents/*/close may never match, since the catalogue knows no endpoint at it: is it spelt right? see tokenbroker endpoints$"},
		},
		{
			name: "no endpoint at this host", route: "mde", deny: []string{"/api/machines", "/api/customdetections"},
			want: []string{"deny[1]: |may never match"},
		},
		{name: "the other version of Graph", route: "graph", allow: []string{"/beta/security/incidents/**"}, deny: []string{"/beta/security/incidents/*"}},
		{name: "a host that the catalogue does not know", route: "other", allow: []string{"/v2/things/**", "/v1.0/x"}, deny: []string{"/v2/things/*/delete"}},
	} {
		tt.check(t)
	}
}

// Nobody wrote the rules of built-in routes, and nobody can mend them.
func TestBuiltinRulesAreNotIdle(t *testing.T) {
	readOnly := configured(t, builtin(t, entra.Public), "graph", func(r *route.Route) { r.Access = route.ReadOnly })
	optional := builtin(t, entra.Public)
	optional[0].Deny = rules(t, "/nowhere")
	for _, routes := range [][]route.Route{readOnly, optional} {
		if got := newTable(t, routes).Idle(); len(got) > 0 {
			t.Errorf("got %q, want none", got)
		}
	}
}

// Every method that a rule can name is one that it picks calls by.
func TestNoMethodIsIdle(t *testing.T) {
	accepted := 0
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"} {
		r := routeTo(t, "other", route.Full, rules(t, m+" /x/**", "/y"), rules(t, m+" /x/1", "/z"))
		table, err := route.NewTable(route.Config{Catalogue: catalogue(t), Identities: []route.Identity{identity("default")}, Routes: []route.Route{r}})
		if err != nil {
			continue
		}
		accepted++
		want := []string{"routes.other.deny[1]: /z refuses nothing, since no rule of routes.other.allow names any of it; mend the rule, or remove it"}
		if diff := cmp.Diff(table.Idle(), want); diff != "" {
			t.Errorf("%s: (-got +want)\n%s", m, diff)
		}
	}
	if accepted != 7 {
		t.Errorf("rules can name %d methods, want 7", accepted)
	}
}

// idle is a row: a route, and of each line that Idle has for it how it begins
// after "routes.NAME." and, after a |, what else it has. $ is its end.
type idle struct {
	name        string
	route       string
	access      route.Access
	allow, deny []string
	want        []string
}

func (i idle) check(t *testing.T) {
	t.Helper()
	table := newTable(t, []route.Route{routeTo(t, i.route, i.access, rules(t, i.allow...), rules(t, i.deny...))})
	got := table.Idle()
	ok := len(got) == len(i.want)
	for n := 0; ok && n < len(got); n++ {
		first, rest, _ := strings.Cut(i.want[n], "|")
		ok = strings.HasPrefix(got[n]+"$", "routes."+i.route+"."+first) && strings.Contains(got[n], rest)
	}
	if !ok {
		t.Errorf("%s: got\n%s\nwant\n%s", i.name, strings.Join(got, "\n"), strings.Join(i.want, "\n"))
	}
}

// sample has what rules and calls are made from.
type sample struct {
	paths    map[bool][]string // of the catalogue, by whether they are Graph's
	segments []string          // of those paths, and what could stand in their places
}

func sampleOf(tb testing.TB) sample {
	tb.Helper()
	s := sample{paths: make(map[bool][]string), segments: []string{"api", "v1.0", "beta", "x", "1", "ns.isolate", "findbyip(ip='1')", "incidents(41)", "$batch", "v2.0", "$count"}}
	for _, e := range catalogue(tb).Endpoints() {
		s.paths[e.API == defender.Graph] = append(s.paths[e.API == defender.Graph], e.Path)
		for segment := range strings.SplitSeq(strings.Trim(e.Path, "/"), "/") {
			if !strings.ContainsAny(segment, "{(") && !slices.Contains(s.segments, segment) {
				s.segments = append(s.segments, segment)
			}
		}
	}
	return s
}

// call draws the path of a call that could be meant by the path.
func (s sample) call(t *rapid.T, path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, part := range parts {
		switch name, _, isFunction := strings.Cut(part, "("); {
		case isFunction:
			parts[i] = name + rapid.SampledFrom([]string{"()", "(1)", "(ip=(1)", "(ip='1')"}).Draw(t, "parameters")
		case part[0] == '{':
			parts[i] = rapid.SampledFrom(s.segments).Draw(t, "id")
		}
	}
	return s.alter(t, parts, s.segments)
}

// rule draws a rule that could mean the path.
func (s sample) rule(t *rapid.T, path string) route.Rule {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, part := range parts {
		switch name, _, isFunction := strings.Cut(part, "("); {
		case isFunction:
			parts[i] = name + rapid.SampledFrom([]string{"(*)", "(ip=(*)", "(1)"}).Draw(t, "parameters")
		case part[0] == '{', rapid.IntRange(0, 5).Draw(t, "*") == 0:
			parts[i] = "*"
		}
	}
	text := s.alter(t, parts, append([]string{"*", "*", "*", "(*)", "incidents(*)"}, s.segments...))
	if rapid.IntRange(0, 3).Draw(t, "**") == 0 {
		text += "/**"
	}
	p, err := route.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	methods := rapid.SampledFrom([][]string{nil, nil, {"GET"}, {"HEAD"}, {"POST"}, {"GET", "POST"}, {"POST", "PATCH", "DELETE", "OPTIONS"}})
	return route.Rule{Methods: methods.Draw(t, "methods"), Path: p}
}

// alter puts another segment here, adds or drops one there, and takes the other
// version of Graph.
func (s sample) alter(t *rapid.T, parts, segments []string) string {
	switch rapid.IntRange(0, 9).Draw(t, "alter") {
	case 0:
		parts[rapid.IntRange(0, len(parts)-1).Draw(t, "at")] = rapid.SampledFrom(segments).Draw(t, "other")
	case 1, 2:
		parts = parts[:len(parts)-1]
	case 3, 4:
		parts = append(parts, rapid.SampledFrom(segments).Draw(t, "more"))
	case 5, 6:
		parts[0] = strings.Replace(parts[0], "v1.0", "beta", 1)
	}
	return "/" + strings.Join(parts, "/")
}

// What Idle says is true: without a rule that does nothing, and without all of
// them at once, every call has the verdict that it has with them.
func TestIdleRulesDecideNothing(t *testing.T) {
	sample := sampleOf(t)
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom([]string{"defender", "gcc", "mde", "graph", "other"}).Draw(rt, "route")
		paths := rapid.SampledFrom(sample.paths[name == "graph"])
		own := rapid.SampledFrom(rapid.SliceOfN(paths, 1, 2).Draw(rt, "paths")) // two only: rules and calls are to meet
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) route.Rule { return sample.rule(t, own.Draw(t, "path")) }), 0, 3)
		access := rapid.SampledFrom([]route.Access{route.Full, route.ReadOnly}).Draw(rt, "access")
		r := routeTo(t, name, access, list.Draw(rt, "allow"), list.Draw(rt, "deny"))
		table := newTable(t, []route.Route{r})
		lines := table.Idle()
		unknown := make(map[string]bool) // rules of which Idle only asks whether they are meant
		var idle []string
		for _, line := range lines {
			if place, _, _ := strings.Cut(line, ": "); strings.Contains(line, " may never match") {
				unknown[place] = true
			} else {
				idle = append(idle, place)
			}
		}
		others := []*route.Table{newTable(t, []route.Route{without(t, r, idle...)})}
		for _, place := range idle {
			others = append(others, newTable(t, []route.Route{without(t, r, place)}))
		}
		for range 40 {
			target := route.Target{
				Route:  r.Name,
				Method: rapid.SampledFrom([]string{"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"}).Draw(rt, "method"),
				Path:   sample.call(rt, own.Draw(rt, "path")),
			}
			call, err := table.Resolve(target)
			if err != nil {
				continue
			}
			by, want := call.Permitted()
			if unknown[by] && call.Endpoint != nil {
				rt.Errorf("%s %s is %s, and decided by %s:\n%s", target.Method, target.Path, call.Endpoint, by, strings.Join(lines, "\n"))
			}
			for _, other := range others {
				call, err := other.Resolve(target)
				if err != nil {
					rt.Fatal(err)
				}
				if _, got := call.Permitted(); (got == nil) != (want == nil) {
					rt.Errorf("%s %s: %v, and without idle rules %v:\n%s", target.Method, target.Path, want, got, strings.Join(lines, "\n"))
				}
			}
		}
	})
}

// without returns the route with rules that name nothing in the places of those
// that are named. To leave them out could leave a list empty, and that says
// something else: where nothing is denied, no spelling is doubtful.
func without(tb testing.TB, r route.Route, places ...string) route.Route {
	tb.Helper()
	r.Allow, r.Deny = slices.Clone(r.Allow), slices.Clone(r.Deny)
	for key, list := range map[string][]route.Rule{"allow": r.Allow, "deny": r.Deny} {
		for i := range list {
			if slices.Contains(places, fmt.Sprintf("routes.%s.%s[%d]", r.Name, key, i)) {
				list[i] = rules(tb, "OPTIONS /no/such/path/at/all")[0]
			}
		}
	}
	return r
}
