package protocol_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
)

func TestWhatTheSourceIsAsked(t *testing.T) {
	s := serve(t, issue)
	for _, tt := range []struct {
		name, query string
		want        entra.Request
	}{
		{"scope", "scope=" + string(single), entra.Request{Identity: "id-2", Tenant: tenant, Scope: single}},
		{"scope, odd spelling", "scope=HTTPS://Single.Example//.default+openid", entra.Request{Identity: "id-2", Tenant: tenant, Scope: single}},
		{"resource", "resource=https://own.example/", entra.Request{Identity: "id-1", Tenant: tenant, Scope: own}},
		{"route", "route=one", entra.Request{Identity: "id-2", Tenant: tenant, Scope: single, Route: "one"}},
		{"route of two scopes", "route=two", entra.Request{Identity: "id-1", Tenant: tenant, Scope: own, Route: "two"}},
		{"route and path", "route=two&path=/api/machines", entra.Request{Identity: "id-1", Tenant: tenant, Scope: second, Route: "two"}},
		{"identity", "scope=" + string(own) + "&identity=app-2", entra.Request{Identity: "id-2", Tenant: tenant, Scope: own}},
		{"tenant", "route=two&tenant=CUSTOMER.example", entra.Request{Identity: "id-1", Tenant: customer, Scope: own, Route: "two"}},
		{"not fresh", "route=one&fresh=false", entra.Request{Identity: "id-2", Tenant: tenant, Scope: single, Route: "one"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ways := map[string]func() answer{
				"query":         func() answer { return s.get(t, "/token?"+tt.query) },
				"form":          func() answer { return s.post(t, "/token", tt.query) },
				"query of POST": func() answer { return s.do(t, http.MethodPost, "/token?"+tt.query, nil) },
				"claims":        func() answer { return s.get(t, "/claims?"+tt.query) },
				"HEAD":          func() answer { return s.do(t, http.MethodHead, "/token?"+tt.query, nil) },
				"length 0":      func() answer { return s.do(t, http.MethodGet, "/token?"+tt.query, http.NoBody, "Content-Length: 0") },
				"charset": func() answer {
					return s.do(t, http.MethodPost, "/token", strings.NewReader(tt.query), isForm+"; charset=utf-8")
				},
				"media, odd case": func() answer {
					return s.do(t, http.MethodPost, "/token", strings.NewReader(tt.query), "Content-Type: Application/X-WWW-Form-URLencoded")
				},
			}
			for way, ask := range ways {
				s.asked = nil
				if a := ask(); a.StatusCode != http.StatusOK {
					t.Errorf("%s: got %d %s", way, a.StatusCode, a.body)
				}
				want := tt.want
				if way == "claims" {
					want.Use = entra.Inspect
				}
				if diff := cmp.Diff([]entra.Request{want}, s.asked, cmp.Comparer(func(a, b entra.Secret) bool { return a == b })); diff != "" {
					t.Errorf("%s (-want +got):\n%s", way, diff)
				}
			}
		})
	}
}

func TestQueryAndFormAreOneRequest(t *testing.T) {
	s := serve(t, issue)
	if a := s.post(t, "/token?route=two", "tenant=customer.example"); a.StatusCode != http.StatusOK {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	if got := s.asked[0]; got.Route != "two" || got.Tenant != customer {
		t.Errorf("got %+v, want both parts of it", got)
	}
}

func TestFreshAsksForAnotherToken(t *testing.T) {
	s := serve(t, issue)
	first, err := issue(t.Context(), entra.Request{})
	if err != nil {
		t.Fatal(err)
	}
	a := s.post(t, "/token", "route=one&fresh=true")
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, jwt("second")) {
		t.Errorf("got %d %s, want the second token", a.StatusCode, a.body)
	}
	if len(s.asked) != 2 || s.asked[0].Rejected != "" || s.asked[1].Rejected != first.Access.Fingerprint() {
		t.Errorf("got %+v, want the held token asked for, then another than it", s.asked)
	}
}

func TestRefusedInput(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name, method, query string
		body, media         string
		want                string // the kind, and a part of the text
	}{
		{name: "nothing", want: "invalid what for? say scope="},
		{name: "no target", query: "tenant=customer.example", want: "invalid what for?"},
		{name: "scope and resource", query: "scope=https://a.example/.default&resource=https://a.example", want: "invalid scope and resource: two answers"},
		{name: "scope and route", query: "scope=https://a.example/.default&route=one", want: "invalid scope and route: two answers"},
		{name: "resource and route", query: "resource=https://a.example&route=one", want: "invalid resource and route: two answers"},
		{name: "all three", query: "resource=https://a.example&route=one&scope=https://a.example/.default", want: "invalid scope and resource and route: two answers"},
		{name: "scope and path", query: "scope=https://a.example/.default&path=/api/x", want: "invalid path"},
		{name: "twice, alike", query: "route=one&route=one", want: `invalid parameter route: said twice`},
		{name: "twice", query: "route=one&tenant=a.example&tenant=b.example", want: `invalid parameter tenant: said twice`},
		{name: "twice, escaped", query: "route=one&rout%65=two", want: `invalid parameter route: said twice`},
		{name: "query and form", method: "POST", query: "route=one", body: "route=one", want: `invalid parameter route: said twice`},
		{name: "scope in the query, route in the form", method: "POST", query: "scope=https://a.example/.default", body: "route=one", want: "invalid scope and route: two answers"},
		{name: "unknown", query: "route=one&subject=x", want: `invalid parameter "subject": not known; want scope, resource`},
		{name: "several faults", query: "zeta=x&route=&alpha=x&tenant=a&tenant=b", want: `invalid parameter "alpha": not known`},
		{name: "unknown, odd case", query: "Route=one", want: `invalid parameter "Route": not known`},
		{name: "unknown, no name", query: "route=one&=x", want: `invalid parameter "": not known`},
		{name: "unknown in the form", method: "POST", body: "route=one&client_secret=canary", want: `invalid parameter "client_secret": not known`},
		{name: "empty tenant", query: "route=one&tenant=", want: `invalid parameter tenant: empty`},
		{name: "empty identity", query: "route=one&identity", want: `invalid parameter identity: empty`},
		{name: "empty route", query: "route=", want: `invalid parameter route: empty`},
		{name: "empty scope beside a route", query: "route=one&scope=", want: `invalid parameter scope: empty`},
		{name: "bare semicolon", query: "route=one;tenant=customer.example", want: "invalid query: not well-formed"},
		{name: "broken escape", query: "route=one&x=canary%zz", want: "invalid query: not well-formed"},
		{name: "broken escape in the form", method: "POST", body: "route=one&x=canary%zz", want: "invalid form: not well-formed"},
		{name: "malformed scope", query: "scope=canary", want: "invalid scope"},
		{name: "two resources", query: "scope=https://a.example/x+https://b.example/y", want: "invalid scope"},
		{name: "malformed resource", query: "resource=https://a.example/.default", want: "invalid resource"},
		{name: "malformed path", query: "route=two&path=/api/../x", want: "invalid path"},
		{name: "malformed tenant", query: "route=one&tenant=../common", want: "invalid tenant"},
		{name: "foreign tenant", query: "route=one&tenant=foreign.example", want: "denied tenant foreign.example"},
		{name: "unknown route", query: "route=none", want: `not_found route "none": no such route; there are: two, one, narrow`},
		{name: "unknown identity", query: "route=one&identity=none", want: `not_found identity "none": no such identity`},
		{name: "fresh, empty", method: "POST", body: "route=one&fresh=", want: `invalid parameter fresh: empty`},
		{name: "assertion to an application", method: "POST", body: "route=one&assertion=canary", want: `invalid user assertion: identity "app-2" does not act on behalf of users`},
		{name: "empty assertion", method: "POST", body: "route=one&identity=people&assertion=", want: "invalid parameter assertion: empty"},
		{name: "two assertions", method: "POST", body: "route=one&identity=people&assertion=canary&assertion=canary", want: "invalid parameter assertion: said twice"},
		{name: "assertion in the query", query: "route=one&identity=people&assertion=canary", want: "invalid user assertion: not in the query"},
		{name: "assertion in the query of a POST", method: "POST", query: "assertion=canary", body: "route=one&identity=people", want: "invalid user assertion: not in the query"},
		{name: "a form by GET", query: "route=one", body: "tenant=customer.example", want: "invalid body: a GET has none here"},
		{name: "a form by HEAD", method: "HEAD", query: "route=one", body: "tenant=customer.example", want: ""},
		{name: "JSON", method: "POST", body: `{"route":"one"}`, media: "application/json", want: `invalid Content-Type "application/json": want ` + form},
		{name: "multipart", method: "POST", body: "--x", media: "multipart/form-data; boundary=x", want: `invalid Content-Type "multipart/form-data; boundary=x": want`},
		{name: "no type", method: "POST", body: "route=one", media: "-", want: `invalid Content-Type "": want ` + form},
		{name: "too large", method: "POST", body: "route=one&path=/" + strings.Repeat("a", 64<<10), want: "invalid form: larger than 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, issue)
			for _, path := range []string{"/token", "/claims"} {
				var headers []string
				switch tt.media {
				case "-":
				case "":
					headers = []string{"Content-Type: " + form}
				default:
					headers = []string{"Content-Type: " + tt.media}
				}
				var body io.Reader
				if tt.body != "" {
					body = strings.NewReader(tt.body)
				}
				a := s.do(t, tt.method, path+"?"+tt.query, body, headers...)
				if a.StatusCode != http.StatusTeapot || !strings.HasPrefix(a.body, tt.want) {
					t.Errorf("%s: got %d %s, want %q", path, a.StatusCode, a.body, tt.want)
				}
				if strings.Contains(a.body, "canary") && !strings.Contains(tt.name, "malformed") {
					t.Errorf("%s: the answer holds what was sent: %s", path, a.body)
				}
				if len(s.asked) > 0 {
					t.Errorf("%s: the source was asked %+v", path, s.asked)
				}
			}
		})
	}
}

func TestFreshIsForPOSTToken(t *testing.T) {
	const claims = "invalid fresh: claims show the token that is held; ask /token for a fresh one"
	for target, want := range map[string]string{
		"/token?route=one&fresh=true":  "invalid fresh=true: send it by POST, since it makes a new token",
		"/token?route=one&fresh=1":     `invalid fresh="1": want true or false`,
		"/claims?route=one&fresh=true": claims,
		"/claims?route=one&fresh=1":    claims,
	} {
		s := serve(t, issue)
		if a := s.get(t, target); a.StatusCode != http.StatusTeapot || a.body != want || len(s.asked) > 0 {
			t.Errorf("%s: got %d %s, want %q; the source was asked %+v", target, a.StatusCode, a.body, want, s.asked)
		}
	}
}

// Who means a user must not get the application's token for want of a value,
// nor another user's for having named two.
func TestUserAssertionIsRefused(t *testing.T) {
	s := serve(t, issue)
	for _, tt := range []struct {
		name, query, form string
		headers           []string
		want              string
	}{
		{"to an application", "route=one", "", []string{"X-User-Assertion: canary"}, "invalid user assertion: identity"},
		{"empty, to an application", "route=one", "", []string{"X-User-Assertion: "}, "invalid header X-User-Assertion: empty"},
		{"empty", "route=one&identity=people", "", []string{"X-User-Assertion: "}, "invalid header X-User-Assertion: empty"},
		{"twice", "route=one&identity=people", "", []string{"X-User-Assertion: canary", "X-User-Assertion: canary"}, "invalid header X-User-Assertion: said twice"},
		{"in header and form", "", "route=one&identity=people&assertion=canary", []string{"X-User-Assertion: canary"}, "invalid user assertion: in the form and in the header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.do(t, http.MethodPost, "/token?"+tt.query, strings.NewReader(tt.form), append(tt.headers, isForm)...)
			if a.StatusCode != http.StatusTeapot || !strings.HasPrefix(a.body, tt.want) || strings.Contains(a.body, "canary") {
				t.Errorf("got %d %s, want %q", a.StatusCode, a.body, tt.want)
			}
		})
	}
	if len(s.asked) > 0 {
		t.Errorf("the source was asked %+v", s.asked)
	}
}

func TestUserAssertionReachesTheSource(t *testing.T) {
	s := serve(t, issue)
	const target, user = "route=one&identity=people", "X-User-Assertion: eyJ.user.x"
	for way, a := range map[string]answer{
		"GET":        s.get(t, "/token?"+target, user),
		"POST":       s.do(t, http.MethodPost, "/token", strings.NewReader(target), user, isForm),
		"form":       s.post(t, "/token", target+"&assertion=eyJ.user.x"),
		"claims":     s.get(t, "/claims?"+target, user),
		"fresh form": s.post(t, "/token", target+"&fresh=true&assertion=eyJ.user.x"),
	} {
		if a.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d %s", way, a.StatusCode, a.body)
		}
	}
	if len(s.asked) != 6 {
		t.Fatalf("the source was asked %d times, want once each and twice for the fresh one", len(s.asked))
	}
	for _, asked := range s.asked {
		if asked.Identity != "id-3" || asked.Assertion.Reveal() != "eyJ.user.x" {
			t.Errorf("asked for %s on behalf of %s", asked.Identity, asked.Assertion.Fingerprint())
		}
	}
}

func TestBrokenForm(t *testing.T) {
	s := serve(t, issue)
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/token", iotest.ErrReader(io.ErrUnexpectedEOF))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.Config.Handler.ServeHTTP(w, req)
	if got, want := w.Body.String(), "invalid form: broke off, came too late, or is not what its header says"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
