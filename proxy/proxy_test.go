package proxy_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/proxy"
	"tokenbroker/route"
)

func TestProxyForwardsPathAndQueryAsSent(t *testing.T) {
	type arrival struct{ Method, URI, Host, Authorization, Body string }
	for _, protocol := range []struct {
		name    string
		options []func(*httptest.Server)
	}{{"HTTP/1.1", nil}, {"HTTP/2.0", []func(*httptest.Server){http2}}} {
		t.Run(protocol.name, func(t *testing.T) {
			arrivals := make(chan arrival, 1)
			up := upstream(t, func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				arrivals <- arrival{r.Method, r.RequestURI, r.Host, r.Header.Get("Authorization"), string(body)}
				if r.Proto != protocol.name {
					t.Errorf("spoke %s", r.Proto)
				}
			}, protocol.options...)
			b := start(t, up)
			host := up.Listener.Addr().String()
			for _, tc := range []struct{ method, path, body, want string }{
				{"GET", "/proxy/defender/api/incidents", "", "/api/incidents"},
				{"GET", "/proxy/defender", "", "/"},
				{"GET", "/proxy/defender/", "", "/"},
				{"GET", "/proxy/defender?", "", "/?"},
				{"GET", "/proxy/defender/api/alerts/?", "", "/api/alerts/?"},
				{"GET", "/proxy/defender/API/Alerts?$filter=severity%20eq+'High'&$top=5", "", "/API/Alerts?$filter=severity%20eq+'High'&$top=5"},
				{"GET", "/proxy/defender/api/x?$expand=evidence($select=a;$top=1)&$top=5", "", "/api/x?$expand=evidence($select=a;$top=1)&$top=5"},
				{"GET", "/proxy/defender/api/x?a=%zz&b=|&c=\"<>^`{}&d=?/../..//&e=%", "", "/api/x?a=%zz&b=|&c=\"<>^`{}&d=?/../..//&e=%"},
				{"GET", "/proxy/defender/api/alerts/findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z)", "", "/api/alerts/findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z)"},
				{"GET", "/proxy/defender/api/a%20b/%C3%A9/c%3Ad/(e='f%27g')", "", "/api/a%20b/%C3%A9/c%3Ad/(e='f%27g')"},
				{"GET", "/proxy/based/api/m?x=y", "", "/base/v%201/api/m?x=y"},
				{"GET", "/proxy/based", "", "/base/v%201/"},
				{"POST", "/proxy/defender" + hunt + "?a=b", `{"Query":"x"}`, hunt + "?a=b"},
				{"DELETE", "/proxy/defender/api/indicators/1", "", "/api/indicators/1"},
				{"PATCH", "/proxy/defender@contoso.example/api/alerts/1", `{}`, "/api/alerts/1"},
			} {
				res := raw(t, b.URL, tc.method+" "+tc.path+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer mine\r\n"+
					"Content-Length: "+strconv.Itoa(len(tc.body))+"\r\n\r\n"+tc.body)
				if res.status != http.StatusOK {
					t.Errorf("%s: got %d %s", tc.path, res.status, res.body)
					continue
				}
				want := arrival{tc.method, tc.want, host, "Bearer token-1", tc.body}
				if diff := cmp.Diff(<-arrivals, want); diff != "" {
					t.Errorf("%s (-got +want):\n%s", tc.path, diff)
				}
			}
		})
	}
}

func TestProxyRefuses(t *testing.T) {
	var reached atomic.Int32
	up := upstream(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	source := &tokens{}
	b := start(t, up, func(cfg *proxy.Config) {
		cfg.Source = source
		cfg.MaxRequestBody = 10
		cfg.Permit = func(ctx context.Context, call *route.Call) error {
			if call.Path.Match() == "/api/notforyou" {
				return entra.Errorf(entra.Denied, "test", "not for you")
			}
			return permit(ctx, call)
		}
	})
	ok := func(path string) string { return "/proxy/defender/api/incidents" + path }
	for _, tc := range []struct {
		name, method, target, header string
		status                       int
		kind, message                string
	}{
		{"another mount", "GET", "/prox/defender/x", "", 404, "not_found", "want /proxy/ROUTE/PATH"},
		{"unknown route", "GET", "/proxy/nosuch/x", "", 404, "not_found", "there are: defender"},
		{"no route", "GET", "/proxy//x", "", 404, "not_found", "there are: defender"},
		{"a route in escapes", "GET", "/proxy/%64efender/x", "", 404, "not_found", "there are: defender"},
		{"no tenant", "GET", "/proxy/defender@/x", "", 400, "invalid", "want a tenant after the @"},
		{"a tenant that is none", "GET", "/proxy/defender@x%2f/x", "", 400, "invalid", "tenant"},
		{"a foreign tenant", "GET", "/proxy/defender@fabrikam.example/x", "", 403, "denied", "identities.default.tenants"},
		{"dots", "GET", "/proxy/defender/api/../x", "", 400, "invalid", "dot segments"},
		{"dots before the mount", "GET", "/x/../proxy/defender/x", "", 404, "not_found", "want /proxy/ROUTE/PATH"},
		{"dots in escapes", "GET", "/proxy/defender/api/%2e%2E/x", "", 400, "invalid", "dot segments"},
		{"an escaped slash", "GET", "/proxy/defender/api%2fx", "", 400, "invalid", "slashes"},
		{"two slashes", "GET", "/proxy/defender//api/x", "", 400, "invalid", "empty segments"},
		{"a backslash", "GET", "/proxy/defender/api\\x", "", 400, "invalid", "percent-encoded"},
		{"what is to be escaped", "GET", "/proxy/defender/a|b", "", 400, "invalid", "percent-encoded"},
		{"a fragment", "GET", "/proxy/defender/a#b", "", 400, "invalid", "percent-encoded"},
		{"a forward proxy's target", "GET", "http://localhost/proxy/defender/x", "", 400, "invalid", "no forward proxy"},
		{"asterisk", "GET", "*", "", 400, "invalid", "no forward proxy"},
		{"CONNECT", "CONNECT", "localhost:443", "", 400, "invalid", "no forward proxy"},
		{"CONNECT with a path", "CONNECT", ok(""), "", 400, "invalid", "method CONNECT"},
		{"TRACE", "TRACE", ok(""), "", 400, "invalid", "method TRACE"},
		{"a method in small letters", "get", ok(""), "", 400, "invalid", "want GET, HEAD"},
		{"a method that some take for PATCH", "MERGE", ok("/1"), "", 400, "invalid", "want GET, HEAD"},
		{"WebSocket", "GET", ok(""), "Connection: Upgrade\r\nUpgrade: websocket\r\n", 400, "invalid", "upgrade"},
		{"two upgrades", "GET", ok(""), "Upgrade: h2c\r\nUpgrade: websocket\r\n", 400, "invalid", "upgrade"},
		{"another method in a header", "GET", ok(""), "X-HTTP-Method: DELETE\r\n", 400, "invalid", "X-Http-Method"},
		{"a user's assertion", "GET", ok(""), "X-User-Assertion: a.b.c\r\n", 400, "invalid", "does not act on behalf of users"},
		{"an empty assertion", "GET", ok(""), "X-User-Assertion:\r\n", 400, "invalid", "X-User-Assertion: empty"},
		{"two assertions", "GET", "/proxy/users/api/x", "X-User-Assertion: a.b.c\r\nX-User-Assertion: a.b.c\r\n", 400, "invalid", "X-User-Assertion: said twice"},
		{"the same with underscores", "GET", ok(""), "x_http_method_override: DELETE\r\n", 400, "invalid", "request line"},
		{"another path in a header", "GET", ok(""), "X-Original-URL: /api/x\r\n", 400, "invalid", "X-Original-Url"},
		{"too long a body", "POST", ok(""), "Content-Length: 11\r\n\r\n01234567890", 413, "invalid", "limits.request_body"},
		{"a write on a read-only route", "PATCH", "/proxy/readonly/api/incidents/1", "", 403, "denied", "read-only"},
		{"policy", "GET", "/proxy/defender/api/notforyou", "", 403, "denied", "not for you"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := raw(t, b.URL, tc.method+" "+tc.target+" HTTP/1.1\r\nHost: localhost\r\n"+tc.header+"\r\n")
			if res.status != tc.status || res.kind() != tc.kind || !strings.Contains(res.body, tc.message) {
				t.Errorf("got %d %s %s, want %d %s with %q", res.status, res.kind(), res.body, tc.status, tc.kind, tc.message)
			}
		})
	}
	if reached.Load() != 0 || len(source.asked) != 0 {
		t.Errorf("the upstream got %d requests, the source %d; want none", reached.Load(), len(source.asked))
	}
}

func TestProxySaysWhatTheCallIs(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	source := &tokens{}
	b := start(t, up, func(cfg *proxy.Config) { cfg.Source = source })
	b.call(t, "GET", "/proxy/readonly@contoso.example/API/v1.0/Incidents/7/", "")

	wantTrail := &entra.Trail{
		RequestID: "req-1", Route: "readonly", Identity: "default", Tenant: customer, Scope: scope,
		Endpoint: "GET /api/incidents/{id}", Rule: "routes.readonly.access", Upstream: http.StatusTeapot,
	}
	if diff := cmp.Diff(<-b.trails, wantTrail); diff != "" {
		t.Errorf("trail (-got +want):\n%s", diff)
	}
	wantAsked := []entra.Request{{Identity: "id-1", Tenant: customer, Scope: scope, Route: "readonly", Use: entra.Proxy}}
	if diff := cmp.Diff(source.asked, wantAsked, sameSecret); diff != "" {
		t.Errorf("asked of the source (-got +want):\n%s", diff)
	}
}

func TestListenerForOneRoute(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"uri":"`+r.RequestURI+`","@odata.nextLink":"https://elsewhere.example/base/v%201/api/x?$skip=1"}`)
	})
	b := start(t, up)
	single := b.listen(t, b.proxy.ForRoute("based"))
	if res := call(t, "GET", single.URL+"/proxy/x?y", ""); res.body != `{"uri":"/base/v%201/proxy/x?y","@odata.nextLink":"`+single.URL+`/api/x?$skip=1"}` {
		t.Errorf("got %s", res.body)
	}
	if res := call(t, "GET", single.URL+"/a%2fb", ""); res.status != http.StatusBadRequest {
		t.Errorf("an escaped slash: got %d, want 400", res.status)
	}
	if res := raw(t, single.URL, "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"); res.status != http.StatusBadRequest {
		t.Errorf("a forward proxy's target: got %d, want 400", res.status)
	}
}

func TestNewWantsWhatItCannotDoWithout(t *testing.T) {
	resolve := func(context.Context, route.Target) (route.Call, error) { return route.Call{}, nil }
	if _, err := proxy.New(proxy.Config{Source: &tokens{}, Permit: permit}); err == nil {
		t.Error("took a configuration without Resolve")
	}
	if _, err := proxy.New(proxy.Config{Resolve: resolve, Permit: permit}); err == nil {
		t.Error("took a configuration without Source")
	}
	if _, err := proxy.New(proxy.Config{Resolve: resolve, Source: &tokens{}}); err == nil {
		t.Error("took a configuration without Permit")
	}
	if _, err := proxy.New(proxy.Config{Resolve: resolve, Source: &tokens{}, Permit: permit}); err != nil {
		t.Errorf("did not take one that says nothing else: %v", err)
	}
}
