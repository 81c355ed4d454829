package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
)

func TestIncidentsAndMachinesThroughOneRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newWorld(t).broker("secret", "")
		for _, path := range []string{"/api/incidents", "/api/machines", "/api/alerts", "/API/V1.0/Machines"} {
			resp := b.get("/proxy/defender" + path)
			if body := text(t, resp); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"value":`) {
				t.Errorf("GET %s: %s %.300s", path, resp.Status, body)
			}
		}
		if got, want := fmt.Sprint(b.cache.stats().Fills), "2"; got != want {
			t.Errorf("%s tokens were asked for, want %s: one an audience", got, want)
		}
	})
}

func TestNextLinkLeadsBackThroughTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newWorld(t).broker("secret", "")
		seen, target := map[float64]bool{}, "/proxy/defender/api/incidents"
		pages := 0
		for ; target != ""; pages++ {
			resp := b.get(target)
			var page struct {
				Value []struct {
					ID float64 `json:"incidentId"`
				} `json:"value"`
				Next string `json:"@odata.nextLink"`
			}
			if body := text(t, resp); resp.StatusCode != http.StatusOK || json.Unmarshal([]byte(body), &page) != nil {
				t.Fatalf("page %d: %s %.300s", pages, resp.Status, body)
			}
			for _, incident := range page.Value {
				if seen[incident.ID] {
					t.Errorf("incident %v came twice", incident.ID)
				}
				seen[incident.ID] = true
			}
			const own = "http://localhost:5178"
			if page.Next != "" && !strings.HasPrefix(page.Next, own+"/proxy/defender/api/incidents?") {
				t.Fatalf("the next page is at %s", page.Next)
			}
			target = strings.TrimPrefix(page.Next, own)
		}
		if pages < 2 || len(seen) < 20 {
			t.Errorf("%d incidents on %d pages: too few to show anything", len(seen), pages)
		}
	})
}

func TestHuntingThroughTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newWorld(t).broker("secret", "")
		resp := b.call(http.MethodPost, "/proxy/defender/api/advancedhunting/run", `{"Query":"DeviceInfo | take 5"}`, "Content-Type", "application/json")
		var answer struct{ Results []map[string]any }
		if body := text(t, resp); resp.StatusCode != http.StatusOK || json.Unmarshal([]byte(body), &answer) != nil || len(answer.Results) != 5 {
			t.Errorf("%s %.300s", resp.Status, body)
		}
	})
}

// eightScopes are all asked for by documented samples or public clients.
var eightScopes = []string{
	xdrScope, mdeScope,
	"https://api.securitycenter.windows.com/.default",
	"https://graph.microsoft.com/.default",
	"https://security.microsoft.com/mtp/.default",
	"https://securitycenter.onmicrosoft.com/windowsatpservice/.default",
	"https://api-us.securitycenter.microsoft.com/.default",
	"https://api-eu.securitycenter.microsoft.com/.default",
}

const tokenDelay = 200 * time.Millisecond

// TestColdCallersShareOneRequest is the stampede: 256 callers at once, nothing
// held. Time is the bubble's, so its passing is exact.
func TestColdCallersShareOneRequest(t *testing.T) {
	for flow := range flows {
		for _, scopes := range [][]string{eightScopes[:1], eightScopes} {
			t.Run(fmt.Sprintf("%s, %d scopes", flow, len(scopes)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					b := w.broker(flow, "tokens: {scopes: ['"+strings.Join(scopes, "', '")+"']}")
					w.entra.SetFaults(entraemu.Faults{DelayMS: int(tokenDelay.Milliseconds())})
					start := time.Now()
					var callers sync.WaitGroup
					for i := range 256 {
						callers.Go(func() {
							resp := b.get("/token?scope=" + url.QueryEscape(scopes[i%len(scopes)]))
							if resp.StatusCode != http.StatusOK {
								t.Errorf("%s %.200s", resp.Status, text(t, resp))
							}
						})
					}
					callers.Wait()
					if got := w.entra.Stats().Tokens; got != len(scopes) {
						t.Errorf("the authority saw %d token requests, want %d", got, len(scopes))
					}
					if took := time.Since(start); took != tokenDelay {
						t.Errorf("it took %v, want one delay of %v: the scopes go in parallel", took, tokenDelay)
					}
				})
			})
		}
	}
}

// outages are the ways in which Entra can be away.
var outages = map[string]entraemu.Faults{
	"hang":                    {Hang: true},
	"500":                     {Status: http.StatusInternalServerError},
	"429":                     {Status: http.StatusTooManyRequests},
	"429 with Retry-After":    {Status: http.StatusTooManyRequests, RetryAfterS: 120},
	"garbage":                 {Body: "garbage"},
	"redirect to a stranger":  {Redirect: "https://stranger.example/token"},
	"slower than we can wait": {DelayMS: 60_000},
}

func TestOutageIsNotSeenWhileTheTokenLives(t *testing.T) {
	for name, fault := range outages {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.broker("secret", "")
				ask := func() *http.Response { return b.get("/token?scope=" + url.QueryEscape(xdrScope)) }
				resp := ask()
				var first struct {
					ExpiresOn int64 `json:"expires_on"`
				}
				if err := json.Unmarshal([]byte(text(t, resp)), &first); err != nil || first.ExpiresOn == 0 {
					t.Fatalf("%s, %v", resp.Status, err)
				}
				w.entra.SetFaults(fault)

				// Thirty-two callers, all through the token's life, to its last seconds.
				ends := time.Unix(first.ExpiresOn, 0).Add(-10 * time.Second)
				var callers sync.WaitGroup
				for i := range 32 {
					callers.Go(func() {
						time.Sleep(time.Duration(i) * 300 * time.Millisecond)
						for time.Now().Before(ends) {
							asked := time.Now()
							if resp := ask(); resp.StatusCode != http.StatusOK {
								t.Errorf("%v before expiry: %s", ends.Sub(asked), resp.Status)
							}
							if took := time.Since(asked); took > 2*time.Second {
								t.Errorf("%v before expiry a caller waited %v", ends.Sub(asked), took)
							}
							time.Sleep(10 * time.Second)
						}
					})
				}
				callers.Wait()
				if got := w.entra.Stats().Tokens; got < 3 || got > 60 {
					t.Errorf("%d requests to Entra in an hour of outage: want some, and few", got)
				}

				// Expired: now callers are told, within entra_timeout.
				time.Sleep(time.Minute)
				asked := time.Now()
				resp = ask()
				if retry, _ := strconv.Atoi(resp.Header.Get("Retry-After")); resp.StatusCode != http.StatusServiceUnavailable || retry < 1 {
					t.Errorf("after expiry: %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
				}
				if took := time.Since(asked); took > 10*time.Second {
					t.Errorf("after expiry a caller waited %v", took)
				}

				w.entra.SetFaults(entraemu.Faults{})
				time.Sleep(3 * time.Minute)
				if resp := ask(); resp.StatusCode != http.StatusOK {
					t.Errorf("Entra is back: %s %s", resp.Status, text(t, resp))
				}
			})
		})
	}
}

func TestColdCallersAreToldOfAnOutage(t *testing.T) {
	for name, fault := range outages {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.broker("workload-identity", "")
				w.entra.SetFaults(fault)
				start := time.Now()
				var callers sync.WaitGroup
				for range 64 {
					callers.Go(func() {
						for time.Since(start) < 10*time.Minute {
							asked := time.Now()
							resp := b.get("/proxy/defender/api/incidents")
							body := text(t, resp)
							retry, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
							if resp.StatusCode != http.StatusServiceUnavailable || retry < 1 || resp.Header.Get("X-Token-Broker-Error") == "" {
								t.Errorf("%s, Retry-After %d, %s", resp.Status, retry, body)
								return
							}
							if took := time.Since(asked); took > 10*time.Second {
								t.Errorf("a caller waited %v", took)
							}
							time.Sleep(time.Second) // less than it was told to
						}
					})
				}
				callers.Wait()
				if got := w.entra.Stats().Tokens; got < 2 || got > 40 {
					t.Errorf("%d requests to Entra in ten minutes, from 64 callers that ask every second", got)
				}
			})
		})
	}
}

func TestCallerCannotGetByTokenWhatItsRoutesRefuse(t *testing.T) {
	readOnly := "routes: {defender: {access: read-only}}\n"
	for name, row := range map[string]struct {
		settings, target string
		want             int
	}{
		"a route without restrictions":        {"", "/token?route=defender", 200},
		"its second scope, by path":           {"", "/token?route=defender&path=/api/machines", 200},
		"its second scope, by name":           {"", "/token?scope=" + mdeScope, 200},
		"a scope that no route needs":         {"", "/token?scope=https://management.azure.com/.default", 403},
		"Graph, which opens far more":         {"", "/token?route=graph", 403},
		"Graph, granted":                      {"tokens: {scopes: ['https://graph.microsoft.com/.default']}", "/token?route=graph", 200},
		"read-only, by route":                 {readOnly, "/token?route=defender", 403},
		"read-only, by scope":                 {readOnly, "/token?scope=" + mdeScope, 403},
		"read-only, by resource":              {readOnly, "/token?resource=https://api.securitycenter.microsoft.com/", 403},
		"read-only, by a built-in route":      {readOnly, "/token?route=mde", 403},
		"read-only, by another audience":      {readOnly, "/token?scope=https://api.securitycenter.windows.com/.default", 403},
		"read-only, by an alias":              {readOnly, "/token?scope=https://securitycenter.onmicrosoft.com/windowsatpservice/.default", 403},
		"read-only, granted":                  {readOnly + "tokens: {scopes: ['" + mdeScope + "']}", "/token?scope=" + mdeScope, 200},
		"read-only, the other one granted":    {readOnly + "tokens: {scopes: ['" + xdrScope + "']}", "/token?scope=" + mdeScope, 403},
		"read-only, its claims":               {readOnly, "/claims?route=defender", 200},
		"allow":                               {"routes: {defender: {allow: [{path: /api/incidents/**}]}}", "/token?route=defender", 403},
		"deny":                                {"routes: {defender: {deny: [{path: /api/machines/*/isolate}]}}", "/token?route=defender", 403},
		"nothing is handed out":               {"tokens: {hand_out: false}", "/token?route=defender", 403},
		"read-only, a read through the proxy": {readOnly, "/proxy/defender/api/machines", 200},
		"read-only, round by a built-in":      {readOnly, "/proxy/mde/api/machines", 403},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				resp := w.broker("secret", row.settings).get(row.target)
				if body := text(t, resp); resp.StatusCode != row.want || strings.Contains(body, "access_token") != (row.want == 200 && strings.HasPrefix(row.target, "/token")) {
					t.Errorf("GET %s: %s %.300s", row.target, resp.Status, body)
				}
				if row.want == 403 && w.entra.Stats().Tokens != 0 {
					t.Error("Entra was asked before policy")
				}
			})
		})
	}
}

func TestReadOnlyRouteRefusesActions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newWorld(t).broker("secret", "routes: {defender: {access: read-only}}")
		for target, want := range map[string]int{
			"/proxy/defender/api/machines/0123456789012345678901234567890123456789/isolate":          403,
			"/proxy/defender/api/machines/0123456789012345678901234567890123456789/%69solate":        403,
			"/proxy/defender/api/machines/0123456789012345678901234567890123456789/ISOLATE/":         403,
			"/proxy/defender/api/v1.0/machines/0123456789012345678901234567890123456789/isolate":     403,
			"/proxy/defender/api/machines('0123456789012345678901234567890123456789')/isolate":       403,
			"/proxy/defender/api/x/%2e%2e/machines/0123456789012345678901234567890123456789/isolate": 400,
			"/proxy/defender/api/machines%2f0123456789012345678901234567890123456789/isolate":        400,
			"/proxy/defender/api/$batch":              403,
			"/proxy/defender/api/nothing/we/know":     403,
			"/proxy/defender/api/advancedhunting/run": 200,
		} {
			resp := b.call(http.MethodPost, target, `{"Query":"DeviceInfo | take 1","Comment":"c"}`, "Content-Type", "application/json")
			if body := text(t, resp); resp.StatusCode != want {
				t.Errorf("POST %s: %s %.200s, want %d", target, resp.Status, body, want)
			}
		}
	})
}

func TestRotatedSecretIsUsedWithoutRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.broker("secret", "")
		if resp := b.get("/token?route=defender"); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
		must(t, w.entra.SetSecrets(entraemu.DefaultClient, newSecret("the next one")))
		w.write("client-secret", "the next one\n")
		if resp := b.get("/token?scope=" + mdeScope); resp.StatusCode != http.StatusOK {
			t.Errorf("with the new secret: %s %s", resp.Status, text(t, resp))
		}
	})
}

func TestWrongSecretIsNamedAndMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.broker("secret", "")
		must(t, w.entra.SetSecrets(entraemu.DefaultClient, newSecret("another")))
		resp := b.get("/token?route=defender")
		if body := text(t, resp); resp.StatusCode != http.StatusInternalServerError || !strings.Contains(body, `"aadsts":7000215`) || strings.Contains(body, w.secret) {
			t.Errorf("%s %s", resp.Status, body)
		}
		if ready := b.ops("/readyz"); ready.StatusCode != http.StatusOK {
			t.Errorf("/readyz: %s; a refused credential does not take the pod out of service", ready.Status)
		} else if body := text(t, ready); !strings.Contains(body, "misconfigured") {
			t.Errorf("/readyz does not name the trouble: %s", body)
		}
		w.write("client-secret", "another\n")
		time.Sleep(time.Minute)
		if resp := b.get("/token?route=defender"); resp.StatusCode != http.StatusOK {
			t.Errorf("mended: %s %s", resp.Status, text(t, resp))
		}
	})
}
