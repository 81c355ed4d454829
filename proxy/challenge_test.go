package proxy

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChallengesParse(t *testing.T) {
	bearer := func(params ...string) challenge {
		c := challenge{scheme: "bearer", params: map[string]string{}}
		for i := 0; i < len(params); i += 2 {
			c.params[params[i]] = params[i+1]
		}
		return c
	}
	for _, tc := range []struct {
		name, line string
		want       []challenge
	}{
		{"nothing", "", nil},
		{"only commas", " , ,, ", nil},
		{"a scheme", "Negotiate", []challenge{{scheme: "negotiate"}}},
		{"a token68", "Negotiate a87421000492aa874209af8bc028==", []challenge{{scheme: "negotiate", token68: "a87421000492aa874209af8bc028=="}}},
		{"a parameter", `Bearer realm=""`, []challenge{bearer("realm", "")}},
		{"parameters", `Bearer realm="x", Error=invalid_token ,charset = "UTF-8"`, []challenge{bearer("realm", "x", "error", "invalid_token", "charset", "UTF-8")}},
		{"empty elements", `,Bearer ,a=b,, ,c=d,`, []challenge{bearer("a", "b", "c", "d")}},
		{"quotes and commas inside", `Bearer realm="a \"b\", Basic realm=\\", x=y`, []challenge{bearer("realm", `a "b", Basic realm=\`, "x", "y")}},
		{
			"several challenges",
			`Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple"`, // RFC 9110 §11.6.1
			[]challenge{
				{scheme: "newauth", params: map[string]string{"realm": "apps", "type": "1", "title": `Login to "apps"`}},
				{scheme: "basic", params: map[string]string{"realm": "simple"}},
			},
		},
		{
			"a token68 and a scheme between",
			`Negotiate abc=, NTLM, Bearer error="insufficient_claims"`,
			[]challenge{{scheme: "negotiate", token68: "abc="}, {scheme: "ntlm"}, bearer("error", "insufficient_claims")},
		},
		{"a parameter twice", `Bearer error=first, error=second`, []challenge{bearer("error", "first")}},
		{"a quote that does not end", `Bearer a=b, c="d`, []challenge{bearer("a", "b")}},
		{"a backslash at the end", `Bearer a=b, c="d\`, []challenge{bearer("a", "b")}},
		{"a value that is missing", `Bearer a=b, c=`, []challenge{bearer("a", "b")}},
		{"no scheme", `="x"`, nil},
		{"a scheme that is no token", `Bearer@ a=b`, []challenge{{scheme: "bearer"}}},
		{"a comma that is missing", `Bearer a=b c=d`, []challenge{bearer("a", "b")}},
		{"not ASCII", "B\u00e4rer x=y", []challenge{{scheme: "b"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := parseChallenges(tc.line)
			if diff := cmp.Diff(got, tc.want, cmp.AllowUnexported(challenge{})); diff != "" {
				t.Errorf("%s (-got +want):\n%s", tc.line, diff)
			}
		})
	}
}

func TestChallengesAreBounded(t *testing.T) {
	if got := len(parseChallenges(strings.Repeat("Bearer a=b, ", 1000))); got != maxChallenges {
		t.Errorf("got %d challenges of one line, want %d", got, maxChallenges)
	}
}

func TestClaimsChallenge(t *testing.T) {
	const claims = `{"access_token":{"nbf":{"essential":true,"value":"1604106651"}},"x":"?>?>"}`
	std := base64.StdEncoding.EncodeToString([]byte(claims))
	bare := base64.RawURLEncoding.EncodeToString([]byte(claims))
	if !strings.ContainsAny(std, "+/") || !strings.ContainsAny(bare, "-_") {
		t.Fatal("the alphabets do not differ in this sample")
	}
	lines := func(lines ...string) []string { return lines }
	for _, tc := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"none", nil, ""},
		{"Entra's own form", lines(`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="` + std + `"`), claims},
		{"the other alphabet, not padded", lines(`Bearer error=insufficient_claims, claims=` + bare), claims},
		{"not the first challenge", lines(`Negotiate, Basic realm="x", bearer claims="` + std + `", error="insufficient_claims"`), claims},
		{"not the first line", lines(`Basic realm="x"`, `Bearer error="insufficient_claims", claims="`+std+`"`), claims},
		{"another error", lines(`Bearer error="invalid_token", claims="` + std + `"`), ""},
		{"another scheme", lines(`PoP error="insufficient_claims", claims="` + std + `"`), ""},
		{"not base64", lines(`Bearer error="insufficient_claims", claims="{}"`), ""},
		{"not JSON", lines(`Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(`{"a":`)) + `"`), ""},
		{"not an object", lines(`Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(`"x"`)) + `"`), ""},
		{"too long", lines(`Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(`{"a":"`+strings.Repeat("x", maxClaims)+`"}`)) + `"`), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := claimsChallenge(http.Header{"Www-Authenticate": tc.lines}); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// FuzzChallenge: a header is read without a panic, within bounds, and what is
// read from it can be written down and read again.
func FuzzChallenge(f *testing.F) {
	f.Add(`Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple"`)
	f.Add(`Negotiate abc=, NTLM, Bearer error="insufficient_claims", claims="e30="`)
	f.Add(`Bearer a="\`)
	f.Add(`,,=,"`)
	f.Fuzz(func(t *testing.T, line string) {
		all := parseChallenges(line)
		if len(all) > maxChallenges {
			t.Fatalf("%d challenges", len(all))
		}
		var text []string
		quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
		for _, c := range all {
			if c.scheme == "" || c.token68 != "" && c.params != nil {
				t.Fatalf("no challenge of RFC 9110: %+v", c)
			}
			one, params := c.scheme, []string{}
			for name, value := range c.params {
				params = append(params, name+`="`+quote.Replace(value)+`"`)
			}
			if c.token68 != "" || c.params != nil {
				one += " " + c.token68 + strings.Join(params, ", ")
			}
			text = append(text, one)
		}
		again := parseChallenges(strings.Join(text, ", "))
		if diff := cmp.Diff(again, all, cmp.AllowUnexported(challenge{})); diff != "" {
			t.Errorf("%q reads differently when written as %q:\n%s", line, text, diff)
		}
	})
}
