package guard_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"tokenbroker/guard"
)

// FuzzHost holds the guard's reading of Host against net/url's: what it admits
// leads a client to this machine, and nowhere else.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{
		"localhost:5178", "127.0.0.1", "[::1]:80", "LOCALHOST", "evil.example", "localhost@evil.example", "localhost:5178@evil",
		"[::1", "::1", "localhost.", "0x7f.1", "2130706433", "localhost:", "", "[localhost]", "localhost#@evil", "localhost\\@evil", "ſocalhost",
	} {
		f.Add(seed)
	}
	g := guard.New(guard.Config{})
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
		if name := strings.ToLower(u.Hostname()); !slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, name) {
			t.Errorf("Host %q was admitted, and leads to %q", host, name)
		}
		if u.User != nil || u.Path != "/token" || u.RawQuery != "" || u.Fragment != "" || u.Host != host {
			t.Errorf("Host %q was admitted, and is more than a host: %+v", host, u)
		}
	})
}
