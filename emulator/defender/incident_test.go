package defenderemu

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIncidentHoldsItsAlerts(t *testing.T) {
	e := newEmulator(t)
	for _, in := range e.list("/api/incidents").Value {
		alerts := in["alerts"].([]any)
		if len(alerts) == 0 {
			t.Fatalf("incident %v has no alerts", in["incidentId"])
		}
		for _, a := range alerts {
			if a := a.(map[string]any); a["incidentId"] != in["incidentId"] || len(a["devices"].([]any)) != 1 || len(a["entities"].([]any)) == 0 {
				t.Fatalf("incident %v has alert %v", in["incidentId"], a)
			}
		}
	}
}

func TestIncidentIsUpdated(t *testing.T) {
	e := newEmulator(t)
	for uri, change := range map[string]string{
		"/api/incidents/1003":           `{"status":"resolved","assignedTo":"a@example.test","classification":"TruePositive","determination":"Phishing","tags":["x"],"comment":"c"}`,
		"/v1.0/security/incidents/1004": `{"status":"resolved","assignedTo":"a@example.test","classification":"truePositive","determination":"phishing","customTags":["x"]}`,
	} {
		e.call(http.MethodPatch, uri, change).ok()
	}
	for _, id := range []string{"1003", "1004"} {
		got := e.thing("/api/incidents/" + id)
		for name, want := range map[string]any{
			"status": "Resolved", "assignedTo": "a@example.test", "classification": "TruePositive", "determination": "Phishing", "tags": []any{"x"},
		} {
			if !cmp.Equal(got[name], want) {
				t.Errorf("%s %s: got %v, want %v", id, name, got[name], want)
			}
		}
	}
	got := e.thing("/v1.0/security/incidents/1003")
	comment, _ := got["comments"].([]any)[0].(map[string]any)
	if got["status"] != "resolved" || got["classification"] != "truePositive" || comment["createdByDisplayName"] != client {
		t.Errorf("Graph: got %v", got)
	}
}

func TestBadIncidentChangesAreRefused(t *testing.T) {
	e := newEmulator(t)
	for _, root := range []string{"/api/incidents/", "/v1.0/security/incidents/"} {
		for body, code := range map[string]string{
			"x": "InvalidRequestBody", "{}": "MissingRequiredParameter", `{"status":"Gone"}`: "InvalidInput", `{"status":""}`: "MissingRequiredParameter",
		} {
			e.call(http.MethodPatch, root+"1003", body).is(http.StatusBadRequest, code)
		}
		for id, status := range map[string]int{"1": http.StatusNotFound, "x": http.StatusBadRequest} {
			code := map[int]string{http.StatusNotFound: "ResourceNotFound", http.StatusBadRequest: "InvalidInput"}[status]
			e.get(root+id).is(status, code)
			e.call(http.MethodPatch, root+id, "{}").is(status, code)
		}
	}
}

func TestGraphAlertsAreTheSameAlerts(t *testing.T) {
	e := newEmulator(t)
	mde := e.list("/api/alerts?$filter=severity%20eq%20'High'%20and%20status%20eq%20'New'").properties("id")
	graph := e.list("/v1.0/security/alerts_v2?$filter=severity%20eq%20'high'%20and%20status%20eq%20'new'").properties("id")
	if diff := cmp.Diff(graph, mde); diff != "" || len(mde) == 0 {
		t.Error(diff)
	}
	uri := "/v1.0/security/alerts_v2/" + graph[0].(string)
	e.call(http.MethodPatch, uri, `{"status":"resolved","classification":"truePositive","determination":"malware","comment":"c"}`).ok()
	if got := e.thing("/api/alerts/" + graph[0].(string)); got["status"] != "Resolved" || got["classification"] != "TruePositive" {
		t.Errorf("MDE: got %v, %v", got["status"], got["classification"])
	}
	if got := e.thing(uri); got["status"] != "resolved" || got["determination"] != "malware" || len(got["comments"].([]any)) != 1 {
		t.Errorf("Graph: got %v", got)
	}
}
