package protocol_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/protocol"
)

// noted is what the proxy is sent.
type noted struct {
	Method, URI, Path, Host, Body string
	Header                        http.Header
}

// through serves a sidecar whose calls are noted and then answered.
func through(t *testing.T, answer http.HandlerFunc, change ...func(*protocol.Sidecar)) (*wire, *[]noted) {
	t.Helper()
	var calls []noted
	c := sidecar(t, issue)
	c.Downstream = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if path, _, _ := strings.Cut(r.RequestURI, "?"); path != r.URL.EscapedPath() {
			t.Errorf("request target %s, path %s: the proxy would refuse that", r.RequestURI, r.URL.EscapedPath())
		}
		calls = append(calls, noted{r.Method, r.RequestURI, r.URL.Path, r.Host, string(body), r.Header})
		answer(w, r)
	})
	for _, f := range change {
		f(&c)
	}
	return serveSidecar(t, c), &calls
}

func plainly(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func withOverrides(c *protocol.Sidecar) { c.Overrides = true }

func TestSidecarCalls(t *testing.T) {
	for _, tt := range []struct{ name, target, want string }{
		{"nothing said", "default", "GET /proxy/two/"},
		{"a path", "one?optionsOverride.RelativePath=api/machines", "GET /proxy/one/api/machines"},
		{"leading slashes", "one?optionsOverride.RelativePath=//api/machines", "GET /proxy/one/api/machines"},
		{"a query in it", "one?optionsOverride.RelativePath=api/alerts%3F%24filter%3Dseverity+eq+'High'%26%24top%3D5", "GET /proxy/one/api/alerts?$filter=severity%20eq%20'High'&$top=5"},
		{"escaped", "one?optionsOverride.RelativePath=api/a%2520b%252Fc?x=%2520%2500%C3%A9%22", "GET /proxy/one/api/a%20b%2Fc?x=%20%00%C3%A9%22"},
		{"to be escaped", "one?optionsOverride.RelativePath=/api/a%20b%C3%A9%23(x='y')[1]\\", "GET /proxy/one/api/a%20b%C3%A9%23(x='y')%5B1%5D%5C"},
		{"dots are the proxy's to refuse", "one?optionsOverride.RelativePath=../two/api", "GET /proxy/one/../two/api"},
		{"a method", "one?optionsOverride.HttpMethod=Delete&optionsOverride.RelativePath=api/indicators/1", "DELETE /proxy/one/api/indicators/1"},
		{"the scope of the path", "two?optionsOverride.Scopes=" + string(second) + "&optionsOverride.RelativePath=api/incidents&optionsOverride.RequestAppToken=true", "GET /proxy/two/api/incidents"},
		{"the identity's tenant", "two?optionsOverride.AcquireTokenOptions.Tenant=" + string(tenant), "GET /proxy/two@" + string(tenant) + "/"},
		{"another tenant", "two?optionsOverride.AcquireTokenOptions.Tenant=" + string(customer), "GET /proxy/two@customer.example/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, calls := through(t, plainly("{}"), withOverrides)
			a := s.do(t, http.MethodPost, "/DownstreamApiUnauthenticated/"+tt.target, nil)
			if a.StatusCode != http.StatusOK || len(*calls) != 1 {
				t.Fatalf("got %d %s, calls %+v", a.StatusCode, a.body, *calls)
			}
			got := (*calls)[0]
			if line := got.Method + " " + got.URI; line != tt.want {
				t.Errorf("got %s, want %s", line, tt.want)
			}
			if want, _, _ := strings.Cut(tt.want, "?"); s.trail.Call != want {
				t.Errorf("noted %q, want %q", s.trail.Call, want)
			}
			if "http://"+got.Host != s.URL {
				t.Errorf("got host %s, by which the proxy makes links; want %s", got.Host, s.URL)
			}
		})
	}
}

func TestSidecarCallIsTheCallersRequest(t *testing.T) {
	s, calls := through(t, plainly("{}"))
	a := s.do(t, http.MethodPost, "/DownstreamApi/people?optionsOverride.HttpMethod=Post", strings.NewReader("a\xffb"),
		anyUser+userToken, "Content-Type: application/octet-stream", "Accept: text/csv", "Prefer: wait=3")
	if a.StatusCode != http.StatusOK || len(*calls) != 1 {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	got := (*calls)[0]
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "Accept": "text/csv", "Prefer": "wait=3", "Authorization": "", "X-User-Assertion": userToken,
	} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("%s: got %q, want %q", name, value, want)
		}
	}
	if got.Body != "a\xffb" || got.Method != http.MethodPost {
		t.Errorf("got %s with body %q", got.Method, got.Body)
	}
}

// Where the service's identity acts, the user's token goes nowhere.
func TestSidecarCallAsItselfCarriesNoUser(t *testing.T) {
	s, calls := through(t, plainly("{}"), withOverrides)
	a := s.get(t, "/DownstreamApi/one?optionsOverride.RequestAppToken=true", anyUser+userToken)
	if a.StatusCode != http.StatusOK || len(*calls) != 1 || (*calls)[0].Header["X-User-Assertion"] != nil || (*calls)[0].Header["Authorization"] != nil {
		t.Errorf("got %d %s, calls %+v", a.StatusCode, a.body, *calls)
	}
}

// What stands before the handler still reads the request.
func TestSidecarCallLeavesTheRequestAsItIs(t *testing.T) {
	c := sidecar(t, issue)
	c.Downstream = plainly("{}")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/DownstreamApi/people?optionsOverride.HttpMethod=HEAD", nil)
	r.Header.Set("Authorization", "Bearer "+userToken)
	before := r.Clone(t.Context())
	c.DownstreamAPI(httptest.NewRecorder(), r)
	if diff := cmp.Diff(before.Header, r.Header); diff != "" || r.Method != before.Method || r.RequestURI != before.RequestURI || r.URL.Path != before.URL.Path {
		t.Errorf("got %s %s (-want +got):\n%s", r.Method, r.RequestURI, diff)
	}
}

func TestSidecarRefusesToCall(t *testing.T) {
	s, calls := through(t, plainly("{}"))
	for target, want := range map[string]string{
		"DownstreamApi/one": "does not act on behalf of users",
		"DownstreamApi/one?optionsOverride.RequestAppToken=true":                                       "overrides is false",
		"DownstreamApiUnauthenticated/people":                                                          "call the path without Unauthenticated",
		"DownstreamApiUnauthenticated/two?optionsOverride.AcquireTokenOptions.Tenant=customer.example": "is not the tenant of service",
		"DownstreamApiUnauthenticated/none":                                                            "no such service",
		"DownstreamApiUnauthenticated/one?optionsOverride.HttpMethod=Delete":                           "send the request by POST",
		"DownstreamApiUnauthenticated/one?optionsOverride.HttpMethod=POST":                             "send the request by POST",
	} {
		var who []string
		if strings.HasPrefix(target, "DownstreamApi/") {
			who = append(who, anyUser+userToken)
		}
		if a := s.get(t, "/"+target, who...); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, want) {
			t.Errorf("%s: got %d %s, want %q", target, a.StatusCode, a.body, want)
		}
	}
	if len(*calls) > 0 {
		t.Errorf("called %+v", *calls)
	}
}

func TestSidecarEnvelope(t *testing.T) {
	answer := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.Header()["Content-Type"] = []string{contentType}
			w.Header()["Retry-After"] = []string{"7"}
			w.Header()["Www-Authenticate"] = []string{"Bearer a", "Basic b"}
			w.WriteHeader(status)
			w.Header().Set("Trailing", "x")
			_, _ = io.WriteString(w, body)
		}
	}
	for _, tt := range []struct {
		name    string
		answer  http.HandlerFunc
		content string // as it stands in the envelope; empty: none is made
		status  string
	}{
		{"text", answer(200, "application/json", `{"a":"<é>"}`), `"{\"a\":\"<é>\"}"`, "200"},
		{"no content", answer(204, "application/json", ""), "null", "204"},
		{"the API's 401", answer(401, "text/plain; charset=UTF-8", "é"), `"é"`, "401"},
		{"the API's 429", answer(429, "text/plain", "slow"), `"slow"`, "429"},
		{"the API's 503", answer(503, "text/plain; charset=us-ascii", "down"), `"down"`, "503"},
		{"other bytes", answer(200, "application/octet-stream", "\xff\xfe"), "", ""},
		{"half a letter", answer(200, "text/plain", "caf\xc3"), "", ""},
		{"Latin-1, of ASCII", answer(200, "text/plain; charset=iso-8859-1", "cafe"), `"cafe"`, "200"},
		{"Latin-1", answer(200, "text/plain; charset=iso-8859-1", "caf\xc3\xa9"), "", ""},
		{"UTF-16", answer(200, "text/plain; charset=utf-16", "c\x00a\x00"), "", ""},
		{"as large as can be", answer(200, "text/plain", strings.Repeat("a", 4<<20)), `"` + strings.Repeat("a", 4<<20) + `"`, "200"},
		{"too large", answer(200, "text/plain", strings.Repeat("a", 4<<20+1)), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := through(t, tt.answer)
			a := s.get(t, "/DownstreamApiUnauthenticated/one?optionsOverride.RelativePath=api/x")
			if tt.content == "" {
				if a.StatusCode != http.StatusBadGateway || !strings.Contains(a.body, `the call was made, and its answer is `) || !strings.Contains(a.body, `by a call to \"/proxy/one/api/x\"`) {
					t.Errorf("got %d %.500s", a.StatusCode, a.body)
				}
				return
			}
			var contentType strings.Builder
			contentType.WriteString(`"Content-Type":["`)
			w := httptest.NewRecorder()
			tt.answer(w, nil)
			contentType.WriteString(w.Header().Get("Content-Type") + `"]`)
			want := `{"statusCode":` + tt.status + `,"headers":{` + contentType.String() + `,"Retry-After":["7"],"Www-Authenticate":["Bearer a","Basic b"]},"content":` + tt.content + "}\n"
			if diff := cmp.Diff(want, a.body); diff != "" || a.StatusCode != http.StatusOK || a.Header.Get("Retry-After") != "" {
				t.Errorf("got %d %v (-want +got):\n%.2000s", a.StatusCode, a.Header, diff)
			}
			if a.Header.Get("Content-Type") != "application/json; charset=utf-8" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("got headers %v", a.Header)
			}
		})
	}
}

// The proxy writes its own failures in the Defender APIs' shape, and notes them.
func TestSidecarCallThatFails(t *testing.T) {
	fail := func(e entra.Error, abort bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			entra.TrailOf(r.Context()).Failure = &e
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "shape of the proxy")
			if abort {
				panic(http.ErrAbortHandler)
			}
		}
	}
	const claims = `{"access_token":{}}`
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		status int
		want   string
	}{
		{"policy", fail(*entra.Errorf(entra.Denied, "guard.policy", "read-only"), false), 403, `"detail":"read-only"`},
		{"Entra away", fail(entra.Error{Kind: entra.Unavailable, RetryAfter: time.Second, Err: context.DeadlineExceeded}, false), 503, `"kind":"unavailable"`},
		{"a challenge", fail(entra.Error{Kind: entra.Challenged, Claims: claims}, false), 401, `"claims":"{\"access_token\":{}}"`},
		{"the user's token", fail(entra.Error{Kind: entra.Invalid, Code: "audience"}, false), 401, `"code":"invalid_token"`},
		{"upstream away", fail(*entra.Errorf(entra.Upstream, "proxy.send", "upstream x: away"), false), 502, `"detail":"upstream x: away"`},
		{"upstream broke off", fail(*entra.Errorf(entra.Upstream, "proxy.send", "upstream x: broke off"), true), 502, `"detail":"upstream x: broke off"`},
		{"broke off, nobody knows why", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}, 502, "its answer is broken off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := through(t, tt.answer)
			a := s.get(t, "/DownstreamApi/people", anyUser+userToken)
			if a.StatusCode != tt.status || !strings.Contains(a.body, tt.want) || strings.Contains(a.body, "shape of the proxy") || a.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("got %d %v %s, want %d %q", a.StatusCode, a.Header, a.body, tt.status, tt.want)
			}
		})
	}
}

func TestSidecarCallPanics(t *testing.T) {
	c := sidecar(t, issue)
	c.Downstream = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("bug") })
	defer func() {
		if cause := recover(); cause != "bug" {
			t.Errorf("got panic %v, want it passed on to who answers for it", cause)
		}
	}()
	c.DownstreamAPIUnauthenticated(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/DownstreamApiUnauthenticated/one", nil))
}

// FuzzSidecar sends any query. Whatever goes on to the proxy goes to the service
// that the path names, with a target that the proxy reads as it was written.
func FuzzSidecar(f *testing.F) {
	for _, seed := range []string{
		"optionsOverride.Scopes=https%3A%2F%2Fsingle.example%2F.default&optionsOverride.RequestAppToken=true",
		"optionsOverride.RelativePath=api/a%2520b%3Fx%3D1&optionsOverride.HttpMethod=Post",
		"optionsOverride.RelativePath=../two%2523",
		"optionsOverride.RelativePath=%2525&OPTIONSOVERRIDE.relativepath=x",
		"optionsOverride.AcquireTokenOptions.Tenant=customer.example",
		"AgentIdentity=x&a;b=%zz",
		"optionsOverride.ExtraQueryParameters.a=b",
	} {
		f.Add(seed)
	}
	c := sidecar(f, issue)
	var calls []*http.Request
	c.Downstream = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { calls = append(calls, r) })
	f.Fuzz(func(t *testing.T, query string) {
		calls = nil
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/DownstreamApiUnauthenticated/one", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		c.DownstreamAPIUnauthenticated(w, r)
		switch {
		case w.Code == http.StatusBadRequest && len(calls) == 0:
			return
		case w.Code != http.StatusOK || len(calls) != 1:
			t.Fatalf("query %q: got %d %s, %d calls", query, w.Code, w.Body, len(calls))
		}
		got := calls[0]
		path, rest, _ := strings.Cut(got.RequestURI, "?")
		if path != got.URL.EscapedPath() || rest != got.URL.RawQuery || !strings.HasPrefix(path, "/proxy/one/") && !strings.HasPrefix(path, "/proxy/one@"+string(tenant)+"/") {
			t.Errorf("query %q: called %s, path %s", query, got.RequestURI, got.URL.EscapedPath())
		}
		for _, c := range got.RequestURI {
			if c <= ' ' || c > '~' || c == '#' {
				t.Errorf("query %q: called %q", query, got.RequestURI)
			}
		}
		for name := range r.URL.Query() {
			if !strings.HasPrefix(strings.ToLower(name), "optionsoverride.") {
				t.Errorf("query %q: answered, though nobody knows %q", query, name)
			}
		}
	})
}
