package guard_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

const (
	keyA = "key-a-0123456789abcdef"
	keyB = "key-b-0123456789abcdef"
)

// keys makes the Keys of a [guard.Config].
func keys(values ...string) func() []entra.Secret {
	var secrets []entra.Secret
	for _, v := range values {
		secrets = append(secrets, entra.NewSecret(v))
	}
	return func() []entra.Secret { return secrets }
}

// verdict is what a guard said: how the caller was admitted, or where and as
// what it was refused.
func verdict(g *guard.Guard, r *http.Request) string {
	who, err := g.Admit(r, guard.HeaderKeys)
	if err != nil {
		e := entra.AsError(err)
		return e.Kind.String() + " " + e.Op
	}
	return who.Name + " " + who.Via
}

// door is a real listener with a guard behind it, which answers with verdicts.
type door struct{ net.Listener }

func open(t *testing.T, network, address string, cfg guard.Config) door {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	g := guard.New(cfg)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Verdict", verdict(g, r))
	})}
	done := make(chan error)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return door{l}
}

// knock sends a request as it stands, each line without its end, and returns
// the verdict; or the status, where net/http refused the request itself.
func (d door) knock(t *testing.T, lines ...string) string {
	t.Helper()
	conn, err := net.Dial(d.Addr().Network(), d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(lines[0], " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return strconv.Itoa(res.StatusCode)
	}
	return res.Header.Get("Verdict")
}

// get is knock with a GET that has a Host and nothing else, plus headers.
func (d door) get(t *testing.T, host string, headers ...string) string {
	t.Helper()
	return d.knock(t, slices.Concat([]string{"GET / HTTP/1.1", "Host: " + host}, headers)...)
}

const admitted = "local peer"

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
		"localhost/evil.example", "evil.example/localhost", "localhost,evil.example", "localhost:" + port + ":" + port,
	} {
		if got := d.get(t, host); got != "denied guard.host" && got != "400" {
			t.Errorf("Host %q: got %q, want it refused", host, got)
		}
	}
}

// Whatever stands in the request target decides what net/http takes for Host.
func TestHostByRequestTarget(t *testing.T) {
	d := open(t, "tcp4", "127.0.0.1:0", guard.Config{})
	for _, tt := range []struct {
		want  string
		lines []string
	}{
		{admitted, []string{"GET http://localhost/token HTTP/1.1", "Host: localhost"}},
		{admitted, []string{"GET http://localhost/token HTTP/1.1", "Host: evil.example"}}, // RFC 9112 §3.2.2: Host does not count
		{"denied guard.host", []string{"GET http://evil.example/token HTTP/1.1", "Host: localhost"}},
		{"denied guard.host", []string{"GET http://localhost@evil.example/ HTTP/1.1", "Host: localhost"}},
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
			for _, header := range []string{"X-Forwarded-For: 192.0.2.1", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"} {
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
			if got := verdict(guard.New(tt.cfg), r); got != tt.want {
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
		"Forwarded: for=192.0.2.1", "forwarded: for=_x", "FORWARDED:",
	} {
		if got, want := d.get(t, "localhost", header), "denied guard.forwarded"; got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
	for _, header := range []string{"X-Forwarded: x", "X-Forwarded-Fort: x", "Fast-Forwarded: x", "X-Request-Id: x", "F: x"} {
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
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "DELETE"} {
			if got := d.knock(t, method+" / HTTP/1.1", "Host: "+own, tt.header); got != tt.want {
				t.Errorf("%s, %q: got %q, want %q", method, tt.header, got, tt.want)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	d := open(t, "tcp4", "127.0.0.1:0", guard.Config{Keys: keys(keyA, keyB)})
	const yes, no = "local key", "unadmitted guard.key"
	for _, tt := range []struct {
		name, want string
		headers    []string
	}{
		{"none", no, nil},
		{"the first", yes, []string{"X-Broker-Key: " + keyA}},
		{"the second, for rotation", yes, []string{"X-Broker-Key: " + keyB}},
		{"odd case of the name", yes, []string{"x-BROKER-key: " + keyA}},
		{"wrong", no, []string{"X-Broker-Key: key-c-0123456789abcdef"}},
		{"a prefix", no, []string{"X-Broker-Key: " + keyA[:20]}},
		{"too long", no, []string{"X-Broker-Key: " + keyA + "0"}},
		{"other letters", no, []string{"X-Broker-Key: " + strings.ToUpper(keyA)}},
		{"both in one", no, []string{"X-Broker-Key: " + keyA + ", " + keyB}},
		{"the same twice", yes, []string{"X-Broker-Key: " + keyA, "X-Broker-Key: " + keyA}},
		{"two good ones that disagree", no, []string{"X-Broker-Key: " + keyA, "X-Broker-Key: " + keyB}},
		{"good, then wrong", no, []string{"X-Broker-Key: " + keyA, "X-Broker-Key: x"}},
		{"good, then empty", yes, []string{"X-Broker-Key: " + keyA, "X-Broker-Key:"}},
		{"empty", no, []string{"X-Broker-Key:"}},
		{"bearer", yes, []string{"Authorization: Bearer " + keyA}},
		{"bearer, odd case", yes, []string{"authorization: bEARER " + keyA}},
		{"bearer, two spaces", yes, []string{"Authorization: Bearer  " + keyA}},
		{"bearer, wrong", no, []string{"Authorization: Bearer x"}},
		{"bearer, empty", no, []string{"Authorization: Bearer"}},
		{"bearer, no scheme", no, []string{"Authorization: " + keyA}},
		{"bearer, glued", no, []string{"Authorization: Bearer" + keyA}},
		{"basic", no, []string{"Authorization: Basic " + keyA}},
		{"two bearers that disagree", no, []string{"Authorization: Bearer " + keyA, "Authorization: Bearer " + keyB}},
		{"bearer of the client's own beside a key", yes, []string{"Authorization: Bearer eyJ", "X-Broker-Key: " + keyA}},
		{"bearer counts for nothing beside a wrong key", no, []string{"Authorization: Bearer " + keyA, "X-Broker-Key: x"}},
		{"bearer counts for nothing beside an empty key", no, []string{"Authorization: Bearer " + keyA, "X-Broker-Key:"}},
		{"in the query", no, []string{"X-Original-Url: /?X-Broker-Key=" + keyA}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := d.get(t, "localhost", tt.headers...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNoKeysConfiguredIsNotTheSameAsNoneGood(t *testing.T) {
	d := open(t, "tcp4", "127.0.0.1:0", guard.Config{Keys: keys()})
	for _, headers := range [][]string{nil, {"X-Broker-Key: " + keyA}, {"X-Broker-Key:"}} {
		if got, want := d.get(t, "localhost", headers...), "unadmitted guard.key"; got != want {
			t.Errorf("%q: got %q, want %q", headers, got, want)
		}
	}
}

func TestAdmissionOrder(t *testing.T) {
	g := guard.New(guard.Config{})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://evil.example/", nil)
	r.RemoteAddr = "192.0.2.7:4"
	r.Header = http.Header{
		"X-Forwarded-For": {"192.0.2.1"}, "Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"},
	}
	check := func(want string) {
		t.Helper()
		if got := verdict(g, r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check("denied guard.peer")
	r.RemoteAddr = "127.0.0.1:4"
	check("denied guard.host")
	r.Host = "localhost"
	check("denied guard.forwarded")
	r.Header.Del("X-Forwarded-For")
	check("denied guard.site")
	r.Header.Del("Sec-Fetch-Site")
	check("denied guard.site")
	g = guard.New(guard.Config{Keys: keys(keyA)})
	check("denied guard.site")
	r.Header.Del("Origin")
	check("unadmitted guard.key")
	r.Header.Set("X-Broker-Key", keyA)
	check("local key")
}

// The keys may stand in the body, which is not for everybody to make us read.
func TestKeysAreReadLast(t *testing.T) {
	read := false
	keysOf := func(*http.Request) []entra.Secret { read = true; return nil }
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://evil.example/", nil)
	r.RemoteAddr = "127.0.0.1:4"
	if _, err := guard.New(guard.Config{Keys: keys(keyA)}).Admit(r, keysOf); err == nil || read {
		t.Errorf("refused by Host: got error %v, keys read %v; want an error and no keys read", err, read)
	}
	r.Host = "localhost"
	if _, err := guard.New(guard.Config{}).Admit(r, keysOf); err != nil || read {
		t.Errorf("no keys configured: got error %v, keys read %v; want neither", err, read)
	}
	if _, err := guard.New(guard.Config{Keys: keys(keyA)}).Admit(r, keysOf); err == nil || !read {
		t.Errorf("keys configured: got error %v, keys read %v; want both", err, read)
	}
}

func TestRefusalsNameNoKey(t *testing.T) {
	g := guard.New(guard.Config{Keys: keys(keyA)})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil)
	r.RemoteAddr = "127.0.0.1:4"
	for _, headers := range []http.Header{
		{},
		{"X-Broker-Key": {keyB}},
		{"X-Broker-Key": {keyA, keyB}},
		{"Authorization": {"Bearer " + keyB}},
	} {
		r.Header = headers
		_, err := g.Admit(r, guard.HeaderKeys)
		if err == nil {
			t.Fatalf("%v: admitted", headers)
		}
		if text := err.Error(); strings.Contains(text, keyA) || strings.Contains(text, keyB) {
			t.Errorf("the refusal holds a key: %s", text)
		}
	}
}

func TestPrincipalTravelsInTheContext(t *testing.T) {
	if who, ok := guard.PrincipalOf(t.Context()); ok {
		t.Errorf("nobody was admitted, got %+v", who)
	}
	want := guard.Principal{Name: guard.Local, Via: "key"}
	if got, ok := guard.PrincipalOf(guard.WithPrincipal(t.Context(), want)); !ok || got != want {
		t.Errorf("got %+v, %v; want %+v", got, ok, want)
	}
	if _, ok := guard.PrincipalOf(guard.WithPrincipal(t.Context(), guard.Principal{Via: "peer"})); ok {
		t.Error("a principal without a name counts as somebody")
	}
}

func BenchmarkAdmit(b *testing.B) {
	for name, cfg := range map[string]guard.Config{"peer": {}, "key": {Keys: keys(keyA)}} {
		b.Run(name, func(b *testing.B) {
			g := guard.New(cfg)
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "http://localhost:5178/token", nil)
			r.RemoteAddr = "127.0.0.1:40000"
			r.Header = http.Header{"User-Agent": {"curl/8"}, "Accept": {"*/*"}, "X-Request-Id": {"1"}, "X-Broker-Key": {keyA}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Admit(r, guard.HeaderKeys); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
