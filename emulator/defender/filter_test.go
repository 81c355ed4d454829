package defenderemu

import (
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func TestFilterChoosesRows(t *testing.T) {
	pid := 7
	rows := []alert{
		{ID: "a", IncidentID: 1, Severity: "High", Title: "It's 50% off", AlertCreationTime: stamp{noon}, RelatedUser: &relatedUser{UserName: "ines"}, MITRETechniques: []string{"T1059", "T1027"}},
		{ID: "b", IncidentID: 2, Severity: "Low", AssignedTo: "soc@example.test", InvestigationID: &pid, Evidence: []evidence{{EntityType: "Ip", IPAddress: "192.0.2.1"}}},
		{ID: "c", IncidentID: 3, Severity: "Medium", AlertCreationTime: stamp{noon.AddDate(0, 0, -1)}},
	}
	for filter, want := range map[string]string{
		"severity eq 'High'":                                      "a",
		"severity ne 'High'":                                      "bc",
		"severity eq 'high'":                                      "",
		"'High' eq severity":                                      "a",
		"tolower(severity) eq 'high'":                             "a",
		"toupper(severity) eq 'LOW'":                              "b",
		"tolower('HIGH') eq 'high'":                               "abc",
		"contains(tolower(assignedTo), 'SOC')":                    "",
		"contains(tolower(assignedTo), 'soc')":                    "b",
		"incidentId gt 1 and incidentId le 2":                     "b",
		"incidentId ge 2":                                         "bc",
		"incidentId lt 2.5":                                       "ab",
		"incidentId lt -1":                                        "",
		"severity eq 'Low' or severity eq 'High' and id eq 'a'":   "ab",
		"(severity eq 'Low' or severity eq 'High') and id eq 'a'": "a",
		"not (severity eq 'Low')":                                 "ac",
		"not not severity eq 'Low'":                               "b",
		"not contains(title,'off') and id ne 'c'":                 "b",
		"severity in ('Low','Medium')":                            "bc",
		"incidentId in (3)":                                       "c",
		"assignedTo eq null":                                      "ac",
		"assignedTo ne null":                                      "b",
		"null eq investigationId":                                 "ac",
		"investigationId eq 7":                                    "b",
		"investigationId gt 1":                                    "b",
		"alertCreationTime gt 2026-02-28T13:00:00Z":               "a",
		"alertCreationTime ge 2026-02-28T13:00:00.0000000+01:00":  "ac",
		"alertCreationTime lt 2026-03-01":                         "c",
		"alertCreationTime eq null":                               "b",
		"contains(title,'It''s 50%')":                             "a",
		"startswith(title,'It')":                                  "a",
		"endswith(title,'off')":                                   "a",
		"contains(assignedTo, 'soc')":                             "b",
		"relatedUser/userName eq 'ines'":                          "a",
		"relatedUser/userName eq null":                            "bc",
		"mitreTechniques/any(t: t eq 'T1027')":                    "a",
		"mitreTechniques/any()":                                   "a",
		"evidence/any(e: e/ipAddress eq '192.0.2.1' and e/entityType eq 'Ip')": "b",
		"evidence/any(e: startswith(e/ipAddress,'10.'))":                       "",
		"id eq 00000000-0000-0000-0000-000000000000":                           "",
		"true":          "abc",
		"true eq false": "",
		"true gt false": "abc",
	} {
		holds, err := parseFilter(filter, reflect.TypeFor[alert]())
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		got := ""
		for i := range rows {
			if holds(reflect.ValueOf(&rows[i]).Elem()) {
				got += rows[i].ID
			}
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", filter, got, want)
		}
	}
}

func TestNothingBelowNull(t *testing.T) {
	type inner struct {
		Tags []string `json:"tags"`
	}
	type outer struct {
		Inner *inner `json:"inner"`
	}
	holds, err := parseFilter("inner/tags/any() or inner/tags/any(t: t eq 'x')", reflect.TypeFor[outer]())
	if err != nil {
		t.Fatal(err)
	}
	for want, row := range map[bool]outer{false: {}, true: {&inner{[]string{"x"}}}} {
		if got := holds(reflect.ValueOf(row)); got != want {
			t.Errorf("%+v: got %t, want %t", row, got, want)
		}
	}
}

func TestBadFilterIsAnODataError(t *testing.T) {
	for filter, want := range map[string]string{
		"":                                "position 0",
		"severity":                        "position 8",
		"severity eq":                     "position 11",
		"severity like 'x'":               "position 9",
		"severity eq 'x":                  "unterminated",
		"severity eq 'x' and":             "position 19",
		"severity eq 'x' severity":        "position 16",
		"(severity eq 'x'":                "position 16",
		"Severity eq 'x'":                 "'Severity' on type 'Microsoft.Windows.Defender.Ti.API.Models.Alert'",
		"severity/x eq 'x'":               "property named 'x'",
		"incidentId eq 'x'":               "incompatible types",
		"alertCreationTime gt '2026'":     "incompatible types",
		"severity in ('x', 4)":            "incompatible types",
		"severity in 'x'":                 "position 12",
		"severity in ('x'":                "position 16",
		"severity in ()":                  "position 13",
		"contains(severity)":              "position 17",
		"contains(severity,)":             "position 18",
		"contains(severity,'x'":           "position 21",
		"contains(incidentId,'x')":        "'Edm.Double'",
		"contains(severity,4)":            "'Edm.Double'",
		"tolower(nothing) eq 'x'":         "nothing",
		"tolower(severity eq 'x'":         "position 17",
		"mitreTechniques eq 'x'":          "cannot be compared",
		"relatedUser eq null":             "cannot be compared",
		"severity/any(s: s eq 'x')":       "any() cannot be applied",
		"nothing/any(s: s eq 'x')":        "nothing",
		"/any(s: s eq 'x')":               "position 0",
		"evidence/any":                    "position 12",
		"evidence/any(e e)":               "position 15",
		"evidence/any(e: sha1 eq 'x')":    "begins with 'e/'",
		"evidence/any(e: e/sha eq 'x')":   "property named 'sha'",
		"evidence/any(e: e eq 'x')":       "incompatible types",
		"evidence/any(e: e/any())":        "property named 'e'",
		"evidence/any(e: evidence/any())": "any() cannot be applied",
		"evidence/any(e: e/sha1 eq 'x'":   "position 29",
		"severity eq \"x\"":               "not valid at position 12",
		"severity eq 2026-99-99":          "property named '2026-99-99'",
		"recommended eq 'x'":              "property named 'recommended'",
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100): "limit",
		"not": "position 3",
	} {
		_, err := parseFilter(filter, reflect.TypeFor[alert]())
		r, ok := errors.AsType[*refusal](err)
		if !ok || r.status != http.StatusBadRequest || r.code != "ODataError" || !strings.Contains(r.message, want) {
			t.Errorf("%.60s: got %v, want one with %q", filter, err, want)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("severity eq 'High' and not (incidentId in (1,2) or contains(title,'x'))")
	f.Add("evidence/any(e: e/sha1 eq 'x') and alertCreationTime gt 2026-02-28T13:00:00Z")
	f.Add("tolower(assignedTo) ne null or relatedUser/userName eq 'o''brien'")
	row := reflect.ValueOf(&alert{Evidence: []evidence{{}}}).Elem()
	f.Fuzz(func(t *testing.T, source string) {
		holds, err := parseFilter(source, row.Type())
		if err != nil {
			if _, ok := errors.AsType[*refusal](err); !ok {
				t.Fatalf("got %T: %v", err, err)
			}
			return
		}
		holds(row)
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("$filter=severity%20eq%20'x'&$top=1&$skiptoken=eyJvZmZzZXQiOjV9")
	f.Add("$orderby=id desc,severity&$select=id&$count=true&pagesize=3")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw)
		if err != nil {
			if _, ok := errors.AsType[*refusal](err); !ok {
				t.Fatalf("got %T: %v", err, err)
			}
			return
		}
		if _, err := url.ParseQuery(raw); err != nil || q.skip < 0 || q.offset < 0 {
			t.Errorf("%q was read as %+v", raw, q)
		}
	})
}
