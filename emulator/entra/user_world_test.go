package entraemu_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const (
	alice      = entraemu.DefaultUser
	bob        = entraemu.GuestUser
	fabrikam   = entraemu.OtherTenant
	localhost  = "http://localhost:49152"
	mdeHost    = "https://api.securitycenter.microsoft.com"
	alertScope = mdeHost + "/Alert.Read"
	verifier   = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge  = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // RFC 7636, appendix B
	tokenPath  = "oauth2/v2.0/token"
	devicePath = "oauth2/v2.0/devicecode"
	deviceType = "urn:ietf:params:oauth:grant-type:device_code"
	onBehalf   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	brokerAPI  = "api://" + client
)

// userAnswer is a token answer of version 2 for a user.
type userAnswer struct {
	tokenAnswer
	Scope      string `json:"scope"`
	Refresh    string `json:"refresh_token"`
	ID         string `json:"id_token"`
	ClientInfo string `json:"client_info"`
	Family     string `json:"foci"`
}

// userToken asks for a token, which must be given, and verifies it.
func (w *world) userToken(tb testing.TB, path string, form url.Values) (userAnswer, entra.Claims) {
	tb.Helper()
	got := w.post(tb, path, form)
	var token userAnswer
	if err := json.Unmarshal([]byte(got.body), &token); err != nil || got.StatusCode != http.StatusOK {
		tb.Fatalf("got %s %s, want a token", got.Status, got.body)
	}
	claims, err := w.Verify(token.Access)
	if err != nil {
		tb.Fatal(err)
	}
	return token, claims
}

// refused asks for a token, which must be refused with the number.
func (w *world) refused(t *testing.T, name, path string, form url.Values, number int, code string) entraError {
	t.Helper()
	got := w.post(t, path, form)
	if got.StatusCode == http.StatusOK {
		t.Errorf("%s: got a token, want %d", name, number)
		return entraError{}
	}
	e := parseError(t, got.body)
	if e.Codes[0] != number || e.Error != code {
		t.Errorf("%s: got %d %s, want %d %s: %s", name, e.Codes[0], e.Error, number, code, e.Description)
	}
	return e
}

// payload decodes a part of a token.
func payload(tb testing.TB, token string) map[string]any {
	tb.Helper()
	parsed, err := entra.ParseJWT(token)
	if err != nil {
		tb.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(parsed.Payload, &claims); err != nil {
		tb.Fatal(err)
	}
	return claims
}

// info decodes a client_info.
func info(tb testing.TB, text string) (uid, utid string) {
	tb.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	var ids struct{ UID, UTID string }
	if err != nil || json.Unmarshal(b, &ids) != nil {
		tb.Fatalf("client_info: got %q", text)
	}
	return ids.UID, ids.UTID
}

func (w *world) password(tb testing.TB, upn string) string {
	tb.Helper()
	user, ok := w.User(upn)
	if !ok {
		tb.Fatalf("no user %s", upn)
	}
	return user.Password.Reveal()
}

// edit changes a user.
func (w *world) edit(tb testing.TB, upn string, edit func(*entraemu.User)) {
	tb.Helper()
	user, ok := w.User(upn)
	if !ok {
		tb.Fatalf("no user %s", upn)
	}
	edit(&user)
	if err := w.SetUser(user); err != nil {
		tb.Fatal(err)
	}
}

// byPassword is a good request for a token with a user's password.
func (w *world) byPassword(tb testing.TB, upn string, pairs ...string) url.Values {
	tb.Helper()
	return form(url.Values{
		"grant_type": {"password"}, "client_id": {client}, "username": {upn}, "password": {w.password(tb, upn)},
		"scope": {alertScope + " openid profile offline_access"}, "client_info": {"1"},
	}, pairs...)
}

// byRefresh is a good request for a token with a refresh token.
func byRefresh(token string, pairs ...string) url.Values {
	return form(url.Values{"grant_type": {"refresh_token"}, "client_id": {client}, "refresh_token": {token}, "scope": {alertScope}}, pairs...)
}

// person is a user with a browser of their own.
func (w *world) person(tb testing.TB, upn string) *entraemu.Person {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return &entraemu.Person{HTTP: &http.Client{Transport: w.http.Transport, Jar: jar}, User: upn, Password: w.password(tb, upn)}
}

// authorizeURL is a good request for a code.
func authorizeURL(pairs ...string) string {
	query := form(url.Values{
		"client_id": {client}, "response_type": {"code"}, "redirect_uri": {localhost}, "state": {"a&b"}, "nonce": {"n"},
		"scope": {alertScope + " openid offline_access"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}, pairs...)
	name := query.Get("tenant")
	if name == "" {
		name = tenant
	}
	query.Del("tenant")
	return "https://" + host + "/" + name + "/oauth2/v2.0/authorize?" + query.Encode()
}

// goes signs a person in, and returns where and with what they were sent back.
func goes(t *testing.T, p *entraemu.Person, page string) (to string, answer url.Values) {
	t.Helper()
	req, err := p.SignIn(t.Context(), page)
	if err != nil {
		t.Fatal(err)
	}
	if req.Method == http.MethodPost {
		if err := req.ParseForm(); err != nil {
			t.Fatal(err)
		}
		return req.URL.String(), req.PostForm
	}
	text := req.URL.RawQuery
	if req.URL.Fragment != "" {
		_, text, _ = strings.Cut(req.URL.String(), "#")
	}
	if answer, err = url.ParseQuery(text); err != nil {
		t.Fatal(err)
	}
	to = req.URL.Scheme + "://" + req.URL.Host + req.URL.Path
	return to, answer
}

// code signs a person in, who must be given a code.
func (w *world) code(t *testing.T, p *entraemu.Person, pairs ...string) string {
	t.Helper()
	_, answer := goes(t, p, authorizeURL(pairs...))
	if answer.Get("code") == "" {
		t.Fatalf("got %v, want a code", answer)
	}
	return answer.Get("code")
}

// byCode is a good request for a token with a code.
func byCode(code string, pairs ...string) url.Values {
	return form(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {client}, "code": {code}, "redirect_uri": {localhost},
		"code_verifier": {verifier}, "client_info": {"1"},
	}, pairs...)
}

// fieldsOf decodes an answer into its fields.
func fieldsOf(tb testing.TB, body string) map[string]any {
	tb.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(body), &fields); err != nil || fields["access_token"] == nil {
		tb.Fatalf("got %s, want a token", body)
	}
	return fields
}

func newSecret(text string) entra.Secret { return entra.NewSecret(text) }
