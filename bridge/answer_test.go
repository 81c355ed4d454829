package bridge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"tokenbroker/bridge"
	"tokenbroker/entra"
)

func newAnswer(tb testing.TB, body io.Reader) io.ReadCloser {
	tb.Helper()
	a := bridge.Answer(io.NopCloser(body), time.Now())
	tb.Cleanup(func() { a.Close() })
	return a
}

func TestAnswer(t *testing.T) {
	const stats = `,"Stats":{"ExecutionTime":2.500,"resource_usage":{},"dataset_statistics":[{"table_row_count":%d,"table_size":%d}]}}`
	for name, tt := range map[string]struct {
		in, want   string
		rows, size int
	}{
		"Graph's": {
			in: `{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#microsoft.graph.security.huntingQueryResults",
				"schema":[{"name":"Timestamp","type":"DateTime"},{"@odata.type":"#microsoft.graph.security.singlePropertySchema","name":"n","type":"long"}],
				"results":[{"@odata.type":"#x","Timestamp@odata.type":"#DateTimeOffset","Timestamp":"2026-01-02T03:04:05.1234567Z","n@odata.type":"#Int64","n":9007199254740993}]}`,
			want: `{"Schema":[{"Name":"Timestamp","Type":"DateTime"},{"Name":"n","Type":"Int64"}],` +
				`"Results":[{"Timestamp":"2026-01-02T03:04:05.1234567Z","n":9007199254740993}]`,
			rows: 1, size: len(`{"Timestamp":"2026-01-02T03:04:05.1234567Z","n":9007199254740993}`),
		},
		"Microsoft's sample": {
			in:   `{"schema":[{"Name":"FileName","Type":"String"}],"results":[{"FileName":"conhost.exe"},{"FileName":null}]}`,
			want: `{"Schema":[{"Name":"FileName","Type":"String"}],"Results":[{"FileName":"conhost.exe"},{"FileName":null}]`,
			rows: 2, size: len(`{"FileName":"conhost.exe"},{"FileName":null}`),
		},
		"the rows first": {
			in:   `{"results":[],"schema":[]}`,
			want: `{"Results":[],"Schema":[]`,
		},
		"columns of odd names": {
			in:   `{"results":[{"schema":1,"results":[{"type":"int","name":2}],"Type":"x","a@b":3,"":4,"x@odata.typed":5,"\u0040odata.type":6}]}`,
			want: `{"Results":[{"schema":1,"results":[{"type":"int","name":2}],"Type":"x","a@b":3,"":4,"x@odata.typed":5}]`,
			rows: 1, size: len(`{"schema":1,"results":[{"type":"int","name":2}],"Type":"x","a@b":3,"":4,"x@odata.typed":5}`),
		},
		"columns of type dynamic": {
			in:   `{"results":[{"d":{"@odata.type":"#j","a":[{"b@odata.type":"#c","b":[[],{}]}]}},{"l@odata.type":"#Collection(String)","l":["x@odata.type"]}]}`,
			want: `{"Results":[{"d":{"a":[{"b":[[],{}]}]}},{"l":["x@odata.type"]}]`,
			rows: 2, size: len(`{"d":{"a":[{"b":[[],{}]}]}},{"l":["x@odata.type"]}`),
		},
		"annotations that are no strings": {
			in:   `{"@odata.x":{"a":[1,{"results":[]}]},"results@odata.count":2,"results":[{"a@odata.type":{"b":[1]},"a":1}]}`,
			want: `{"Results":[{"a":1}]`,
			rows: 1, size: len(`{"a":1}`),
		},
		"something more": {
			in:   `{"more":{"@odata.type":"x","schema":[{"name":1}]},"results":[],"last":-1.5E+3}`,
			want: `{"more":{"@odata.type":"x","schema":[{"name":1}]},"Results":[],"last":-1.5E+3`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := bridge.Answer(io.NopCloser(iotest.OneByteReader(strings.NewReader(tt.in))), time.Now().Add(-2500*time.Millisecond))
				got, err := io.ReadAll(a)
				if want := tt.want + fmt.Sprintf(stats, tt.rows, tt.size); err != nil || string(got) != want {
					t.Errorf("got  %s, %v\nwant %s", got, err, want)
				}
			})
		})
	}
}

func TestAnswerKeepsStatsThatGraphHas(t *testing.T) {
	if got, err := read(t, strings.NewReader(`{"stats":{"ExecutionTime":1},"results":[]}`)); err != nil || got != `{"Stats":{"ExecutionTime":1},"Results":[]}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestAnswerMapsTypes(t *testing.T) {
	for in, want := range map[string]string{
		"String": "String", "string": "String", "Edm.DateTimeOffset": "DateTime", "datetime": "DateTime", "#Int64": "Int64", "long": "Int64", "int": "Int32",
		"System.Double": "Double", "real": "Double", "bool": "SByte", "SByte": "SByte", "dynamic": "Object", "Object": "Object", "guid": "Guid",
		"timespan": "TimeSpan", "decimal": "SqlDecimal", "Vector16": "Vector16", `\u0073tring`: "String", `new "one"`: `new "one"`,
	} {
		spelt := strings.ReplaceAll(in, `"`, `\"`)
		got, err := read(t, strings.NewReader(`{"schema":[{"name":"a","type":"`+spelt+`"}],"results":[]}`))
		var whole struct{ Schema []struct{ Name, Type string } }
		if err != nil || json.Unmarshal([]byte(got), &whole) != nil || len(whole.Schema) != 1 || whole.Schema[0].Type != want {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
}

// A caller must never take a part for the whole.
func TestAnswerThatIsNoneNeverLooksWhole(t *testing.T) {
	const good = `{"schema":[{"name":"a","type":"long"}],"results":[{"a":1.5,"b":"x\u00e9","c":[true,{}]}],"@odata.context":"x"}`
	cases := map[string]string{
		"a list": `[]`, "a string": `"x"`, "a number": `1`, "a page": "<html>", "no rows": `{"schema":[]}`, "rows that are none": `{"results":{}}`,
		"a comma too many": `{"results":[1,]}`, "a comma in an object": `{"results":[],}`, "no comma": `{"results":[1 2]}`, "no colon": `{"results" []}`,
		"a colon too many": `{"results"::[]}`, "a colon in a list": `{"results":["a":1]}`, "crossed": `{"results":[{]}}`, "more": `{"results":[]}{}`,
		"a comma after": `{"results":[]},`, "no number": `{"results":[01]}`, "no word": `{"results":[nul]}`, "no escape": `{"results":["\x"]}`,
		"half an escape": `{"results":["\u00"]}`, "no hex": `{"results":["\u00xy"]}`, "a line in a string": "{\"results\":[\"\n\"]}", "a name that is none": `{1:2,"results":[]}`, "no name": `{"results":[],:1}`,
		"a long number": `{"results":[` + strings.Repeat("1", 600) + `]}`, "a long name": `{"` + strings.Repeat("x", 9000) + `":1,"results":[]}`,
		"deep": `{"results":[` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `]}`, "closed": `}`, "opened": `{"results":[]}]`,
	}
	for i := range good {
		cases["cut at "+fmt.Sprint(i)] = good[:i]
	}
	for name, in := range cases {
		got, err := read(t, strings.NewReader(in))
		if entra.KindOf(err) != entra.Upstream || err == nil {
			t.Errorf("%s: got %s, %v, want an error", name, got, err)
		}
	}
	if _, err := read(t, strings.NewReader(good)); err != nil {
		t.Error(err)
	}
	reset := errors.New("connection reset")
	got, err := read(t, io.MultiReader(strings.NewReader(`{"results":[1`), iotest.ErrReader(reset)))
	if !errors.Is(err, reset) || got != `{"Results":[` {
		t.Errorf("got %s, %v, want what came and the body's own error", got, err)
	}
}

// What has come goes on before anything else is waited for.
func TestAnswerHoldsNothingBack(t *testing.T) {
	body, graph := io.Pipe()
	defer graph.Close()
	a, buf := newAnswer(t, body), make([]byte, 1024)
	for _, step := range [][2]string{
		{`{"results":[{"a":"x`, `{"Results":[{"a":"x`}, {`y"},`, `y"}`}, {` {"b":"`, `,{"b":"`}, {`\`, `\`}, {`""`, `""`},
	} {
		go func() { _, _ = io.WriteString(graph, step[0]) }()
		n, err := a.Read(buf)
		if got := string(buf[:n]); err != nil || got != step[1] {
			t.Fatalf("after %s: got %s, %v, want %s", step[0], got, err, step[1])
		}
	}
}

// rows is an answer of that many bytes or somewhat more, made as it is read.
func rows(size int) io.Reader {
	const row = `{"Timestamp@odata.type":"#DateTimeOffset","Timestamp":"2026-01-02T03:04:05.1234567Z","DeviceName":"pc1.example.test","ProcessCommandLine":"cmd.exe /c \"dir C:\\Users\"","ProcessId@odata.type":"#Int64","ProcessId":4711},`
	return io.MultiReader(strings.NewReader(`{"schema":[],"results":[`),
		io.LimitReader(&repeated{text: row}, int64((size/len(row)+1)*len(row))), strings.NewReader(`{}]}`))
}

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

func TestAnswerOfAnySizeTakesTheSameMemory(t *testing.T) {
	grown := func(size int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if n, err := io.Copy(io.Discard, newAnswer(t, rows(size))); err != nil || n < int64(size)/2 {
			t.Fatalf("got %d bytes, %v", n, err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	grown(1 << 10)
	if got := grown(32 << 20); got > 8<<20 { // 50 KiB, but that the race detector lets pools forget
		t.Errorf("32 MiB took %d bytes of memory, all told", got)
	}
}

func BenchmarkAnswer(b *testing.B) {
	const size = 16 << 20
	b.SetBytes(size)
	for b.Loop() {
		if _, err := io.Copy(io.Discard, newAnswer(b, rows(size))); err != nil {
			b.Fatal(err)
		}
	}
}
