package proxy_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"

	"tokenbroker/defender"
	defenderemu "tokenbroker/emulator/defender"
	"tokenbroker/entra"
	"tokenbroker/proxy"
)

// TestNoFaultDoublesAnAction: whatever goes wrong, and whatever the caller does
// to have the call repeated, a machine is isolated once at most, and the
// upstream asked once.
func TestNoFaultDoublesAnAction(t *testing.T) {
	const endpoint = "POST /api/machines/{id}/isolate"
	faults := map[string]defenderemu.Faults{
		"none":            nil,
		"a refused token": {defenderemu.Unauthorized: {Times: 1}},
		"a challenge":     {defenderemu.Unauthorized: {Times: 1, Claims: "e30="}},
		"no permission":   {defenderemu.Forbidden: {Times: 1}},
		"throttled":       {defenderemu.Throttled: {Times: 1, RetryAfter: 1}},
		"at some time":    {defenderemu.Throttled: {Times: 1}},
		"a failure":       {defenderemu.ServerError: {Times: 1}},
		"a redirect":      {defenderemu.Redirect: {Times: 1, Host: inMemory}},
		"a reset":         {defenderemu.Reset: {Times: 1, Bytes: 1}},
		"late":            {defenderemu.Slow: {Times: 1, DelayMS: 1000}},
		"too late":        {defenderemu.Slow: {Times: 1, DelayMS: 300_000}},
	}
	for name, fault := range faults {
		for protocol, protocols := range map[string]*http.Protocols{"HTTP/1.1": only((*http.Protocols).SetHTTP1), "HTTP/2": only((*http.Protocols).SetHTTP2)} {
			for _, body := range []string{`{"Comment":"x","IsolationType":"Full"}`, ""} {
				t.Run(name+" "+protocol+" "+body, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						catalogue, err := defender.Load()
						if err != nil {
							t.Fatal(err)
						}
						api, err := defenderemu.New(defenderemu.Config{Catalogue: catalogue, Verify: func(string) (entra.Claims, error) {
							return entra.Claims{Audience: entra.Audience{mde}, AppID: "app", Tenant: string(home), Roles: []string{"Machine.Isolate", "Machine.Read.All"}}, nil
						}})
						if err != nil {
							t.Fatal(err)
						}
						b := bubbleOver(t, protocols, api, paced, func(cfg *proxy.Config) { cfg.Source = &tokens{} })
						machine := b.machine()
						if err := api.SetFaults(fault); err != nil {
							t.Fatal(err)
						}
						answered := b.tries("/proxy/defender/api/machines/"+machine+"/isolate", body)
						stats := api.Stats()
						if stats.Requests[endpoint] > 1 || stats.Actions[endpoint] > 1 {
							t.Errorf("asked %d times, done %d times", stats.Requests[endpoint], stats.Actions[endpoint])
						}
						if fault == nil && body != "" && (stats.Actions[endpoint] != 1 || answered.status != http.StatusCreated) {
							t.Errorf("without a fault: done %d times, got %d %s", stats.Actions[endpoint], answered.status, answered.body)
						}
					})
				})
			}
		}
	}
}

// machine returns a machine of the emulator's.
func (b *bubble) machine() string {
	b.t.Helper()
	var list struct {
		Value []struct {
			ID string `json:"id"`
		} `json:"value"`
	}
	res := b.get("/proxy/defender/api/machines")
	if err := json.Unmarshal([]byte(res.body), &list); err != nil || len(list.Value) == 0 {
		b.t.Fatalf("got %d %s", res.status, res.body)
	}
	return list.Value[0].ID
}

// tries posts as somebody does who wants the call to be repeated. Where the
// connection to the caller breaks the answer is empty.
func (b *bubble) tries(path, body string) (answered answer) {
	b.t.Helper()
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
			panic(p)
		}
	}()
	return b.as("a").call(b.t.Context(), http.MethodPost, path, body, "Idempotency-Key", "1", "X-Idempotency-Key", "1", "Prefer", "wait=300")
}
