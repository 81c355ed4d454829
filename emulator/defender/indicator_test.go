package defenderemu

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
)

const sha1Of0 = "b6589fc6ab0dc82cf12099d1c2d40ab994e8410c"

func TestIndicatorIsSubmittedUpdatedAndDeleted(t *testing.T) {
	e := newEmulator(t)
	submit := func(title string) map[string]any {
		var v map[string]any
		e.call(http.MethodPost, "/api/indicators", `{"indicatorValue":"`+sha1Of0+`","indicatorType":"filesha1","action":"Block","title":"`+title+
			`","description":"d","expirationTime":"2026-06-01T00:00:00Z","severity":"high"}`).ok().into(&v)
		return v
	}
	made := submit("one")
	if made["indicatorType"] != "FileSha1" || made["severity"] != "High" || made["expirationTime"] != "2026-06-01T00:00:00.0000000Z" || made["lastUpdatedBy"] != nil {
		t.Errorf("got %v", made)
	}
	if again := submit("two"); again["id"] != made["id"] || again["title"] != "two" || again["lastUpdatedBy"] != client {
		t.Errorf("the same value again: got %v, want the id %v", again, made["id"])
	}
	if l := e.list("/api/indicators?$filter=indicatorValue%20eq%20'" + sha1Of0 + "'"); len(l.Value) != 1 {
		t.Errorf("got %d indicators of one value, want 1", len(l.Value))
	}
	uri := "/api/indicators/" + made["id"].(string)
	if a := e.call(http.MethodDelete, uri, "").is(http.StatusNoContent, ""); a.Body.Len() != 0 {
		t.Errorf("got the body %s, want none", a.Body)
	}
	e.call(http.MethodDelete, uri, "").is(http.StatusNotFound, "ResourceNotFound")
}

func TestIndicatorsAreImportedOneByOne(t *testing.T) {
	e := newEmulator(t)
	one := func(value, kind string) string {
		return fmt.Sprintf(`{"indicatorValue":%q,"indicatorType":%q,"action":"Alert","title":"t","description":"d"}`, value, kind)
	}
	var got struct{ Value []imported }
	a := e.call(http.MethodPost, "/api/indicators/import", `{"Indicators":[`+one("192.0.2.7", "IpAddress")+","+one("192.0.2", "IpAddress")+`]}`).ok()
	a.into(&got)
	if len(got.Value) != 2 || got.Value[0].IsFailed || !got.Value[1].IsFailed || got.Value[1].FailureReason == "" {
		t.Errorf("got %s, want one in and one out", a.Body)
	}
	ids := `{"IndicatorIds":["` + string(got.Value[0].ID) + `","1000"]}`
	e.call(http.MethodPost, "/api/indicators/BatchDelete", ids).is(http.StatusNoContent, "")
	e.call(http.MethodPost, "/api/indicators/BatchDelete", ids).is(http.StatusNotFound, "ResourceNotFound")
	many := strings.Repeat("{},", maxBatch) + "{}"
	for body, code := range map[string]string{
		"x": "InvalidRequestBody", "{}": "MissingRequiredParameter", `{"Indicators":[` + many + `]}`: "MaximumBatchSizeExceeded",
	} {
		e.call(http.MethodPost, "/api/indicators/import", body).is(http.StatusBadRequest, code)
	}
	for body, code := range map[string]string{"x": "InvalidRequestBody", "{}": "MissingRequiredParameter"} {
		e.call(http.MethodPost, "/api/indicators/BatchDelete", body).is(http.StatusBadRequest, code)
	}
}

func TestBadIndicatorsAreRefused(t *testing.T) {
	e := newEmulator(t)
	good := map[string]string{"indicatorValue": sha1Of0, "indicatorType": "FileSha1", "action": "Alert", "title": "t", "description": "d"}
	for _, tt := range []struct{ field, value, code string }{
		{"indicatorValue", "", "MissingRequiredParameter"},
		{"indicatorValue", "zz", "InvalidHashValue"},
		{"indicatorValue", sha1Of0[1:], "InvalidHashValue"},
		{"indicatorType", "FileSha256", "InvalidHashValue"},
		{"indicatorType", "IpAddress", "InvalidIpAddress"},
		{"indicatorType", "DomainName", "InvalidDomainName"},
		{"indicatorType", "Url", "InvalidUrl"},
		{"indicatorType", "Colour", "InvalidInput"},
		{"action", "Explode", "InvalidInput"},
		{"title", "", "MissingRequiredParameter"},
		{"description", "", "MissingRequiredParameter"},
		{"severity", "Awful", "InvalidInput"},
		{"generateAlert", "x", "InvalidRequestBody"},
	} {
		body := map[string]string{}
		for k, v := range good {
			body[k] = v
		}
		body[tt.field] = tt.value
		b, err := marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		e.call(http.MethodPost, "/api/indicators", string(b)).is(http.StatusBadRequest, tt.code)
	}
}

func TestTenantHasRoomForSoManyIndicators(t *testing.T) {
	e := newEmulator(t)
	d := e.dataOf(tenant)
	for len(d.indicators) < maxIndicators {
		d.indicators = append(d.indicators, indicator{})
	}
	e.call(http.MethodPost, "/api/indicators", `{"indicatorValue":"example.test","indicatorType":"DomainName","action":"Alert","title":"t","description":"d"}`).
		is(http.StatusBadRequest, "BadRequest")
}

// form makes the body of an upload.
func form(t *testing.T, fields map[string]string, file, content string) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, value := range fields {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if file != "" {
		part, err := w.CreateFormFile("file", file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

func TestLibraryFileIsUploadedAndDeleted(t *testing.T) {
	e := newEmulator(t)
	upload := func(contentType, body string) answered {
		r := e.request(e.all(defender.MDE), http.MethodPost, "/api/libraryfiles", body)
		r.Header.Set("Content-Type", contentType)
		return e.send(r)
	}
	upload(form(t, map[string]string{"Description": "d", "HasParameters": "true", "ParametersDescription": "p"}, "x.ps1", "0")).ok()
	got := e.list("/api/libraryfiles").Value[0]
	for name, want := range map[string]any{
		"fileName": "x.ps1", "sha256": "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9", "description": "d", "hasParameters": true, "parametersDescription": "p",
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	upload(form(t, nil, "x.ps1", "1")).is(http.StatusBadRequest, "BadRequest")
	upload(form(t, map[string]string{"OverrideIfExists": "true"}, "x.ps1", "1")).ok()
	if l := e.list("/api/libraryfiles"); len(l.Value) != 1 || l.Value[0]["hasParameters"] != false {
		t.Errorf("got %v, want the second file alone", l.Value)
	}
	contentType, whole := form(t, nil, "x.ps1", "1")
	upload(form(t, nil, "", "")).is(http.StatusBadRequest, "InvalidRequestBody")
	upload(contentType, whole[:20]).is(http.StatusBadRequest, "InvalidRequestBody")
	upload(contentType, whole[:len(whole)-30]).is(http.StatusBadRequest, "InvalidRequestBody")
	upload("application/json", "{}").is(http.StatusBadRequest, "InvalidRequestBody")
	upload(form(t, nil, "big.exe", strings.Repeat("x", 20_000_000))).ok()
	upload(form(t, nil, "bigger.exe", strings.Repeat("x", maxUpload))).is(http.StatusRequestEntityTooLarge, "InvalidRequestBody")
	upload("text/plain", strings.Repeat("x", maxBody+1)).is(http.StatusRequestEntityTooLarge, "InvalidRequestBody")

	e.call(http.MethodDelete, "/api/libraryfiles/x.ps1", "").is(http.StatusNoContent, "")
	e.call(http.MethodDelete, "/api/libraryfiles/x.ps1", "").is(http.StatusNotFound, "ResourceNotFound")
}

func TestScanDefinitionsAreKept(t *testing.T) {
	e := newEmulator(t)
	const root = "/api/DeviceAuthenticatedScanDefinitions"
	var made struct{ ID string }
	e.call(http.MethodPost, root, `{"scanName":"s","target":"192.0.2.0/28","scannerAgent":{"machineId":"m"}}`).is(http.StatusCreated, "").into(&made)
	e.call(http.MethodPatch, root+"/"+made.ID, `{"scanName":"t","intervalInHours":8,"isActive":false}`).ok()
	got := e.list(root).Value[0]
	for name, want := range map[string]any{"scanName": "t", "target": "192.0.2.0/28", "intervalInHours": float64(8), "isActive": false} {
		if !cmp.Equal(got[name], want) {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	ids := `{"ScanDefinitionIds":["` + made.ID + `"]}`
	e.call(http.MethodPost, root+"/GetScanHistoryByScanDefinitionId", ids).ok()
	e.call(http.MethodPost, root+"/BatchDelete", ids).ok()
	if l := e.list(root); len(l.Value) != 0 {
		t.Errorf("got %v, want none", l.Value)
	}
	e.call(http.MethodPatch, root+"/"+made.ID, "{}").is(http.StatusNotFound, "ResourceNotFound")
	for _, tt := range []struct{ path, body, code string }{
		{"", "x", "InvalidRequestBody"},
		{"", "{}", "MissingRequiredParameter"},
		{"", `{"scanName":"s"}`, "MissingRequiredParameter"},
		{"/BatchDelete", "x", "InvalidRequestBody"},
		{"/GetScanHistoryByScanDefinitionId", "{}", "MissingRequiredParameter"},
	} {
		e.call(http.MethodPost, root+tt.path, tt.body).is(http.StatusBadRequest, tt.code)
	}
}
