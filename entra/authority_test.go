package entra

import (
	"strings"
	"testing"
)

func TestParseAuthority(t *testing.T) {
	for in, want := range map[string]Authority{
		"https://login.microsoftonline.com/": "https://login.microsoftonline.com",
		"https://Login.Windows.net":          "https://login.microsoftonline.com",
		"https://login.chinacloudapi.cn":     "https://login.partner.microsoftonline.cn",
		"https://127.0.0.1:8443":             "https://127.0.0.1:8443",
	} {
		if got, err := ParseAuthority(in); err != nil || got != want {
			t.Errorf("ParseAuthority(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"http://login.microsoftonline.com": "want https",
		"login.microsoftonline.com":        "want https://host",
		"":                                 "want https://host",
		"https://login.microsoftonline.com/common": "host alone",
		"https://login.microsoftonline.com?x=1":    "host alone",
		"https://u:p@login.microsoftonline.com":    "without a user",
		"https://:443":                             "host alone",
		"https://login.microsoftonline.com/%zz":    "want https://host",
	} {
		if got, err := ParseAuthority(in); KindOf(err) != Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseAuthority(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestAuthorityURLs(t *testing.T) {
	a := Public.Authority()
	if got, want := a.TokenEndpoint("contoso.example"), "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := a.Host(), "login.microsoftonline.com"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestClouds(t *testing.T) {
	want := map[Cloud]Authority{
		Public: "https://login.microsoftonline.com", GCC: "https://login.microsoftonline.com",
		GCCHigh: "https://login.microsoftonline.us", DoD: "https://login.microsoftonline.us",
		China: "https://login.partner.microsoftonline.cn",
	}
	for _, c := range Clouds() {
		got, err := ParseCloud(string(c))
		if err != nil || got != c || c.Authority() != want[c] {
			t.Errorf("cloud %q: %q, %v, authority %q", c, got, err, c.Authority())
		}
	}
	if c, err := ParseCloud(""); c != Public || err != nil {
		t.Errorf("the empty cloud is %q, %v", c, err)
	}
	if _, err := ParseCloud("mars"); KindOf(err) != Invalid {
		t.Errorf("cloud mars: %v", err)
	}
}
