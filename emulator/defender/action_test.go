package defenderemu

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
)

// act starts an action and returns its id.
func (e *emulator) act(path, body string) string {
	e.t.Helper()
	var a struct{ ID, Status, State string } // an investigation has a state
	e.call(http.MethodPost, path, body).is(http.StatusCreated, "").into(&a)
	if a.Status+a.State != "Pending" {
		e.t.Fatalf("%s: a new action is %s, want Pending", path, a.Status+a.State)
	}
	return a.ID
}

func TestMachineActionIsPendingThenDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, func(c *Config) { c.ActionTime = time.Minute })
		machine := e.first("/api/machines", "id")
		id := e.act("/api/machines/"+machine+"/isolate", `{"Comment":"because","IsolationType":"full"}`)

		got := e.thing("/api/machineactions/" + id)
		want := map[string]any{"type": "Isolate", "scope": "Full", "status": "Pending", "machineId": machine, "requestor": client, "requestorComment": "because"}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: got %v, want %v", name, got[name], value)
			}
		}
		time.Sleep(time.Minute - time.Nanosecond)
		if got := e.thing("/api/machineactions/" + id)["status"]; got != "Pending" {
			t.Errorf("just before its time the action is %v, want Pending", got)
		}
		time.Sleep(time.Nanosecond)
		done := e.thing("/api/machineactions/" + strings.ToUpper(id))
		if done["status"] != "Succeeded" || done["lastUpdateDateTimeUtc"] != "2026-03-01T12:01:00.0000000Z" {
			t.Errorf("got %v at %v, want Succeeded at noon and a minute", done["status"], done["lastUpdateDateTimeUtc"])
		}
		l := e.list("/api/machineactions?$filter=status%20eq%20'Succeeded'%20and%20machineId%20eq%20'" + machine + "'")
		if len(l.Value) != 1 {
			t.Errorf("got %d done actions in the list, want 1", len(l.Value))
		}
	})
}

func TestEveryActionIsStartedAndCounted(t *testing.T) {
	e := newEmulator(t)
	machine := "/api/machines/" + e.first("/api/machines", "computerDnsName")
	const comment = `{"Comment":"c"}`
	want := map[string]int{}
	for path, body := range map[string]string{
		"isolate": `{"Comment":"c","IsolationType":"Selective"}`, "unisolate": comment, "restrictCodeExecution": comment, "unrestrictCodeExecution": comment,
		"runAntiVirusScan": `{"Comment":"c","ScanType":"Quick"}`, "offboard": comment, "collectInvestigationPackage": comment, "startInvestigation": comment,
		"StopAndQuarantineFile": `{"Comment":"c","Sha1":"` + strings.Repeat("a1", 20) + `"}`,
		"runliveresponse":       `{"Comment":"c","Commands":[{"type":"RunScript","params":[{"key":"ScriptName","value":"x.ps1"}]}]}`,
	} {
		e.act(machine+"/"+path, body)
		want["POST /api/machines/{id}/"+path] = 1
	}
	e.act(machine+"/unisolate", comment)
	want["POST /api/machines/{id}/unisolate"] = 2
	e.call(http.MethodPost, machine+"/offboard", "{}").is(http.StatusBadRequest, "MissingRequiredParameter") // not accepted, not counted
	stats := e.Stats()
	if diff := cmp.Diff(stats.Actions, want); diff != "" {
		t.Error(diff)
	}
	if last := stats.Executed[10]; len(stats.Executed) != 11 || last.Endpoint != "POST /api/machines/{id}/unisolate" || last.Path != machine+"/unisolate" {
		t.Errorf("got %d executions, the last %+v", len(stats.Executed), last)
	}
	if got := e.thing("/api/investigations/" + e.first("/api/investigations?$filter=state%20eq%20'Pending'", "id")); got["state"] != "Pending" {
		t.Errorf("got investigation %v", got)
	}
}

func TestActionBodiesAreChecked(t *testing.T) {
	e := newEmulator(t)
	machine := "/api/machines/" + e.first("/api/machines", "id")
	many := strings.Repeat(`{"type":"RunScript"},`, maxCommands) + `{"type":"RunScript"}`
	for _, tt := range []struct{ path, body, code string }{
		{"isolate", "not json", "InvalidRequestBody"},
		{"isolate", `{"IsolationType":"Full"}`, "MissingRequiredParameter"},
		{"isolate", `{"comment":"c","IsolationType":"Full"}`, "MissingRequiredParameter"},
		{"isolate", `{"Comment":"","IsolationType":"Full"}`, "MissingRequiredParameter"},
		{"isolate", `{"Comment":"c"}`, "MissingRequiredParameter"},
		{"isolate", `{"Comment":"c","IsolationType":"Half"}`, "InvalidInput"},
		{"runAntiVirusScan", `{"Comment":"c","ScanType":"Slow"}`, "InvalidInput"},
		{"StopAndQuarantineFile", `{"Comment":"c"}`, "MissingRequiredParameter"},
		{"StopAndQuarantineFile", `{"Comment":"c","Sha1":"zz"}`, "InvalidHashValue"},
		{"runliveresponse", `{"Comment":"c"}`, "MissingRequiredParameter"},
		{"runliveresponse", `{"Comment":"c","Commands":[{"type":"Format"}]}`, "InvalidInput"},
		{"runliveresponse", `{"Comment":"c","Commands":[` + many + `]}`, "InvalidInput"},
		{"startInvestigation", `{}`, "MissingRequiredParameter"},
		{"startInvestigation", ``, "InvalidRequestBody"},
	} {
		e.call(http.MethodPost, machine+"/"+tt.path, tt.body).is(http.StatusBadRequest, tt.code)
	}
	e.call(http.MethodPost, "/api/machines/nobody/isolate", "{}").is(http.StatusNotFound, "ResourceNotFound")
	e.call(http.MethodPost, "/api/machines/nobody/startInvestigation", "{}").is(http.StatusNotFound, "ResourceNotFound")
	if got := e.Stats().Executed; len(got) != 0 {
		t.Errorf("refused actions count as executed: %v", got)
	}
}

func TestActionCanBeCancelledWhilePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t)
		id := e.act("/api/machines/"+e.first("/api/machines", "id")+"/offboard", `{"Comment":"c"}`)
		cancel := "/api/machineactions/" + id + "/cancel"
		e.call(http.MethodPost, cancel, `{}`).is(http.StatusBadRequest, "MissingRequiredParameter")
		e.call(http.MethodPost, cancel, `x`).is(http.StatusBadRequest, "InvalidRequestBody")
		e.call(http.MethodPost, cancel, `{"Comment":"no"}`).ok()
		time.Sleep(time.Minute)
		if got := e.thing("/api/machineactions/" + id); got["status"] != "Cancelled" || got["cancellationComment"] != "no" {
			t.Errorf("got %v, want it cancelled", got)
		}
		e.call(http.MethodPost, cancel, `{"Comment":"no"}`).is(http.StatusBadRequest, "BadRequest")
		e.call(http.MethodPost, "/api/machineactions/x/cancel", `{"Comment":"no"}`).is(http.StatusNotFound, "ResourceNotFound")
	})
}

// value reads the string that an endpoint answers with.
func (a answered) value() string {
	a.t.Helper()
	var body struct{ Value string }
	a.ok().into(&body)
	return body.Value
}

// fetch gets a file by its link, with no token.
func (e *emulator) fetch(link string) answered {
	e.t.Helper()
	return e.send(httptest.NewRequestWithContext(e.t.Context(), http.MethodGet, link, nil))
}

func TestPackageURIComesWhenThePackageIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t)
		machine := "/api/machines/" + e.first("/api/machines", "id")
		id := e.act(machine+"/collectInvestigationPackage", `{"Comment":"c"}`)
		uri := "/api/machineactions/" + id + "/getPackageUri"
		e.get(uri).is(http.StatusNotFound, "ResourceNotFound")
		time.Sleep(3 * time.Second)

		quoted := e.get(uri).value()
		link, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("got %s, want a URL in quotes", quoted)
		}
		content := e.fetch(link).Body.Bytes()
		if zr, err := zip.NewReader(bytes.NewReader(content), int64(len(content))); err != nil || len(zr.File) != 1 {
			t.Errorf("got %q and %v, want a zip file", content, err)
		}
		if err := e.SetFaults(Faults{PlainPackageURI: {}}); err != nil {
			t.Fatal(err)
		}
		if got := e.get(uri).value(); !strings.HasPrefix(got, "https://example.com/_files/packages/") {
			t.Errorf("got %s, want a plain URL", got)
		}

		other := e.act(machine+"/offboard", `{"Comment":"c"}`)
		time.Sleep(3 * time.Second)
		e.get("/api/machineactions/"+other+"/getPackageUri").is(http.StatusNotFound, "ResourceNotFound")
		e.get("/api/machineactions/x/getPackageUri").is(http.StatusNotFound, "ResourceNotFound")
	})
}

func TestLiveResponseResultComesWhenTheSessionIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t)
		id := e.act("/api/machines/"+e.first("/api/machines", "id")+"/runliveresponse",
			`{"Comment":"c","Commands":[{"type":"getfile","params":[{"key":"Path","value":"C:\\x"}]},{"type":"RunScript"}]}`)
		uri := func(index string) string {
			return "/api/machineactions/" + id + "/GetLiveResponseResultDownloadLink(index=" + index + ")"
		}
		e.get(uri("0")).is(http.StatusNotFound, "ResourceNotFound")
		time.Sleep(3 * time.Second)
		if got := e.fetch(e.get(uri("1")).value()).ok().Body.String(); !strings.Contains(got, `"exit_code":0`) {
			t.Errorf("got %s, want the output of a script", got)
		}
		for _, index := range []string{"2", "-1", "x", ""} {
			e.get(uri(index)).is(http.StatusBadRequest, "InvalidInput")
		}
		commands, _ := e.thing("/api/machineactions/" + id)["commands"].([]any)
		first, _ := commands[0].(map[string]any)
		if len(commands) != 2 || first["commandStatus"] != "Completed" || first["command"].(map[string]any)["type"] != "GetFile" {
			t.Errorf("got commands %v", commands)
		}
	})
}

func TestFilesAreForWhoeverHasTheLinkAndNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEmulator(t, func(c *Config) { c.FilesHost = "127.0.0.1:9" })
		var body struct{ ExportFiles []string }
		e.get("/api/machines/SoftwareVulnerabilitiesExport").ok().into(&body)
		link := body.ExportFiles[0]
		if !strings.HasPrefix(link, "https://127.0.0.1:9/_files/exports/") {
			t.Errorf("got link %s", link)
		}
		e.fetch(link).ok()

		withToken := e.request(e.all(defender.MDE), http.MethodGet, link, "")
		if got := e.send(withToken); got.Code != http.StatusForbidden || !strings.Contains(got.Body.String(), "<Code>AuthenticationFailed</Code>") {
			t.Errorf("with a token: got %d %s, want 403 in XML", got.Code, got.Body)
		}
		if err := e.SetFaults(Faults{LenientFiles: {}}); err != nil {
			t.Fatal(err)
		}
		e.send(withToken).ok()
		for name, forged := range map[string]string{
			"other name":   strings.Replace(link, "part-00000", "part-00001", 1),
			"other expiry": strings.Replace(link, "se=2026", "se=2027", 1),
			"no query":     strings.Split(link, "?")[0],
		} {
			if got := e.fetch(forged); got.Code != http.StatusForbidden {
				t.Errorf("%s: got %d, want 403", name, got.Code)
			}
		}
		time.Sleep(time.Hour + time.Second)
		if got := e.fetch(link); got.Code != http.StatusForbidden {
			t.Errorf("after an hour: got %d, want 403", got.Code)
		}
		for _, name := range []string{"nothing", "exports/x", "exports/t/softwareinventory/part-9"} {
			if got := e.fetch(e.files.pathOf(name, e.now().after(time.Hour))); got.Code != http.StatusNotFound {
				t.Errorf("%s: got %d, want 404", name, got.Code)
			}
		}
	})
}

func TestFilesLieAtAnotherHost(t *testing.T) {
	for _, tt := range []struct{ asked, files, want string }{
		{"127.0.0.1:8443", "", "https://127.0.0.1:8443/_files/"},
		{"api.securitycenter.microsoft.com", "", "https://files.example/_files/"},
		{"api.securitycenter.microsoft.com", "127.0.0.1:9", "https://127.0.0.1:9/_files/"},
	} {
		e := newEmulator(t, func(c *Config) { c.FilesHost = tt.files })
		r := e.request(e.all(defender.MDE), http.MethodGet, "/api/machines/SoftwareInventoryExport", "")
		r.Host = tt.asked
		if got := e.send(r).ok().Body.String(); !strings.Contains(got, `"exportFiles":["`+tt.want) {
			t.Errorf("%s: got %s, want links below %s", tt.asked, got, tt.want)
		}
	}
}

// readAll reads a stream to its end.
func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
