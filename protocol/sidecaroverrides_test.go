package protocol_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
)

func TestSidecarOverrides(t *testing.T) {
	const path = "/AuthorizationHeaderUnauthenticated/"
	for _, tt := range []struct {
		query string
		off   string // what is said where overrides are off; empty: as where they are on
		want  entra.Request
	}{
		{"two?optionsOverride.RelativePath=api/machines?$top=5", "", entra.Request{Identity: "id-1", Tenant: tenant, Scope: second, Route: "two"}},
		{"two?optionsOverride.RelativePath=/api/machines&optionsOverride.Scopes=" + string(second), "", entra.Request{Identity: "id-1", Tenant: tenant, Scope: second, Route: "two"}},
		{"two?optionsOverride.Scopes=" + string(own) + "&optionsoverride.scopes=openid&optionsOverride.Scopes=", "", entra.Request{Identity: "id-1", Tenant: tenant, Scope: own, Route: "two"}},
		{"two?optionsOverride.Scopes=https://elsewhere.example/a&optionsOverride.Scopes=https://elsewhere.example/b", "overrides is false", entra.Request{Identity: "id-1", Tenant: tenant, Scope: "https://elsewhere.example/a https://elsewhere.example/b"}},
		{"two?optionsOverride.AcquireTokenOptions.Tenant=CUSTOMER.example", "overrides is false", entra.Request{Identity: "id-1", Tenant: customer, Scope: own, Route: "two"}},
	} {
		for _, on := range []bool{true, false} {
			c := sidecar(t, issue)
			c.Overrides = on
			s := serveSidecar(t, c)
			a := s.get(t, path+tt.query)
			if !on && tt.off != "" {
				if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, tt.off) || len(s.asked) > 0 {
					t.Errorf("%s: got %d %s, want %q", tt.query, a.StatusCode, a.body, tt.off)
				}
				continue
			}
			if diff := cmp.Diff([]entra.Request{tt.want}, s.asked, sameSecrets); diff != "" || a.StatusCode != http.StatusOK {
				t.Errorf("%s, overrides %v: got %d %s (-want +got):\n%s", tt.query, on, a.StatusCode, a.body, diff)
			}
		}
	}
}

func TestSidecarForceRefresh(t *testing.T) {
	c := sidecar(t, issue)
	c.Overrides = true
	s := serveSidecar(t, c)
	a := s.get(t, "/AuthorizationHeaderUnauthenticated/one?optionsOverride.AcquireTokenOptions.ForceRefresh=true")
	first, err := issue(t.Context(), entra.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(a.body, jwt("second")) || len(s.asked) != 2 || s.asked[1].Rejected != first.Access.Fingerprint() {
		t.Errorf("got %d %s, asked %+v; want another token than the one held", a.StatusCode, a.body, s.asked)
	}
	c.Overrides = false
	s = serveSidecar(t, c)
	if a := s.get(t, "/AuthorizationHeaderUnauthenticated/one?optionsOverride.AcquireTokenOptions.ForceRefresh=true"); a.StatusCode != http.StatusBadRequest || len(s.asked) > 0 {
		t.Errorf("got %d %s, want a refusal", a.StatusCode, a.body)
	}
}

func TestSidecarRefusedRequests(t *testing.T) {
	const path = "/AuthorizationHeaderUnauthenticated/one"
	option := func(rest string) string { return path + "?optionsOverride." + rest }
	for target, want := range map[string]string{
		option("BaseUrl=https://canary.example"):                                  "optionsOverride.BaseUrl: not taken; the service decides where",
		option("baseurl=https://canary.example"):                                  "optionsOverride.BaseUrl: not taken",
		option("ContentType=canary"):                                              "ContentType: not taken; send it as the header",
		option("AcceptHeader=canary"):                                             "AcceptHeader: not taken; send it as the header",
		option("ExtraHeaderParameters.Canary=canary"):                             "ExtraHeaderParameters.: not taken",
		option("ExtraQueryParameters.canary=canary"):                              "ExtraQueryParameters.: not taken",
		option("AcquireTokenOptions.Claims=canary"):                               "Claims: not taken",
		option("AcquireTokenOptions.CorrelationId=canary"):                        "CorrelationId: not taken; send it as the header X-Request-Id",
		option("AcquireTokenOptions.FmiPath=canary"):                              "FmiPath: not taken",
		option("AcquireTokenOptions.PopPublicKey=canary"):                         "PopPublicKey: not taken",
		option("AcquireTokenOptions.LongRunningWebApiSessionKey=canary"):          "LongRunningWebApiSessionKey: not taken",
		option("AcquireTokenOptions.ManagedIdentity.UserAssignedClientId=canary"): "ManagedIdentity.: not taken",
		option("Tenant=canary"):                                                   `parameter \"optionsoverride.tenant\": not known; want optionsOverride.Scopes, `,
		option("ScopesX=canary"):                                                  "not known; want",
		path + "?AgentIdentity=canary":                                            "AgentIdentity: not taken",
		path + "?agentusername=canary":                                            "AgentUsername: not taken",
		path + "?AgentUserId=":                                                    "AgentUserId: not taken",
		path + "?scope=canary":                                                    `parameter \"scope\": not known`,
		option("RequestAppToken=yes"):                                             `RequestAppToken: \"yes\": want true or false`,
		option("RequestAppToken="):                                                "RequestAppToken: empty",
		option("RequestAppToken=true&optionsOverride.requestapptoken=true"):       "RequestAppToken: said twice",
		option("Scopes=%20"):                                                      "Scopes: empty",
		option("Scopes=User.Read"):                                                "want https://host/.default",
		option("AcquireTokenOptions.Tenant=common"):                               "want a GUID or a domain name",
		option("RelativePath=/api/%25zz"):                                         "begins no escape",
		option("HttpMethod=GET"):                                                  "no call is made here",
		option("Scopes=a;b"):                                                      "not well-formed",
		option("Scopes=%zz"):                                                      "not well-formed",
		option("AcquireTokenOptions.Tenant=customer.example"):                     "is not the tenant of service",
		"/AuthorizationHeaderUnauthenticated/two?optionsOverride.RelativePath=api/machines&optionsOverride.Scopes=" + string(own): "two answers to one question",
		"/AuthorizationHeaderUnauthenticated/":                                                    `service \"\": no such service`,
		"/AuthorizationHeaderUnauthenticated/ONE":                                                 `service \"ONE\": no such service`,
		"/AuthorizationHeaderUnauthenticated/%2e%2e%2fone":                                        "no such service",
		"/AuthorizationHeaderUnauthenticated/two/one":                                             `service \"two/one\": no such service`,
		"/DownstreamApiUnauthenticated/two/one":                                                   `service \"two/one\": no such service`,
		"/DownstreamApiUnauthenticated/one?optionsOverride.Scopes=" + string(own):                 "its calls have no other",
		"/DownstreamApiUnauthenticated/one?optionsOverride.AcquireTokenOptions.ForceRefresh=true": "ForceRefresh: not taken here",
		"/Validate?token=canary":                                                                  "nothing is read from them",
	} {
		s := serveSidecar(t, sidecar(t, issue))
		var who []string
		if target[:5] == "/Vali" {
			who = append(who, anyUser+userToken)
		}
		a := s.get(t, target, who...)
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, want) || len(s.asked) > 0 {
			t.Errorf("%s: got %d %s, asked %v; want %q", target, a.StatusCode, a.body, s.asked, want)
		}
		if strings.Contains(a.body, "canary") || s.trail.Failure == nil || s.trail.Failure.Kind == entra.Internal {
			t.Errorf("%s: got %s, failure %v", target, a.body, s.trail.Failure)
		}
	}
}
