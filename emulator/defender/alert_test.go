package defenderemu

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAlertIsUpdated(t *testing.T) {
	e := newEmulator(t)
	uri := "/api/alerts/" + e.first("/api/alerts?$filter=status%20eq%20'New'", "id")
	e.call(http.MethodPatch, uri, `{"status":"Resolved","assignedTo":"a@example.test","classification":"FalsePositive","determination":"NotMalicious","comment":"c"}`).ok()
	got := e.thing(uri)
	for name, want := range map[string]any{"status": "Resolved", "assignedTo": "a@example.test", "classification": "FalsePositive", "determination": "NotMalicious"} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	comment, _ := got["comments"].([]any)[0].(map[string]any)
	if comment["comment"] != "c" || comment["createdBy"] != client || got["resolvedTime"] == nil {
		t.Errorf("got comment %v, resolved at %v", comment, got["resolvedTime"])
	}
	e.call(http.MethodPatch, uri, `{"status":"inprogress"}`).ok()
	if got := e.thing(uri); got["status"] != "InProgress" || got["resolvedTime"] != nil {
		t.Errorf("got %v, resolved at %v", got["status"], got["resolvedTime"])
	}
}

func TestManyAlertsAreUpdated(t *testing.T) {
	e := newEmulator(t)
	ids := e.list("/api/alerts?$filter=status%20eq%20'New'&$top=2").properties("id")
	e.call(http.MethodPost, "/api/alerts/batchUpdate", `{"alertIds":["`+ids[0].(string)+`","`+ids[1].(string)+`","unknown"],"status":"Resolved"}`).ok()
	for _, id := range ids {
		if got := e.thing("/api/alerts/" + id.(string))["status"]; got != "Resolved" {
			t.Errorf("%s: got %v, want Resolved", id, got)
		}
	}
}

func TestAlertIsCreatedFromAnEvent(t *testing.T) {
	e := newEmulator(t)
	machine := e.first("/api/machines", "id")
	body := `{"machineId":"` + machine + `","severity":"Low","title":"T","description":"D","recommendedAction":"R",` +
		`"eventTime":"2026-02-27T10:00:00Z","reportId":"20776","category":"Exploit"}`
	var made struct {
		ID         string
		IncidentID int
	}
	e.call(http.MethodPost, "/api/alerts/CreateAlertByReference", body).ok().into(&made)
	got := e.thing("/api/alerts/" + made.ID)
	if got["title"] != "T" || got["machineId"] != machine || got["firstEventTime"] != "2026-02-27T10:00:00.0000000Z" {
		t.Errorf("got %v", got)
	}
	in := e.list("/api/incidents?$orderby=incidentId%20desc&$top=1").Value[0]
	if alerts := in["alerts"].([]any); len(alerts) != 1 || alerts[0].(map[string]any)["alertId"] != made.ID {
		t.Errorf("got incident %v, want one with the new alert", in)
	}
	e.get("/api/alerts/"+made.ID+"/user").is(http.StatusNotFound, "ResourceNotFound")
	for _, name := range []string{"machineId", "severity", "title", "description", "recommendedAction", "eventTime", "reportId", "category"} {
		e.call(http.MethodPost, "/api/alerts/CreateAlertByReference", strings.Replace(body, name, "x", 1)).is(http.StatusBadRequest, "MissingRequiredParameter")
	}
	e.call(http.MethodPost, "/api/alerts/CreateAlertByReference", strings.Replace(body, "Low", "Awful", 1)).is(http.StatusBadRequest, "InvalidInput")
	e.call(http.MethodPost, "/api/alerts/CreateAlertByReference", strings.Replace(body, machine, "nobody", 1)).is(http.StatusNotFound, "ResourceNotFound")
	e.call(http.MethodPost, "/api/alerts/CreateAlertByReference", "x").is(http.StatusBadRequest, "InvalidRequestBody")
}

func TestBadAlertChangesAreRefused(t *testing.T) {
	e := newEmulator(t)
	alert := "/api/alerts/" + e.first("/api/alerts", "id")
	for _, uri := range []string{alert, "/v1.0/security" + strings.Replace(alert[4:], "alerts", "alerts_v2", 1)} {
		for body, code := range map[string]string{
			"x": "InvalidRequestBody", "{}": "MissingRequiredParameter", `{"Status":"New"}`: "MissingRequiredParameter",
			`{"status":"Gone"}`: "InvalidInput", `{"classification":"Maybe"}`: "InvalidInput", `{"status":1}`: "InvalidRequestBody",
		} {
			e.call(http.MethodPatch, uri, body).is(http.StatusBadRequest, code)
		}
	}
	for body, code := range map[string]string{
		"x": "InvalidRequestBody", "{}": "MissingRequiredParameter", `{"alertIds":["x"]}`: "MissingRequiredParameter",
		`{"alertIds":["x"],"status":"Gone"}`: "InvalidInput", `{"alertIds":["x"],"status":4}`: "InvalidRequestBody",
		`{"alertIds":[` + strings.Repeat(`"x",`, maxBatch) + `"x"],"status":"New"}`: "MaximumBatchSizeExceeded",
	} {
		e.call(http.MethodPost, "/api/alerts/batchUpdate", body).is(http.StatusBadRequest, code)
	}
	for _, of := range []string{"", "/domains", "/files", "/ips", "/machine", "/user"} {
		e.get("/api/alerts/nothing"+of).is(http.StatusNotFound, "ResourceNotFound")
	}
	e.call(http.MethodPatch, "/api/alerts/nothing", "{}").is(http.StatusNotFound, "ResourceNotFound")
	e.call(http.MethodPatch, "/v1.0/security/alerts_v2/nothing", "{}").is(http.StatusNotFound, "ResourceNotFound")
	e.get("/v1.0/security/alerts_v2/nothing").is(http.StatusNotFound, "ResourceNotFound")
}

// What an alert is about leads back to the alert.
func TestEvidenceLeadsBackToItsAlerts(t *testing.T) {
	e := newEmulator(t)
	alert := e.list("/api/alerts?$filter=category%20eq%20'Execution'&$top=1").Value[0]
	id := alert["id"].(string)
	domain := e.first("/api/alerts/"+id+"/domains", "host")
	address := e.first("/api/alerts/"+id+"/ips", "id")
	file := e.list("/api/alerts/" + id + "/files").Value[0]
	user := e.thing("/api/alerts/" + id + "/user")

	for _, of := range []string{
		"/api/domains/" + domain, "/api/ips/" + address, "/api/files/" + file["sha1"].(string), "/api/files/" + file["sha256"].(string),
		"/api/users/" + user["accountName"].(string), "/api/users/" + url.PathEscape(user["id"].(string)),
	} {
		if l := e.list(of + "/alerts?$filter=id%20eq%20'" + id + "'"); len(l.Value) != 1 {
			t.Errorf("%s: got the alert %d times, want once", of, len(l.Value))
		}
	}
	for _, of := range []string{"/api/domains/" + domain, "/api/files/" + file["sha1"].(string)} {
		if l := e.list(of + "/machines?$filter=id%20eq%20'" + alert["machineId"].(string) + "'"); len(l.Value) != 1 {
			t.Errorf("%s: got the machine %d times, want once", of, len(l.Value))
		}
	}
	stats := e.thing("/api/domains/" + strings.ToUpper(domain) + "/stats")
	if alerts := e.list("/api/domains/" + domain + "/alerts"); stats["orgPrevalence"] == "0" || len(alerts.Value) == 0 || stats["orgFirstSeen"] == nil {
		t.Errorf("got stats %v for %d alerts", stats, len(alerts.Value))
	}
	if got := e.thing("/api/files/" + file["sha1"].(string)); !cmp.Equal(got["sha256"], file["sha256"]) {
		t.Errorf("got file %v, want %v", got, file)
	}
	for uri, code := range map[string]string{
		"/api/files/zz": "InvalidHashValue", "/api/files/zz/alerts": "InvalidHashValue", "/api/files/zz/machines": "InvalidHashValue", "/api/files/zz/stats": "InvalidHashValue",
		"/api/domains/nodot/alerts": "InvalidDomainName", "/api/ips/1.2.3/alerts": "InvalidIpAddress", "/api/ips/x/stats": "InvalidIpAddress",
	} {
		e.get(uri).is(http.StatusBadRequest, code)
	}
	for _, uri := range []string{"/api/files/" + strings.Repeat("0", 40), "/api/users/nobody/alerts", "/api/users/nobody/machines"} {
		e.get(uri).is(http.StatusNotFound, "ResourceNotFound")
	}
}
