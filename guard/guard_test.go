package guard_test

import (
	"errors"
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

// proof is what a request brings, from where it comes.
type proof struct {
	from    string // "near", "far" or "socket"
	uid     int    // of the process at the other end; 0: not known
	key     string
	keyless bool // by a protocol that cannot carry a key
}

func (p proof) request(t *testing.T) (*http.Request, guard.KeysOf) {
	t.Helper()
	r, keysOf := request(t, nil), guard.KeysOf(guard.HeaderKeys)
	if p.key != "" {
		r.Header = http.Header{"X-Broker-Key": {p.key}}
	}
	if p.keyless {
		keysOf = nil
	}
	var peer *guard.Peer
	if p.uid != 0 {
		peer = &guard.Peer{UID: p.uid}
	}
	switch p.from {
	case "far":
		r.RemoteAddr = "192.0.2.7:4"
		fallthrough
	case "near":
		r = r.WithContext(guard.WithPeer(r.Context(), peer))
	case "socket":
		r = visit(r, peer)
	}
	return r, keysOf
}

func TestProof(t *testing.T) {
	const (
		noKey, noCaller = "unadmitted guard.key", "unadmitted guard.caller"
		tooFar          = "denied guard.peer"
		alice, bob      = 1000, 1001
	)
	uids := map[int]string{alice: "alpha", bob: "beta"}
	twoKeys := named("alpha", keyA, "beta", keyB)
	for mode, rows := range map[string]struct {
		cfg  guard.Config
		want map[proof]string
	}{
		"open": {guard.Config{}, map[proof]string{
			{from: "near"}:                           "local peer",
			{from: "near", keyless: true}:            "local peer",
			{from: "near", key: keyC}:                "local peer",
			{from: "socket"}:                         "local peer",
			{from: "socket", uid: alice, key: keyA}:  "local peer",
			{from: "far"}:                            tooFar,
			{from: "far", key: keyA}:                 tooFar,
			{from: "far", uid: alice, keyless: true}: tooFar,
		}},
		"keys": {guard.Config{Keys: twoKeys}, map[proof]string{
			{from: "near"}:                           noKey,
			{from: "near", key: keyA}:                "alpha key",
			{from: "near", key: keyB}:                "beta key",
			{from: "near", key: keyC}:                noKey,
			{from: "near", keyless: true}:            noCaller,
			{from: "near", key: keyA, keyless: true}: noCaller,
			{from: "socket"}:                         noKey,
			{from: "socket", uid: alice}:             noKey,
			{from: "socket", uid: alice, key: keyB}:  "beta key",
			{from: "far"}:                            noKey,
			{from: "far", key: keyA}:                 "alpha key",
			{from: "far", key: keyC}:                 noKey,
			{from: "far", keyless: true}:             noCaller,
		}},
		"uids": {guard.Config{UIDs: uids}, map[proof]string{
			{from: "near"}:                            noCaller,
			{from: "near", uid: alice}:                noCaller, // no Unix socket, whatever the context says
			{from: "near", key: keyA}:                 noCaller,
			{from: "near", keyless: true}:             noCaller,
			{from: "socket"}:                          noCaller,
			{from: "socket", uid: 7}:                  noCaller,
			{from: "socket", uid: alice}:              "alpha uid",
			{from: "socket", uid: bob}:                "beta uid",
			{from: "socket", uid: bob, keyless: true}: "beta uid",
			{from: "socket", uid: bob, key: keyC}:     "beta uid", // nobody has a key, so it is none
			{from: "far", uid: alice}:                 tooFar,
			{from: "far", uid: alice, keyless: true}:  tooFar,
		}},
		"keys and uids": {guard.Config{Keys: twoKeys, UIDs: uids}, map[proof]string{
			{from: "near"}:                                         noKey,
			{from: "near", key: keyB}:                              "beta key",
			{from: "near", uid: alice}:                             noKey,
			{from: "socket"}:                                       noKey,
			{from: "socket", uid: 7}:                               noKey,
			{from: "socket", uid: 7, key: keyA}:                    "alpha key",
			{from: "socket", uid: alice}:                           "alpha uid",
			{from: "socket", uid: alice, key: keyA}:                "alpha key",
			{from: "socket", uid: alice, key: keyB}:                noCaller,
			{from: "socket", uid: bob, key: keyA}:                  noCaller,
			{from: "socket", uid: alice, key: keyC}:                noKey, // what was meant to prove does not
			{from: "socket", uid: alice, keyless: true}:            "alpha uid",
			{from: "socket", uid: alice, key: keyB, keyless: true}: "alpha uid", // nobody reads that header there
			{from: "socket", uid: 7, keyless: true}:                noCaller,
			{from: "far", uid: alice}:                              noKey,
			{from: "far", uid: alice, keyless: true}:               noCaller,
			{from: "far", uid: alice, key: keyB}:                   "beta key", // the uid is no word from there
		}},
		"anonymous": {guard.Config{Anonymous: true}, map[proof]string{
			{from: "near"}:                           noCaller,
			{from: "near", key: keyA}:                noCaller,
			{from: "near", keyless: true}:            "anonymous none",
			{from: "near", key: keyA, keyless: true}: "anonymous none",
			{from: "socket"}:                         noCaller,
			{from: "socket", keyless: true}:          "anonymous none",
			{from: "far", keyless: true}:             tooFar,
		}},
		"everything": {guard.Config{Keys: twoKeys, UIDs: uids, Anonymous: true}, map[proof]string{
			{from: "near"}:                            noKey,
			{from: "near", key: keyC}:                 noKey,
			{from: "near", key: keyA}:                 "alpha key",
			{from: "near", keyless: true}:             "anonymous none",
			{from: "near", uid: alice, keyless: true}: "anonymous none",
			{from: "socket", uid: 7}:                  noKey,
			{from: "socket", uid: 7, keyless: true}:   "anonymous none",
			{from: "socket", keyless: true}:           "anonymous none",
			{from: "socket", uid: bob, keyless: true}: "beta uid", // rather somebody than nobody
			{from: "far"}:                             noKey,
			{from: "far", key: keyB}:                  "beta key",
			{from: "far", keyless: true}:              noCaller,
			{from: "far", key: keyB, keyless: true}:   noCaller,
			{from: "far", uid: bob, keyless: true}:    noCaller,
		}},
		"no good keys": {guard.Config{Keys: keys()}, map[proof]string{
			{from: "near"}:                noKey,
			{from: "near", key: keyA}:     noKey,
			{from: "near", keyless: true}: noCaller,
			{from: "socket", uid: alice}:  noKey,
			{from: "far"}:                 noKey,
		}},
	} {
		t.Run(mode, func(t *testing.T) {
			g := guard.New(rows.cfg)
			for p, want := range rows.want {
				r, keysOf := p.request(t)
				if got := verdict(g, r, keysOf); got != want {
					t.Errorf("%+v: got %q, want %q", p, got, want)
				}
			}
		})
	}
}

// A refusal names the remedy, and no caller.
func TestWhoWasRefusedReadsWhatToDo(t *testing.T) {
	all := guard.Config{Keys: named("alpha", keyA), UIDs: map[int]string{1000: "beta"}}
	for _, tt := range []struct {
		cfg    guard.Config
		proof  proof
		remedy string
	}{
		{all, proof{from: "near"}, "send it as X-Broker-Key"},
		{all, proof{from: "near", keyless: true}, "configure a caller named anonymous"},
		{all, proof{from: "socket", uid: 1000, key: keyA}, "call without a key, or as another user"},
		{guard.Config{UIDs: all.UIDs}, proof{from: "near"}, "call by Unix socket, as a user whose uid a caller has"},
	} {
		r, keysOf := tt.proof.request(t)
		_, err := guard.New(tt.cfg).Admit(r, keysOf)
		if err == nil || !strings.Contains(err.Error(), tt.remedy) {
			t.Errorf("%+v: got %v, want %q in it", tt.proof, err, tt.remedy)
		}
		if err != nil && (strings.Contains(err.Error(), "alpha") || strings.Contains(err.Error(), "beta")) {
			t.Errorf("the refusal names a caller: %v", err)
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
		if got := verdict(g, r, guard.HeaderKeys); got != want {
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
	r.Header.Set("Cookie", "broker_key=x")
	check("denied guard.place")
	r.Header.Del("Cookie")
	check("unadmitted guard.key")
	r.Header.Set("X-Broker-Key", keyA)
	check("local key")
}

// The keys may stand in the body, which is not for everybody to make us read.
func TestKeysAreReadLast(t *testing.T) {
	read := false
	keysOf := func(*http.Request) ([]entra.Secret, error) { read = true; return nil, nil }
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://evil.example/", nil)
	r.RemoteAddr = "127.0.0.1:4"
	if _, err := guard.New(guard.Config{Keys: keys(keyA)}).Admit(r, keysOf); err == nil || read {
		t.Errorf("refused by Host: got error %v, keys read %v; want an error and no keys read", err, read)
	}
	r.Host = "localhost"
	if _, err := guard.New(guard.Config{}).Admit(r, keysOf); err != nil || read {
		t.Errorf("no keys configured: got error %v, keys read %v; want neither", err, read)
	}
	if _, err := guard.New(guard.Config{UIDs: map[int]string{1: "alpha"}}).Admit(r, keysOf); err == nil || read {
		t.Errorf("nobody has a key: got error %v, keys read %v; want an error and no keys read", err, read)
	}
	if _, err := guard.New(guard.Config{Keys: keys(keyA)}).Admit(r, keysOf); err == nil || !read {
		t.Errorf("keys configured: got error %v, keys read %v; want both", err, read)
	}
}

func TestKeysThatCannotBeReadAreTheRequestsFault(t *testing.T) {
	broken := entra.Errorf(entra.Invalid, "oauth.form", "body: larger than 64 KiB")
	g := guard.New(guard.Config{Keys: keys(keyA), UIDs: map[int]string{1000: "alpha"}})
	who, err := g.Admit(visit(request(t, nil), &guard.Peer{UID: 1000}), func(*http.Request) ([]entra.Secret, error) {
		return secrets(keyA), broken
	})
	if !errors.Is(err, broken) || who != (guard.Principal{}) {
		t.Errorf("got %+v, %v; want nobody, and the error of the keys", who, err)
	}
}

func TestRefusalsNameNoKey(t *testing.T) {
	g := guard.New(guard.Config{Keys: keys(keyA)})
	r := request(t, nil)
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
	headers := http.Header{"User-Agent": {"curl/8"}, "Accept": {"*/*"}, "X-Request-Id": {"1"}, "X-Broker-Key": {keyA}}
	keyed := guard.Config{Keys: named("alpha", keyA, "beta", keyB)}
	crowded := guard.Config{Keys: keys(append(strings.Fields(manyKeys(999)), keyA)...)}
	for _, tt := range []struct {
		name, query, cookie, path string
		cfg                       guard.Config
	}{
		{name: "peer"},
		{name: "key", cfg: keyed},
		{name: "key and scope", cfg: keyed, query: "scope=https%3A%2F%2Fapi.security.microsoft.com%2F.default&tenant=22222222-2222-2222-2222-222222222222"},
		{name: "key and filter", cfg: keyed, query: "$filter=createdDateTime%20ge%202026-11-21T00:00:00Z&$top=50&$select=id,title"},
		{name: "key and cookie", cfg: keyed, cookie: "theme=dark; session=0123456789abcdef0123456789abcdef"},
		{name: "key and path", cfg: keyed, path: "/proxy/defender/api/machines/0123456789abcdef0123456789abcdef01234567/alerts"},
		{name: "1000 keys and the worst path", cfg: crowded, path: "/" + strings.Repeat("key-0123%41/", 30<<10/12)},
		{name: "1000 keys and the worst query", cfg: crowded, query: strings.Repeat("0123456789abc%41&", 30<<10/17)},
		{name: "1000 keys and the worst cookie", cfg: crowded, cookie: strings.Repeat("0123456789abcdef;", 30<<10/17)},
		{name: "key and the worst query", cfg: keyed, query: strings.Repeat("0123456789abcde%41&", 30<<10/19)},
	} {
		b.Run(tt.name, func(b *testing.B) {
			g := guard.New(tt.cfg)
			r := request(b, headers.Clone())
			r.URL.RawQuery = tt.query
			if tt.path != "" {
				r.URL = r.URL.JoinPath(tt.path)
			}
			if tt.cookie != "" {
				r.Header.Set("Cookie", tt.cookie)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Admit(r, guard.HeaderKeys); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The three ways to send a key go by the names that their users set.
func TestRefusalSaysHowToSendAKey(t *testing.T) {
	_, err := guard.New(guard.Config{Keys: keys(keyA)}).Admit(request(t, nil), guard.HeaderKeys)
	for _, name := range []string{"X-Broker-Key", "IDENTITY_HEADER", "client_secret"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: want %s in it", err, name)
		}
	}
}
