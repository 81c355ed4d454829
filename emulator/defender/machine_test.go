package defenderemu

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTagsAreAddedAndRemoved(t *testing.T) {
	e := newEmulator(t)
	ids := e.list("/api/machines?$filter=not%20machineTags/any()&$top=2").properties("id")
	one, two := ids[0].(string), ids[1].(string)
	tagged := func() []any { return e.list("/api/machines/findbytag?tag=Red").properties("id") }

	e.call(http.MethodPost, "/api/machines/"+one+"/tags", `{"Value":"Red","Action":"Add"}`).ok()
	e.call(http.MethodPost, "/api/machines/"+one+"/tags", `{"Value":"Red","Action":"add"}`).ok()
	if got := e.thing("/api/machines/" + one)["machineTags"]; !cmp.Equal(got, []any{"Red"}) {
		t.Errorf("got tags %v, want one Red", got)
	}
	body := fmt.Sprintf(`{"Value":"Red","Action":"Add","MachineIds":[%q,%q]}`, one, two)
	e.call(http.MethodPost, "/api/machines/AddOrRemoveTagForMultipleMachines", body).ok()
	if got := tagged(); !cmp.Equal(got, ids) {
		t.Errorf("got %v tagged, want %v", got, ids)
	}
	if got := e.list("/api/machines/findbytag?tag=R&useStartsWithFilter=true").properties("id"); !cmp.Equal(got, ids) {
		t.Errorf("got %v by prefix, want %v", got, ids)
	}
	e.call(http.MethodPost, "/api/machines/AddOrRemoveTagForMultipleMachines", strings.Replace(body, "Add", "Remove", 1)).ok()
	if got := tagged(); len(got) != 0 {
		t.Errorf("got %v tagged, want none", got)
	}
}

func TestMachineIsUpdated(t *testing.T) {
	e := newEmulator(t)
	uri := "/api/machines/" + e.first("/api/machines", "id")
	e.call(http.MethodPatch, uri, `{"machineTags":["a","b"],"deviceValue":"high"}`).ok()
	if got := e.thing(uri); got["deviceValue"] != "High" || !cmp.Equal(got["machineTags"], []any{"a", "b"}) {
		t.Errorf("got %v and %v", got["deviceValue"], got["machineTags"])
	}
	e.call(http.MethodPost, uri+"/setDeviceValue", `{"DeviceValue":"Low"}`).ok()
	if got := e.thing(uri)["deviceValue"]; got != "Low" {
		t.Errorf("got %v, want Low", got)
	}
}

func TestBadMachineChangesAreRefused(t *testing.T) {
	e := newEmulator(t)
	machine := "/api/machines/" + e.first("/api/machines", "id")
	many := strings.Repeat(`"x",`, maxBatch) + `"x"`
	const all = "/api/machines/AddOrRemoveTagForMultipleMachines"
	for _, tt := range []struct{ method, uri, body, code string }{
		{"PATCH", machine, `{}`, "MissingRequiredParameter"},
		{"PATCH", machine, `{"DeviceValue":"Low"}`, "MissingRequiredParameter"},
		{"PATCH", machine, `{"deviceValue":"Huge"}`, "InvalidInput"},
		{"PATCH", machine, `{"machineTags":"x"}`, "InvalidRequestBody"},
		{"POST", machine + "/setDeviceValue", `{"DeviceValue":"Huge"}`, "InvalidInput"},
		{"POST", machine + "/setDeviceValue", ``, "InvalidRequestBody"},
		{"POST", machine + "/tags", `{"Action":"Add"}`, "MissingRequiredParameter"},
		{"POST", machine + "/tags", `{"Value":"x"}`, "MissingRequiredParameter"},
		{"POST", machine + "/tags", `{"Value":"x","Action":"Paint"}`, "InvalidInput"},
		{"POST", all, `x`, "InvalidRequestBody"},
		{"POST", all, `{"Value":"x"}`, "MissingRequiredParameter"},
		{"POST", all, `{"Value":"x","Action":"Add"}`, "MissingRequiredParameter"},
		{"POST", all, `{"Value":"x","Action":"Add","MachineIds":[` + many + `]}`, "MaximumBatchSizeExceeded"},
		{"GET", "/api/machines/findbytag", "", "MissingRequiredParameter"},
		{"GET", "/api/machines/findbytag?%zz", "", "BadRequest"},
	} {
		e.call(tt.method, tt.uri, tt.body).is(http.StatusBadRequest, tt.code)
	}
	e.call("POST", all, `{"Value":"x","Action":"Add","MachineIds":["nobody"]}`).is(http.StatusNotFound, "ResourceNotFound")
	for _, tt := range []struct{ method, of string }{
		{"GET", ""}, {"PATCH", ""}, {"POST", "/tags"}, {"GET", "/alerts"}, {"GET", "/logonusers"}, {"GET", "/software"}, {"GET", "/vulnerabilities"}, {"GET", "/recommendations"},
	} {
		e.call(tt.method, "/api/machines/nobody"+tt.of, "{}").is(http.StatusNotFound, "ResourceNotFound")
	}
}

func TestWhatBelongsToAMachine(t *testing.T) {
	e := newEmulator(t)
	alert := e.list("/api/alerts?$top=1").Value[0]
	machine := "/api/machines/" + alert["machineId"].(string)
	if got := e.list(machine + "/alerts?$filter=id%20eq%20'" + alert["id"].(string) + "'"); len(got.Value) != 1 {
		t.Errorf("the machine's alerts have its alert %d times, want once", len(got.Value))
	}
	if got := e.thing("/api/alerts/" + alert["id"].(string) + "/machine")["id"]; got != alert["machineId"] {
		t.Errorf("the alert's machine is %v, want %v", got, alert["machineId"])
	}
	users := e.list(machine + "/logonusers")
	if len(users.Value) == 0 || users.Value[0]["logOnMachinesCount"] != float64(1) || users.Value[0]["lastSeen"] == nil {
		t.Fatalf("got users %v", users.Value)
	}
	name := users.Value[0]["accountName"].(string)
	if got := e.list("/api/users/" + name + "/machines?$filter=id%20eq%20'" + alert["machineId"].(string) + "'"); len(got.Value) != 1 {
		t.Errorf("the machine stands %d times among those of its user, want once", len(got.Value))
	}
	software, old := e.list(machine+"/software"), e.list(machine+"/recommendations")
	if len(software.Value) == 0 || len(old.Value) > len(software.Value) {
		t.Errorf("got %d products and %d recommendations", len(software.Value), len(old.Value))
	}
	if weak := e.list(machine + "/vulnerabilities"); (len(weak.Value) > 0) != (len(old.Value) > 0) {
		t.Errorf("got %d weaknesses and %d recommendations", len(weak.Value), len(old.Value))
	}
}

func TestSoftwareAndItsWeaknessesAgree(t *testing.T) {
	e := newEmulator(t)
	for _, product := range e.list("/api/Software").Value {
		id := product["id"].(string)
		count := func(uri string) float64 { return float64(len(e.list(uri).Value)) }
		if got, want := count("/api/Software/"+id+"/machineReferences"), product["installedMachines"]; got != want {
			t.Errorf("%s: got %v machines, want %v", id, got, want)
		}
		if got, want := count("/api/Software/"+id+"/vulnerabilities"), product["weaknesses"]; got != want {
			t.Errorf("%s: got %v weaknesses, want %v", id, got, want)
		}
		if got, want := count("/api/recommendations/va-_-"+id+"/machineReferences"), product["exposedMachines"]; got != want {
			t.Errorf("%s: got %v exposed machines, want %v", id, got, want)
		}
		cve := e.first("/api/Software/"+id+"/vulnerabilities", "id")
		if got, want := count("/api/vulnerabilities/"+cve+"/machineReferences"), e.thing("/api/vulnerabilities/" + cve)["exposedMachines"]; got != want {
			t.Errorf("%s: got %v machines, want %v", cve, got, want)
		}
		versions := e.list("/api/Software/" + id + "/distributions").properties("installations")
		if got, want := versions[0].(float64)+versions[1].(float64), product["installedMachines"]; got != want {
			t.Errorf("%s: got %v installations, want %v", id, got, want)
		}
	}
	if one, all := len(e.list("/api/vulnerabilities/machinesVulnerabilities").Value), len(e.list("/api/machines/SoftwareVulnerabilitiesByMachine").Value); one != all {
		t.Errorf("got %d weaknesses of machines in one list and %d in the other", one, all)
	}
	if got := e.list("/api/exposureScore/ByMachineGroups"); len(got.Value) != len(groups) || got.Value[0]["score"].(float64) <= 0 {
		t.Errorf("got scores %v", got.Value)
	}
	for _, uri := range []string{
		"/api/Software/x", "/api/Software/x/distributions", "/api/Software/x/machineReferences", "/api/Software/x/vulnerabilities",
		"/api/vulnerabilities/x", "/api/vulnerabilities/x/machineReferences", "/api/recommendations/x", "/api/recommendations/x/machineReferences",
		"/api/recommendations/x/software", "/api/recommendations/x/vulnerabilities", "/api/investigations/x",
	} {
		e.get(uri).is(http.StatusNotFound, "ResourceNotFound")
	}
}
