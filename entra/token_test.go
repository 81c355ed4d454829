package entra

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func mustToken(t *testing.T, access string) Token {
	t.Helper()
	tok, err := NewToken(access, "https://a.example/.default", noon.Add(time.Hour), noon.Add(40*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestTokenTimes(t *testing.T) {
	tok := mustToken(t, "abc")
	if !tok.ValidFor(noon, 59*time.Minute) || tok.ValidFor(noon, time.Hour) || new(Token).ValidFor(noon, 0) {
		t.Error("ValidFor is wrong")
	}
	if tok.Stale(noon.Add(40*time.Minute-1)) || !tok.Stale(noon.Add(40*time.Minute)) || new(Token).Stale(noon) {
		t.Error("Stale is wrong")
	}
}

func TestTokenAnswer(t *testing.T) {
	tok := mustToken(t, "abc.def-_~+/=")
	var got map[string]any
	if err := json.Unmarshal([]byte("{"+string(tok.AppendMembers(nil, noon.Add(500*time.Millisecond)))+"}"), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"access_token": "abc.def-_~+/=", "token_type": "Bearer", "scope": "https://a.example/.default",
		"expires_in": 3599.0, "expires_on": float64(noon.Add(time.Hour).Unix()),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := string(tok.AppendMembers(nil, noon.Add(2*time.Hour))); !strings.Contains(got, `"expires_in":0`) {
		t.Errorf("an expired token's answer is %s", got)
	}
	if diff := cmp.Diff([]string{"Bearer abc.def-_~+/="}, tok.Header()); diff != "" {
		t.Error(diff)
	}
	if got := string(tok.AppendAccess([]byte("before "))); got != "before abc.def-_~+/=" {
		t.Errorf("the token itself is appended as %s", got)
	}
	if zero := new(Token); zero.Header() != nil || zero.AppendMembers(nil, noon) != nil || zero.AppendAccess(nil) != nil {
		t.Error("the zero Token answers something")
	}
}

func TestNewTokenRefusesWhatNoHeaderBears(t *testing.T) {
	for _, access := range []string{"", "a b", "a\r\nX: y", "ü", `a"b`} {
		if _, err := NewToken(access, "s", noon, noon); KindOf(err) != Unavailable {
			t.Errorf("NewToken(%q): %v", access, err)
		}
	}
}

func TestTokenDecodes(t *testing.T) {
	tok := mustToken(t, jwt(`{"aud":"https://a.example","appid":"id","roles":["A.Read.All"],"exp":1795262400}`))
	decoded, err := tok.JWT()
	if err != nil {
		t.Fatal(err)
	}
	c := decoded.Claims
	if c.Client() != "id" || c.Delegated() || c.Expires.Time() != time.Unix(1795262400, 0).UTC() {
		t.Errorf("claims %+v", c)
	}
	if diff := cmp.Diff([]string{"A.Read.All"}, c.Permissions()); diff != "" {
		t.Error(diff)
	}
	opaque := mustToken(t, "opaque")
	if _, err := opaque.JWT(); KindOf(err) != Invalid {
		t.Errorf("an opaque token: %v", err)
	}
}

func jwt(payload string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"alg":"RS256"}`)) + "." + b64([]byte(payload)) + ".c2ln"
}

func TestParseJWT(t *testing.T) {
	j, err := ParseJWT(jwt(`{"aud":["a","b"],"azp":"client","scp":"X.Read Y.Read","iat":1.5e9}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Audience{"a", "b"}, j.Claims.Audience); diff != "" {
		t.Error(diff)
	}
	if !j.Claims.Delegated() || j.Claims.Client() != "client" || len(j.Claims.Permissions()) != 2 || !new(Epoch).Time().IsZero() {
		t.Errorf("claims %+v", j.Claims)
	}
	for in, want := range map[string]string{
		"a.b.c.d.e":        "encrypted",
		"opaque":           "opaque",
		"!.e30.x":          "part 1",
		"e30.bm90anNvbg.x": "part 2",
		jwt(`{"aud":7}`):   "unexpected types",
		jwt(`{"a":"]]\"[","b":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`): "nested more than 32 deep",
		jwt(`[]`):                     "unexpected types",
		strings.Repeat("a", maxJWT+1): "longer than",
	} {
		if _, err := ParseJWT(in); KindOf(err) != Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseJWT(%.20q): %v, want %q", in, err, want)
		}
	}
}

func TestAudienceMarshals(t *testing.T) {
	one, _ := json.Marshal(Audience{"a"})
	two, _ := json.Marshal(Audience{"a", "b"})
	if string(one) != `"a"` || string(two) != `["a","b"]` {
		t.Errorf("got %s and %s", one, two)
	}
}

// FuzzParseJWT holds that no input crashes the decoder or is echoed by it.
func FuzzParseJWT(f *testing.F) {
	f.Add(jwt(`{"aud":"a"}`))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, in string) {
		j, err := ParseJWT(in)
		if err == nil && (!json.Valid(j.Header) || !json.Valid(j.Payload)) {
			t.Fatal("accepted, but not JSON")
		}
	})
}
