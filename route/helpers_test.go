package route_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
)

const (
	xdr   = entra.Scope("https://api.security.microsoft.com/.default")
	mde   = entra.Scope("https://api.securitycenter.microsoft.com/.default")
	graph = entra.Scope("https://graph.microsoft.com/.default")

	home     = entra.Tenant("22222222-2222-2222-2222-222222222222")
	customer = entra.Tenant("customer.example")
)

// zeroSecrets compares secrets, which by their own Equal are never equal when
// there are none.
var zeroSecrets = cmp.Comparer(func(a, b entra.Secret) bool { return a.IsZero() && b.IsZero() })

// identity is one that has a home, and a customer if its name is default.
func identity(name string) route.Identity {
	i := route.Identity{Name: name, ID: entra.NewIdentityID("id", name), Tenant: home}
	if name == "default" {
		i.Tenants = []entra.Tenant{customer}
	}
	return i
}

// builtin are the built-in routes of a cloud, as a configuration has them that
// names none.
func builtin(tb testing.TB, cloud entra.Cloud) []route.Route {
	tb.Helper()
	var routes []route.Route
	for _, b := range catalogue(tb).Builtin(cloud, "") {
		r := route.Route{Name: b.Name, Upstream: upstream(tb, "https://"+b.Host.Name), Host: b.Host, Optional: true}
		for _, p := range b.Paths {
			r.Allow = append(r.Allow, route.Rule{Path: pattern(tb, p)})
		}
		routes = append(routes, r)
	}
	return routes
}

// configured returns the routes with the named one configured, as change says.
func configured(tb testing.TB, routes []route.Route, name string, change func(*route.Route)) []route.Route {
	tb.Helper()
	for i := range routes {
		if routes[i].Name == name {
			routes[i].Optional = false
			change(&routes[i])
			return routes
		}
	}
	tb.Fatalf("no route %q", name)
	return nil
}

func newTable(tb testing.TB, routes []route.Route, identities ...route.Identity) *route.Table {
	tb.Helper()
	if len(identities) == 0 {
		identities = []route.Identity{identity("default")}
	}
	t, err := route.NewTable(route.Config{Catalogue: catalogue(tb), Identities: identities, Routes: routes})
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func catalogue(tb testing.TB) *defender.Catalogue {
	tb.Helper()
	c, err := defender.Load()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func path(tb testing.TB, raw string) route.Path {
	tb.Helper()
	p, err := route.ParsePath(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func pattern(tb testing.TB, s string) route.Pattern {
	tb.Helper()
	p, err := route.ParsePattern(s)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func upstream(tb testing.TB, s string) *url.URL {
	tb.Helper()
	u, err := url.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// rules reads rules as they are printed: "GET,POST /api/incidents/**".
func rules(tb testing.TB, lines ...string) []route.Rule {
	tb.Helper()
	var all []route.Rule
	for _, line := range lines {
		methods, p, ok := strings.Cut(line, " ")
		if !ok {
			methods, p = "", line
		}
		rule := route.Rule{Path: pattern(tb, p)}
		if methods != "" {
			rule.Methods = strings.Split(methods, ",")
		}
		all = append(all, rule)
	}
	return all
}

// wantError checks the kind of an error, and that its text has all the parts.
func wantError(tb testing.TB, err error, kind entra.Kind, parts ...string) {
	tb.Helper()
	if err == nil {
		tb.Errorf("got no error, want %s", kind)
		return
	}
	if got := entra.KindOf(err); got != kind {
		tb.Errorf("got %s (%v), want %s", got, err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			tb.Errorf("error %q does not say %q", err, part)
		}
	}
}
