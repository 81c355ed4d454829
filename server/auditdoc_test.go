package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/server"
)

// field is a row of the table in docs/audit.md.
type field struct {
	name, kind string
	always     bool
	values     []string // empty: any
}

// documented reads the table of fields, and the examples by their headings.
func documented(t *testing.T) (map[string]field, map[string]map[string]any) {
	t.Helper()
	text, err := os.ReadFile("../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	fields, examples := map[string]field{}, map[string]map[string]any{}
	word := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 5 || !strings.HasPrefix(line, "| `") {
			continue
		}
		f := field{name: strings.Trim(cells[0], "| `"), kind: cells[1], always: cells[2] == "always"}
		if strings.HasPrefix(cells[3], "`") {
			for _, match := range word.FindAllStringSubmatch(cells[3], -1) {
				f.values = append(f.values, match[1])
			}
		}
		fields[f.name] = f
	}
	example := regexp.MustCompile("(?s)\n### ([^\n]+)\n\n```json\n(.*?)```")
	for _, match := range example.FindAllStringSubmatch(string(text), -1) {
		var record map[string]any
		if err := json.Unmarshal([]byte(match[2]), &record); err != nil {
			t.Errorf("example %q: %v", match[1], err)
		}
		examples[match[1]] = record
	}
	return fields, examples
}

// check holds a record against the table.
func check(t *testing.T, name string, record map[string]any, fields map[string]field) {
	t.Helper()
	for key, value := range record {
		f, ok := fields[key]
		if !ok {
			t.Errorf("%s: field %s is not documented", name, key)
			continue
		}
		kind := "string"
		if _, ok := value.(float64); ok {
			kind = "number"
		}
		if kind != f.kind {
			t.Errorf("%s: field %s is a %s, documented as %s", name, key, kind, f.kind)
		}
		if len(f.values) > 0 && !slices.Contains(f.values, fmt.Sprint(value)) {
			t.Errorf("%s: field %s is %v, documented are %v", name, key, value, f.values)
		}
	}
	for key, f := range fields {
		if _, ok := record[key]; f.always && !ok {
			t.Errorf("%s: field %s is missing, documented as always there", name, key)
		}
	}
}

// notes stands for what a request meets on its way.
func notes(note func(*entra.Trail), next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		trail := entra.TrailOf(r.Context())
		trail.Identity, trail.Tenant, trail.Scope, trail.Route = "default", "contoso.example", "https://api.security.microsoft.com/.default", "defender"
		note(trail)
		next(w, r)
	}
}

func TestAuditDocumentationIsTrue(t *testing.T) {
	fields, examples := documented(t)
	var kinds []string
	for _, kind := range entra.Kinds() {
		kinds = append(kinds, kind.String())
	}
	if diff := cmp.Diff(kinds, fields["kind"].values); diff != "" {
		t.Errorf("kinds (-are +documented):\n%s", diff)
	}

	records, audit := recordsOf()
	b := runKeyed(t, server.Config{Audit: audit}, only(
		audited("/token", notes(func(trail *entra.Trail) {
			trail.Decision, trail.Rule, trail.Cache, trail.TokenFP = "allow", "routes.defender", "hit", "0123456789ab"
		}, echo)),
		audited("/proxy/*", notes(func(trail *entra.Trail) {
			trail.Decision, trail.Rule, trail.Cache, trail.TokenFP = "allow", "routes.defender", "stale", "0123456789ab"
			trail.Endpoint, trail.Upstream = "GET /api/incidents", 200
		}, echo)),
		audited("/refused", notes(func(trail *entra.Trail) {
			trail.Endpoint, trail.Decision, trail.Rule = "POST /api/machines/{id}/isolate", "deny", "callers.hunter.access"
		}, fail(entra.Errorf(entra.Denied, "guard.policy", "no")))),
		audited("/misconfigured", notes(func(trail *entra.Trail) {
			trail.Decision, trail.Rule, trail.Cache = "allow", "routes.defender", "miss"
		}, fail(&entra.Error{Kind: entra.Misconfigured, Op: "broker.fill", AADSTS: 7000215, CorrelationID: "c-1"}))),
		audited("/stands-for", notes(func(trail *entra.Trail) {
			trail.Decision, trail.Rule, trail.Call = "allow", "routes.defender", "GET /proxy/defender/api/incidents"
		}, echo)),
		audited("/malformed", fail(&entra.Error{Kind: entra.Invalid})),
		audited("/panics", func(http.ResponseWriter, *http.Request) { panic("x") }),
	))
	const mine = "X-Broker-Key: " + key
	met := map[string]any{"uid": true, "pid": true} // by Unix socket alone, see TestRecordNamesTheProcessAtAUnixSocket
	for _, tt := range []struct {
		name, path, header string
		example            bool
	}{
		{"A token handed out", "/token", mine, true},
		{"A proxied call", "/proxy/defender/api/incidents", mine, true},
		{"Refused by policy", "/refused", mine, true},
		{"Refused at admission", "/token", "Host: evil.example", true},
		{"Refused by Entra", "/misconfigured", mine, false},
		{"Stands for a call", "/stands-for", mine, false},
		{"Malformed", "/malformed", mine, false},
		{"Panic", "/panics", mine, false},
	} {
		b.do(t, "GET", tt.path, tt.header)
		record := records.next(t, "audit")
		check(t, tt.name, record, fields)
		maps.Copy(met, record)
		if !tt.example {
			continue
		}
		example := examples[tt.name]
		check(t, "example "+tt.name, example, fields)
		delete(examples, tt.name)
		delete(example, "uid")
		delete(example, "pid")
		if diff := cmp.Diff(slices.Sorted(maps.Keys(record)), slices.Sorted(maps.Keys(example))); diff != "" {
			t.Errorf("%s: fields (-are +of the example):\n%s", tt.name, diff)
		}
	}
	for name := range fields {
		if met[name] == nil {
			t.Errorf("field %s is documented, and in no record", name)
		}
	}
	if len(examples) > 0 {
		t.Errorf("examples that nothing stands for: %v", slices.Sorted(maps.Keys(examples)))
	}
}

// Whatever a caller sends, its keys, queries, headers and body are in no record.
func TestRecordHoldsNothingSecret(t *testing.T) {
	records, audit := recordsOf()
	b := runKeyed(t, server.Config{Audit: audit}, only(audited("/token", echo, http.MethodGet, http.MethodPost), audited("/panics", func(http.ResponseWriter, *http.Request) { panic(secret) })))
	for _, path := range []string{"/token", "/panics", "/token?key=" + key} {
		for _, header := range []string{"X-Broker-Key: " + key, "X-Broker-Key: " + secret, "Authorization: Bearer " + secret, "Forwarded: " + secret} {
			b.raw(t, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\nX-Request-Id: "+secret+"!\r\nCookie: "+secret+"\r\nContent-Length: 23\r\nConnection: close\r\n\r\n"+secret)
			record := fmt.Sprint(records.next(t, "audit"))
			if strings.Contains(record, secret) || strings.Contains(record, key) {
				t.Errorf("a secret in the record: %s", record)
			}
		}
	}
}
