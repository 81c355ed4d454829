package route_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"tokenbroker/entra"
	"tokenbroker/route"
)

func TestParsePathAccepts(t *testing.T) {
	for raw, match := range map[string]string{
		"/":                            "/",
		"/api/incidents":               "/api/incidents",
		"/api/incidents/":              "/api/incidents",
		"/API/V1.0/Incidents/41":       "/api/incidents/41",
		"/api/machines/%69solate":      "/api/machines/isolate",
		"/api/machines/a%20b":          "/api/machines/a b",
		"/api/libraryfiles/100%25":     "/api/libraryfiles/100%",
		"/api/libraryfiles/caf%C3%89":  "/api/libraryfiles/café",
		"/api/libraryfiles/a+b~_-.ps1": "/api/libraryfiles/a+b~_-.ps1",
		"/api/%24batch":                "/api/$batch",
		"/api/$metadata":               "/api/$metadata",
		"/api/ips/fe80::1/stats":       "/api/ips/fe80::1/stats",
		"/api/a.b/.c":                  "/api/a.b/.c",
		"/api/alerts('x',y=[1],z=!*)":  "/api/alerts('x',y=[1],z=!*)",
		"/api/machines/findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z)": "/api/machines/findbyip(ip='10.1.2.3',timestamp=2026-01-02t03:04:05z)",
	} {
		p, err := route.ParsePath(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if p.Raw() != raw || p.String() != raw || p.Match() != match {
			t.Errorf("%s: got raw %q, match %q, want match %q", raw, p.Raw(), p.Match(), match)
		}
	}
}

func TestParsePathRefuses(t *testing.T) {
	for _, tt := range []struct{ raw, why string }{
		{"", "leading slash"},
		{"api/incidents", "leading slash"},
		{"*", "leading slash"},
		{"https://other.example/api", "leading slash"},
		{"/" + strings.Repeat("a", 8<<10), "longer than"},

		{"/api/../admin", "dot segments"},
		{"/api/..", "dot segments"},
		{"/api/./incidents", "dot segments"},
		{"/api/%2e%2E/admin", "dot segments"},
		{"/api/.%2e/admin", "dot segments"},
		{"/api/%2e/admin", "dot segments"},
		{"/api/.../admin", "ends in a dot"},
		{"/api/machines/1/isolate.", "ends in a dot"},
		{"/api/machines/1/isolate%20", "space"},
		{"/api/machines/1/%20isolate", "space"},
		{"/api/machines/1/isolate%C2%A0", "space"},

		{"//api/incidents", "empty segments"},
		{"/api//incidents", "empty segments"},
		{"/api/incidents//", "empty segments"},
		{"/api%2fincidents", "escaped slashes"},
		{"/api%2Fincidents", "escaped slashes"},
		{"/api/%2f%2e%2e", "escaped slashes"},
		{`/api\incidents`, "backslashes"},
		{"/api%5cincidents", "backslashes"},
		{"/api/..%5Cadmin", "backslashes"},

		{"/api/a\x00b", "control characters"},
		{"/api/a%00b", "control characters"},
		{"/api/a%0d%0aX-Evil:1", "control characters"},
		{"/api/a\tb", "control characters"},
		{"/api/a%7f", "control characters"},
		{"/api/a%C2%85b", "control characters"},

		{"/api/%", "begins no escape"},
		{"/api/%2", "begins no escape"},
		{"/api/%zz", "begins no escape"},
		{"/api/%u002f", "begins no escape"},
		{"/api/%252e%252e/admin", "escaped twice"},
		{"/api/%252Fadmin", "escaped twice"},
		{"/api/a%2541b", "escaped twice"},
		{"/api/%25u002fadmin", "escaped twice"},
		{"/api/%25U002fadmin", "escaped twice"},

		{"/api/%ff", "not UTF-8"},
		{"/api/%c0%ae%c0%ae/admin", "not UTF-8"},
		{"/api/caf\xe9", "not UTF-8"},
		{"/api/café", "must be escaped"},
		{"/api/a b", "must be escaped"},
		{"/api/a|b", "must be escaped"},
		{"/api/a^b", "must be escaped"},
		{`/api/"a"`, "must be escaped"},
		{"/api/<a>", "must be escaped"},
		{"/api/{id}", "must be escaped"},

		{"/api/incidents?$top=1", "?, # and ;"},
		{"/api/incidents#x", "?, # and ;"},
		{"/api/machines/1/isolate;x=1", "?, # and ;"},
		{"/api/machines/1/isolate%3fx", "?, # and ;"},
		{"/api/machines/1/isolate%23", "?, # and ;"},
		{"/api/machines/1/isolate%3b", "?, # and ;"},

		{"/api/machines/1/i%C5%BFolate", "take for an ASCII one"}, // ſ folds to s
		{"/api/%E2%84%AAeys", "take for an ASCII one"},            // K, the Kelvin sign, folds to k
		{"/api/machines/1/%C4%B0solate", "take for an ASCII one"}, // İ folds to i
		{"/api/machines/1/%C4%B1solate", "take for an ASCII one"}, // ı rises to I
	} {
		p, err := route.ParsePath(tt.raw)
		switch {
		case err == nil:
			t.Errorf("%q: accepted as %q", tt.raw, p.Match())
		case entra.KindOf(err) != entra.Invalid || !strings.Contains(err.Error(), tt.why):
			t.Errorf("%q: got %v, want invalid with %q", tt.raw, err, tt.why)
		}
	}
}

// pathHolds is what has to be true of every path that ParsePath accepts.
func pathHolds(tb testing.TB, raw string) {
	tb.Helper()
	p, err := route.ParsePath(raw)
	if err != nil {
		if p.Raw() != "" || entra.KindOf(err) != entra.Invalid {
			tb.Errorf("%q: refused with %v, but a path came back, or another kind", raw, err)
		}
		return
	}
	if p.Raw() != raw {
		tb.Errorf("%q: Raw is %q", raw, p.Raw())
	}
	u, err := url.Parse(raw)
	if err != nil || u.EscapedPath() != raw || u.RawQuery != "" || u.Fragment != "" || u.Host != "" {
		tb.Fatalf("%q: net/url reads %#v, %v", raw, u, err)
	}
	if again, err := url.PathUnescape(u.Path); err == nil && again != u.Path {
		tb.Errorf("%q: a second decoding gives %q", raw, again)
	}
	if strings.Count(u.Path, "/") != strings.Count(raw, "/") || u.JoinPath().Path != u.Path {
		tb.Errorf("%q: cleaned, it is another path", raw)
	}
	if !utf8.ValidString(u.Path) || strings.ContainsAny(u.Path, "\\?#;\x00\r\n") {
		tb.Errorf("%q: decoded, it is %q", raw, u.Path)
	}
	if m := p.Match(); m != strings.ToLower(m) || m != "/" && strings.HasSuffix(m, "/") || !strings.HasPrefix(m, "/") {
		tb.Errorf("%q: is matched as %q", raw, m)
	}
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{
		"/", "/api/incidents", "/api/%2e%2e/x", "/api/a%252fb", "/api/caf%C3%A9", "//x", "/a;b", "/%C5%BF", "/a%", "/api/v1.0/x/",
		"/api/machines/findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z)",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) { pathHolds(t, raw) })
}

func TestAcceptedPathsAreReadAlike(t *testing.T) {
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{
			"/", "//", ".", "..", "%2e", "%2E", "%2f", "%5c", `\`, "%00", "%", "%25", "%252e", "%20", " ", ";", "?", "#", "$batch", "'", "(", ")",
			",", ":", "=", "+", "*", "|", "^", "%C3%A9", "é", "%C5%BF", "%ff", "api", "v1.0", "Incidents", "%zz", "u002f", "2f",
		}),
		rapid.String(),
	)
	rapid.Check(t, func(t *rapid.T) {
		raw := "/" + strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "pieces"), "")
		p, err := route.ParsePath(raw)
		if err != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil || u.EscapedPath() != raw || p.Raw() != raw {
			t.Fatalf("%q: raw %q, net/url %v, %v", raw, p.Raw(), u, err)
		}
	})
}

func BenchmarkParsePath(b *testing.B) {
	for name, raw := range map[string]string{
		"canonical": "/api/machines/0123456789abcdef0123456789abcdef01234567/vulnerabilities",
		"mixed":     "/api/v1.0/Machines/findbyip(ip='10.1.2.3',timestamp=2026-01-02T03%3A04%3A05Z)",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := route.ParsePath(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
