package guard_test

import (
	"bufio"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// asProxy is a request as net/http reads it from the connection of a client
// whose proxy we are.
func asProxy(tb testing.TB, lines ...string) *http.Request {
	tb.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.Join(lines, "\r\n") + "\r\n\r\n")))
	if err != nil {
		tb.Fatalf("%q: %v", lines, err)
	}
	r.RemoteAddr = "127.0.0.1:4"
	return r
}

// basic is the credentials of a proxy whose password is a key.
func basic(user, password string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

const toAPI = "GET http://api.example/x HTTP/1.1"

func TestForwardProxyWantsWholeURLs(t *testing.T) {
	const refused = "denied guard.target"
	g := guard.New(guard.Config{}).ForwardProxy()
	for _, tt := range []struct{ want, line string }{
		{admitted, "GET http://api.example/x HTTP/1.1"},
		{admitted, "GET HTTP://API.example:80 HTTP/1.1"},
		{admitted, "GET http://localhost:5178/token HTTP/1.1"}, // for the mount to refuse, like every host
		{refused, "GET /x HTTP/1.1"},
		{refused, "GET //api.example/x HTTP/1.1"},
		{refused, "GET http:///x HTTP/1.1"},
		{refused, "GET http:/x HTTP/1.1"},
		{refused, "GET http:api.example HTTP/1.1"},
		{refused, "GET api.example:80 HTTP/1.1"},
		{refused, "GET https://api.example/x HTTP/1.1"},
		{refused, "GET ws://api.example/x HTTP/1.1"},
		{refused, "GET ftp://api.example/x HTTP/1.1"},
		{refused, "GET http://user@api.example/x HTTP/1.1"},
		{refused, "GET http://@api.example/x HTTP/1.1"},
		{refused, "GET http://api.example@evil.example/x HTTP/1.1"},
		{refused, "CONNECT api.example:443 HTTP/1.1"},
		{refused, "CONNECT http://api.example/ HTTP/1.1"},
		{refused, "CONNECT /x HTTP/1.1"},
		{refused, "connect api.example:443 HTTP/1.1"},
		{refused, "OPTIONS * HTTP/1.1"},
	} {
		if got := verdict(g, asProxy(t, tt.line, "Host: api.example"), guard.ProxyKeys); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.line, got, tt.want)
		}
	}
}

func TestForwardProxyIsForNoPageAndNoOtherProxy(t *testing.T) {
	g := guard.New(guard.Config{}).ForwardProxy()
	for header, want := range map[string]string{
		"Origin: http://evil.example":             "denied guard.site",
		"Origin: http://api.example":              "denied guard.site", // of what we passed on
		"Origin: null":                            "denied guard.site",
		"Sec-Fetch-Site: none":                    "denied guard.site",
		"Sec-Fetch-Site: same-origin":             "denied guard.site",
		"Upgrade-Insecure-Requests: 1":            "denied guard.site",
		"Access-Control-Request-Method: GET":      "denied guard.site",
		"Via: 1.1 squid":                          "denied guard.forwarded",
		"X-Forwarded-For: 127.0.0.1":              "denied guard.forwarded",
		"Sec-Fetch-Mode: cors":                    admitted, // of Node's fetch, whatever it calls
		"Proxy-Connection: keep-alive":            admitted,
		"Proxy-Authorization: Basic eDp5":         admitted, // nobody needs a key
		"Authorization: Bearer of-the-tool":       admitted,
		"User-Agent: Mozilla/5.0 (PowerShell/7)":  admitted,
		"Proxy-Authorization: Negotiate YIIFwg==": admitted,
	} {
		if got := verdict(g, asProxy(t, toAPI, "Host: api.example", header), guard.ProxyKeys); got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
	r := asProxy(t, toAPI, "Host: api.example")
	r.RemoteAddr = "192.0.2.1:4"
	if got, want := verdict(g, r, guard.ProxyKeys), "denied guard.peer"; got != want {
		t.Errorf("from elsewhere: got %q, want %q", got, want)
	}
}

func TestProxyKeys(t *testing.T) {
	const refused = "unadmitted guard.key"
	g := guard.New(guard.Config{Keys: named("a", keyA, "b", keyB)}).ForwardProxy()
	for _, tt := range []struct {
		want    string
		headers []string
	}{
		{"a key", []string{basic("broker", keyA)}},
		{"a key", []string{basic("", keyA)}},
		{"a key", []string{basic(keyB, keyA)}}, // a user name is none
		{"b key", []string{strings.Replace(basic("x", keyB), "Basic ", "bASIC ", 1)}},
		{"a key", []string{"Proxy-Authorization: Bearer " + keyA}},
		{"a key", []string{"proxy-authorization: bearer   " + keyA}},
		{"a key", []string{"X-Broker-Key: " + keyA}},
		{"a key", []string{"X-Broker-Key: " + keyA, basic("x", keyA), "Proxy-Authorization: Bearer " + keyA}},
		{"a key", []string{basic("x", keyA), "Authorization: Bearer " + keyB}}, // the server's
		{"a key", []string{basic("x", keyA), "Proxy-Authorization: Negotiate YII="}},
		{"a key", []string{basic("x", ""), "X-Broker-Key: " + keyA}}, // no password is no key
		{refused, nil},
		{refused, []string{"Authorization: Bearer " + keyA}},
		{refused, []string{strings.TrimPrefix(basic("x", keyA), "Proxy-")}},
		{refused, []string{basic(keyA, "")}},
		{refused, []string{basic("x", keyA+"0")}},
		{refused, []string{basic("x", keyA), basic("x", keyB)}},
		{refused, []string{basic("x", keyA), "X-Broker-Key: " + keyB}},
		{refused, []string{basic("x", keyA), "X-Broker-Key: x"}},
		{refused, []string{"Proxy-Authorization: Basic " + keyA}}, // no base64
		{refused, []string{"Proxy-Authorization: " + keyA}},
		{refused, []string{"Proxy-Authorization: Digest " + keyA}},
		{refused, []string{"Proxy_Authorization: Bearer " + keyA}},
		{"denied guard.place", []string{"Cookie: x=" + keyA, basic("x", keyA)}},
	} {
		r := asProxy(t, slices.Concat([]string{toAPI, "Host: api.example"}, tt.headers)...)
		if got := verdict(g, r, guard.ProxyKeys); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.headers, got, tt.want)
		}
	}
	_, err := g.Admit(asProxy(t, toAPI, "Host: api.example"), guard.ProxyKeys)
	if got := entra.AsError(err).Message(); !strings.Contains(got, "password of the proxy") {
		t.Errorf("got %q, want where to put a key", got)
	}
}

// A guard that is derived leaves its own as it is.
func TestFurtherNamesAreOfOneListener(t *testing.T) {
	g := guard.New(guard.Config{Hosts: []string{"broker.internal"}})
	other := g.Named("API.example")
	for host, want := range map[string][2]string{
		"localhost":       {admitted, admitted},
		"broker.internal": {admitted, admitted},
		"api.example:443": {"denied guard.host", admitted},
		"evil.example":    {"denied guard.host", "denied guard.host"},
	} {
		r := request(t, nil)
		r.Host = host
		if got := [2]string{verdict(g, r, guard.HeaderKeys), verdict(other, r, guard.HeaderKeys)}; got != want {
			t.Errorf("Host %s: got %q, want %q", host, got, want)
		}
	}
	r := asProxy(t, "GET http://evil.example/ HTTP/1.1", "Host: evil.example")
	if _ = g.ForwardProxy(); verdict(g, r, guard.ProxyKeys) != "denied guard.host" {
		t.Error("its guard has become a forward proxy's")
	}
}
