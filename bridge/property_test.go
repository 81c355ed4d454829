package bridge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// pair is some JSON as Graph writes it, and as it has to come out.
type pair struct{ in, want string }

var (
	spaces  = rapid.SampledFrom([]string{"", "", "", " ", "\n\t", "\r\n  "})
	pieces  = rapid.SampledFrom([]string{"a", "é", "😀", " ", "{", "}", "[", "]", ":", ",", "@odata.type", `\"`, `\\`, `\/`, `\n`, `\u00e9`, `\uD83D`, "\x7f", "\xff", "results"})
	scalars = rapid.OneOf(
		rapid.SampledFrom([]string{"null", "true", "false", "0", "-0", "-0.0", "1e400", "1E+05", "9007199254740993", "123456789012345678901234567890.10", "0.1000"}),
		rapid.Custom(func(t *rapid.T) string { return fmt.Sprint(rapid.Int64().Draw(t, "number")) }),
		rapid.Custom(func(t *rapid.T) string { return `"` + strings.Join(rapid.SliceOf(pieces).Draw(t, "text"), "") + `"` }),
	)
	names = rapid.SampledFrom([]string{"Timestamp", "é", `a\"b`, `\u0061`, "type", "name", "schema", "results", "", "@odata", "x@odata.typed"})
)

// dataOf draws a value of a row: a scalar, a list or an object, with annotations
// and space wherever they can stand.
func dataOf(depth int) *rapid.Generator[pair] {
	return rapid.Custom(func(t *rapid.T) pair {
		sp := func() string { return spaces.Draw(t, "space") }
		shape := rapid.IntRange(0, 4).Draw(t, "shape")
		if depth == 0 || shape > 1 {
			s := scalars.Draw(t, "scalar")
			return pair{sp() + s + sp(), s}
		}
		var in, want []string
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			v := dataOf(depth-1).Draw(t, "value")
			if shape == 0 {
				in, want = append(in, v.in), append(want, v.want)
				continue
			}
			name := names.Draw(t, "name")
			if rapid.Bool().Draw(t, "annotated") {
				in = append(in, `"`+name+`@odata.type"`+sp()+":"+dataOf(depth-1).Draw(t, "annotation").in)
			}
			in, want = append(in, sp()+`"`+name+`"`+sp()+":"+v.in), append(want, `"`+name+`":`+v.want)
		}
		open, end := "[", "]"
		if shape == 1 {
			open, end = "{", "}"
			if len(in) == 0 {
				in = append(in, sp())
			}
		}
		return pair{sp() + open + strings.Join(in, ",") + end + sp(), open + strings.Join(want, ",") + end}
	})
}

// TestValuesSurvive: what is in the rows comes out byte for byte, however it comes
// in, but for annotations and the space between.
func TestValuesSurvive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		list := rapid.SliceOfN(dataOf(3), 0, 4).Draw(rt, "rows")
		var in, want []string
		for _, row := range list {
			in, want = append(in, row.in), append(want, row.want)
		}
		var body io.Reader = strings.NewReader(`{"@odata.context":"x","schema":[],"results":[` + strings.Join(in, ",") + `]}`)
		if rapid.Bool().Draw(rt, "in bytes") {
			body = iotest.OneByteReader(body)
		}
		got, err := read(t, body)
		if expected := `{"Schema":[],"Results":[` + strings.Join(want, ",") + `],"Stats":{`; err != nil || !strings.HasPrefix(got, expected) {
			rt.Errorf("got  %s, %v\nwant %s", got, err, expected)
		}
		if count := fmt.Sprintf(`"table_row_count":%d,`, len(list)); err == nil && !strings.Contains(got, count) {
			rt.Errorf("got %s, want %s", got, count)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"@odata.context":"x","schema":[{"name":"a","type":"long"}],"results":[{"a@odata.type":"#Int64","a":1,"b":"\u00e9\"","c":[{}]}]}`,
		`{"results":[]}`, `{"results":[1,2,{"@odata.type":{"a":[]}}],"schema":{}}`, `{"Stats":null,"RESULTS":[[[]]]}`, `[]`, `{"results":[`, "{\"results\":[\"\xff\"]} ", `{"schema":[{"type":1}],"results":[-1e5]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := read(t, strings.NewReader(string(in)))
		inBytes, errInBytes := read(t, iotest.OneByteReader(strings.NewReader(string(in))))
		if (err == nil) != (errInBytes == nil) || err == nil && untimed(got) != untimed(inBytes) {
			t.Fatalf("at once: %q, %v\nin bytes: %q, %v", got, err, inBytes, errInBytes)
		}
		var whole map[string]json.RawMessage
		switch valid := json.Valid(in); {
		case err == nil && !valid:
			t.Fatalf("took %q, which is no JSON", in)
		case err == nil && json.Unmarshal([]byte(got), &whole) != nil:
			t.Fatalf("made %q of %q, which is no JSON", got, in)
		case err == nil && (len(whole["Results"]) == 0 || len(whole["Stats"]) == 0):
			t.Fatalf("made %q of %q, which lacks something", got, in)
		case err != nil && valid && len(in) < 200 && isResult(in):
			t.Fatalf("refused %q: %v", in, err)
		}
	})
}

// untimed leaves out how long it took.
func untimed(answer string) string {
	i := max(strings.LastIndex(answer, `"ExecutionTime":`), 0)
	j := max(strings.LastIndex(answer, `"resource_usage":`), i)
	return answer[:i] + answer[j:]
}

// isResult reports whether a document has a list of rows, by the very name.
func isResult(in []byte) bool {
	var whole map[string]json.RawMessage
	return json.Unmarshal(in, &whole) == nil && strings.HasPrefix(string(whole["results"]), "[")
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{`{"Query":"a"}`, `{"query":"\u00e9","x":{}}`, "\ufeff{}", `{"Query":null}`, `[]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := query(string(in))
		var sent map[string]string
		if err == nil && (json.Unmarshal(got, &sent) != nil || len(sent) != 1) {
			t.Fatalf("made %q of %q", got, in)
		}
		if _, ok := sent["Query"]; err == nil && !ok {
			t.Fatalf("made %q of %q", got, in)
		}
	})
}
