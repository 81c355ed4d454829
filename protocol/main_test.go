package protocol_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/protocol"
	"tokenbroker/route"
)

const (
	tenant   = entra.Tenant("22222222-2222-2222-2222-222222222222")
	customer = entra.Tenant("customer.example")
	own      = entra.Scope("https://own.example/.default")
	second   = entra.Scope("https://second.example/.default")
	single   = entra.Scope("https://single.example/.default")
	narrow   = entra.Scope("https://narrow.example/.default")

	payload = `{"aud":"https://own.example","roles":["Machine.Read.All"],"appid":"1"}`
)

// jwt is a token with the payload above, as long as real ones are. The
// signature tells tokens apart.
func jwt(signature string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(payload)) + "." + encode([]byte(strings.Repeat(signature, 300)))
}

// table has the routes "two", whose host serves two APIs, "one" and "narrow",
// which is restricted; and the identities "default", "app-2", and "people",
// which acts on behalf of users.
func table(tb testing.TB) *route.Table {
	tb.Helper()
	pattern, err := route.ParsePattern("/api/incidents/**")
	if err != nil {
		tb.Fatal(err)
	}
	two := route.Route{Name: "two", Upstream: &url.URL{Scheme: "https", Host: "own.example"}}
	two.Host = &defender.Host{Name: "own.example", XDR: own, MDE: second}
	cfg := route.Config{
		Catalogue: new(defender.Catalogue),
		Identities: []route.Identity{
			{Name: "default", ID: "id-1", Tenant: tenant, Tenants: []entra.Tenant{customer}},
			{Name: "app-2", ID: "id-2", Tenant: tenant},
			{Name: "people", ID: "id-3", Tenant: tenant, OnBehalfOf: true},
		},
		Routes: []route.Route{
			two,
			{Name: "one", Upstream: &url.URL{Scheme: "https", Host: "one.example", Path: "/base"}, Identity: "app-2", Scope: single},
			{
				Name: "narrow", Upstream: &url.URL{Scheme: "https", Host: "narrow.example"}, Scope: narrow, Access: route.ReadOnly,
				Allow: []route.Rule{{Methods: []string{"GET", "PATCH"}, Path: pattern}},
				Deny:  []route.Rule{{Path: pattern}},
			},
		},
	}
	made, err := route.NewTable(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return made
}

// visible shows every caller the whole table.
func visible(table *route.Table) func(context.Context) *route.Table {
	return func(context.Context) *route.Table { return table }
}

// refusal is how the tests' WriteError writes a failure.
func refusal(w http.ResponseWriter, r *http.Request, e *entra.Error) {
	entra.TrailOf(r.Context()).Failure = e
	w.WriteHeader(http.StatusTeapot)
	_, _ = io.WriteString(w, e.Kind.String()+" "+e.Message())
}

// wire is the native protocol on a real listener.
type wire struct {
	*httptest.Server
	asked []entra.Request // of the source, in order
	trail *entra.Trail    // of the last request
}

func serve(t *testing.T, source entra.SourceFunc) *wire {
	t.Helper()
	var s wire
	n := protocol.Native{WriteError: refusal, Tokens: protocol.Tokens{Table: visible(table(t)), Source: entra.SourceFunc(func(ctx context.Context, req entra.Request) (entra.Token, error) {
		s.asked = append(s.asked, req)
		return source(ctx, req)
	})}}
	mux := http.NewServeMux()
	mux.HandleFunc("/token", n.Token)
	mux.HandleFunc("/claims", n.Claims)
	mux.HandleFunc("/routes", n.Routes)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.trail = new(entra.Trail)
		mux.ServeHTTP(w, r.WithContext(entra.WithTrail(r.Context(), s.trail)))
	}))
	t.Cleanup(s.Close)
	return &s
}

// issue is a source that knows every scope. A request with a rejected token
// gets another one.
func issue(_ context.Context, req entra.Request) (entra.Token, error) {
	signature := "first"
	if req.Rejected != "" {
		signature = "second"
	}
	return entra.NewToken(jwt(signature), req.Scope, time.Now().Add(time.Hour), time.Time{})
}

// answer is a response that was read to its end.
type answer struct {
	*http.Response
	body string
}

func (s *wire) do(t *testing.T, method, target string, body io.Reader, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+target, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res, string(got)}
}

func (s *wire) get(t *testing.T, target string, headers ...string) answer {
	t.Helper()
	return s.do(t, http.MethodGet, target, nil, headers...)
}

const isForm = "Content-Type: application/x-www-form-urlencoded"

func (s *wire) post(t *testing.T, target, form string) answer {
	t.Helper()
	return s.do(t, http.MethodPost, target, strings.NewReader(form), isForm)
}
