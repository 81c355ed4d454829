package guard_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tokenbroker/guard"
)

func TestHostMustBeANameOfTheListener(t *testing.T) {
	d := open(t, "tcp4", "127.0.0.1:0", guard.Config{Hosts: []string{"Broker.internal", "0.0.0.0", "::"}})
	_, port, _ := net.SplitHostPort(d.Addr().String())
	for _, host := range []string{
		"localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port,
		"localhost", "127.0.0.1", "[::1]", "LocalHost:" + port,
		"localhost:8080", // as with kubectl port-forward
		"broker.internal:" + port, "BROKER.INTERNAL",
	} {
		if got := d.get(t, host); got != admitted {
			t.Errorf("Host %q: got %q, want it admitted", host, got)
		}
	}
	for _, host := range []string{
		"", ":" + port, "localhost:", "localhost: ", "localhost:http", "localhost:123456", "localhost:-1",
		"evil.example", "evil.example:" + port, "localhost.evil.example", "127.0.0.1.nip.io", "localhost.localdomain", "xlocalhost",
		"localhost.", "127.0.0.1.", "localhost.:" + port, // another origin to a browser
		"2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.01", "127.0.0.2", // not as we spell it
		"0.0.0.0", "0.0.0.0:" + port, "[::]:" + port, "0", // the wildcard, also where it is configured
		"::1", "[::1", "::1]", "[::1]x", "[::1]:", "[::1]:x", "[]", "[", "]", "[localhost]", "[127.0.0.1]:" + port,
		"[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::1%25lo]:" + port,
		"localhost@evil.example", "evil.example@localhost", "localhost:" + port + "@evil.example", "evil.example:80@localhost:" + port,
		"bro\u212aer.internal", "BRO\u212aER.internal:" + port, "lo\u0441alhost", "l\u00f6calhost", "\uff4cocalhost", // look-alikes; the Kelvin sign is a k in lower case
		"broker.internal.", "broker.internal.evil.example", "xn--localhost", "localhost%00", "local%68ost", "%31%32%37.0.0.1", "localhost\tx",
		"0x7f.0.0.1", "0x7F000001", "017700000001", "127.0.0.1:0x50", "127.0.0.1:80:80", "[::1%lo]", "[fe80::1%25eth0]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::1].evil.example",
		"localhost/evil.example", "evil.example/localhost", "localhost,evil.example", "localhost:" + port + ":" + port,
	} {
		if got := d.get(t, host); got != "denied guard.host" && got != "400" {
			t.Errorf("Host %q: got %q, want it refused", host, got)
		}
	}
}

// Whatever stands in the request target decides what net/http takes for Host.
func TestHostByRequestTarget(t *testing.T) {
	d := open(t, "tcp4", "127.0.0.1:0", guard.Config{Hosts: []string{"broker.internal"}})
	for _, tt := range []struct {
		want  string
		lines []string
	}{
		{admitted, []string{"GET http://localhost/token HTTP/1.1", "Host: localhost"}},
		{admitted, []string{"GET http://localhost/token HTTP/1.1", "Host: evil.example"}}, // RFC 9112 §3.2.2: Host does not count
		{"denied guard.host", []string{"GET http://evil.example/token HTTP/1.1", "Host: localhost"}},
		{"denied guard.host", []string{"GET http://localhost@evil.example/ HTTP/1.1", "Host: localhost"}},
		{"denied guard.host", []string{"GET http://evil.example@localhost/ HTTP/1.1", "Host: localhost"}},
		{"denied guard.host", []string{"GET http://bro%E2%84%AAer.internal/ HTTP/1.1", "Host: localhost"}},
		{"denied guard.host", []string{"GET http:///token HTTP/1.1", "Host:"}},
		{"denied guard.host", []string{"GET //evil.example/ HTTP/1.1", "Host: evil.example"}},
		{admitted, []string{"GET //evil.example/ HTTP/1.1", "Host: localhost"}}, // a path
		{"400", []string{"GET http://[::1/ HTTP/1.1", "Host: localhost"}},
		{"400", []string{"GET / HTTP/1.1", "Host: localhost", "Host: localhost"}},
		{"denied guard.host", []string{"CONNECT evil.example:443 HTTP/1.1", "Host: localhost"}},
		{"denied guard.host", []string{"GET / HTTP/1.0", "Accept: */*"}}, // names no host at all
		{admitted, []string{"GET / HTTP/1.0", "Host: localhost"}},
		{"400", []string{"GET / HTTP/1.1", "Host: localhost", "Host: evil.example"}},
		{"400", []string{"GET / HTTP/1.1", "Accept: */*"}},
	} {
		if got := d.knock(t, tt.lines...); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.lines, got, tt.want)
		}
	}
}

func TestListenersOfEveryKindAdmitLocalCallers(t *testing.T) {
	for _, l := range []struct{ network, address, host string }{
		{"tcp4", "127.0.0.1:0", "127.0.0.1"},
		{"tcp6", "[::1]:0", "[::1]"},
		{"tcp", ":0", "localhost"},
		{"unix", t.TempDir() + "/s", "whatever"}, // curl sends what the URL says
	} {
		t.Run(l.network, func(t *testing.T) {
			if l.network == "tcp6" && !hasIPv6() {
				return // a machine without IPv6 has no such callers
			}
			d := open(t, l.network, l.address, guard.Config{})
			if got := d.get(t, l.host); got != admitted {
				t.Errorf("Host %s: got %q, want it admitted", l.host, got)
			}
			for _, header := range []string{
				"X-Forwarded-For: 192.0.2.1", "Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Access-Control-Request-Method: GET", "Cookie: broker-key=x",
			} {
				if got := d.get(t, l.host, header); !strings.HasPrefix(got, "denied ") {
					t.Errorf("Host %s, %s: got %q, want it refused", l.host, header, got)
				}
			}
		})
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		_ = l.Close()
	}
	return err == nil
}

func TestPeerMustBeOnThisMachineUnlessItHasAKey(t *testing.T) {
	const far, near = "192.0.2.7:40000", "198.51.100.1" // the peer, and the address it connected to
	for _, tt := range []struct {
		name, peer string
		cfg        guard.Config
		host, key  string
		want       string
	}{
		{name: "loopback", peer: "127.0.0.1:4", host: "localhost", want: admitted},
		{name: "all of 127/8", peer: "127.8.9.1:4", host: "localhost", want: admitted},
		{name: "loopback by IPv6", peer: "[::1]:4", host: "localhost", want: admitted},
		{name: "loopback, mapped", peer: "[::ffff:127.0.0.1]:4", host: "localhost", want: admitted},
		{name: "far", peer: far, host: "localhost", want: "denied guard.peer"},
		{name: "far, mapped", peer: "[::ffff:192.0.2.7]:4", host: "localhost", want: "denied guard.peer"},
		{name: "no address", peer: "pipe", host: "localhost", want: "denied guard.peer"},
		{name: "far without its key", peer: far, cfg: guard.Config{Keys: keys(keyA)}, host: near, want: "unadmitted guard.key"},
		{name: "far with a key", peer: far, cfg: guard.Config{Keys: keys(keyA)}, host: near + ":5178", key: keyA, want: "local key"},
		{name: "far with a key, rebound", peer: far, cfg: guard.Config{Keys: keys(keyA)}, host: "evil.example", key: keyA, want: "denied guard.host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			local := &net.TCPAddr{IP: net.ParseIP(near), Port: 5178}
			r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, local), http.MethodGet, "/", nil)
			r.RemoteAddr, r.Host = tt.peer, tt.host
			if tt.key != "" {
				r.Header.Set("X-Broker-Key", tt.key)
			}
			if got := verdict(guard.New(tt.cfg), r, guard.HeaderKeys); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestForwardedRequestsAreRefused(t *testing.T) {
	d := open(t, "tcp4", "127.0.0.1:0", guard.Config{})
	for _, header := range []string{
		"X-Forwarded-For: 192.0.2.1", "x-forwarded-for: 192.0.2.1", "X-FORWARDED-FOR: 192.0.2.1", "X-Forwarded-For:",
		"X_Forwarded_For: 192.0.2.1", "x_forwarded-for: 192.0.2.1", "X-Forwarded_For: 127.0.0.1",
		"X-Forwarded-Host: localhost", "x_forwarded_host: localhost",
		"X-Forwarded-Server: proxy", "X_FORWARDED_SERVER: proxy", "X-Real-Ip: 192.0.2.1", "X-REAL-IP: 127.0.0.1", "x_real-ip:",
		"Forwarded: for=192.0.2.1", "forwarded: for=_x", "FORWARDED:",
		"Via: 1.1 proxy", "via: 1.0 fred, 1.1 p.example",
	} {
		if got, want := d.get(t, "localhost", header), "denied guard.forwarded"; got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
	for _, header := range []string{
		"X-Forwarded: x", "X-Forwarded-Fort: x", "Fast-Forwarded: x", "X-Request-Id: x", "F: x", "Viaduct: x", "Max-Forwards: 1",
		"X-Forwarded-Proto: http", "X-Forwarded-Port: 5178", "X-Envoy-Attempt-Count: 1", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", // as a mesh writes them
	} {
		if got := d.get(t, "localhost", header); got != admitted {
			t.Errorf("%s: got %q, want it admitted", header, got)
		}
	}
	// Field names that a proxy might read as another never reach the guard.
	for _, tt := range []struct{ want, header string }{
		{"400", "X-Forwarded-For : 192.0.2.1"},
		{"400", "X-Förwarded-For: 192.0.2.1"},
		{"400", "X-Forwarded\x00-For: 192.0.2.1"},
		{admitted, "A: b\r\n X-Forwarded-For: 192.0.2.1"}, // folded: the value of A goes on
	} {
		if got := d.get(t, "localhost", tt.header); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.header, got, tt.want)
		}
	}
}

func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	d := open(t, "tcp4", "127.0.0.1:0", guard.Config{})
	own := d.Addr().String()
	for _, tt := range []struct{ want, header string }{
		{admitted, "Sec-Fetch-Site: none"}, // typed into the address bar
		{admitted, "Sec-Fetch-Site: same-origin"},
		{"denied guard.site", "Sec-Fetch-Site: same-site"}, // another port of localhost
		{"denied guard.site", "Sec-Fetch-Site: cross-site"},
		{"denied guard.site", "sec-fetch-site: cross-site"},
		{"denied guard.site", "Sec-Fetch-Site: Cross-Site"},
		{"denied guard.site", "Sec-Fetch-Site:"},
		{"denied guard.site", "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site"},
		{admitted, "Origin: http://" + own},
		{"denied guard.site", "Origin: https://" + own},
		{"denied guard.site", "Origin: null"}, // a sandboxed frame, a file
		{"denied guard.site", "Origin:"},
		{"denied guard.site", "Origin: https://evil.example"},
		{"denied guard.site", "Origin: http://localhost:1"},
		{"denied guard.site", "Origin: http://" + own + ".evil.example"},
		{"denied guard.site", "Origin: http://" + own + "/"},
		{"denied guard.site", "Origin: http://" + own + " https://evil.example"},
		{"denied guard.site", "Origin: http://" + own + "\r\nOrigin: https://evil.example"},
		{"denied guard.site", "Origin: http://" + own + "\r\nOrigin: http://" + own},
		{"denied guard.site", "Origin: HTTP://" + own},
		{"denied guard.site", "Access-Control-Request-Method: GET"},
		{"denied guard.site", "access-control-request-method:"},
		{"denied guard.site", "Access-Control-Request-Private-Network: true"},
		{"denied guard.site", "Origin: http://" + own + "\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-broker-key"},
		{"denied guard.site", "Sec-Fetch-Site: same-origin\r\nAccess-Control-Request-Private-Network: true"},
		{admitted, "Sec-Fetch-Mode: cors"}, // as Node's fetch sends it
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "DELETE"} {
			if got := d.knock(t, method+" / HTTP/1.1", "Host: "+own, tt.header); got != tt.want {
				t.Errorf("%s, %q: got %q, want %q", method, tt.header, got, tt.want)
			}
		}
	}
}

// No page has a Unix socket for its origin: whatever sends one there has
// passed a page's request on.
func TestUnixSocketsHaveNoOrigin(t *testing.T) {
	d := open(t, "unix", t.TempDir()+"/s", guard.Config{})
	for _, origin := range []string{"http://localhost", "http://evil.example", "https://evil.example", "null", ""} {
		host := strings.TrimPrefix(strings.TrimPrefix(origin, "http://"), "https://")
		if got, want := d.get(t, host, "Origin: "+origin), "denied guard.site"; got != want {
			t.Errorf("Origin %q: got %q, want %q", origin, got, want)
		}
	}
}

func TestOriginGoesWithTheScheme(t *testing.T) {
	g := guard.New(guard.Config{})
	for target, want := range map[string]map[string]string{
		"http://localhost:5178/":  {"http://localhost:5178": admitted, "https://localhost:5178": "denied guard.site"},
		"https://localhost:5178/": {"http://localhost:5178": "denied guard.site", "https://localhost:5178": admitted},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		r.RemoteAddr = "127.0.0.1:4"
		for origin, want := range want {
			r.Header.Set("Origin", origin)
			if got := verdict(g, r, guard.HeaderKeys); got != want {
				t.Errorf("%s from %s: got %q, want %q", target, origin, got, want)
			}
		}
	}
}
