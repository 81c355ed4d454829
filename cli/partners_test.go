package cli

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const (
	withheld    = "66666666-0000-4000-8000-000000000001" // knows the app, and nobody consented to anything
	strangers   = "66666666-0000-4000-8000-000000000002" // does not know the app
	productless = "66666666-0000-4000-8000-000000000003" // has no Defender
)

// withoutConsent adds a tenant of each kind in which the app gets no token.
func withoutConsent(c *entraemu.Config) {
	c.Tenants = append(c.Tenants, entraemu.Tenant{ID: withheld}, entraemu.Tenant{ID: strangers}, entraemu.Tenant{ID: productless, Resources: []string{entraemu.Graph}})
	c.Apps[0].Consents = append(c.Apps[0].Consents, entraemu.Consent{Tenant: withheld, Withheld: true}, entraemu.Consent{Tenant: productless})
}

// partner is the app with customers, in the configuration.
func partner(tenants ...string) string {
	return "identities:\n  default: {tenant: " + contoso + ", client_id: " + entraemu.DefaultClient + ", credential: " + byFile +
		", tenants: ['" + strings.Join(tenants, "', '") + "']}\n"
}

// TestNoTokenIsForAnother mixes everything that a token is told apart by. A
// mirror shows the token that comes with a proxied call.
func TestNoTokenIsForAnother(t *testing.T) {
	const requests, callers, mirror = 10_000, 32, "mirror.example"
	clients := map[string]string{"first": entraemu.DefaultClient, "second": secondClient}
	tenants := []string{contoso, fabrikam, tailspin}
	scopes := []entra.Scope{xdrScope, mdeScope, atpScope, graphDefault}
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t)
		a.serve(mirror, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			claims, err := a.entra.Verify(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			if err != nil {
				w.WriteHeader(http.StatusUnauthorized)
			}
			_ = json.NewEncoder(w).Encode(claims)
		}))
		settings := "identities:\n"
		routes := "routes:\n"
		for name, client := range clients {
			settings += "  " + name + ": {tenant: " + contoso + ", tenants: [" + fabrikam + ", " + tailspin + "], client_id: " + client + ", credential: " + byFile + "}\n"
			for i, scope := range scopes {
				routes += fmt.Sprintf("  %s-%d: {upstream: https://%s, identity: %s, scope: %s}\n", name, i, mirror, name, scope)
			}
		}
		b := a.start(settings + routes)

		read := func(body string) (claims entra.Claims, err error) {
			if strings.Contains(body, `"access_token"`) {
				return a.claims(body)
			}
			return claims, json.Unmarshal([]byte(body), &claims)
		}
		var mu sync.Mutex
		seen := map[string]int{}
		atOnce(callers, func(i int) {
			dice := rand.New(rand.NewPCG(4, uint64(i)))
			for n := range requests / callers {
				if n%100 == 99 {
					time.Sleep(25 * time.Minute) // tokens expire between the requests
				}
				name, tenant, k := []string{"first", "second"}[dice.IntN(2)], tenants[dice.IntN(3)], dice.IntN(4)
				method, face, target := http.MethodGet, "scope", fmt.Sprintf("/token?scope=%s&identity=%s&tenant=%s", url.QueryEscape(string(scopes[k])), name, tenant)
				switch dice.IntN(10) {
				case 0:
					face, target = "claims", fmt.Sprintf("/claims?route=%s-%d&tenant=%s", name, k, tenant)
				case 1:
					face, target = "proxy", fmt.Sprintf("/proxy/%s-%d@%s/x", name, k, tenant)
				case 2, 3, 4:
					face, target = "route", fmt.Sprintf("/token?route=%s-%d&tenant=%s", name, k, tenant)
				case 5:
					method, face, target = http.MethodPost, "fresh", target+"&fresh=true"
				}
				resp := b.call(method, target, "")
				body := text(t, resp)
				claims, err := read(body)
				if resp.StatusCode != http.StatusOK || err != nil {
					t.Errorf("%s %s: %s, %v: %.300s", method, target, resp.Status, err, body)
					return
				}
				if wrong := fault(&claims, clients[name], tenant, scopes[k]); wrong != "" {
					t.Errorf("%s: %s", target, wrong)
				}
				mu.Lock()
				seen[fmt.Sprint(face, name, tenant, k)]++
				mu.Unlock()
			}
		})
		time.Sleep(time.Second) // dials that nobody needs any more
		if want := 5 * len(clients) * len(tenants) * len(scopes); len(seen) != want {
			t.Errorf("%d combinations were asked for, want all %d", len(seen), want)
		}
		if got := a.entra.Stats().Tokens; got < 2*24 || got > requests/4 {
			t.Errorf("%d requests to Entra: want each of 24 tokens more than once, and most from memory", got)
		}
	})
}

func TestTenantWithoutConsentFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t, withoutConsent)
		b := a.start(partner(fabrikam, withheld, strangers, productless))
		numbers := map[string]int{withheld: 65001, strangers: 700016, productless: 500011}
		tenants := []string{contoso, withheld, fabrikam, strangers, productless}
		start := time.Now()
		for range 2 { // cold, and with the failures remembered
			atOnce(64*len(tenants), func(i int) {
				tenant := tenants[i%len(tenants)]
				resp := b.get("/token?route=defender&tenant=" + tenant)
				if numbers[tenant] == 0 {
					if resp.StatusCode != http.StatusOK {
						t.Errorf("%s: %s", tenant, resp.Status)
					}
					return
				}
				link := "https://login.microsoftonline.com/" + tenant + "/adminconsent?client_id=" + entraemu.DefaultClient
				if p := readProblem(t, resp); p.Kind != "misconfigured" || p.AADSTS != numbers[tenant] || !strings.Contains(p.Detail, link) {
					t.Errorf("%s: got %+v, want AADSTS%d with %s", tenant, p, numbers[tenant], link)
				}
			})
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v: somebody waited for another's tenant", took)
		}
		for _, tenant := range tenants {
			resp := b.get("/proxy/defender@" + tenant + "/api/incidents?$top=1")
			refused := resp.Header.Get("X-Token-Broker-Error") == "misconfigured" && strings.Contains(text(t, resp), "adminconsent?client_id=")
			if want := numbers[tenant] != 0; refused != want || !want && resp.StatusCode != http.StatusOK {
				t.Errorf("%s, proxied: %s, refused %t", tenant, resp.Status, refused)
			}
		}
		if got := a.entra.Stats(); got.Issued != 2 || got.Tokens != len(tenants) {
			t.Errorf("%d tokens by %d requests, want 2 by one for each tenant", got.Issued, got.Tokens)
		}
	})
}

func TestTenantThatHangsDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t)
		b := a.start(partner(fabrikam, tailspin))
		wait := hang(t, a, b, fabrikam)
		atOnce(64, func(i int) {
			answeredAtOnce(t, func() *http.Response {
				return b.get("/token?route=defender&tenant=" + []string{contoso, tailspin}[i%2])
			})
		})
		wait()
	})
}

// hang lets a tenant's token be waited for in vain, by a caller who is told in
// time. It returns when the waiting has begun, with what waits for its end.
func hang(t *testing.T, a *azure, b *running, tenant string) (wait func()) {
	t.Helper()
	a.entra.SetFaults(entraemu.Faults{Hang: true, Times: 1})
	var caller sync.WaitGroup
	caller.Go(func() {
		late := trouble{status: http.StatusServiceUnavailable, kind: "unavailable"}
		late.check(t, func() *http.Response { return b.get("/token?route=defender&tenant=" + tenant) })
	})
	synctest.Wait()
	if got := a.entra.Stats().Faulted; got != 1 {
		t.Fatalf("%d requests hang, want one", got)
	}
	return caller.Wait
}

func TestTenantThatIsNotListedIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t)
		b := a.start(partner(fabrikam))
		for _, tenant := range []string{tailspin, "tailspin.example", strings.ToUpper(tailspin), "common", "organizations", "consumers"} {
			for _, target := range []string{
				"/token?route=defender&tenant=" + tenant, "/token?scope=" + url.QueryEscape(xdrScope) + "&tenant=" + tenant, "/claims?route=defender&tenant=" + tenant,
				"/proxy/defender@" + tenant + "/api/incidents",
			} {
				resp := b.get(target)
				body := text(t, resp)
				guid := strings.EqualFold(tenant, tailspin) || strings.Contains(tenant, ".")
				if resp.StatusCode == http.StatusForbidden && strings.Contains(body, "identities.default.tenants") || !guid && resp.StatusCode == http.StatusBadRequest {
					continue
				}
				t.Errorf("%s: %s %s", target, resp.Status, body)
			}
		}
		if got := a.entra.Stats(); got.Tokens != 0 || got.Discovery != 0 {
			t.Errorf("Entra was asked: %+v", got)
		}
	})
}

func TestFiveHundredTenants(t *testing.T) {
	const tenants = 500
	var names []string
	for i := range tenants {
		names = append(names, fmt.Sprintf("77777777-0000-4000-8000-%012d", i))
	}
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t, func(c *entraemu.Config) {
			for _, name := range names {
				c.Tenants = append(c.Tenants, entraemu.Tenant{ID: entra.Tenant(name)})
				c.Apps[0].Consents = append(c.Apps[0].Consents, entraemu.Consent{Tenant: entra.Tenant(name), Roles: entraemu.AllRoles()})
			}
		})
		b := a.start(partner(names...))
		ask := func(name string) {
			answeredAtOnce(t, func() *http.Response { return b.get("/token?route=defender&tenant=" + name) })
		}
		for range 2 {
			atOnce(tenants, func(i int) { ask(names[i]) })
		}
		if got := b.cache.stats().Fills; got != tenants {
			t.Errorf("%d tokens were asked for, want %d", got, tenants)
		}
		time.Sleep(2 * time.Hour) // all have expired
		wait := hang(t, a, b, names[0])
		atOnce(tenants-1, func(i int) { ask(names[i+1]) })
		wait()
	})
}
