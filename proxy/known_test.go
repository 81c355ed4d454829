package proxy_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"tokenbroker/budget"
	"tokenbroker/defender"
	"tokenbroker/proxy"
	"tokenbroker/route"
)

// Another API with the same path has neither the ceilings nor the end of
// Defender's.
func TestPathsOfOthersAreNotDefenders(t *testing.T) {
	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		announced := 0
		b := newBubble(t, func(http.ResponseWriter, *http.Request) {}, func(cfg *proxy.Config) {
			cfg.Budgets = new(budget.Ledger)
			ofDefender(cfg, catalogue)
			cfg.Retiring = func(*defender.Endpoint) { announced++ }
			resolve := cfg.Resolve
			cfg.Resolve = func(ctx context.Context, target route.Target) (route.Call, error) {
				call, err := resolve(ctx, target)
				if target.Route == "based" {
					call.Scope = "https://somebody.else.example/.default"
				}
				return call, err
			}
		})
		for range 3 { // the catalogue's ceiling is 2
			if res := b.get("/proxy/based" + twice); res.status != http.StatusOK {
				t.Errorf("got %d %s", res.status, res.body)
			}
		}
		if res := b.as("a").call(t.Context(), http.MethodPost, "/proxy/based/api/advancedqueries/run", ""); res.header.Get("Sunset") != "" || announced != 0 {
			t.Errorf("got %v, counted %d", res.header, announced)
		}
		b.as("a").call(t.Context(), http.MethodPost, "/proxy/defender/api/advancedqueries/run", "")
		if announced != 1 {
			t.Errorf("Defender's own is counted %d times, want once", announced)
		}
	})
}
