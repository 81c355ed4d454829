package route_test

import (
	"strings"
	"testing"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
)

func TestIdentityByWhatItIsKnownBy(t *testing.T) {
	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	const (
		contoso = entra.Tenant("22222222-2222-2222-2222-222222222222")
		app     = "11111111-1111-1111-1111-11111111aaaa"
		mde     = entra.Scope("https://api.securitycenter.microsoft.com/.default")
		xdr     = entra.Scope("https://api.security.microsoft.com/.default")
	)
	identity := func(name string, known route.Known, onBehalf bool) route.Identity {
		return route.Identity{Name: name, ID: entra.IdentityID(name), Tenant: contoso, Known: known, OnBehalfOf: onBehalf}
	}
	table, err := route.NewTable(route.Config{
		Catalogue: catalogue,
		Identities: []route.Identity{
			identity("default", route.Known{ClientID: app}, false),
			identity("certificate", route.Known{ClientID: app}, false),
			identity("users", route.Known{ClientID: app}, true),
			identity("alice", route.Known{ClientID: app, User: "alice@contoso.com"}, false),
			identity("managed", route.Known{ClientID: "c", ObjectID: "o", ResourceID: "/subscriptions/s/x"}, false),
			identity("twin-a", route.Known{ClientID: "twin"}, false),
			identity("twin-b", route.Known{ClientID: "twin"}, false),
			identity("nameless", route.Known{}, false),
		},
		Routes: []route.Route{
			{Name: "defender", Upstream: upstream(t, "https://api.security.microsoft.com")},
			{Name: "mde", Upstream: upstream(t, "https://api.securitycenter.microsoft.com"), Identity: "certificate"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	assertion := entra.NewSecret("user")
	for name, tc := range map[string]struct {
		ask  route.Ask
		want string // the identity, or a part of the refusal
	}{
		"the default one of several":            {route.Ask{Scope: xdr, Known: route.Known{ClientID: app}}, "default"},
		"letter case":                           {route.Ask{Scope: xdr, Known: route.Known{ClientID: strings.ToUpper(app)}}, "default"},
		"the one of the route named":            {route.Ask{Route: "mde", Known: route.Known{ClientID: app}}, "certificate"},
		"with an assertion":                     {route.Ask{Scope: xdr, Known: route.Known{ClientID: app}, Assertion: assertion}, "users"},
		"by user":                               {route.Ask{Scope: xdr, Known: route.Known{ClientID: app, User: "Alice@contoso.com"}}, "alice"},
		"another user":                          {route.Ask{Scope: xdr, Known: route.Known{ClientID: app, User: "bob@contoso.com"}}, `client id "11111111-1111-1111-1111-11111111aaaa", user "bob@contoso.com": no identity`},
		"by object id":                          {route.Ask{Scope: xdr, Known: route.Known{ObjectID: "o"}}, "managed"},
		"by resource id":                        {route.Ask{Scope: xdr, Known: route.Known{ResourceID: "/Subscriptions/S/X"}}, "managed"},
		"unknown":                               {route.Ask{Scope: xdr, Known: route.Known{ClientID: "nobody"}}, "no identity of the configuration is known by it"},
		"unknown object":                        {route.Ask{Scope: xdr, Known: route.Known{ObjectID: "nobody"}}, "no identity of the configuration is known by it"},
		"an assertion that it has no place for": {route.Ask{Scope: xdr, Known: route.Known{ClientID: "c"}, Assertion: assertion}, "no identity of the configuration is known by it"},
		"several, none of them preferred":       {route.Ask{Scope: xdr, Known: route.Known{ClientID: "twin"}}, "several identities are known by it (twin-a, twin-b)"},
		"two answers":                           {route.Ask{Scope: xdr, Known: route.Known{ClientID: app}, Identity: "default"}, "two answers to one question"},
	} {
		t.Run(name, func(t *testing.T) {
			grant, err := table.ResolveToken(tc.ask)
			if err != nil {
				if !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%v, want %q", err, tc.want)
				}
				return
			}
			if grant.Identity != tc.want || grant.Request.Identity != entra.IdentityID(tc.want) {
				t.Errorf("%q (%s), want %q", grant.Identity, grant.Request.Identity, tc.want)
			}
		})
	}
}
