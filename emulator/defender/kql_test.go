package defenderemu

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
)

// smallData has three machines and two alerts.
func smallData() *data {
	t := &data{
		machines: []machine{
			{ID: "m1", ComputerDNSName: "ws-1", OSPlatform: "Windows11", Version: "24H2", LastSeen: stamp{noon}, HealthStatus: "Active"},
			{ID: "m2", ComputerDNSName: "ws-2", OSPlatform: "Windows11", Version: "23H2", LastSeen: stamp{noon.Add(-time.Hour)}, AADDeviceID: "aad-2"},
			{ID: "m3", ComputerDNSName: "lnx-3", OSPlatform: "Linux", Version: "24.4", LastSeen: stamp{noon.Add(-48 * time.Hour)}},
		},
	}
	u := &user{name: "ines"}
	t.processes = []process{
		{machine: &t.machines[0], user: u, time: stamp{noon}, file: "cmd.exe", line: `cmd.exe /c "whoami" & exit`, pid: 4},
		{machine: &t.machines[0], user: u, time: stamp{noon}, file: "cmd.exe", line: "cmd.exe /c net use", pid: 12},
		{machine: &t.machines[2], user: u, time: stamp{noon}, file: "sh", line: "sh", pid: 8},
	}
	return t
}

// cells prints rows: cells with spaces between them, rows with semicolons.
func cells(rows [][]any) string {
	return strings.Join(each(rows, func(row *[]any) string { return strings.TrimSpace(fmt.Sprintln(*row...)) }), "; ")
}

func TestHuntingQueries(t *testing.T) {
	names := func(rows string) string { return "DeviceName: " + rows }
	for query, want := range map[string]string{
		"DeviceInfo | project DeviceName":                                                                  names("ws-1; ws-2; lnx-3"),
		"DeviceInfo // all of them\n| project DeviceName | take 2":                                         names("ws-1; ws-2"),
		"DeviceInfo | limit 0 | project DeviceName":                                                        names(""),
		"DeviceInfo | where OSPlatform == 'Linux' | project DeviceName":                                    names("lnx-3"),
		`DeviceInfo | where OSPlatform == "linux" | project DeviceName`:                                    names(""),
		`DeviceInfo | where OSPlatform =~ @"linux" | project DeviceName`:                                   names("lnx-3"),
		"DeviceInfo | where OSPlatform !~ 'linux' | project DeviceName":                                    names("ws-1; ws-2"),
		"DeviceInfo | where OSPlatform != 'Linux' and DeviceName endswith '2'| project DeviceName":         names("ws-2"),
		"DeviceInfo | where DeviceName contains 'WS' or DeviceId == 'm3' | project DeviceName":             names("ws-1; ws-2; lnx-3"),
		"DeviceInfo | where DeviceName !contains 'WS' | project DeviceName":                                names("lnx-3"),
		"DeviceInfo | where DeviceName startswith 'ws' | where not(DeviceId == 'm1') | project DeviceName": names("ws-2"),
		"DeviceInfo | where (DeviceName has 'ws') | project DeviceName":                                    names("ws-1; ws-2"),
		"DeviceInfo | where DeviceName has 'w' | project DeviceName":                                       names(""),
		"DeviceProcessEvents | where FileName has 'exe' | count":                                           "Count: 2",
		"DeviceProcessEvents | where FileName has 'xe' | count":                                            "Count: 0",
		"DeviceInfo | where DeviceName !has 'ws' | project DeviceName":                                     names("lnx-3"),
		"DeviceInfo | where DeviceName in ('ws-1', 'LNX-3') | project DeviceName":                          names("ws-1"),
		"DeviceInfo | where DeviceName in~ ('ws-1', 'LNX-3') | project DeviceName":                         names("ws-1; lnx-3"),
		"DeviceInfo | where DeviceName !in ('ws-1') | project DeviceName":                                  names("ws-2; lnx-3"),
		"DeviceInfo | where isempty(AadDeviceId) | project DeviceName":                                     names("ws-1; lnx-3"),
		"DeviceInfo | where isnotempty(AadDeviceId) | project DeviceName":                                  names("ws-2"),
		"DeviceInfo | where Timestamp > ago(1d) | project DeviceName":                                      names("ws-1; ws-2"),
		"DeviceInfo | where Timestamp < ago(90m) | project DeviceName":                                     names("lnx-3"),
		"DeviceInfo | where Timestamp >= now() | project DeviceName":                                       names("ws-1"),
		"DeviceInfo | where Timestamp <= datetime(2026-03-01T11:00:00Z) | project DeviceName":              names("ws-2; lnx-3"),
		"DeviceInfo | where Timestamp < datetime(2026-03-01) | project DeviceName":                         names("lnx-3"),
		"DeviceInfo | order by DeviceName | project DeviceName":                                            names("ws-2; ws-1; lnx-3"),
		"DeviceInfo | sort by OSPlatform asc, DeviceName desc | project DeviceName":                        names("lnx-3; ws-2; ws-1"),
		"DeviceInfo | top 1 by Timestamp asc | project DeviceName":                                         names("lnx-3"),
		"DeviceInfo | top 9 by Timestamp | project DeviceName":                                             names("ws-1; ws-2; lnx-3"),
		"DeviceInfo | project Name = DeviceName, OSPlatform | take 1":                                      "Name OSPlatform: ws-1 Windows11",
		"DeviceInfo | distinct OSPlatform":                                                                 "OSPlatform: Windows11; Linux",
		"DeviceInfo | count":                                                                               "Count: 3",
		"DeviceInfo | where DeviceName == 'x' | count":                                                     "Count: 0",
		"DeviceInfo | summarize count() by OSPlatform":                                                     "OSPlatform count_: Windows11 2; Linux 1",
		"DeviceInfo | summarize N = count() by OSPlatform | where N > 1":                                   "OSPlatform N: Windows11 2",
		"DeviceInfo | summarize dcount(OSPlatform), max(OSVersion), First = min(DeviceName)":               "dcount_OSPlatform max_OSVersion First: 2 24H2 lnx-3",
		"DeviceInfo | where DeviceName == 'x' | summarize count(), max(DeviceName)":                        "count_ max_DeviceName: 0 <nil>",
		"DeviceInfo | where DeviceName == 'x' | summarize count() by OSPlatform":                           "OSPlatform count_: ",
		"DeviceInfo | summarize by OSPlatform":                                                             "OSPlatform: Windows11; Linux",
		"DeviceProcessEvents | where ProcessId >= 8 | project ProcessId":                                   "ProcessId: 12; 8",
		"DeviceProcessEvents | where ProcessId in (4, 8) | project ProcessId":                              "ProcessId: 4; 8",
		"DeviceProcessEvents | where ProcessId == 4 | project ProcessCommandLine":                          `ProcessCommandLine: cmd.exe /c "whoami" & exit`,
		`DeviceProcessEvents | where ProcessCommandLine contains "\"whoami\"" | count`:                     "Count: 1",
		`DeviceProcessEvents | where ProcessCommandLine has "net" and FileName !in~ ("CMD") | count`:       "Count: 1",
	} {
		columns, rows, err := hunt(smallData(), stamp{noon}, time.Time{}, query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		got := strings.Join(each(columns, func(c *column) string { return c.Name }), " ") + ": " + cells(rows)
		if got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
}

func TestUnsupportedQueriesAreNamed(t *testing.T) {
	for query, want := range map[string]string{
		"Nothing":                                              "'Nothing' is no table",
		"'DeviceInfo'":                                         "is no table",
		"DeviceInfo DeviceInfo":                                `want "|" at position 11`,
		"DeviceInfo | extend x = 1":                            "operator 'extend' is not supported",
		"DeviceInfo | project-away DeviceName":                 "operator 'project-away' is not supported",
		"DeviceInfo |":                                         "operator '' is not supported",
		"DeviceInfo | join (AlertInfo) on DeviceId":            "operator 'join' is not supported",
		"let x = 1; DeviceInfo":                                "character ';'",
		"DeviceInfo | project Nothing":                         "named 'Nothing'",
		"DeviceInfo | project DeviceName, DeviceName":          "'DeviceName' stands there twice",
		"DeviceInfo | project X = Nothing":                     "named 'Nothing'",
		"DeviceInfo | distinct Nothing":                        "named 'Nothing'",
		"DeviceInfo | take x":                                  "want a number of rows at position 18",
		"DeviceInfo | take -1":                                 "want a number of rows",
		"DeviceInfo | top x by DeviceName":                     "want a number of rows",
		"DeviceInfo | top 1 DeviceName":                        `want "by"`,
		"DeviceInfo | top 1 by Nothing":                        "named 'Nothing'",
		"DeviceInfo | order DeviceName":                        `want "by"`,
		"DeviceInfo | order by Nothing":                        "named 'Nothing'",
		"DeviceInfo | summarize":                               `want "("`,
		"DeviceInfo | summarize avg(DeviceName)":               "aggregate 'avg' is not supported",
		"DeviceInfo | summarize max(Nothing)":                  "named 'Nothing'",
		"DeviceInfo | summarize count() by bin(Timestamp, 1d)": "named 'bin'",
		"DeviceInfo | summarize count(), count()":              "'count_' stands there twice",
		"DeviceInfo | summarize count(":                        `want ")"`,
		"DeviceInfo | where":                                   "named ''",
		"DeviceInfo | where DeviceName":                        "want an operator",
		"DeviceInfo | where DeviceName 'x'":                    "want an operator",
		"DeviceInfo | where DeviceName between (1 .. 2)":       "character '.'",
		"DeviceInfo | where DeviceName matches regex 'x'":      "operator 'matches' is not supported",
		"DeviceInfo | where DeviceName !== 'x'":                "'=' at position 32 is no value",
		"DeviceInfo | where DeviceName ! == 'x'":               "operator '==' is not supported",
		"DeviceInfo | where DeviceName == 4":                   "cannot compare 'DeviceName'",
		"DeviceInfo | where DeviceName in (4)":                 "cannot compare 'DeviceName'",
		"DeviceInfo | where DeviceName in 'x'":                 `want "("`,
		"DeviceInfo | where DeviceName in (x)":                 "'x' at position 34 is no value",
		"DeviceInfo | where DeviceName in ('x'":                `want ")"`,
		"DeviceInfo | where DeviceName == DeviceId":            "'DeviceId' at position 33 is no value",
		"DeviceInfo | where DeviceName contains x":             "'x' at position 39 is no value",
		"DeviceInfo | where DeviceName contains 4":             "something that is no text",
		"DeviceInfo | where Timestamp contains 'x'":            "something that is no text",
		"DeviceInfo | where Timestamp > ago(x)":                "ago wants a timespan",
		"DeviceInfo | where Timestamp > ago()":                 "ago wants a timespan",
		"DeviceInfo | where Timestamp > ago(1w)":               "ago wants a timespan",
		"DeviceInfo | where Timestamp > ago(1d":                `want ")"`,
		"DeviceInfo | where Timestamp > datetime(x)":           "datetime wants a time",
		"DeviceInfo | where Timestamp > startofday(1d)":        "function 'startofday' is not supported",
		"DeviceInfo | where strlen(DeviceName) > 1":            "function 'strlen' is not supported",
		"DeviceInfo | where not(DeviceName == 'x'":             `want ")"`,
		"DeviceInfo | where isempty(Nothing)":                  "named 'Nothing'",
		"DeviceInfo | where (DeviceName == 'x'":                `want ")"`,
		"DeviceInfo | where DeviceName == 'x":                  "unterminated string at position 33",
		"DeviceInfo | where DeviceName == @":                   "character '@'",
		"DeviceInfo | where " + strings.Repeat("(", 200):       "nests deeper than 50",
		"DeviceInfo | where " + strings.Repeat("not(", 200):    "nests deeper than 50",
	} {
		_, _, err := hunt(smallData(), stamp{noon}, time.Time{}, query)
		r, ok := errors.AsType[*refusal](err)
		if !ok || r.status != http.StatusBadRequest || r.code != "BadRequest" || !strings.Contains(r.message, want) {
			t.Errorf("%.60s: got %v, want one with %q", query, err, want)
		}
	}
}

func TestEveryTableHasItsColumns(t *testing.T) {
	e := newEmulator(t)
	for _, name := range []string{
		"AlertInfo", "AlertEvidence", "DeviceInfo", "DeviceLogonEvents", "DeviceProcessEvents", "DeviceTvmSoftwareInventory", "DeviceTvmSoftwareVulnerabilities",
	} {
		columns, rows, err := hunt(e.dataOf(tenant), stamp{noon}, time.Time{}, name)
		if err != nil || len(rows) < 100 {
			t.Errorf("%s: got %d rows, error %v; want at least 100", name, len(rows), err)
		}
		for _, row := range rows {
			if len(row) != len(columns) {
				t.Fatalf("%s: a row has %d cells, the table %d columns", name, len(row), len(columns))
			}
			for i, cell := range row {
				want := map[string]string{"String": kindText, "DateTime": kindTime, "Int64": kindNumber}[columns[i].Type]
				if got := kindOfLiteral(scalar(cell)); got != want {
					t.Fatalf("%s.%s: got %s, want %s", name, columns[i].Name, got, want)
				}
			}
		}
	}
}

func TestHuntingAnswersInTheShapeOfItsAPI(t *testing.T) {
	e := newEmulator(t)
	const query = `{"Query":"DeviceInfo | where OSPlatform == 'macOS' | summarize Machines=count() by OSPlatform"}`
	type shape struct {
		Schema  []map[string]string
		Results []map[string]any
	}
	for _, path := range []string{"/api/advancedhunting/run", "/api/advancedqueries/run"} {
		a := e.call(http.MethodPost, path, query).ok()
		var got shape
		a.into(&got)
		want := shape{
			Schema:  []map[string]string{{"Name": "OSPlatform", "Type": "String"}, {"Name": "Machines", "Type": "Int64"}},
			Results: []map[string]any{{"OSPlatform": "macOS", "Machines": float64(10)}},
		}
		if diff := cmp.Diff(got, want); diff != "" || !strings.HasPrefix(a.Body.String(), `{"Stats":{"ExecutionTime":`) {
			t.Errorf("%s: %s in %s", path, diff, a.Body)
		}
	}
	a := e.call(http.MethodPost, "/v1.0/security/runHuntingQuery", query).ok()
	const want = `,"schema":[{"name":"OSPlatform","type":"String"},{"name":"Machines","type":"Int64"}],"results":[{"OSPlatform":"macOS","Machines":10}]}`
	if !strings.HasSuffix(a.Body.String(), want) {
		t.Errorf("Graph: got %s, want an end of %s", a.Body, want)
	}
}

func TestGraphTimespanBoundsTheQuery(t *testing.T) {
	e := newEmulator(t)
	rows := func(timespan string) any {
		var got struct{ Results []map[string]any }
		e.call(http.MethodPost, "/v1.0/security/runHuntingQuery", `{"query":"AlertInfo | count","Timespan":"`+timespan+`"}`).ok().into(&got)
		return got.Results[0]["Count"]
	}
	whole, week, hours := rows(""), rows("P7D"), rows("PT12H")
	if !(whole.(float64) > week.(float64) && week.(float64) > hours.(float64)) {
		t.Errorf("got %v alerts in all, %v in a week, %v in twelve hours", whole, week, hours)
	}
	for _, timespan := range []string{"7 days", "P", "P7", "PT7D", "P1Y", "2026-01-01/2026-01-02"} {
		e.call(http.MethodPost, "/v1.0/security/runHuntingQuery", `{"Query":"AlertInfo","Timespan":"`+timespan+`"}`).is(http.StatusBadRequest, "BadRequest")
	}
}

func TestHuntingBodyIsChecked(t *testing.T) {
	e := newEmulator(t)
	for body, code := range map[string]string{
		"":                         "InvalidRequestBody",
		"[]":                       "InvalidRequestBody",
		`{"Query":4}`:              "InvalidRequestBody",
		`{"query":"DeviceInfo"}`:   "MissingRequiredParameter", // names are case-sensitive
		`{"Query":" "}`:            "MissingRequiredParameter",
		`{"Query":"DeviceInfo |"}`: "BadRequest",
		`{"Query":"` + strings.Repeat("x", maxQuery+1) + `"}`: "BadRequest",
	} {
		for _, path := range []string{"/api/advancedhunting/run", "/api/advancedqueries/run"} {
			e.call(http.MethodPost, path, body).is(http.StatusBadRequest, code)
		}
	}
	e.call(http.MethodPost, "/v1.0/security/runHuntingQuery", "{}").is(http.StatusBadRequest, "MissingRequiredParameter")
	e.send(e.request(may(defender.XDR, "Incident.Read.All"), http.MethodPost, "/api/advancedhunting/run", "{}")).is(http.StatusForbidden, "Forbidden")
}

func FuzzHunting(f *testing.F) {
	f.Add("DeviceInfo | where OSPlatform =~ 'x' and not(DeviceName in~ ('a', \"b\")) | project A = DeviceName | take 3")
	f.Add("DeviceProcessEvents | where Timestamp > ago(7d) | summarize N = count(), max(ProcessId) by FileName | top 3 by N")
	f.Add("DeviceInfo | order by DeviceName asc, Timestamp | distinct DeviceName // end")
	t := smallData()
	f.Fuzz(func(tt *testing.T, query string) {
		columns, rows, err := hunt(t, stamp{noon}, time.Time{}, query)
		if err != nil {
			if _, ok := errors.AsType[*refusal](err); !ok {
				tt.Fatalf("got %T: %v", err, err)
			}
			return
		}
		for _, row := range rows {
			if len(row) != len(columns) {
				tt.Fatalf("a row has %d cells, the result %d columns", len(row), len(columns))
			}
		}
	})
}
