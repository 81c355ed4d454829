package guard_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

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
