package protocol_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
)

func TestTokenAnswer(t *testing.T) {
	s := serve(t, issue)
	before := time.Now()
	a := s.get(t, "/token?route=one")
	if a.StatusCode != http.StatusOK || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %v", a.StatusCode, a.Header)
	}
	if a.ContentLength != int64(len(a.body)) {
		t.Errorf("got Content-Length %d for %d bytes", a.ContentLength, len(a.body))
	}
	var got struct {
		ExpiresIn int64 `json:"expires_in"`
		ExpiresOn int64 `json:"expires_on"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	if got.ExpiresIn < 3540 || got.ExpiresIn > 3600 || got.ExpiresOn < before.Unix()+3600 || got.ExpiresOn > before.Unix()+3660 {
		t.Errorf("got expires_in %d, expires_on %d at %d", got.ExpiresIn, got.ExpiresOn, before.Unix())
	}
	want := fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","scope":%q,"expires_in":%d,"expires_on":%d,"tenant":%q,"identity":"app-2"}`+"\n",
		jwt("first"), single, got.ExpiresIn, got.ExpiresOn, tenant)
	if diff := cmp.Diff(want, a.body); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTokenAnswerNamesTheRoutesOtherScopes(t *testing.T) {
	s := serve(t, issue)
	for target, want := range map[string][]string{
		"/token?route=two":                     {string(second)},
		"/token?route=two&path=/api/incidents": nil, // the path decides
		"/token?scope=" + string(own):          nil,
		"/token?route=one":                     nil,
	} {
		a := s.get(t, target)
		var got struct {
			Scope string   `json:"scope"`
			Other []string `json:"other_scopes"`
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatalf("%s: %s: %v", target, a.body, err)
		}
		if diff := cmp.Diff(want, got.Other); diff != "" {
			t.Errorf("%s: other_scopes (-want +got):\n%s", target, diff)
		}
	}
}

func TestTokenAsText(t *testing.T) {
	s := serve(t, issue)
	for accept, text := range map[string]bool{
		"text/plain":                        true,
		"Text/Plain":                        true,
		"text/plain; charset=utf-8":         true,
		" text/plain ,*/*":                  true,
		"text/plain;q=0.9, application/xml": true,
		"text/plain;q=0, application/json":  false,
		"text/plain; Q=0.000":               false,
		"text/plain;charset=utf-8;q=0, */*": false,
		"application/json;q=0, text/plain":  true,
		"text/plain;q=x":                    true, // no weight at all
		"":                                  false,
		"*/*":                               false,
		"application/json":                  false,
		"application/json, text/plain, */*": false, // axios
		"text/html":                         false,
		"text/plainer":                      false,
		"text/*":                            false,
	} {
		a := s.get(t, "/token?route=one", "Accept: "+accept)
		if got := a.body == jwt("first"); got != text || a.StatusCode != http.StatusOK {
			t.Errorf("Accept %q: got %d %s, want the bare token: %v", accept, a.StatusCode, a.body, text)
		}
		want := "application/json"
		if text {
			want = "text/plain; charset=utf-8"
		}
		if got := a.Header.Get("Content-Type"); got != want || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("Accept %q: got headers %v", accept, a.Header)
		}
	}
}

func TestSourcesRefusalGoesOut(t *testing.T) {
	throttled := &entra.Error{Kind: entra.Throttled, Err: errors.New("Entra throttles")}
	s := serve(t, func(context.Context, entra.Request) (entra.Token, error) {
		return entra.Token{}, fmt.Errorf("fill: %w", throttled)
	})
	for _, target := range []string{"/token?route=two", "/claims?route=two"} {
		if a := s.get(t, target); a.body != "throttled Entra throttles" {
			t.Errorf("%s: got %q", target, a.body)
		}
		if s.trail.Failure != throttled {
			t.Errorf("%s: got failure %v in the trail", target, s.trail.Failure)
		}
		if s.trail.Identity != "default" || s.trail.Tenant != tenant || s.trail.Scope != own || s.trail.Route != "two" {
			t.Errorf("%s: got trail %+v, want what was asked for", target, s.trail)
		}
	}
}

func TestClaims(t *testing.T) {
	s := serve(t, issue)
	a := s.get(t, "/claims?route=two")
	if a.StatusCode != http.StatusOK || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %v", a.StatusCode, a.Header)
	}
	if diff := cmp.Diff(payload+"\n", a.body); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for part := range strings.SplitSeq(jwt("first"), ".") {
		if strings.Contains(a.body, part) {
			t.Errorf("a part of the token in the answer: %s", a.body)
		}
	}
}

func TestClaimsOfAnOpaqueToken(t *testing.T) {
	s := serve(t, func(_ context.Context, req entra.Request) (entra.Token, error) {
		return entra.NewToken("opaque-canary", req.Scope, time.Now().Add(time.Hour), time.Time{})
	})
	a := s.get(t, "/claims?route=two")
	if a.StatusCode != http.StatusTeapot || !strings.HasPrefix(a.body, "upstream token: opaque") || strings.Contains(a.body, "canary") {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
}

func TestRoutes(t *testing.T) {
	s := serve(t, issue)
	a := s.get(t, "/routes")
	const want = `{
  "routes": [
    {
      "name": "two",
      "upstream": "https://own.example",
      "identity": "default",
      "scopes": [
        "https://own.example/.default",
        "https://second.example/.default"
      ],
      "access": "full"
    },
    {
      "name": "one",
      "upstream": "https://one.example/base",
      "identity": "app-2",
      "scopes": [
        "https://single.example/.default"
      ],
      "access": "full"
    },
    {
      "name": "narrow",
      "upstream": "https://narrow.example",
      "identity": "default",
      "scopes": [
        "https://narrow.example/.default"
      ],
      "access": "read-only",
      "allow": [
        "GET,PATCH /api/incidents/**"
      ],
      "deny": [
        "/api/incidents/**"
      ]
    }
  ]
}
`
	if diff := cmp.Diff(want, a.body); diff != "" || a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %v (-want +got):\n%s", a.StatusCode, a.Header, diff)
	}
	if len(s.asked) > 0 {
		t.Errorf("the source was asked %+v", s.asked)
	}
}
