package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// chunks gives a text in pieces of one size, as a network might.
type chunks struct {
	rest string
	size int
	end  error
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.rest == "" {
		return 0, c.end
	}
	n := copy(p, c.rest[:min(c.size, len(c.rest))])
	c.rest = c.rest[n:]
	return n, nil
}

func (c *chunks) Close() error { return nil }

func newLinkReader(text string, size int, rewrite func([]byte) []byte) *linkReader {
	return &linkReader{body: &chunks{text, size, io.EOF}, rewrite: rewrite}
}

func mark(raw []byte) []byte { return append([]byte("NEW:"), raw...) }

func TestLinksAreFoundWhateverTheChunks(t *testing.T) {
	long := strings.Repeat("x", maxLink)
	for _, tc := range []struct{ name, in, want string }{
		{"next", `{"@odata.nextLink":"a"}`, `{"@odata.nextLink":"NEW:a"}`},
		{"delta", `{"@odata.deltaLink":"a"}`, `{"@odata.deltaLink":"NEW:a"}`},
		{"any case", `{"@ODATA.NextLINK":"a","@odata.deltalink":"b"}`, `{"@ODATA.NextLINK":"NEW:a","@odata.deltalink":"NEW:b"}`},
		{"with spaces", "{\"@odata.nextLink\" \t\r\n:\n \"a\" }", "{\"@odata.nextLink\" \t\r\n:\n \"NEW:a\" }"},
		{"of an expanded collection", `{"value":[{"alerts@odata.nextLink":"a"}]}`, `{"value":[{"alerts@odata.nextLink":"NEW:a"}]}`},
		{"in a batch", `{"responses":[{"body":{"@odata.nextLink":"a"}},{"body":{"@odata.nextLink":"b"}}]}`, `{"responses":[{"body":{"@odata.nextLink":"NEW:a"}},{"body":{"@odata.nextLink":"NEW:b"}}]}`},
		{"with escapes", `{"@odata.nextLink":"a\"\\\/b\\"}`, `{"@odata.nextLink":"NEW:a\"\\\/b\\"}`},
		{"after text like it", `{"@@odata.@odata.nextLinks":"x","@odata.context":"y","@odata.nextLink":"a"}`, `{"@@odata.@odata.nextLinks":"x","@odata.context":"y","@odata.nextLink":"NEW:a"}`},
		{"longest", `{"@odata.nextLink":"` + long[1:] + `"}`, `{"@odata.nextLink":"NEW:` + long[1:] + `"}`},

		{"too long", `{"@odata.nextLink":"` + long + `x","@odata.deltaLink":"a"}`, `{"@odata.nextLink":"` + long + `x","@odata.deltaLink":"NEW:a"}`},
		{"a value, not a name", `{"a":"@odata.nextLink","b":["@odata.nextLink","a"]}`, ""},
		{"inside a string", `{"a":"{\"@odata.nextLink\":\"https://h/\"}"}`, ""},
		{"null", `{"@odata.nextLink":null,"b":"a"}`, ""},
		{"an object", `{"@odata.nextLink":{"b":"a"}}`, ""},
		{"another name", `{"@odata.nextLinks":"a","odata.nextLink":"b","@odata.next":"c","@odata.dextLink":"d"}`, ""},
		{"mail addresses", `{"users":["a@odata.example","b@example.test"]}`, ""},
		{"cut off in the link", `{"@odata.nextLink":"abc`, ""},
		{"cut off before the link", `{"@odata.nextLink":`, ""},
		{"nothing", ``, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.want
			if want == "" {
				want = tc.in
			}
			for _, size := range []int{1, 2, 3, 5, 7, 16, 17, 18, 64, 32 << 10, 1 << 20} {
				for _, reader := range []func(io.Reader) io.Reader{
					func(r io.Reader) io.Reader { return r },
					iotest.OneByteReader,
					iotest.DataErrReader,
				} {
					got, err := io.ReadAll(reader(newLinkReader(tc.in, size, mark)))
					if err != nil || string(got) != want {
						t.Fatalf("in pieces of %d: got %.200s and %v, want %.200s", size, got, err, want)
					}
				}
			}
		})
	}
}

// blocking fails the test when it is read beyond what has come so far.
type blocking struct {
	t    *testing.T
	rest []string
}

func (b *blocking) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		b.t.Error("waits for the upstream although there was something to pass on")
		return 0, io.EOF
	}
	n := copy(p, b.rest[0])
	b.rest = b.rest[1:]
	return n, nil
}

func (b *blocking) Close() error { return nil }

func TestLinksHoldBackNothingElse(t *testing.T) {
	body := &blocking{t: t}
	r := &linkReader{body: body, rewrite: mark}
	buf := make([]byte, 100)
	for _, step := range []struct{ comes, passes string }{
		{`{"value":[1,`, `{"value":[1,`},
		{`2],"@odata.next`, `2],"@odata.next`},
		{`Link":"https:`, `Link":"`},
	} {
		body.rest = append(body.rest, step.comes)
		n, err := r.Read(buf)
		if got := string(buf[:n]); got != step.passes || err != nil {
			t.Errorf("after %s: got %s and %v, want %s", step.comes, got, err, step.passes)
		}
	}
	body.rest = append(body.rest, `//h/a`, `","n":1}`)
	n, err := r.Read(buf)
	if got, want := string(buf[:n]), `NEW:https://h/a","n":1}`; got != want || err != nil {
		t.Errorf("at the link's end: got %s and %v, want %s", got, err, want)
	}
}

func TestLinksPassErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	for _, text := range []string{`{"a":1`, `{"@odata.nextLink":"abc`} {
		r := &linkReader{body: &chunks{text, 5, broken}, rewrite: mark}
		got, err := io.ReadAll(r)
		if string(got) != text || !errors.Is(err, broken) {
			t.Errorf("got %s and %v, want %s and the body's error", got, err, text)
		}
	}
}

// FuzzLinks: the answer stays JSON if it was, and does not become JSON if it
// was not; without links not a byte changes; and chunks make no difference.
func FuzzLinks(f *testing.F) {
	f.Add([]byte(`{"value":[{"id":"a@b"}],"@odata.nextLink":"https://h/api/x?$skip=1\u0026a=\/\"\\"}`), 3)
	f.Add([]byte(`{"x@odata.nextLink" : "https://h/base/a b","@odata.deltaLink":"/base/\u00e9?é"}`), 7)
	f.Add([]byte(`@odata.nextLink":"https://h/base/x","@odata.nextLink":"https://h/base/\ud800"`), 1)
	f.Add([]byte("{\"@odata.nextLink\":\"https://h/base/x\x01?\xff\"}"), 2)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		rewrites := 0
		l := linker{origin: `http://localhost:5178/proxy/r`, base: "/base"}
		rewrite := func(raw []byte) []byte { rewrites++; return l.raw(t.Context(), raw) }

		whole, err := io.ReadAll(newLinkReader(string(in), len(in)+1, rewrite))
		if err != nil {
			t.Fatal(err)
		}
		if json.Valid(in) != json.Valid(whole) {
			t.Errorf("JSON: %v before, %v after:\n%q\n%q", json.Valid(in), json.Valid(whole), in, whole)
		}
		if rewrites == 0 && !bytes.Equal(in, whole) {
			t.Errorf("changed without a link:\n%q\n%q", in, whole)
		}
		pieces, err := io.ReadAll(newLinkReader(string(in), max(1, size), rewrite))
		if err != nil || !bytes.Equal(whole, pieces) {
			t.Errorf("in pieces of %d:\n%q, whole:\n%q (%v)", size, pieces, whole, err)
		}
	})
}

// BenchmarkLinks compares the search for links with a plain copy, over a
// megabyte of machines.
func BenchmarkLinks(b *testing.B) {
	machine := `{"id":"1e5bc9d7e413ddd7902c2932e418702b84d0cc07","computerDnsName":"pc1.example.test","healthStatus":"Active","riskScore":"Low","aadUser":"user@example.test","machineTags":["t1"]},`
	text := `{"value":[` + strings.Repeat(machine, 1<<20/len(machine)) + `{}],"@odata.nextLink":"https://h/api/machines?$skip=1"}`
	buf := make([]byte, 32<<10)
	for name, reader := range map[string]func() io.Reader{
		"copy":  func() io.Reader { return &chunks{text, 16 << 10, io.EOF} },
		"links": func() io.Reader { return newLinkReader(text, 16<<10, mark) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, reader(), buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
