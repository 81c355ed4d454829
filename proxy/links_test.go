package proxy

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLinkRewriting(t *testing.T) {
	const origin = "http://localhost:5178/proxy/mde@contoso.example"
	for _, tc := range []struct{ name, base, link, want string }{
		{"the host asked", "", `https://api.security.microsoft.com/api/machines?$skip=100`, origin + `/api/machines?$skip=100`},
		{"another host", "", `https://localhost:1059/api/machines?$skip=100`, origin + `/api/machines?$skip=100`},
		{"a user in it", "", `https://u:p@evil.example/api/machines`, origin + `/api/machines`},
		{"plain http", "", `HTTP://127.0.0.1/api/machines`, origin + `/api/machines`},
		{"without a scheme", "", `//127.0.0.1/api/machines`, origin + `/api/machines`},
		{"without a host", "", `/api/machines?next=https://h/`, origin + `/api/machines?next=https://h/`},
		{"the query as it is", "", `https://h/api/m?$filter=a%20eq+'é'&x=a;b&y=%zz&|=\/\u0026\"`, origin + `/api/m?$filter=a%20eq+'é'&x=a;b&y=%zz&|=/&\"`},
		{"an escaped path", "", `https:\/\/h\/api\/m%20x(a='b')`, origin + `/api/m%20x(a='b')`},
		{"a base path", "/base", `https://h/base/api/m`, origin + `/api/m`},

		{"another base path", "/base", `https://h/basement/api/m`, ""},
		{"past the base path", "/base", `https://h/api/m`, ""},
		{"dots", "", `https://h/api/../admin`, ""},
		{"encoded slash", "", `https://h/api%2fx`, ""},
		{"no path", "", `https://h?x=1`, ""},
		{"no path at all", "", `https://h`, ""},
		{"a fragment", "", `https://h/api/m?x#y`, ""},
		{"another scheme", "", `javascript://h/api/m`, ""},
		{"relative", "", `machines?$skip=100`, ""},
		{"empty", "", ``, ""},
		{"half a character", "", `https://h/api/m?\ud800`, ""},
		{"not UTF-8", "", "https://h/api/m?\xff", ""},
		{"not a JSON string", "", `https://h/api/m?\x`, ""},
		{"a raw line break", "", "https://h/api/m?a\nb", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := linker{origin: origin, base: tc.base}
			want := tc.want
			if want == "" {
				want = tc.link
			}
			if got := string(l.raw(t.Context(), []byte(tc.link))); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestLinkThatStaysIsLoggedOnceWithoutItsQuery(t *testing.T) {
	var log bytes.Buffer
	l := linker{base: "/base", logger: slog.New(slog.NewTextHandler(&log, nil))}
	for range 3 {
		l.raw(t.Context(), []byte(`https://h/other?sig=secret`))
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "https://h/other") || strings.Contains(got, "secret") {
		t.Errorf("got %s, want one line with the path and without the query", got)
	}
}

func TestLinksAreSoughtInWholeJSONAnswers(t *testing.T) {
	answer := func(status int, header ...string) *http.Response {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, ContentLength: -1, Request: &http.Request{Method: http.MethodGet}}
	}
	const ct = "Content-Type"
	head := answer(200, ct, "application/json")
	head.Request.Method = http.MethodHead
	empty := answer(200, ct, "application/json")
	empty.ContentLength = 0
	for _, tc := range []struct {
		name string
		res  *http.Response
		want bool
	}{
		{"JSON", answer(200, ct, "application/json"), true},
		{"with OData's parameters", answer(200, ct, `application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=UTF-8`), true},
		{"a dialect", answer(200, ct, "application/vnd.x+json"), true},
		{"created", answer(201, ct, "application/json"), true},
		{"not compressed", answer(200, ct, "application/json", "Content-Encoding", "Identity"), true},

		{"HEAD", head, false},
		{"empty", empty, false},
		{"no content", answer(204, ct, "application/json"), false},
		{"reset content", answer(205, ct, "application/json"), false},
		{"a part", answer(206, ct, "application/json"), false},
		{"a range", answer(200, ct, "application/json", "Content-Range", "bytes 0-1/2"), false},
		{"not modified", answer(304, ct, "application/json"), false},
		{"an error", answer(404, ct, "application/json"), false},
		{"compressed", answer(200, ct, "application/json", "Content-Encoding", "gzip"), false},
		{"another charset", answer(200, ct, "application/json; charset=utf-16"), false},
		{"another type", answer(200, ct, "text/csv"), false},
		{"no type", answer(200), false},
		{"a broken type", answer(200, ct, "application/json; charset"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := rewritesLinks(tc.res); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestHeaderOfAnAnswerThatMayChange(t *testing.T) {
	for tag, want := range map[string]string{`"abc"`: `W/"abc"`, `W/"abc"`: `W/"abc"`, "": ""} {
		res := &http.Response{ContentLength: 5, Header: http.Header{
			"Content-Length": {"5"}, "Accept-Ranges": {"bytes"}, "Content-Md5": {"x"}, "Digest": {"x"},
			"Content-Digest": {"x"}, "Repr-Digest": {"x"}, "Last-Modified": {"x"},
		}}
		wantHeader := http.Header{"Last-Modified": {"x"}}
		if tag != "" {
			res.Header.Set("Etag", tag)
			wantHeader.Set("Etag", want)
		}
		loosen(res)
		if diff := cmp.Diff(res.Header, wantHeader); diff != "" || res.ContentLength != -1 {
			t.Errorf("length %d; header (-got +want):\n%s", res.ContentLength, diff)
		}
	}
}
