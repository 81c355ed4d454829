package protocol_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/protocol"
)

// userClaims are those of a token that a test shows.
const userClaims = `{"aud":"https://own.example","exp":4102444800,"azp":"11111111-1111-1111-1111-111111111111","scp":"Machine.Read Alert.Read","Active":false,"n":12345678901234567890}`

func unsigned(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + ".eA"
}

// introspect serves /introspect with a verifier that knows the words below.
func introspect(t *testing.T, held ...string) *wire {
	t.Helper()
	var s wire
	i := protocol.Introspection{
		WriteError: refusal,
		Held: func(shown entra.Secret) bool {
			for _, token := range held {
				if shown.Equal(entra.NewSecret(token)) {
					return true
				}
			}
			return false
		},
		Verify: func(_ context.Context, shown entra.Secret) (entra.JWT, error) {
			s.asked = append(s.asked, entra.Request{Assertion: shown})
			refuse := func(kind entra.Kind, code string) (entra.JWT, error) {
				err := entra.Errorf(kind, "verify.token", "token: is %s", code)
				err.Code = code
				return entra.JWT{}, err
			}
			switch shown.Reveal() {
			case "opaque-canary":
				return refuse(entra.Invalid, "opaque")
			case "expired-canary":
				return refuse(entra.Unadmitted, "expired")
			case "any-canary":
				err := entra.Errorf(entra.Unavailable, "verify.keys", "its keys cannot be had")
				err.RetryAfter = time.Second
				return entra.JWT{}, err
			}
			return entra.ParseJWT(shown.Reveal())
		},
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.trail = new(entra.Trail)
		i.ServeHTTP(w, r.WithContext(entra.WithTrail(r.Context(), s.trail)))
	}))
	t.Cleanup(s.Close)
	return &s
}

func tokenForm(token string) string { return url.Values{"token": {token}}.Encode() }

func TestIntrospectionOfATokenThatIsRight(t *testing.T) {
	const want = `{"active":true,"aud":"https://own.example","azp":"11111111-1111-1111-1111-111111111111","client_id":"11111111-1111-1111-1111-111111111111",` +
		`"exp":4102444800,"n":12345678901234567890,"scope":"Machine.Read Alert.Read","scp":"Machine.Read Alert.Read","token_type":"Bearer"}` + "\n"
	s := introspect(t)
	for _, form := range []string{
		tokenForm(unsigned(userClaims)),
		tokenForm(unsigned(userClaims)) + "&token_type_hint=access_token",
		tokenForm(unsigned(userClaims)) + "&token_type_hint=whatever&client_id=x",
	} {
		a := s.post(t, "/introspect", form)
		if a.StatusCode != http.StatusOK || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %d %v", a.StatusCode, a.Header)
		}
		if diff := cmp.Diff(want, a.body); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestIntrospectionOfATokenThatIsNotRight(t *testing.T) {
	s := introspect(t)
	for token, reason := range map[string]string{"opaque-canary": "opaque", "expired-canary": "expired"} {
		a := s.post(t, "/introspect", tokenForm(token))
		want := `{"active":false,"reason":"` + reason + `","detail":"token: is ` + reason + `"}` + "\n"
		if a.StatusCode != http.StatusOK || a.body != want || a.Header.Get("Cache-Control") != "no-store" || s.trail.Failure != nil {
			t.Errorf("got %d %s, want %s", a.StatusCode, a.body, want)
		}
	}
}

// Nobody can verify Graph's tokens, and of an opaque one there is nothing to
// verify; that they are held is enough.
func TestTokenHeldIsNotVerified(t *testing.T) {
	s := introspect(t, unsigned(userClaims), unsigned("null"), "opaque-canary")
	for token, want := range map[string]string{
		unsigned(userClaims): `"scope":"Machine.Read Alert.Read"`,
		unsigned("null"):     `{"active":true,"token_type":"Bearer"}`,
		"opaque-canary":      `{"active":true,"token_type":"Bearer"}`,
	} {
		if a := s.post(t, "/introspect", tokenForm(token)); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"active":true`) || !strings.Contains(a.body, want) {
			t.Errorf("got %d %s, want %s", a.StatusCode, a.body, want)
		}
	}
	if len(s.asked) > 0 {
		t.Error("a token that is held was verified")
	}
}

func TestIntrospectionThatFails(t *testing.T) {
	for _, tt := range []struct {
		name, query, form, media string
		want                     string // the kind, and a part of the text
	}{
		{name: "no keys", form: "token=any-canary", want: "unavailable its keys cannot be had"},
		{name: "no form", want: "invalid form: want token=..."},
		{name: "no token", form: "token_type_hint=access_token", want: "invalid form: want token=..."},
		{name: "an empty token", form: "token=", want: "invalid form: want token=..."},
		{name: "two tokens", form: "token=any-canary&token=other-canary", want: "invalid form: want token=..."},
		{name: "in the query", query: "?token=any-canary", want: "invalid query: has no place here"},
		{name: "in the query too", query: "?token=any-canary", form: "token=any-canary", want: "invalid query: has no place here"},
		{name: "malformed", form: "token=canary%zz", want: "invalid form: not well-formed"},
		{name: "JSON", form: `{"token":"canary"}`, media: "application/json", want: `invalid Content-Type "application/json"`},
		{name: "too large", form: "token=" + strings.Repeat("a", 64<<10), want: "invalid form: larger than 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := introspect(t)
			media := isForm
			if tt.media != "" {
				media = "Content-Type: " + tt.media
			}
			a := s.do(t, http.MethodPost, "/introspect"+tt.query, strings.NewReader(tt.form), media)
			if a.StatusCode != http.StatusTeapot || !strings.HasPrefix(a.body, tt.want) || strings.Contains(a.body, "canary") {
				t.Errorf("got %d %s, want %q", a.StatusCode, a.body, tt.want)
			}
		})
	}
}
