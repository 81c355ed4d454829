package cli

import (
	"context"
	"net/url"
	"testing"
	"time"

	"tokenbroker/broker"
	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/route"
)

// TestBrokerDecidesBeforeItAsks: who may not have a token does not even make
// the cache look for it; the trail says what was decided, and which token it is.
func TestBrokerDecidesBeforeItAsks(t *testing.T) {
	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	table, err := route.NewTable(route.Config{
		Catalogue:  catalogue,
		Identities: []route.Identity{{Name: "default", ID: "app", Tenant: "home.example"}},
		Routes:     []route.Route{{Name: "a", Upstream: &url.URL{Scheme: "https", Host: "a.example"}, Scope: "https://a.example/.default"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := entra.NewToken("token", "https://a.example/.default", time.Now().Add(time.Hour), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	local := guard.Principal{Name: guard.Local}
	for _, tt := range []struct {
		name  string
		who   guard.Principal
		scope entra.Scope
		trail entra.Trail // before
		want  entra.Trail // after
		asked bool
	}{
		{"allowed", local, tok.Scope, entra.Trail{}, entra.Trail{Decision: "allow", Rule: "routes.a", TokenFP: tok.Access.Fingerprint()}, true},
		{"refused", local, "https://b.example/.default", entra.Trail{}, entra.Trail{Decision: "deny", Rule: "default"}, false},
		{"refused after the call was allowed", local, "https://b.example/.default", entra.Trail{Decision: "allow", Rule: "x"}, entra.Trail{Decision: "deny", Rule: "default"}, false},
		{"the call's own rule stays", local, tok.Scope, entra.Trail{Decision: "allow", Rule: "routes.a.allow[0]"}, entra.Trail{Decision: "allow", Rule: "routes.a.allow[0]", TokenFP: tok.Access.Fingerprint()}, true},
		{"nobody", guard.Principal{}, tok.Scope, entra.Trail{}, entra.Trail{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := false
			b := broker.New(entra.SourceFunc(func(context.Context, entra.Request) (entra.Token, error) {
				asked = true
				return tok, nil
			}), guard.NewPolicy(guard.PolicyConfig{Table: table, HandOut: true}))
			trail := tt.trail
			ctx := guard.WithPrincipal(entra.WithTrail(t.Context(), &trail), tt.who)
			got, err := b.Token(ctx, entra.Request{Identity: "app", Tenant: "home.example", Scope: tt.scope})
			if asked != tt.asked || (err == nil) != tt.asked || tt.asked && !got.Access.Equal(tok.Access) {
				t.Errorf("asked %t, %v; want asked %t", asked, err, tt.asked)
			}
			if !tt.asked && entra.KindOf(err) != entra.Denied {
				t.Errorf("got %v, want a denial", err)
			}
			if trail != tt.want {
				t.Errorf("got trail %+v, want %+v", trail, tt.want)
			}
		})
	}
}
