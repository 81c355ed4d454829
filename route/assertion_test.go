package route_test

import (
	"net/http"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/route"
)

func TestUserAssertionHeader(t *testing.T) {
	for _, tt := range []struct {
		name string
		said []string
		want string // the assertion
		says string // in the refusal; empty: it is taken
	}{
		{"none", nil, "", ""},
		{"one", []string{"a.b.c"}, "a.b.c", ""},
		{"an empty one", []string{""}, "", "X-User-Assertion: empty"},
		{"two", []string{"a.b.c", "a.b.c"}, "", "X-User-Assertion: said twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := route.UserAssertion(http.Header{"X-User-Assertion": tt.said})
			if tt.says != "" {
				wantError(t, err, entra.Invalid, tt.says)
			} else if err != nil {
				t.Error(err)
			}
			if got.Reveal() != tt.want {
				t.Errorf("got another assertion, of fingerprint %q", got.Fingerprint())
			}
		})
	}
}

// Who names a user does not get the application's token. That a user is missing
// matters to the token's source alone: such a route can be looked at.
func TestAssertionIsForIdentitiesThatActOnBehalfOfUsers(t *testing.T) {
	people := identity("people")
	people.OnBehalfOf = true
	routes := configured(t, builtin(t, entra.Public), "defender", func(r *route.Route) { r.Identity = "people" })
	table := newTable(t, routes, identity("default"), people)
	view := table.View(route.View{Routes: []string{route.Every}, Tenants: []entra.Tenant{home}})
	user := entra.NewSecret("eyJ.user.x")
	for _, tt := range []struct {
		name      string
		route     string
		assertion entra.Secret
		says      string // in the refusal; empty: it is taken
	}{
		{"a user's", "defender", user, ""},
		{"an application's", "mde", entra.Secret{}, ""},
		{"nobody's", "defender", entra.Secret{}, ""},
		{"a user too many", "mde", user, `identity "default" does not act on behalf of users`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, table := range []*route.Table{table, view} {
				grant, grantErr := table.ResolveToken(route.Ask{Route: tt.route, Assertion: tt.assertion})
				call, callErr := table.Resolve(route.Target{Route: tt.route, Method: "GET", Path: "/api/machines", Assertion: tt.assertion})
				if tt.says != "" {
					wantError(t, grantErr, entra.Invalid, tt.says)
					wantError(t, callErr, entra.Invalid, tt.says)
					continue
				}
				if grantErr != nil || callErr != nil {
					t.Fatal(grantErr, callErr)
				}
				if grant.Request.Assertion != tt.assertion || call.Request().Assertion != tt.assertion {
					t.Error("the request is on behalf of somebody else")
				}
			}
		})
	}
}
