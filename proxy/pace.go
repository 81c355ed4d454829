package proxy

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"tokenbroker/budget"
	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
)

// maxRounds bounds how often one call may go back into line.
const maxRounds = 8

// pace is a call's place in its budget. Nil: the call is not paced.
type pace struct {
	ledger *budget.Ledger
	call   budget.Call   // with the patience that is left: only the time in line counts
	asked  time.Duration // the patience that the caller said it has
	rounds int
}

// paceOf takes the caller's patience from the request, and finds the budget.
func (p *Proxy) paceOf(r *http.Request, call *route.Call) *pace {
	if p.cfg.Budgets == nil || call.Route.Rate.Off {
		return nil
	}
	patience := takePatience(r.Header)
	limit, ceilings, atLeast := p.cfg.ceilingsOf(call)
	return &pace{
		ledger: p.cfg.Budgets,
		call: budget.Call{
			Key: budget.Key{
				Application: cmp.Or(call.Identity.Known.ClientID, string(call.Identity.ID)),
				Tenant:      call.Tenant,
				Limit:       limit,
			},
			Ceilings: ceilings,
			AtLeast:  atLeast,
			Caller:   entra.TrailOf(r.Context()).Principal,
			Patience: patience,
		},
		asked: patience,
	}
}

// ceilingsOf names what limits the call, and how far. The figures of a route
// are for all of its calls; the catalogue's are an endpoint's, whatever route
// leads there. What the catalogue does not know is the route's, without any. What
// an API takes at least counts once it has had too much.
func (c *Config) ceilingsOf(call *route.Call) (limit string, ceilings, atLeast []budget.Ceiling) {
	ofRoute := "route " + call.Route.Name
	if rate := call.Route.Rate; rate.PerMinute > 0 {
		return ofRoute, []budget.Ceiling{{Calls: rate.PerMinute, Per: time.Minute, Burst: rate.Burst}}, nil
	}
	e := c.known(call)
	if e == nil {
		return ofRoute, nil, nil
	}
	if e.PerMinute > 0 {
		ceilings = append(ceilings, budget.Ceiling{Calls: e.PerMinute, Per: time.Minute})
	}
	if e.PerHour > 0 {
		ceilings = append(ceilings, budget.Ceiling{Calls: e.PerHour, Per: time.Hour})
	}
	if e.AtLeast > 0 {
		atLeast = []budget.Ceiling{{Calls: e.AtLeast, Per: time.Minute}}
	}
	return e.Budget(), ceilings, atLeast
}

// known returns the endpoint that is called, as far as the token is for its API:
// others have paths like Defender's.
func (c *Config) known(call *route.Call) *defender.Endpoint {
	e, r := call.Endpoint, call.Route
	if e == nil || c.Catalogue == nil || r.Scope == "" && r.Host != nil || c.Catalogue.Opens(entra.Audience{call.Scope.Audience()}, e.API) {
		return e
	}
	return nil
}

// applied is what RFC 7240 §3 has the answer say of the caller's preference;
// empty: the caller has none.
func (p *pace) applied() string {
	if !p.patient() {
		return ""
	}
	return "wait=" + strconv.Itoa(int(p.asked.Seconds()))
}

// patient reports whether the caller is willing to wait.
func (p *pace) patient() bool { return p != nil && p.asked > 0 }

// dropPatience lets the call wait no more, if so.
func (p *pace) dropPatience(so bool) {
	if p != nil && so {
		p.asked, p.call.Patience = 0, 0
	}
}

// take waits for the call's turn.
func (p *pace) take(ctx context.Context) (waited bool, err error) {
	if p == nil {
		return false, nil
	}
	begun := time.Now()
	err = p.ledger.Take(ctx, p.call)
	took := time.Since(begun)
	p.call.Patience = max(0, p.call.Patience-took)
	return took >= time.Second, err
}

// throttled reports whether the upstream has had enough of the budget's calls.
// Then they are held back, and the answer says for how long.
func (p *pace) throttled(res *http.Response) bool {
	if p == nil || res.StatusCode != http.StatusTooManyRequests {
		return false
	}
	var body []byte
	body, res.Body = peek(res.Body)
	hold := holdOf(res.Header, body)
	p.ledger.Hold(p.call.Key, hold)
	if res.Header.Get("Retry-After") == "" {
		res.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(hold.Seconds()))))
	}
	return true
}

// again reports whether the call may stand in line once more.
func (p *pace) again() bool {
	p.rounds++
	return p.rounds <= maxRounds
}
