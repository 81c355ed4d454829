package bridge_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"tokenbroker/bridge"
	"tokenbroker/entra"
)

func TestQueryGoesOnAsItWasWritten(t *testing.T) {
	for in, want := range map[string]string{
		`{"Query":"DeviceInfo"}`:                               `{"Query":"DeviceInfo"}`,
		` { "query" : "a \u00e9 ü \"b\" \/" } `:                `{"Query":"a \u00e9 ü \"b\" \/"}`,
		"\ufeff" + `{"Query":"x","Timespan":"P1D","more":[1]}`: `{"Query":"x"}`,
		`{"QUERY":""}`: `{"Query":""}`, // the API says what is wrong with that
	} {
		got, err := bridge.Query(iotest.OneByteReader(strings.NewReader(in)))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
}

func TestQueryRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing": "", "no JSON": "Query=DeviceInfo", "a list": `["Query"]`, "no query": `{"Timespan":"P1D"}`, "null": `{"Query":null}`,
		"no string": `{"Query":{"a":1}}`, "two": `{"Query":"a"}{"Query":"b"}`, "compressed": "\x1f\x8b\x08",
		"long": `{"Query":"` + strings.Repeat("x", 1<<20) + `"}`,
	} {
		got, err := bridge.Query(strings.NewReader(in))
		remedy := `want JSON, uncompressed, {"Query": "…"}`
		if name == "long" {
			remedy = "longer than 1048576 bytes"
		}
		if entra.KindOf(err) != entra.Invalid || got != nil || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%s: got %.40q, %v, want it refused", name, got, err)
		}
	}
	gone := errors.New("the caller left")
	if _, err := bridge.Query(iotest.ErrReader(gone)); !errors.Is(err, gone) {
		t.Errorf("got %v, want the body's own error", err)
	}
}

func TestLimit(t *testing.T) {
	body := func(message string) string {
		return fmt.Sprintf(`{"error":{"code":"BadRequest","message":%q,"innerError":{"date":"2025-09-11T14:30:57"}}}`, message)
	}
	for _, tt := range []struct {
		status     int
		body, want string
	}{
		{504, `{"error":{"code":"UnknownError","message":""}}`, "3 minutes"},
		{400, body("Query execution has exceeded the allowed result size. Optimize your query by limiting the number of results and try again."), "50 MB"},
		{400, body("Query execution has exceeded the allowed limits. The query execution was preempted."), "CPU and memory"},
		{400, body("The request timed out."), "3 minutes"},
		{429, body("Please retry again later."), "45 queries a minute"},
		{400, body("'where' operator: Failed to resolve table or column expression named 'X'."), ""},
		{500, `{"error":{"code":"UnknownError","message":""}}`, ""},
		{403, body("Missing scopes"), ""},
		{200, `{"results":[{"a":"timed out"}]}`, ""},
	} {
		got := bridge.Limit(tt.status, []byte(tt.body))
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%d %s: got %q, want %q in it", tt.status, tt.body, got, tt.want)
		}
		if got != "" && !strings.HasPrefix(got, "bridge: graph-hunting: ") {
			t.Errorf("got %q, want it to name the setting", got)
		}
	}
}

// read reads an answer to its end.
func read(t *testing.T, body io.Reader) (string, error) {
	t.Helper()
	got, err := io.ReadAll(newAnswer(t, body))
	return string(got), err
}

func query(body string) ([]byte, error) { return bridge.Query(strings.NewReader(body)) }
