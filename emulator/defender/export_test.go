package defenderemu

import (
	"compress/gzip"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestExportFilesHoldWhatTheJSONExportLists(t *testing.T) {
	e := newEmulator(t)
	for name, byMachine := range map[string]string{
		"SoftwareInventoryExport": "SoftwareInventoryByMachine", "SoftwareVulnerabilitiesExport": "SoftwareVulnerabilitiesByMachine",
		"HardwareFirmwareInventoryExport": "HardwareFirmwareInventoryByMachine",
	} {
		var body struct{ ExportFiles []string }
		e.get("/api/machines/" + name).ok().into(&body)
		lines := 0
		for _, link := range body.ExportFiles {
			zr, err := gzip.NewReader(e.fetch(link).ok().Body)
			if err != nil {
				t.Fatal(err)
			}
			lines += strings.Count(readAll(t, zr), "\n")
		}
		if rows := len(e.list("/api/machines/" + byMachine).Value); lines != rows || len(body.ExportFiles) != 2 {
			t.Errorf("%s: %d files hold %d rows, want 2 with %d", name, len(body.ExportFiles), lines, rows)
		}
	}
	for _, hours := range []string{"0", "25", "x"} {
		e.get("/api/machines/InfoGatheringExport?sasValidHours="+hours).is(http.StatusBadRequest, "BadRequest")
	}
	e.get("/api/machines/InfoGatheringExport?%zz").is(http.StatusBadRequest, "BadRequest")
	e.get("/api/machines/InfoGatheringExport?sasValidHours=6").ok()
}

func TestChangesWantATimeOfThePastTwoWeeks(t *testing.T) {
	e := newEmulator(t)
	uri := "/api/machines/SoftwareVulnerabilityChangesByMachine?sinceTime="
	week, day := e.list(uri+"2026-02-22T12:00:00Z"), e.list(strings.ToLower(uri)+"2026-03-01T08:00:00Z")
	if len(week.Value) <= len(day.Value) || len(day.Value) == 0 {
		t.Errorf("got %d changes of a week and %d of a morning", len(week.Value), len(day.Value))
	}
	if got := day.Value[0]["status"]; got != "New" {
		t.Errorf("got status %v, want New", got)
	}
	for since, code := range map[string]string{"x": "InvalidInput", "2026-01-01": "InvalidInput", "2027-01-01": "InvalidInput", "%zz": "BadRequest"} {
		e.get(uri+since).is(http.StatusBadRequest, code)
	}
	e.get("/api/machines/SoftwareVulnerabilityChangesByMachine").is(http.StatusBadRequest, "MissingRequiredParameter")
}

func TestFoundByIP(t *testing.T) {
	e := newEmulator(t)
	active := e.list("/api/machines?$filter=healthStatus%20eq%20'Active'&$top=1").Value[0]
	find := func(ip, at string) string { return "/api/machines/findbyip(ip='" + ip + "',timestamp=" + at + ")" }
	ip, seen := active["lastIpAddress"].(string), active["lastSeen"].(string)
	if got := e.first(find(ip, seen), "id"); got != active["id"] {
		t.Errorf("got %s, want %s", got, active["id"])
	}
	if got := e.first("/api/machines/findbyip%28ip%3D%27"+ip+"%27,timestamp="+seen+")", "id"); got != active["id"] {
		t.Errorf("escaped: got %s, want %s", got, active["id"])
	}
	if l := e.list(find("10.255.255.255", seen)); len(l.Value) != 0 {
		t.Errorf("got %d machines for an unknown address", len(l.Value))
	}
	asleep := e.list("/api/machines?$filter=healthStatus%20eq%20'Inactive'&$top=1").Value[0]
	if l := e.list(find(asleep["lastIpAddress"].(string), seen)); slices.Contains(l.properties("id"), asleep["id"]) {
		t.Errorf("got a machine that was last seen at %v for %s", asleep["lastSeen"], seen)
	}
	e.get(find("10.1", seen)).is(http.StatusBadRequest, "InvalidIpAddress")
	e.get(find(ip, "yesterday")).is(http.StatusBadRequest, "InvalidInput")
	e.get(find(ip, noon.AddDate(0, 0, -31).Format(time.RFC3339))).is(http.StatusBadRequest, "InvalidInput")
	e.get(find(ip, noon.AddDate(0, 0, 1).Format(time.RFC3339))).is(http.StatusBadRequest, "InvalidInput")
}
