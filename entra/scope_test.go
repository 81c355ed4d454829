package entra

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseScopeMakesItCanonical(t *testing.T) {
	for in, want := range map[string]Scope{
		"https://api.security.microsoft.com/.default":                              "https://api.security.microsoft.com/.default",
		"https://API.Security.Microsoft.com/.default":                              "https://api.security.microsoft.com/.default",
		"https://api.securitycenter.windows.com//.default":                         "https://api.securitycenter.windows.com/.default",
		"https://securitycenter.onmicrosoft.com/windowsatpservice/.default":        "https://securitycenter.onmicrosoft.com/windowsatpservice/.default",
		"https://localhost:8443/.default":                                          "https://localhost:8443/.default",
		"https://graph.microsoft.com:443/.default":                                 "https://graph.microsoft.com/.default",
		"05A65629-4c1b-48c1-a78b-804c4abdd4af/.default":                            "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default",
		"api://My-App/.default":                                                    "api://my-app/.default",
		"offline_access https://security.microsoft.com/mtp/.default":               "https://security.microsoft.com/mtp/.default",
		"openid  https://graph.microsoft.com/.default profile email":               "https://graph.microsoft.com/.default",
		"https://graph.microsoft.com/User.Read https://graph.microsoft.com/A.Read": "https://graph.microsoft.com/A.Read https://graph.microsoft.com/User.Read",
		"https://graph.microsoft.com/A.Read https://graph.microsoft.com/A.Read":    "https://graph.microsoft.com/A.Read",
	} {
		got, err := ParseScope(in)
		if err != nil || got != want {
			t.Errorf("ParseScope(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestParseScopeRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "names no resource",
		"openid profile":                     "names no resource",
		".default":                           "want https://host/.default",
		"https://api.security.microsoft.com": "want https://host/.default",
		"https:///.default":                  "want https://host/.default",
		"http://api.security.microsoft.com/.default":       "want https://host/.default",
		"https://user@api.security.microsoft.com/.default": "want https://host/.default",
		"https://host.example/a/../.default":               "want https://host/.default",
		"https://host.example///.default":                  "want https://host/.default",
		"https://host.example/a//b/.default":               "want https://host/.default",
		"https://host.example/%2e/.default":                "want https://host/.default",
		"https://host.example/.default?x=1":                "want https://host/.default",
		"https://host.example/.default#x":                  "want https://host/.default",
		"https://host.example/":                            "want https://host/.default",
		"https://-host.example/.default":                   "want https://host/.default",
		"https://host.example:x/.default":                  "want https://host/.default",
		"https://ho\nst.example/.default":                  "want https://host/.default",
		"ftp://host.example/.default":                      "want https://host/.default",
		"https://a.example/x https://b.example/x":          "another resource",
		"https://a.example/x https://a.example/.default":   "stands alone",
		strings.Repeat("a", maxScope+1):                    "longer than",
	} {
		got, err := ParseScope(in)
		if KindOf(err) != Invalid || !strings.Contains(AsError(err).Message(), want) {
			t.Errorf("ParseScope(%q) = %q, %v; want an Invalid error with %q", in, got, err, want)
		}
	}
}

func TestParseResource(t *testing.T) {
	for in, want := range map[string]Scope{
		"https://api.securitycenter.windows.com":                   "https://api.securitycenter.windows.com/.default",
		"https://api.securitycenter.windows.com/":                  "https://api.securitycenter.windows.com/.default",
		"https://securitycenter.onmicrosoft.com/windowsatpservice": "https://securitycenter.onmicrosoft.com/windowsatpservice/.default",
		"05a65629-4c1b-48c1-a78b-804c4abdd4af":                     "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default",
		"https://host.example/.default":                            "",
		"https://a.example https://b.example":                      "",
		"":                                                         "",
		"nonsense":                                                 "",
	} {
		got, err := ParseResource(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("ParseResource(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestScopeParts(t *testing.T) {
	s := Scope("https://graph.microsoft.com/A.Read https://graph.microsoft.com/B.Read")
	if got, want := s.Audience(), "https://graph.microsoft.com"; got != want {
		t.Errorf("Audience() = %q, want %q", got, want)
	}
	if diff := cmp.Diff([]string{"https://graph.microsoft.com/A.Read", "https://graph.microsoft.com/B.Read"}, s.Names()); diff != "" {
		t.Error(diff)
	}
	if got := Scope("").Audience(); got != "" {
		t.Errorf("the zero scope's audience is %q", got)
	}
}

// FuzzParseScope holds that what is accepted is canonical, stays so, and has
// nothing in it that could leave its place in a form or a log.
func FuzzParseScope(f *testing.F) {
	for _, seed := range []string{
		"https://api.security.microsoft.com/.default", "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default", "api://x/y",
		"openid https://a.example//b", "https://[::1]/x", "https://a.example:443/x", "https://0.A///0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseScope(in)
		if err != nil {
			if KindOf(err) != Invalid {
				t.Fatalf("kind %v", KindOf(err))
			}
			return
		}
		again, err := ParseScope(string(s))
		if err != nil || again != s {
			t.Fatalf("ParseScope(%q) = %q, which parses to %q, %v", in, s, again, err)
		}
		if s.Audience() == "" || strings.ContainsAny(string(s), "\"\\?#%@\n\r\t\x00") {
			t.Fatalf("ParseScope(%q) = %q", in, s)
		}
	})
}
