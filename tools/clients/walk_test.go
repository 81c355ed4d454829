package clients

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// A script in Python reads all machines, page by page, whatever hosts Defender's
// links name: every row once, and not a page but through the broker.
func TestWalkOverTwoHundredPages(t *testing.T) {
	for name, faults := range map[string]string{
		"as documented":   `{}`,
		"a foreign host":  `{"next_link_host": {"host": "wdatp-prd.cloudapp.example"}}`,
		"this machine":    `{"next_link_host": {"host": "127.0.0.1"}}`,
		"lower-case keys": `{"next_link_host": {"host": "api-us.securitycenter.microsoft.com"}, "lower_case_keys": {}}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := startWith(t, []string{"--machines", "10000", "--page-size", "50"}, keyed, "rate: off")
			b.fault(faults)
			out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "scripts/walk.py", b.url+"/proxy/mde/api/machines", "X-Broker-Key", key).Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var saw struct {
				Rows, Distinct, Pages int
				Hosts                 []string
			}
			if err := json.Unmarshal(out, &saw); err != nil {
				t.Fatal(err)
			}
			if saw.Rows != 10000 || saw.Distinct != 10000 || saw.Pages != 200 {
				t.Errorf("%+v, want 10,000 rows once, on 200 pages", saw)
			}
			if len(saw.Hosts) != 1 || "http://"+saw.Hosts[0] != b.url {
				t.Errorf("it called %q, want the broker alone", saw.Hosts)
			}
			if got := b.calls("GET /api/machines"); got != saw.Pages {
				t.Errorf("Defender saw %d calls, want one for each of the %d pages", got, saw.Pages)
			}
		})
	}
}

// fault switches faults of the fake Defender on.
func (b *broker) fault(on string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPut, b.fakes.Defender+"/_emulator/faults", strings.NewReader(on))
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client().Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b.t.Fatal(resp.Status)
	}
}

// calls returns how many the fake Defender has had to an endpoint.
func (b *broker) calls(endpoint string) int {
	b.t.Helper()
	resp, err := b.client().Get(b.fakes.Defender + "/_emulator/stats")
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var stats struct{ Requests map[string]int }
	if err := json.NewDecoder(resp.Body).Decode(&stats); err != nil {
		b.t.Fatal(err)
	}
	return stats.Requests[endpoint]
}
