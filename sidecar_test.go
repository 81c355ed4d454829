package main_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"tokenbroker/broker"
	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/protocol"
	"tokenbroker/proxy"
	"tokenbroker/route"
	"tokenbroker/server"
)

// sidecarWorld is the sidecar's API before the real proxy and policy, at the
// paths that it has in the program, and an API behind them.
type sidecarWorld struct {
	*httptest.Server
	mu    sync.Mutex // guards the rest
	audit bytes.Buffer
	seen  []string // by the API: method, target and token
}

func (w *sidecarWorld) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.audit.Write(p)
}

// records returns what was recorded since it was last called.
func (w *sidecarWorld) records() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.audit.Reset()
	return w.audit.String()
}

func newSidecarWorld(t *testing.T, cfg guard.Config, callers ...guard.Caller) *sidecarWorld {
	t.Helper()
	w := new(sidecarWorld)
	api := httptest.NewTLSServer(http.HandlerFunc(w.api))
	t.Cleanup(api.Close)
	upstream, err := url.Parse(api.URL)
	need(t, err)
	catalogue, err := defender.Load()
	need(t, err)
	const home = entra.Tenant("home.example")
	table, err := route.NewTable(route.Config{
		Catalogue:  catalogue,
		Identities: []route.Identity{{Name: "default", ID: "app", Tenant: home}, {Name: "behalf", ID: "behalf", Tenant: home, OnBehalfOf: true}},
		Routes: []route.Route{
			{Name: "open", Upstream: upstream, Scope: "https://api.example/.default"},
			{Name: "closed", Upstream: upstream, Scope: "https://closed.example/.default", Access: route.ReadOnly},
			{Name: "people", Upstream: upstream, Scope: "https://api.example/.default", Identity: "behalf"},
		},
	})
	need(t, err)
	policy := guard.NewPolicy(guard.PolicyConfig{Table: table, HandOut: true, Callers: callers})
	visible := func(ctx context.Context) *route.Table {
		who, _ := guard.PrincipalOf(ctx)
		return policy.Table(who)
	}
	source := broker.New(entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
		return entra.NewToken(string(req.Identity)+"-token."+req.Assertion.Reveal(), req.Scope, time.Now().Add(time.Hour), time.Time{})
	}), policy)
	calls, err := proxy.New(proxy.Config{
		Resolve: func(ctx context.Context, target route.Target) (route.Call, error) {
			return visible(ctx).Resolve(target)
		},
		Permit: func(ctx context.Context, call *route.Call) error {
			who, _ := guard.PrincipalOf(ctx)
			decision := policy.Decide(who, guard.AskOf(call))
			decision.Note(entra.TrailOf(ctx))
			return decision.Err()
		},
		Source: source, Transport: api.Client().Transport,
	})
	need(t, err)
	sidecar := protocol.Sidecar{
		Tokens: protocol.Tokens{Table: visible, Source: source}, Default: "open", Downstream: calls,
		Verify: func(_ context.Context, shown entra.Secret) (entra.JWT, error) {
			if !strings.HasPrefix(shown.Reveal(), "user-") {
				return entra.JWT{}, entra.Errorf(entra.Unadmitted, "verify", "token: is wrong")
			}
			return entra.JWT{Payload: []byte(`{"sub":"a"}`)}, nil
		},
	}
	srv := server.New(server.Config{Logger: slog.New(slog.DiscardHandler), Audit: slog.NewTextHandler(w, nil)})
	w.Server = httptest.NewServer(srv.Handler(guard.New(cfg), sidecarMounts(sidecar)...))
	t.Cleanup(w.Close)
	return w
}

func sidecarMounts(s protocol.Sidecar) (mounts []server.Mount) {
	for path, m := range map[string]server.Mount{
		"/AuthorizationHeader/:service":                {Handler: http.HandlerFunc(s.AuthorizationHeader), Keys: protocol.SidecarKeys},
		"/AuthorizationHeaderUnauthenticated/:service": {Handler: http.HandlerFunc(s.AuthorizationHeaderUnauthenticated)},
		"/DownstreamApi/:service":                      {Handler: http.HandlerFunc(s.DownstreamAPI), Keys: protocol.SidecarKeys},
		"/DownstreamApiUnauthenticated/:service":       {Handler: http.HandlerFunc(s.DownstreamAPIUnauthenticated)},
		"/Validate":                                    {Handler: http.HandlerFunc(s.Validate), Keys: protocol.SidecarKeys},
	} {
		m.Name, m.Methods, m.WriteError, m.Audited = "sidecar", []string{http.MethodGet, http.MethodPost}, protocol.WriteSidecarError, true
		for _, spelling := range []string{path, strings.ToLower(path)} {
			m.Path = spelling
			mounts = append(mounts, m)
		}
	}
	return mounts
}

// api notes a call, and answers by its path.
func (w *sidecarWorld) api(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.seen = append(w.seen, r.Method+" "+r.RequestURI+" "+r.Header.Get("Authorization"))
	w.mu.Unlock()
	out.Header().Set("Content-Type", "application/json")
	out.Header().Set("Set-Cookie", "session=canary")
	switch r.URL.Path {
	case "/api/page":
		_, _ = io.WriteString(out, `{"@odata.nextLink":"https://`+r.Host+`/api/page?$skip=2"}`)
	case "/api/missing":
		out.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(out, `{"error":{"code":"NotFound"}}`)
	case "/api/large":
		_, _ = out.Write(bytes.Repeat([]byte("a"), 5<<20))
	case "/api/bytes":
		_, _ = io.WriteString(out, "\xff\x00")
	case "/api/broken":
		out.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(out, "half")
	case "/api/echo":
		_, _ = io.Copy(out, r.Body)
	default:
		_, _ = io.WriteString(out, "{}")
	}
}

func (w *sidecarWorld) ask(t *testing.T, method, target, body string, headers ...string) (status int, h http.Header, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.URL+target, strings.NewReader(body))
	need(t, err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	res, err := w.Client().Do(r)
	need(t, err)
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	need(t, err)
	return res.StatusCode, res.Header, string(got)
}

// lastSeen returns what the API saw since it was last called.
func (w *sidecarWorld) lastSeen() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.seen = nil }()
	return strings.Join(w.seen, "; ")
}

func TestSidecarCallsThroughTheProxy(t *testing.T) {
	w := newSidecarWorld(t, guard.Config{})
	const call = "/DownstreamApiUnauthenticated/"
	const path = "?optionsOverride.RelativePath="
	for _, tt := range []struct {
		name, method, target, body string
		headers                    []string
		status                     int
		want, seen, record         string
	}{
		{
			"a page, whose next link leads back here", "POST", call + "default" + path + "api/page%3F%24top%3D2", "", nil, 200,
			`"content":"{\"@odata.nextLink\":\"` + w.URL + `/proxy/open/api/page?$skip=2\"}"`, "GET /api/page?$top=2 Bearer app-token.", "upstream=200 decision=allow",
		},
		{"the API's 404", "GET", call + "open" + path + "api/missing", "", nil, 200, `{"statusCode":404,"headers":{"Content-`, "GET /api/missing Bearer app-token.", "upstream=404"},
		{"a body", "POST", call + "open" + path + "api/echo&optionsOverride.HttpMethod=Post", "a\tb", nil, 200, `"content":"a\tb"`, "POST /api/echo Bearer app-token.", "status=200"},
		{"too large", "POST", call + "open" + path + "api/large", "", nil, 502, `by a call to \"/proxy/open/api/large\"`, "GET /api/large Bearer app-token.", "kind=upstream"},
		{"no text", "POST", call + "open" + path + "api/bytes", "", nil, 502, "not text in UTF-8", "GET /api/bytes Bearer app-token.", "kind=upstream"},
		{"broken off", "POST", call + "open" + path + "api/broken", "", nil, 502, "the connection broke off", "GET /api/broken Bearer app-token.", "kind=upstream"},
		{"what policy refuses", "POST", call + "closed" + path + "api/machines/1/isolate&optionsOverride.HttpMethod=POST", "{}", nil, 403, `"kind":"denied"`, "", "decision=deny"},
		{"what the proxy refuses", "POST", call + "open" + path + "api/../x", "", nil, 400, "dot segments are refused", "", "kind=invalid"},
		{"what the proxy refuses of headers", "GET", call + "open", "", []string{"X-Http-Method-Override: DELETE"}, 400, "X-Http-Method-Override", "", "kind=invalid"},
		{"a method that is none", "POST", call + "open" + path + "api/x&optionsOverride.HttpMethod=G%20T", "", nil, 400, `method \"G T\"`, "", "kind=invalid"},
		{"on behalf of a user", "POST", "/DownstreamApi/people" + path + "api/x", "", []string{"Authorization: Bearer user-1"}, 200, `"statusCode":200`, "GET /api/x Bearer behalf-token.user-1", "identity=behalf"},
		{"in lower case", "GET", "/downstreamapiunauthenticated/open" + path + "api/x", "", nil, 200, `"statusCode":200`, "GET /api/x Bearer app-token.", "mount=sidecar"},
		{"a slash in the service", "GET", "/AuthorizationHeaderUnauthenticated/my%20svc%2F1", "", nil, 400, `service \"my svc/1\": no such service`, "", "kind=not_found"},
		{"a header, as Node's fetch asks", "GET", "/AuthorizationHeaderUnauthenticated/default", "", []string{"Sec-Fetch-Mode: cors"}, 200, `{"authorizationHeader":"Bearer app-token.","expiresOn":"`, "", "token_fp="},
		{"a header of a restricted service", "GET", "/AuthorizationHeaderUnauthenticated/closed", "", nil, 403, "only restricted routes use it", "", "decision=deny"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, h, body := w.ask(t, tt.method, tt.target, tt.body, tt.headers...)
			if status != tt.status || !strings.Contains(body, tt.want) || strings.Contains(body, "canary") || h.Get("Set-Cookie") != "" {
				t.Errorf("got %d %v %.400s, want %q", status, h, body, tt.want)
			}
			if seen := w.lastSeen(); seen != tt.seen {
				t.Errorf("the API saw %q, want %q", seen, tt.seen)
			}
			if record := w.records(); strings.Count(record, "msg=audit") != 1 || !strings.Contains(record, tt.record) || strings.Contains(record, "user-1") {
				t.Errorf("recorded %s, want %q", record, tt.record)
			}
		})
	}
}

// Where callers have keys, a user's token is none, and the paths that have no
// place for a key serve whom the configuration calls anonymous.
func TestSidecarCallersKeys(t *testing.T) {
	const key = "key-a-0123456789abcdef"
	keys := guard.NewKeyring(map[string][]entra.Secret{"own": {entra.NewSecret(key)}})
	own := guard.Caller{Name: "own", Routes: []string{"people"}}
	w := newSidecarWorld(t, guard.Config{Keys: keys}, own)
	for _, tt := range []struct {
		target  string
		headers []string
		status  int
	}{
		{"/Validate", []string{"Authorization: Bearer user-1", "X-Broker-Key: " + key}, 200},
		{"/Validate", []string{"Authorization: Bearer user-1"}, 401},
		{"/Validate", []string{"Authorization: Bearer " + key}, 401},
		{"/AuthorizationHeader/people", []string{"Authorization: Bearer user-1", "X-Broker-Key: " + key}, 200},
		{"/AuthorizationHeader/open", []string{"Authorization: Bearer user-1", "X-Broker-Key: " + key}, 400},
		{"/AuthorizationHeaderUnauthenticated/people", []string{"X-Broker-Key: " + key}, 401},
	} {
		status, h, body := w.ask(t, http.MethodGet, tt.target, "", tt.headers...)
		if status != tt.status || status == 401 && (h.Get("WWW-Authenticate") != "Bearer" || h.Get("Content-Type") != "application/problem+json" || !strings.HasPrefix(body, `{"type":"https://tools.ietf.org/html/rfc9110#section-15.5.2","title":"Unauthorized","status":401,"detail":"caller`)) {
			t.Errorf("%s %v: got %d %v %s, want %d", tt.target, tt.headers, status, h, body, tt.status)
		}
		if strings.Contains(body, key) {
			t.Errorf("%s: the key in %s", tt.target, body)
		}
	}
	// In a longer value than a parameter's own the guard does not look for one.
	for _, path := range []string{"api/machines/" + key, "api/machines?a=x" + key, "api/machines/" + strings.Replace(key, "-", "%252d", 1)} {
		target := "/DownstreamApi/people?optionsOverride.RelativePath=" + strings.ReplaceAll(path, "?", "%3f")
		status, _, body := w.ask(t, http.MethodGet, target, "", "Authorization: Bearer user-1", "X-Broker-Key: "+key)
		if status != http.StatusForbidden || !strings.Contains(body, "caller key") || strings.Contains(body, key) {
			t.Errorf("%s: got %d %s", path, status, body)
		}
	}
	w = newSidecarWorld(t, guard.Config{Keys: keys, Anonymous: true}, own, guard.Caller{Name: guard.Anonymous, Routes: []string{"open"}})
	if status, _, body := w.ask(t, http.MethodGet, "/AuthorizationHeaderUnauthenticated/default", ""); status != 200 {
		t.Errorf("got %d %s", status, body)
	}
}
