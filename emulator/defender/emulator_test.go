package defenderemu

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

const (
	tenant = "22222222-2222-2222-2222-222222222222"
	client = "11111111-1111-1111-1111-111111111111"
)

// noon is when the data of tests end.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// emulator is a Server and who calls it in a test.
type emulator struct {
	*Server
	t         *testing.T
	catalogue *defender.Catalogue
}

func newEmulator(t *testing.T, settings ...func(*Config)) *emulator {
	t.Helper()
	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Catalogue: catalogue, Verify: readToken, Now: noon}
	for _, set := range settings {
		set(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &emulator{s, t, catalogue}
}

// token makes what readToken takes for a token: the claims alone.
func token64(claims entra.Claims) string {
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func readToken(token string) (entra.Claims, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return entra.Claims{}, err
	}
	var claims entra.Claims
	if err := json.Unmarshal(b, &claims); err != nil {
		return entra.Claims{}, err
	}
	if !claims.Expires.Time().IsZero() && claims.Expires.Time().Before(time.Now()) {
		return entra.Claims{}, errors.New("expired")
	}
	return claims, nil
}

var audiences = map[defender.API]string{
	defender.XDR:   "https://api.security.microsoft.com",
	defender.MDE:   "https://api.securitycenter.microsoft.com",
	defender.Graph: "https://graph.microsoft.com",
	defender.MDCA:  "05a65629-4c1b-48c1-a78b-804c4abdd4af",
}

// may makes the claims of an application's token for an API.
func may(api defender.API, roles ...string) entra.Claims {
	return entra.Claims{Audience: entra.Audience{audiences[api]}, Tenant: tenant, AppID: client, Roles: roles}
}

// all makes the claims of a token that opens every endpoint of an API.
func (e *emulator) all(api defender.API) entra.Claims {
	claims := may(api)
	for _, endpoint := range e.catalogue.Endpoints() {
		if endpoint.API == api {
			claims.Roles = append(claims.Roles, endpoint.App...)
		}
	}
	slices.Sort(claims.Roles)
	claims.Roles = slices.Compact(claims.Roles)
	return claims
}

// answered is an answer to a request of a test.
type answered struct {
	*httptest.ResponseRecorder
	t *testing.T
}

// request makes a request with a token of these claims.
func (e *emulator) request(claims entra.Claims, method, uri, body string) *http.Request {
	e.t.Helper()
	r := httptest.NewRequestWithContext(e.t.Context(), method, uri, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token64(claims))
	return r
}

func (e *emulator) send(r *http.Request) answered {
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return answered{w, e.t}
}

// call makes a call that has every permission, with the audience that the path
// wants.
func (e *emulator) call(method, uri, body string) answered {
	e.t.Helper()
	r := e.request(entra.Claims{}, method, uri, body)
	api := apiOf(r.URL.Path)
	if endpoint, ok := e.catalogue.Match(method, r.URL.Path); ok {
		api = endpoint.API
	}
	r.Header.Set("Authorization", "Bearer "+token64(e.all(api)))
	return e.send(r)
}

func (e *emulator) get(uri string) answered {
	e.t.Helper()
	return e.call(http.MethodGet, uri, "")
}

// is fails the test unless the answer has a status and, where it is an error, a
// code.
func (a answered) is(status int, code string) answered {
	a.t.Helper()
	got := ""
	if a.Code >= 400 {
		var body struct {
			Error struct{ Code, Message, Target string }
		}
		a.into(&body)
		got = body.Error.Code
	}
	if a.Code != status || got != code {
		a.t.Fatalf("got %d %q, want %d %q; body %.300s", a.Code, got, status, code, a.Body)
	}
	return a
}

func (a answered) ok() answered {
	a.t.Helper()
	return a.is(http.StatusOK, "")
}

// into reads the answer's body.
func (a answered) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal(a.Body.Bytes(), v); err != nil {
		a.t.Fatalf("%v in %.300s", err, a.Body)
	}
}

// message is the text of an error.
func (a answered) message() string {
	a.t.Helper()
	var body struct {
		Error struct{ Message string }
	}
	a.into(&body)
	return body.Error.Message
}

// listed is the body of a list.
type listed struct {
	Context  string           `json:"@odata.context"`
	Count    *int             `json:"@odata.count"`
	NextLink string           `json:"@odata.nextLink"`
	Value    []map[string]any `json:"value"`
}

// list makes a call for a list and reads it.
func (e *emulator) list(uri string) listed {
	e.t.Helper()
	var l listed
	e.get(uri).ok().into(&l)
	return l
}

// thing makes a call for a single thing and reads it.
func (e *emulator) thing(uri string) map[string]any {
	e.t.Helper()
	var v map[string]any
	e.get(uri).ok().into(&v)
	return v
}

// first is a property of the first row of a list.
func (e *emulator) first(uri, property string) string {
	e.t.Helper()
	l := e.list(uri)
	if len(l.Value) == 0 {
		e.t.Fatalf("%s: no rows", uri)
	}
	s, _ := l.Value[0][property].(string)
	return s
}

// properties are one property of every row.
func (l listed) properties(name string) []any {
	return each(l.Value, func(row *map[string]any) any { return (*row)[name] })
}
