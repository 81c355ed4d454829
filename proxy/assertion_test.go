package proxy_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/proxy"
)

// The user's token goes to the source, for every token that the call takes, and
// nowhere else.
func TestUserAssertionGoesToTheSourceAlone(t *testing.T) {
	var arrived []http.Header
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		arrived = append(arrived, r.Header)
		if r.Header.Get("Authorization") == "Bearer token-1" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	source := &tokens{}
	b := start(t, up, func(cfg *proxy.Config) { cfg.Source = source })
	single := b.listen(t, b.proxy.ForRoute("users"))
	for _, target := range []string{b.URL + "/proxy/users/api/x", single.URL + "/api/x"} {
		source.asked, arrived = nil, nil
		if res := call(t, "GET", target, "", "X-User-Assertion", "eyJ.user.x"); res.status != http.StatusOK {
			t.Fatalf("%s: got %d %s", target, res.status, res.body)
		}
		if len(source.asked) != 2 || len(arrived) != 2 {
			t.Fatalf("%s: the source was asked %d times and the upstream %d, want each twice", target, len(source.asked), len(arrived))
		}
		for _, req := range source.asked {
			if req.Assertion.Reveal() != "eyJ.user.x" || req.Identity != "id-2" {
				t.Errorf("%s: asked for %s on behalf of %s", target, req.Identity, req.Assertion.Fingerprint())
			}
		}
		for _, header := range arrived {
			if _, ok := header["X-User-Assertion"]; ok {
				t.Errorf("%s: the upstream got the user's token", target)
			}
		}
	}
}

func TestClaimsChallengeGoesBackToTheCaller(t *testing.T) {
	const claims = `{"access_token":{"capolids":{"essential":true}}}`
	up := upstream(t, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was asked") })
	b := start(t, up, func(cfg *proxy.Config) {
		cfg.Source = entra.SourceFunc(func(context.Context, entra.Request) (entra.Token, error) {
			return entra.Token{}, &entra.Error{Kind: entra.Challenged, Code: "interaction_required", Claims: claims}
		})
	})
	res := b.call(t, "GET", "/proxy/users/api/x", "", "X-User-Assertion", "eyJ.user.x")
	want := `Bearer realm="tokenbroker", error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(claims)) + `"`
	if got := res.header.Get("WWW-Authenticate"); got != want || res.status != http.StatusForbidden || res.kind() != "challenged" {
		t.Errorf("got %d %s with %q, want %q", res.status, res.kind(), got, want)
	}
}
