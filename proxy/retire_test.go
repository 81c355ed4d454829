package proxy_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/proxy"
	"tokenbroker/route"
)

func TestEndIsAnnounced(t *testing.T) {
	const (
		sunset    = "Mon, 01 Feb 2027 00:00:00 GMT"
		began     = "@1770336000"
		guide     = `<https://learn.microsoft.com/graph/api/resources/security-api-overview>; rel="deprecation sunset"; type="text/html"`
		successor = `<https://learn.microsoft.com/graph/api/security-security-runhuntingquery>; rel="successor-version"; type="text/html"`
	)
	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, method, path string
		theirs             http.Header
		want               http.Header
		counted            string
	}{
		{
			"hunting", "POST", "/api/advancedqueries/run", nil,
			http.Header{"Deprecation": {began}, "Sunset": {sunset}, "Link": {guide, successor}},
			"POST /api/advancedqueries/run",
		},
		{"what is not settled", "GET", "/api/machines", nil, http.Header{}, ""},
		{"Graph", "POST", "/v1.0/security/runHuntingQuery", nil, http.Header{}, ""},
		{"what nobody knows", "GET", "/api/new", nil, http.Header{}, ""},
		{
			"said by the upstream", "POST", hunt,
			http.Header{"Deprecation": {"@1"}, "Sunset": {"theirs"}, "Link": {"<x>; rel=deprecation"}},
			http.Header{"Deprecation": {"@1"}, "Sunset": {"theirs"}, "Link": {"<x>; rel=deprecation"}},
			"POST " + hunt,
		},
		{
			"another link", "POST", hunt,
			http.Header{"Link": {"<x>; rel=self"}},
			http.Header{"Deprecation": {began}, "Sunset": {sunset}, "Link": {"<x>; rel=self", guide, successor}},
			"POST " + hunt,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				counted := ""
				b := newBubble(t, func(w http.ResponseWriter, _ *http.Request) {
					for name, values := range tc.theirs {
						w.Header()[name] = values
					}
				}, func(cfg *proxy.Config) {
					ofDefender(cfg, catalogue)
					cfg.Retiring = func(e *defender.Endpoint) { counted += e.String() }
				})
				res := b.as("a").call(t.Context(), tc.method, "/proxy/defender"+tc.path, "")
				got := http.Header{}
				for _, name := range []string{"Deprecation", "Sunset", "Link"} {
					if values := res.header[name]; values != nil {
						got[name] = values
					}
				}
				if diff := cmp.Diff(got, tc.want); diff != "" || counted != tc.counted {
					t.Errorf("counted %q; (-got +want):\n%s", counted, diff)
				}
			})
		})
	}
}

// ofDefender has calls carry tokens for the API that their path is of.
func ofDefender(cfg *proxy.Config, catalogue *defender.Catalogue) {
	cfg.Catalogue = catalogue
	resolve := cfg.Resolve
	cfg.Resolve = func(ctx context.Context, target route.Target) (route.Call, error) {
		call, err := resolve(ctx, target)
		if err == nil && call.Endpoint != nil {
			host, _ := catalogue.Host("api.security.microsoft.com")
			call.Scope = host.Scope(call.Endpoint.API)
		}
		return call, err
	}
}
