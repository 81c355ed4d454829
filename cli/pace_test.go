package cli

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// TestCallersShareWhatTheAPITakes: all callers and all routes that lead to one
// endpoint have one budget, and /metrics shows it.
func TestCallersShareWhatTheAPITakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t)
		settings := "routes: {defender: {}, mde: {}, mde-legacy: {rate: off}, graph: {rate: {per_minute: 2, burst: 1}}}\n"
		b := a.broker("secret", settings)
		// 45 a minute, whichever of its hosts they go to.
		for n := range 45 {
			route := []string{"defender", "mde"}[n%2]
			if resp := b.call(http.MethodPost, "/proxy/"+route+"/api/advancedqueries/run", `{"Query":"DeviceInfo"}`, "Content-Type", "application/json"); resp.StatusCode != http.StatusOK {
				t.Fatalf("call %d: %s %.300s", n, resp.Status, text(t, resp))
			}
		}
		resp := b.call(http.MethodPost, "/proxy/mde/api/v1.0/advancedqueries/run", `{"Query":"DeviceInfo"}`, "Content-Type", "application/json")
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "61" || resp.Header.Get("X-Token-Broker-Error") != entra.Exhausted.String() {
			t.Errorf("the 46th: %s, %q %.300s", resp.Status, resp.Header, text(t, resp))
		}
		if got := a.defender.Stats().Requests["POST /api/advancedqueries/run"]; got != 45 {
			t.Errorf("%d calls came to the API, want 45", got)
		}
		metrics := text(t, b.ops("/metrics"))
		labels := `{application="` + entraemu.DefaultClient + `",limit="MDE POST /api/advancedqueries/run",tenant="` + string(contoso) + `"}`
		for _, want := range []string{"tokenbroker_budget_used" + labels + " 45", "tokenbroker_budget_ceiling" + labels + " 45", "tokenbroker_budget_waiting" + labels + " 0", `tokenbroker_retiring_calls_total{endpoint="POST /api/advancedqueries/run"} 45`} {
			if !strings.Contains(metrics, want) {
				t.Errorf("want %s in /metrics", want)
			}
		}
		if resp := b.call(http.MethodPost, "/proxy/mde-legacy/api/advancedqueries/run", `{"Query":"DeviceInfo"}`, "Content-Type", "application/json"); resp.StatusCode != http.StatusOK {
			t.Errorf("a route with rate: off: %s", resp.Status)
		}
		begun := time.Now()
		resp = b.call(http.MethodPost, "/proxy/mde/api/advancedqueries/run", `{"Query":"DeviceInfo"}`, "Content-Type", "application/json", "Prefer", "wait=90")
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Preference-Applied") != "wait=90" || time.Since(begun) < time.Minute {
			t.Errorf("one that waits: %s after %v, %q", resp.Status, time.Since(begun), resp.Header)
		}
	})
}

// What was called counts under the next configuration too, and what was learnt.
func TestReloadKeepsBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t)
		const settings = "identities: {default: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: secret, file: 'DIR/client-secret'}}}\nroutes: {mde: {}}\n"
		b := a.serving(settings)
		hunt := func() string {
			resp, err := b.at.Post("http://broker/proxy/mde/api/advancedqueries/run", "application/json", strings.NewReader(`{"Query":"DeviceInfo"}`))
			must(t, err)
			text(t, resp)
			return resp.Status + " " + resp.Header.Get("X-Token-Broker-Error")
		}
		for n := range 45 {
			if got := hunt(); got != "200 OK " {
				t.Fatalf("call %d: %s", n, got)
			}
		}
		b.reload(settings + "log: {level: debug}\n")
		if got, want := hunt(), "429 Too Many Requests "+entra.Exhausted.String(); got != want {
			t.Errorf("the 46th: %s, want %s", got, want)
		}
	})
}
