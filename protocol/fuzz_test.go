package protocol_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"tokenbroker/entra"
	"tokenbroker/protocol"
)

// FuzzAsk sends any query and any form. Whatever is answered with a token was
// asked for by exactly one well-formed target, and everything said counted.
func FuzzAsk(f *testing.F) {
	for _, seed := range [][2]string{
		{"route=one", ""},
		{"", "scope=https%3A%2F%2Fsingle.example%2F.default&tenant=customer.example"},
		{"resource=https://own.example", "fresh=true"},
		{"route=two&path=/api/machines", "identity=default"},
		{"route=one&route=two", ""},
		{"route=one", "route=one"},
		{"route=one;route=two", ""},
		{"route=one&x=%zz", "%"},
		{"scope=https://a.example/.default&resource=https://a.example", "assertion=x"},
		{"identity=people", "assertion=x&route=one"},
	} {
		f.Add(seed[0], seed[1])
	}
	tok, err := entra.NewToken(jwt("x"), single, time.Now().Add(time.Hour), time.Time{})
	if err != nil {
		f.Fatal(err)
	}
	var asked []entra.Request
	n := protocol.Native{WriteError: refusal, Tokens: protocol.Tokens{Table: visible(table(f)), Source: entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
		asked = append(asked, req)
		return tok, nil
	})}}
	f.Fuzz(func(t *testing.T, query, form string) {
		asked = nil
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/token", strings.NewReader(form))
		r.URL.RawQuery = query
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		n.Token(w, r)
		if w.Code == http.StatusTeapot {
			if len(asked) > 0 {
				t.Errorf("query %q, form %q: refused, but asked for: %+v", query, form, asked)
			}
			return
		}

		said, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("query %q: answered, and is malformed", query)
		}
		more, err := url.ParseQuery(form)
		if err != nil {
			t.Fatalf("form %q: answered, and is malformed", form)
		}
		for name, values := range more {
			said[name] = append(said[name], values...)
		}
		targets := 0
		for name, values := range said {
			if len(values) != 1 || values[0] == "" {
				t.Errorf("query %q, form %q: answered, though it says %s as %q", query, form, name, values)
			}
			switch name {
			case "scope", "resource", "route":
				targets++
			case "path", "identity", "tenant", "fresh":
			case "assertion":
				if more[name] == nil || said.Get("identity") != "people" {
					t.Errorf("query %q, form %q: answered, though the assertion has no place there", query, form)
				}
			default:
				t.Errorf("query %q, form %q: answered, though nobody knows %s", query, form, name)
			}
		}
		wantAsked := 1
		if said.Get("fresh") == "true" {
			wantAsked = 2
		}
		if targets != 1 || len(asked) != wantAsked {
			t.Fatalf("query %q, form %q: answered with %d targets, %d requests", query, form, targets, len(asked))
		}
		if got := asked[0]; got.Route != said.Get("route") || said.Has("tenant") && !strings.EqualFold(string(got.Tenant), said.Get("tenant")) {
			t.Errorf("query %q, form %q: asked for %+v", query, form, got)
		}
	})
}
