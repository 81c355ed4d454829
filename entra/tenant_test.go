package entra

import (
	"regexp"
	"strings"
	"testing"
)

func TestParseTenant(t *testing.T) {
	for in, want := range map[string]Tenant{
		"22222222-2222-2222-2222-222222222222": "22222222-2222-2222-2222-222222222222",
		"ABCDEF00-2222-2222-2222-222222222222": "abcdef00-2222-2222-2222-222222222222",
		"Contoso.OnMicrosoft.com":              "contoso.onmicrosoft.com",
		"xn--bcher-kva.example":                "xn--bcher-kva.example",
	} {
		if got, err := ParseTenant(in); err != nil || got != want {
			t.Errorf("ParseTenant(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "common", "organizations", "consumers", "adfs", "localhost", ".", "..", "../x", "a/b", "//evil.example/x",
		"a.example/", "a.example?x", "a.example#x", "a..example", ".example", "a.example.", "-a.example", "a-.example",
		"a b.example", "a.example\n", "bücher.example", "127.0.0.1", "22222222-2222-2222-2222-22222222222",
		"22222222-2222-2222-2222-2222222222222", "22222222_2222-2222-2222-222222222222", "g2222222-2222-2222-2222-222222222222",
		"%2e%2e.example", "a%2fb.example", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 130) + "example",
	} {
		if got, err := ParseTenant(in); KindOf(err) != Invalid || got != "" {
			t.Errorf("ParseTenant(%q) = %q, %v; want it refused as Invalid", in, got, err)
		}
	}
}

func TestIsGUID(t *testing.T) {
	if !IsGUID("ABCDEF00-2222-2222-2222-222222222222") || IsGUID("contoso.example") {
		t.Error("IsGUID is wrong")
	}
}

// FuzzParseTenant holds that an accepted tenant is one plain path segment.
func FuzzParseTenant(f *testing.F) {
	for _, seed := range []string{"contoso.example", "22222222-2222-2222-2222-222222222222", "../x", "a.b/c"} {
		f.Add(seed)
	}
	plain := regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*$`)
	f.Fuzz(func(t *testing.T, in string) {
		tenant, err := ParseTenant(in)
		if err == nil && (!plain.MatchString(string(tenant)) || !strings.EqualFold(string(tenant), in)) {
			t.Fatalf("ParseTenant(%q) = %q", in, tenant)
		}
	})
}
