package guard_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

func asciiLower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// FuzzHost holds the guard's reading of Host against net/url's: what it admits
// leads a client to this machine, and nowhere else.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{
		"localhost:5178", "127.0.0.1", "[::1]:80", "LOCALHOST", "evil.example", "localhost@evil.example", "localhost:5178@evil",
		"[::1", "::1", "localhost.", "0x7f.1", "2130706433", "localhost:", "", "[localhost]", "localhost#@evil", "localhost\\@evil", "ſocalhost", "bro\u212aer", "BROKER:1",
	} {
		f.Add(seed)
	}
	g := guard.New(guard.Config{Hosts: []string{"broker"}})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "127.0.0.1:4"
	f.Fuzz(func(t *testing.T, host string) {
		r.Host = host
		if _, err := g.Admit(r, guard.HeaderKeys); err != nil {
			return
		}
		u, err := url.Parse("http://" + host + "/token")
		if err != nil {
			t.Fatalf("Host %q was admitted, and is no host: %v", host, err)
		}
		if name := u.Hostname(); !slices.Contains([]string{"localhost", "127.0.0.1", "::1", "broker"}, strings.Map(asciiLower, name)) {
			t.Errorf("Host %q was admitted, and leads to %q", host, name)
		}
		if u.User != nil || u.Path != "/token" || u.RawQuery != "" || u.Fragment != "" || u.Host != host {
			t.Errorf("Host %q was admitted, and is more than a host: %+v", host, u)
		}
	})
}

// FuzzMisplacedKey holds the guard's reading of queries and cookies against
// net/url's and net/http's: what they would hand to a program as a key, under
// its name or in full, is refused.
func FuzzMisplacedKey(f *testing.F) {
	for _, seed := range []string{
		"", "a=b&c=d", "x-broker-key=x", "X_Broker_Key", "a=" + keyA, keyA, "a=%6Bey-a-0123456789abcdef", "client%5fsecret=1", "a;b;c=" + keyA,
		"%zz", "a=%", "=" + keyA + "=", `a="` + keyA + `"; b=c`, "broker key=x", "\xff=\xff", "\u212abroker_key",
	} {
		f.Add(seed)
	}
	g := guard.New(guard.Config{Keys: keys(keyA)})
	isKey := func(name, value string) bool {
		lower := strings.Map(asciiLower, name)
		return lower == "x-broker-key" || lower == "client_secret" || name == keyA || value == keyA
	}
	f.Fuzz(func(t *testing.T, text string) {
		inQuery, inCookie := request(t, http.Header{"X-Broker-Key": {keyA}}), request(t, http.Header{"X-Broker-Key": {keyA}, "Cookie": {text}})
		inQuery.URL.RawQuery = text
		wantQuery, wantCookie := false, false
		for name, values := range inQuery.URL.Query() {
			for _, value := range values {
				wantQuery = wantQuery || isKey(name, value)
			}
		}
		for _, cookie := range inCookie.Cookies() {
			wantCookie = wantCookie || isKey(cookie.Name, cookie.Value)
		}
		for place, want := range map[*http.Request]bool{inQuery: wantQuery, inCookie: wantCookie} {
			_, err := g.Admit(place, guard.HeaderKeys)
			if want && err == nil {
				t.Errorf("%q was admitted, and is a key to net/http", text)
			}
			if err != nil && len(text) > 3 && strings.Contains(err.Error(), strconv.Quote(text)) {
				t.Errorf("the refusal repeats %q: %v", text, err)
			}
		}
	})
}

// FuzzKeyFile holds that a file is good exactly where each of its lines is
// blank, a comment or a key, and that no error repeats a line.
func FuzzKeyFile(f *testing.F) {
	for _, seed := range []string{"", keyA, keyA + "\n" + keyB, "# x\n\n" + keyA + "\r\n", "short", keyA + "\x00", " \t" + keyA + " ", keyA + " " + keyB, "\xef\xbb\xbf" + keyA, "\u0085" + keyA, "#" + keyA} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "keys")
	f.Fuzz(func(t *testing.T, content string) {
		write(t, path, content)
		k, err := openKeys(path)
		var want []string
		whole := true
		for _, line := range strings.Split(content, "\n") {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			want = append(want, line)
			whole = whole && len(line) >= 16 && strings.Trim(line, printable) == ""
			if err != nil && len(line) >= 16 && strings.Contains(strings.TrimPrefix(entra.AsError(err).Message(), path), line) {
				t.Errorf("the error repeats %q: %v", line, err)
			}
		}
		if whole = whole && len(want) > 0 && len(want) <= 1000 && len(content) <= 64<<10; whole != (err == nil) {
			t.Fatalf("%q: got error %v", content, err)
		}
		for _, line := range want {
			if err == nil && !isGood(k, line) {
				t.Errorf("%q in %q is not good", line, content)
			}
		}
	})
}

const printable = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
