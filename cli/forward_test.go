package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tokenbroker/config"
	"tokenbroker/guard"
)

func basicOf(user, password string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// What a forward proxy does not pass on, and what it does.
const (
	passed    = "200 allow routes.defender.access hunter/key"
	noTarget  = "403 denied deny guard.target"
	noServer  = "403 denied deny cli.forward hunter/key"
	noKey     = "407 unadmitted deny guard.key"
	malformed = "400 invalid none hunter/key"
)

func TestForwardProxyOnTheWire(t *testing.T) {
	f := newForwarding(t, forwardCallers)
	const rest = "\nHost: " + api + "\nProxy-Authorization: Bearer {hunter}"
	f.judge(slices.Concat(
		// The upstream's host, in every spelling that is its.
		each(passed, "route/all", "GET %s"+rest,
			"http://"+api+"/api/incidents", "HTTP://API.Security.Microsoft.COM/api/incidents", "http://"+api+":80/api/incidents", "http://"+api+":443/api/incidents", "http://"+api+"/api/incidents?$top=1", "http://"+api+"/api/incidents?"),
		each(passed, "route/all", "GET http://"+api+"/api/incidents\nHost: %s\nProxy-Authorization: Bearer {hunter}",
			"evil.example", "169.254.169.254", "localhost", ""), // RFC 9112 §3.2.2: the target counts, Host does not
		each(passed, "route/all", "HEAD http://"+api+"/api/incidents"+rest+"%s", ""),
		each("200 allow routes.reader.access clerk/key", "route/reader", "GET http://"+api+"/api/incidents%s\nHost: x\nX-Broker-Key: {clerk}", ""),
		each("403 denied deny routes.reader.access clerk/key", "route/reader", "POST http://"+api+"/api/machines/1/isolate%s\nHost: x\nX-Broker-Key: {clerk}\n\n{}", ""),

		// Any other server.
		each(noServer, "route/all", "GET http://%s/api/incidents"+rest,
			"evil.example", "localhost", "localhost:5178", "localhost:{port}", "127.0.0.1", "127.0.0.1:{port}", "[::1]", "169.254.169.254", "login.microsoftonline.com", "api.security.microsoft.com.evil.example", "xapi.security.microsoft.com", "security.microsoft.com",
			api+".", api+".:80", api+":8080", api+":080", api+":0443", api+":65616", api+":", api+"%E3%80%82", "\uff41pi.security.microsoft.com", "api.\u017fecurity.microsoft.com", "xn--api-security",
			"2852039166", "0xa9.0xfe.0xa9.0xfe", "[fe80::1%25eth0]", "[::ffff:169.254.169.254]", "graph.microsoft.com", // closed: the configuration restricts routes
			"api.securitycenter.microsoft.com", // is another caller's
		),
		each(noServer, "route/all", "GET http://%s"+rest,
			"localhost/token?route=defender", "localhost:5178/msi/token", "localhost/routes", "localhost/healthz", "169.254.169.254/metadata/identity/oauth2/token?resource=https://"+api, "localhost/proxy/defender/api/incidents"),
		each(noServer, "route/reader", "GET http://127.0.0.1%s/"+rest, "", ":8443"),
		each("403 denied deny cli.forward clerk/key", "route/all", "GET http://"+api+"/api/incidents%s\nHost: x\nX-Broker-Key: {clerk}", ""), // by defender, not by reader

		// What is no target for a forward proxy.
		each(noTarget, "route/all", "%s"+rest,
			"GET /api/incidents", "GET /token?route=defender", "GET /healthz", "GET //"+api+"/api/incidents", "OPTIONS *", "GET https://"+api+"/api/incidents", "GET ws://"+api+"/", "GET http:/api/incidents", "GET http:///api/incidents", "GET http:"+api,
			"GET http://a@"+api+"/api/incidents", "GET http://"+api+"@evil.example/", "GET http://a:{hunter}@"+api+"/api/incidents", "GET http://@"+api+"/",
			"CONNECT "+api+":443", "CONNECT evil.example:443", "CONNECT 169.254.169.254:80", "CONNECT http://"+api+"/", "CONNECT localhost:22", "connect "+api+":443", "GET "+api+":443"),
		each(unread, "route/all", "GET %s"+rest, "http://[::1/", "http://"+api+"#@evil.example/", "http://"+api+"\\@evil.example/", "http://api%2esecurity.microsoft.com/", "http://"+api+":http/", "http://"+api+":443:80/", "http://"+api+"%2eevil.example/", "api/incidents", "http://"+api+"/%zz"),
		each(noTarget, "route/all", "GET /api/incidents\nHost: %s", "evil.example", api, "localhost"), // a page whose name was rebound

		// What is none of an upstream's.
		each(malformed, "route/all", "%s"+rest, "TRACE http://"+api+"/api/incidents", "GET http://"+api+"/api/x|y", "GET http://"+api+"/api/incidents\nUpgrade: websocket\nConnection: upgrade"),

		// Pages, and other proxies.
		each(badSite, "route/all", "%s"+rest,
			"GET http://"+api+"/api/incidents\nOrigin: http://evil.example", "GET http://"+api+"/api/incidents\nOrigin: http://"+api, "POST http://"+api+"/api/incidents\nOrigin: null", "GET http://"+api+"/api/incidents\nSec-Fetch-Site: same-origin", "GET http://"+api+"/api/incidents\nUpgrade-Insecure-Requests: 1",
			"OPTIONS http://"+api+"/api/incidents\nAccess-Control-Request-Method: POST"),
		each(forwarded, "route/all", "GET http://"+api+"/api/incidents\nVia: 1.1 squid%s"+rest, ""),

		// Keys, in each place.
		each(passed, "route/all", "GET http://"+api+"/api/incidents\nHost: x\n%s",
			basicOf("broker", keyOf("hunter")), basicOf("", keyOf("hunter")), basicOf("x", keyOf("hunter")), "X-Broker-Key: {hunter}", "X-Broker-Key: {hunter}\n"+basicOf("x", keyOf("hunter")), basicOf("x", keyOf("hunter"))+"\nAuthorization: Bearer {clerk}"),
		each(noKey, "route/all", "GET http://%s/api/incidents\nHost: x", api, "evil.example"),
		each(noKey, "route/all", "GET http://"+api+"/api/incidents\nHost: x\n%s",
			"Authorization: Bearer {hunter}", basicOf("x", "wrong"), basicOf(keyOf("hunter"), ""), "X-Broker-Key: {hunter}\n"+basicOf("x", keyOf("clerk")), "Proxy-Authorization: Bearer {hunter}\n"+basicOf("x", keyOf("clerk")), "Proxy-Authorization: Negotiate YII=", "X-Broker-Key: x"),
		each(badPlace, "route/all", "GET http://"+api+"/%s"+rest, "{hunter}", "api/incidents?x={hunter}"),
	))
	f.callsOnly("login.microsoftonline.com:443", api+":443")
}

// A refusal says what to do, in the shape of the API that the tool knows.
func TestForwardProxySaysWhatToDo(t *testing.T) {
	f := newForwarding(t, forwardCallers)
	for request, want := range map[string]string{
		"CONNECT " + api + ":443\nHost: x":                                   "write http:// for https://",
		"GET /api/incidents\nHost: x":                                        "to be set as HTTP_PROXY",
		"GET https://" + api + "/\nHost: x":                                  "want http://",
		"GET http://" + api + "/\nHost: x":                                   "HTTP_PROXY=http://broker:KEY@",
		"GET http://evil.example/\nHost: x\nX-Broker-Key: {hunter}":          "it calls for you: " + f.lab + ", " + api,
		"GET http://evil.example/\nHost: x\nX-Broker-Key: {clerk}":           "it calls for you: api.securitycenter.microsoft.com",
		"GET http://{hunter}.example/api\nHost: x\nX-Broker-Key: {hunter}":   "host \"(caller key).example\"",
		"GET http://" + api + "/\nHost: x\nProxy-Authorization: Bearer 0000": "not one of those configured",
	} {
		a := f.send("route/all", request)
		var body struct {
			Error struct{ Code, Message, Target string }
		}
		if a.Request.Method != http.MethodConnect { // ReadResponse gives its answer no body
			must(t, json.Unmarshal([]byte(a.body), &body))
		} else {
			_, content, _ := strings.Cut(a.raw, "\r\n\r\n")
			must(t, json.Unmarshal([]byte(content), &body))
		}
		if !strings.Contains(body.Error.Message, want) || body.Error.Target != a.id || !strings.HasPrefix(body.Error.Code, "Broker") {
			t.Errorf("%q: got %+v, want it to say %q", request, body.Error, want)
		}
		if got, asks := a.Header.Get("Proxy-Authenticate"), a.StatusCode == http.StatusProxyAuthRequired; asks != (got == `Basic realm="tokenbroker"`) {
			t.Errorf("%q: got %d and Proxy-Authenticate %q", request, a.StatusCode, got)
		}
		f.hidesKeys("answer", a.raw)
	}
	f.callsOnly("login.microsoftonline.com:443") // for the tokens that are got at the start
}

// A tool that has nothing set but its proxy walks from page to page, and never
// leaves the proxy.
func TestForwardProxyForAnUnmodifiedClient(t *testing.T) {
	f := newForwarding(t, forwardCallers)
	credentials := "broker:" + keyOf("hunter") + "@"
	for _, proxy := range []string{"http://" + credentials + f.doors["route/all"].String(), "https://" + credentials + f.doors["route/tls"].String()} {
		client := f.client(proxy)
		for _, host := range []string{api, "Api.Security.Microsoft.Com:80"} {
			pages, target := 0, "http://"+host+"/api/incidents"
			for ; target != "" && pages < 4; pages++ {
				resp, body := f.get(client, target)
				var page struct {
					Next  string            `json:"@odata.nextLink"`
					Value []json.RawMessage `json:"value"`
				}
				must(t, json.Unmarshal([]byte(body), &page))
				if resp.StatusCode != http.StatusOK || len(page.Value) == 0 {
					t.Fatalf("%s: status %d, %.200s", target, resp.StatusCode, body)
				}
				if target = page.Next; target != "" && !strings.HasPrefix(target, "http://"+host+"/api/incidents?") {
					t.Fatalf("by %.8s, the next page is at %s", proxy, target)
				}
			}
			if pages < 2 {
				t.Errorf("%d pages, want several", pages)
			}
		}
		if resp, body := f.get(client, "http://evil.example/"); resp.StatusCode != http.StatusForbidden || resp.Header.Get("X-Token-Broker-Error") != "denied" {
			t.Errorf("another server: %d %s", resp.StatusCode, body)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+api+"/api/incidents", nil)
		must(t, err)
		if resp, err := client.Do(r); err == nil {
			resp.Body.Close()
			t.Errorf("a tunnel was opened: %d", resp.StatusCode)
		}
	}
	f.callsOnly("login.microsoftonline.com:443", api+":443")
}

// What the tool wrote arrives byte for byte, with the token and without what is
// between the tool and its proxy. An emulator is an upstream as any other.
func TestForwardProxyPassesOnWhatTheServerShallSee(t *testing.T) {
	f := newForwarding(t, forwardCallers)
	const query = "?$filter=a%20eq%20'b'&$expand=a($select=b;$top=1)&|^"
	for target, want := range map[string]string{
		"/x" + query:               "/x" + query,
		"/":                        "/",
		"":                         "/",
		"?a=b":                     "/?a=b",
		"/x?":                      "/x?",
		"//127.0.0.1/x":            "",
		"/findbyip(ip='10.1.2.3')": "/findbyip(ip='10.1.2.3')",
		"/http://evil.example":     "",
		"/../token":                "",
	} {
		a := f.send("route/all", "GET http://"+f.lab+target+"\nHost: evil.example\nProxy-Authorization: Bearer {hunter}\nX-Broker-Key: {hunter}\nAuthorization: Basic b2Y6dG9vbA==\nProxy-Connection: keep-alive\nProxy-Color: red\nX-Own: kept")
		f.mu.Lock()
		seen := f.atLab
		f.atLab = nil
		f.mu.Unlock()
		if want == "" {
			if a.StatusCode != http.StatusBadRequest || len(seen) > 0 {
				t.Errorf("%s: status %d, and the server got %d", target, a.StatusCode, len(seen))
			}
			continue
		}
		if len(seen) != 1 || seen[0].RequestURI != want || seen[0].Host != f.lab {
			t.Errorf("%s: the server got %+v", target, seen)
			continue
		}
		if link := `"http://` + f.lab + `/next?$skip=1%20&a=(b;c)"`; !strings.Contains(a.body, link) {
			t.Errorf("%s: got %s, want the link %s", target, a.body, link)
		}
		for name, values := range seen[0].Header {
			switch {
			case strings.HasPrefix(name, "Proxy-"), name == "X-Broker-Key":
				t.Errorf("%s: the server got %s", target, name)
			case name == "Authorization" && (len(values) != 1 || !strings.HasPrefix(values[0], "Bearer ey")):
				t.Errorf("%s: the server got %s %.10q", target, name, values)
			}
		}
		if seen[0].Header.Get("X-Own") != "kept" || seen[0].Header.Get("Authorization") == "" {
			t.Errorf("%s: the server got %v", target, seen[0].Header)
		}
	}
	f.callsOnly("login.microsoftonline.com:443", f.lab)
}

// Without keys whoever is on this machine may call, and still no page may.
func TestForwardProxyWithoutKeys(t *testing.T) {
	f := newForwarding(t, "")
	f.judge(slices.Concat(
		each("200 allow routes.defender.access local/peer", "route/all", "GET http://"+api+"/api/incidents\nHost: x\n%s", "Accept: */*", basicOf("x", "y")),
		each("403 denied deny cli.forward local/peer", "route/all", "GET http://%s/token\nHost: x", "localhost", "evil.example", "169.254.169.254"),
		each(badSite, "route/all", "GET http://"+api+"/api/incidents\nHost: x\nOrigin: %s", "http://evil.example", "http://"+api),
		each(noTarget, "route/all", "GET /api/incidents\nHost: %s", "evil.example", api),
	))
	f.callsOnly("login.microsoftonline.com:443", api+":443")
}

// A tool with https in its code is led to a listener with TLS by its hosts file,
// and goes by the names that it knows.
func TestHostsFileLeadsToTheListenerOfARoute(t *testing.T) {
	f := newForwarding(t, forwardCallers)
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, f.doors["route/hosts"].String())
		},
		TLSClientConfig: &tls.Config{RootCAs: rootsOf(t, filepath.Join(f.dir, "listener.pem"))},
	}}
	t.Cleanup(client.CloseIdleConnections)
	for target, want := range map[string]int{
		"https://" + api + "/api/incidents":        http.StatusOK,
		"https://localhost/api/incidents":          http.StatusOK,
		"https://" + api + ":8443/api/incidents":   http.StatusOK,
		"https://" + api + "/token?route=defender": http.StatusBadRequest, // it is no path of the API's
		"http://" + api + "/api/incidents":         http.StatusBadRequest,
		"https://127.0.0.1/api/incidents?x=y":      http.StatusOK,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		must(t, err)
		r.Header.Set("X-Broker-Key", keyOf("hunter"))
		resp, err := client.Do(r)
		must(t, err)
		body := text(t, resp)
		resp.Body.Close()
		if resp.StatusCode != want || strings.Contains(body, "access_token") {
			t.Errorf("%s: got %d %.200s, want %d", target, resp.StatusCode, body, want)
		}
		if next := `"@odata.nextLink":"https://` + r.Host + `/api/incidents?`; want == http.StatusOK && !strings.Contains(body, next) {
			t.Errorf("%s: the next page is not at %s", target, next)
		}
	}
	// Without a hosts file nobody is led there, by no other name.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost/api/incidents", nil)
	must(t, err)
	r.Host = "evil.example"
	r.Header.Set("X-Broker-Key", keyOf("hunter"))
	resp, err := client.Do(r)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("another name: got %d", resp.StatusCode)
	}
	f.callsOnly("login.microsoftonline.com:443", api+":443")
}

// Applications are told of listeners that serve protocols, and so of no proxy.
func TestForwardProxyIsNoPlaceForProtocols(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokenbroker.yaml")
	must(t, os.WriteFile(file, []byte(oneIdentity+"protocols: {imds: true}\nlisten: {callers: [{address: 'localhost:1', forward: true}, {address: '169.254.169.254:80', forward: true}, 'localhost:2']}"), 0o600))
	cfg, err := config.Load(config.Options{Catalogue: catalogue(t), File: file})
	must(t, err)
	at, err := newEnvPlace(cfg, "")
	must(t, err)
	if at.plain == nil || at.plain.Address.Port != 2 || at.atMetadata() {
		t.Errorf("applications are told of %+v, of IMDS %v", at.plain, at.atMetadata())
	}
}

// TestDocumentedForwardProxies checks the configurations of docs/forward.md.
func TestDocumentedForwardProxies(t *testing.T) {
	page, err := os.ReadFile("../docs/forward.md")
	must(t, err)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	var listeners []config.Listener
	for _, block := range blocks {
		file := filepath.Join(t.TempDir(), "tokenbroker.yaml")
		must(t, os.WriteFile(file, block[1], 0o600))
		cfg, err := config.Load(config.Options{Catalogue: catalogue(t), File: file})
		must(t, err)
		listeners = append(listeners, cfg.Listen.Callers[1])
		if l := &listeners[len(listeners)-1]; l.Forward && cfg.Forwarded(l)[api] != "defender" || !l.Forward && impersonated(cfg, l) != api {
			t.Errorf("%+v does not lead to %s", l, api)
		}
	}
	if len(listeners) != 2 || !listeners[0].Forward || listeners[1].Forward {
		t.Errorf("got %+v, want a forward proxy and a listener of a route", listeners)
	}
}

// FuzzForwardTarget holds the reading of a request's target against net/url's:
// what is passed on is what the tool has written behind the host, and the host
// is the one that is meant.
func FuzzForwardTarget(f *testing.F) {
	for _, seed := range []string{
		"http://api.example/x?y", "HTTP://API.example:80", "http://api.example:443?x", "http://api.example@evil.example/", "http://evil.example/http://api.example/", "http:/api.example", "http:///api.example",
		"http://api.example//x", "http://api.example/?a://b/c", "http://api.example?/x", "http://api.example:0443/", "http://api.example./", "//api.example/x", "api.example:80", "*", "https://api.example/", "http://[::1]/", "http://api.example%2f/x", "http://\uff41pi.example/x",
	} {
		f.Add(seed)
	}
	g := guard.New(guard.Config{}).ForwardProxy()
	f.Fuzz(func(t *testing.T, target string) {
		if strings.ContainsAny(target, "\r\n ") {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader([]byte("GET " + target + " HTTP/1.1\r\nHost: api.example\r\n\r\n"))))
		if err != nil {
			return
		}
		r.RemoteAddr = "127.0.0.1:4"
		withPath(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, err := g.Admit(r, guard.ProxyKeys); err != nil || config.Authority(r.URL.Host) != "api.example" {
				return
			}
			u, err := url.Parse(target)
			must(t, err)
			if !strings.EqualFold(u.Hostname(), "api.example") || !strings.EqualFold(u.Scheme, "http") || u.User != nil || !slices.Contains([]string{"", "80", "443"}, u.Port()) {
				t.Errorf("%q is passed on to api.example", target)
			}
			got, whole := originForm(r).RequestURI, target[strings.Index(target, u.Host)+len(u.Host):]
			if strings.TrimPrefix(got, "/") != strings.TrimPrefix(whole, "/") || !strings.HasPrefix(got, "/") {
				t.Errorf("%q is passed on as %q", target, got)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	})
}
