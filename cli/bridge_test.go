package cli

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	entraemu "tokenbroker/emulator/entra"
)

// withBridge is the configuration of an app that hunts over a bridge, and can do
// nothing else.
const withBridge = "routes: {defender: {access: read-only, allow: [{path: /api/advancedhunting/**}], bridge: graph-hunting}}\n"

const graphTokens = "https://graph.microsoft.com/.default"

// hunted is an answer in the old shape.
type hunted struct {
	Schema  []struct{ Name, Type string }
	Results []map[string]any
	Stats   map[string]any
}

func huntedOf(t *testing.T, res *http.Response) hunted {
	t.Helper()
	var h hunted
	body := text(t, res)
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s: %v", res.StatusCode, body, err)
	}
	return h
}

// TestBridge hunts by the old API's way and over the bridge: it is the same to
// the caller, and the emulator's counters say that it was not.
func TestBridge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		old, bridged := w.broker("secret", ""), w.broker("secret", withBridge)
		const target = "/proxy/defender/api/advancedhunting/run"
		hunt := func(b *running) *http.Response {
			return b.call(http.MethodPost, target, `{"Query":"DeviceProcessEvents | where ProcessId > 1000 | limit 20"}`, "Content-Type", "application/json")
		}

		res := hunt(bridged)
		if res.Header.Get("Sunset") != "" {
			t.Errorf("got %v, want no end announced of what stays", res.Header)
		}
		over, by := huntedOf(t, res), huntedOf(t, hunt(old))
		if len(by.Results) != 20 || len(by.Schema) == 0 {
			t.Fatalf("got %d rows the old way", len(by.Results))
		}
		if diff := cmp.Diff(by.Schema, over.Schema) + cmp.Diff(by.Results, over.Results); diff != "" {
			t.Errorf("over the bridge it is another answer (-old +bridge):\n%s", diff)
		}
		for member := range by.Stats {
			if _, ok := over.Stats[member]; !ok {
				t.Errorf("got stats %v, want %s as well", over.Stats, member)
			}
		}

		// The token is the bridge's alone.
		for _, ask := range []string{"/token?scope=" + graphTokens, "/token?route=defender&path=/v1.0/security/runHuntingQuery", "/claims?scope=" + graphTokens, "/proxy/defender/v1.0/security/runHuntingQuery"} {
			if res := bridged.get(ask); res.StatusCode < 400 || strings.Contains(text(t, res), "eyJ") {
				t.Errorf("%s: got %d, want a refusal", ask, res.StatusCode)
			}
		}
		if res := bridged.call(http.MethodPost, "/proxy/defender/api/machines/1/isolate", "{}"); res.StatusCode != http.StatusForbidden {
			t.Errorf("got %d for what the route refuses", res.StatusCode)
		}
		if logs := bridged.logs.String(); !strings.Contains(logs, `"endpoint":"POST /api/advancedhunting/run"`) || !strings.Contains(logs, `"scope":"`+graphTokens+`"`) {
			t.Errorf("the log does not say what was called with which token:\n%s", logs)
		}
	})
}

// without is Entra where nobody has consented to that permission.
func without(permission string) func(*entraemu.Config) {
	return func(cfg *entraemu.Config) {
		for i := range cfg.Apps {
			for _, consent := range cfg.Apps[i].Consents {
				for api, roles := range consent.Roles {
					consent.Roles[api] = slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == permission })
				}
			}
		}
	}
}

func TestBridgeSaysWhichPermissionIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newWorld(t, without("ThreatHunting.Read.All")).broker("secret", withBridge)
		res := b.call(http.MethodPost, "/proxy/defender/api/advancedhunting/run", `{"Query":"DeviceInfo"}`, "Content-Type", "application/json")
		hint := res.Header.Get("X-Token-Broker-Hint")
		if res.StatusCode != http.StatusForbidden || !strings.HasPrefix(hint, "needs ThreatHunting.Read.All of Microsoft Graph; token has ") {
			t.Errorf("got %d, hint %q", res.StatusCode, hint)
		}
	})
}

func TestCheckSpeaksOfTheBridge(t *testing.T) {
	const limits = "bridge graph-hunting: hunting needs ThreatHunting.Read.All of Microsoft Graph, and a query has Graph's limits: 3 minutes, 100,000 rows, 50 MB"
	for name, tt := range map[string]struct {
		edit    func(*entraemu.Config)
		live    bool
		routes  string
		want    string // the verdict; empty: nothing is said of a bridge
		ok      *bool
		missing bool
	}{
		"not live":            {routes: withBridge, want: "valid; hunting goes there, and needs ThreatHunting.Read.All of Microsoft Graph"},
		"live":                {routes: withBridge, live: true, want: "lets 1 through", ok: new(true)},
		"live, not consented": {routes: withBridge, live: true, edit: without("ThreatHunting.Read.All"), want: "open none of the endpoints that the route lets through", ok: new(false), missing: true},
		"no bridge":           {routes: "routes: {defender: {}}\n", live: true},
		"a bridge that the route's rules leave unused": {routes: "routes: {defender: {deny: [{path: /api/advancedhunting/**}, {path: /api/advancedqueries/**}], bridge: graph-hunting}}\n", live: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				edit := tt.edit
				if edit == nil {
					edit = func(*entraemu.Config) {}
				}
				b := newWorld(t, edit).broker("secret", tt.routes)
				var found []verdict
				for _, v := range b.verdicts(t.Context(), tt.live) {
					if v.Bridge != "" {
						found = append(found, v)
					}
				}
				if tt.want == "" {
					if len(found) > 0 {
						t.Errorf("got %+v, want nothing said", found)
					}
					return
				}
				if len(found) != 1 {
					t.Fatalf("got %+v, want one line", found)
				}
				v := found[0]
				if v.Route != "defender" || v.Upstream != "https://graph.microsoft.com" || v.Scope != graphTokens || v.HandsOut || !strings.Contains(v.Verdict, tt.want) || !cmp.Equal(v.OK, tt.ok) {
					t.Errorf("got %+v, want %q", v, tt.want)
				}
				advice := strings.Join(v.Advice, "\n")
				if !strings.Contains(advice, limits) || strings.Contains(advice, "missing: ThreatHunting.Read.All (for POST /v1.0/security/runHuntingQuery)") != tt.missing {
					t.Errorf("got advice %s", advice)
				}
			})
		})
	}
}

// What goes over a bridge does not end.
func TestCheckAnnouncesNoEndOfWhatIsBridged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for settings, want := range map[string]bool{"routes: {defender: {}}\n": true, "routes: {defender: {bridge: graph-hunting}}\n": false} {
			settled := false
			for _, n := range newWorld(t).broker("secret", settings).endings(time.Now()) {
				settled = settled || n.Route == "defender" && n.Settled
			}
			if settled != want {
				t.Errorf("%s: got an end of hunting: %t, want %t", settings, settled, want)
			}
		}
	})
}
