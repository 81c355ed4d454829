package cli

import (
	"maps"
	"slices"
	"sync"

	"tokenbroker/budget"
	"tokenbroker/config"
	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
	"tokenbroker/server"
)

// traffic is what the broker remembers of its calls to the APIs. Configurations
// hand it on: what was called counts, whoever called.
type traffic struct {
	budgets budget.Ledger

	mu       sync.Mutex     // guards retiring
	retiring map[string]int // calls, by endpoint
}

// note counts a call to an endpoint that ends.
func (t *traffic) note(e *defender.Endpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.retiring == nil {
		t.retiring = map[string]int{}
	}
	t.retiring[e.String()]++
}

func (t *traffic) retiringCalls() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.retiring)
}

// families are the figures of the traffic, as /metrics shows them.
func (t *traffic) families() []server.Family {
	budgets := func(name, help string, pick func(budget.Standing) float64) server.Family {
		return server.Family{
			Name: name, Help: help, Gauge: true, Labels: []string{"application", "tenant", "limit"},
			Samples: func() []server.Sample {
				var all []server.Sample
				for _, s := range t.budgets.Standings() {
					all = append(all, server.Sample{Labels: []string{s.Application, string(s.Tenant), s.Limit}, Value: pick(s)})
				}
				return all
			},
		}
	}
	return []server.Family{
		budgets("budget_used", "Calls that count against the nearest ceiling of an API.", func(s budget.Standing) float64 { return float64(s.Used) }),
		budgets("budget_ceiling", "That ceiling; 0 where none is known.", func(s budget.Standing) float64 { return float64(s.Of) }),
		budgets("budget_waiting", "Calls that wait in line for it.", func(s budget.Standing) float64 { return float64(s.Waiting) }),
		budgets("budget_held_until_seconds", "Until when the upstream holds calls back, in seconds since 1970; 0: it does not.", func(s budget.Standing) float64 {
			if s.Held.IsZero() {
				return 0
			}
			return float64(s.Held.Unix())
		}),
		{
			Name: "retiring_calls_total", Help: "Calls to endpoints whose end is announced.", Labels: []string{"endpoint"},
			Samples: func() []server.Sample {
				calls := t.retiringCalls()
				var all []server.Sample
				for _, endpoint := range slices.Sorted(maps.Keys(calls)) {
					all = append(all, server.Sample{Labels: []string{endpoint}, Value: float64(calls[endpoint])})
				}
				return all
			},
		},
	}
}

// consent is the link by which an administrator of a call's tenant consents. A
// managed identity has none: its permissions are assigned.
func (a *app) consent(call *route.Call) string {
	if a.cfg.Identities[call.Identity.Name].Credential.Kind == config.ManagedIdentity {
		return ""
	}
	return entra.TenantConsentURL(a.cfg.Authority, call.Tenant, call.Identity.Known.ClientID)
}
