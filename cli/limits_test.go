package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	defenderemu "tokenbroker/emulator/defender"
)

// limited is an API that counts calls as the real one does.
func (a *azure) limited(change func(*defenderemu.Config)) *defenderemu.Server {
	a.t.Helper()
	cfg := defenderemu.Config{Catalogue: catalogue(a.t), Verify: a.entra.Verify, Limits: true}
	if change != nil {
		change(&cfg)
	}
	api, err := defenderemu.New(cfg)
	must(a.t, err)
	a.serve("limited.example", api)
	return api
}

// TestEightCallersWhoWaitNeverMeetTheCeiling: hunting takes 45 calls a minute.
// Whoever is willing to wait sees no 429, hardly a call is wasted, and the callers
// of another tenant notice nothing.
func TestEightCallersWhoWaitNeverMeetTheCeiling(t *testing.T) {
	const ceiling = 45
	minutes := 10
	if testing.Short() {
		minutes = 2
	}
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t)
		api := a.limited(nil)
		b := a.start(partner(fabrikam) + "routes: {mde: {upstream: https://limited.example}}\n")
		hunt := func(target string) *http.Response {
			return b.call(http.MethodPost, target+"/api/advancedqueries/run", `{"Query":"DeviceInfo"}`, "Content-Type", "application/json", "Prefer", "wait=120")
		}
		begun := time.Now()
		var answered atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for {
					resp := hunt("/proxy/mde")
					if time.Since(begun) >= time.Duration(minutes)*time.Minute {
						return
					}
					if resp.StatusCode != http.StatusOK {
						t.Errorf("%s %.300s", resp.Status, text(t, resp))
						return
					}
					answered.Add(1)
				}
			})
		}
		time.Sleep(30 * time.Second) // all eight stand in line
		other := time.Now()
		for range ceiling {
			if resp := hunt("/proxy/mde@" + fabrikam); resp.StatusCode != http.StatusOK {
				t.Errorf("another tenant: %s %.300s", resp.Status, text(t, resp))
			}
		}
		if took := time.Since(other); took != 0 {
			t.Errorf("another tenant waited %v", took)
		}
		all.Wait()
		if got, least := int(answered.Load()), minutes*ceiling*95/100; got < least {
			t.Errorf("%d calls in %d minutes, want %d at least", got, minutes, least)
		}
		if got := api.Stats().Throttled; got != 0 {
			t.Errorf("the API refused %d calls", got)
		}
	})
}

// TestPagesComeAsFastAsTheAPITakesThem: a script that walks over more pages than
// a minute has, and is willing to wait, gets them all.
func TestPagesComeAsFastAsTheAPITakesThem(t *testing.T) {
	const pages, perMinute = 300, 100
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t)
		api := a.limited(func(cfg *defenderemu.Config) { cfg.PageSize = 1 })
		b := a.start(partner() + "routes: {mde: {upstream: https://limited.example}}\n")
		begun, seen := time.Now(), map[string]bool{}
		for next := "http://localhost:5178/proxy/mde/api/machines"; next != ""; {
			resp := b.call(http.MethodGet, strings.TrimPrefix(next, "http://localhost:5178"), "", "Prefer", "wait=120")
			var page struct {
				Value []struct{ ID string }
				Next  string `json:"@odata.nextLink"`
			}
			if body := text(t, resp); resp.StatusCode != http.StatusOK || json.Unmarshal([]byte(body), &page) != nil || len(page.Value) != 1 {
				t.Fatalf("%s %.300s", resp.Status, body)
			}
			seen[page.Value[0].ID], next = true, page.Next
		}
		if took := time.Since(begun); len(seen) != pages || took > (pages/perMinute-1)*62*time.Second {
			t.Errorf("%d pages in %v, want %d, a hundred a minute", len(seen), took, pages)
		}
		if got := api.Stats().Throttled; got != 0 {
			t.Errorf("the API refused %d calls", got)
		}
	})
}
