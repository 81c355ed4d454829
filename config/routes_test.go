package config

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tokenbroker/entra"
	"tokenbroker/route"
)

func TestRoutesAreMergedIntoBuiltIns(t *testing.T) {
	tests := []struct {
		name, yaml, route string
		want              route.Route
		wantHost          string
		wantAllow         string
	}{
		{"not named", "", "mde", route.Route{Upstream: https("api.securitycenter.microsoft.com"), Optional: true}, "api.securitycenter.microsoft.com", ""},
		{"not named, with rules", "", "graph", route.Route{Upstream: https("graph.microsoft.com"), Optional: true}, "graph.microsoft.com", "/v1.0/security/**;/beta/security/**"},
		{"empty is not set", `mde: {upstream: "", scope: "", identity: "", access: ""}`, "mde", route.Route{Upstream: https("api.securitycenter.microsoft.com")}, "api.securitycenter.microsoft.com", ""},
		{"named", "mde: {}", "mde", route.Route{Upstream: https("api.securitycenter.microsoft.com")}, "api.securitycenter.microsoft.com", ""},
		{"rules of the built-in one kept", "graph: {access: read-only}", "graph", route.Route{Upstream: https("graph.microsoft.com"), Access: route.ReadOnly}, "graph.microsoft.com", "/v1.0/security/**;/beta/security/**"},
		{"rules replaced", "graph: {allow: [{path: /v1.0/security/alerts_v2}]}", "graph", route.Route{Upstream: https("graph.microsoft.com")}, "graph.microsoft.com", "/v1.0/security/alerts_v2"},
		{"rules taken away", "graph: {allow: []}", "graph", route.Route{Upstream: https("graph.microsoft.com")}, "graph.microsoft.com", ""},
		{"emulator keeps the audiences", `defender: {upstream: "https://127.0.0.1:8443/"}`, "defender", route.Route{Upstream: https("127.0.0.1:8443")}, "api.security.microsoft.com", ""},
		{"another host of the catalogue", "defender: {upstream: https://EU.api.security.microsoft.com}", "defender", route.Route{Upstream: https("eu.api.security.microsoft.com")}, "eu.api.security.microsoft.com", ""},
		{"rate off", "mde: {rate: off}", "mde", route.Route{Upstream: https("api.securitycenter.microsoft.com"), Rate: route.Rate{Off: true}}, "api.securitycenter.microsoft.com", ""},
		{"rate by the catalogue", "mde: {rate: catalogue}", "mde", route.Route{Upstream: https("api.securitycenter.microsoft.com")}, "api.securitycenter.microsoft.com", ""},
		{"rate of one's own", "mde: {rate: {per_minute: 45, burst: 5}}", "mde", route.Route{Upstream: https("api.securitycenter.microsoft.com"), Rate: route.Rate{PerMinute: 45, Burst: 5}}, "api.securitycenter.microsoft.com", ""},
		{
			"unknown host with a scope", "defender: {upstream: https://gw.example/x, scope: api://gw/.default}", "defender",
			route.Route{Upstream: &url.URL{Scheme: "https", Host: "gw.example", Path: "/x"}, Scope: "api://gw/.default"},
			"", "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			yaml := identity
			if tt.yaml != "" {
				yaml += "routes: {" + tt.yaml + "}"
			}
			got, err := good(t, yaml).Table.Route(tt.route)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Name, tt.want.Identity = tt.route, "default"
			if diff := cmp.Diff(*got, tt.want, cmpopts.IgnoreFields(route.Route{}, "Host", "Allow", "Deny")); diff != "" {
				t.Error(diff)
			}
			var host string
			if got.Host != nil {
				host = got.Host.Name
			}
			var allow []string
			for _, rule := range got.Allow {
				allow = append(allow, rule.String())
			}
			if host != tt.wantHost || strings.Join(allow, ";") != tt.wantAllow {
				t.Errorf("host %q, allow %q; want %q, %q", host, allow, tt.wantHost, tt.wantAllow)
			}
		})
	}
}

func https(host string) *url.URL { return &url.URL{Scheme: "https", Host: host} }

func TestRegionChoosesHosts(t *testing.T) {
	table := good(t, identity+"region: eu\nroutes: {mde: {upstream: https://api.securitycenter.microsoft.com}}").Table
	got := map[string]string{}
	for _, r := range table.Routes() {
		got[r.Name] = r.Host.Name
	}
	want := map[string]string{
		"defender": "eu.api.security.microsoft.com", "graph": "graph.microsoft.com",
		"mde": "api.securitycenter.microsoft.com", "mde-legacy": "api.securitycenter.windows.com",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
	if c := good(t, identity+"caller_key_file: /k\nregion: uk"); len(c.Warnings) > 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

func TestCloudChoosesHostsAuthorityAndDefaultRoute(t *testing.T) {
	type choice struct{ Authority, Upstream, DefaultRoute string }
	got := map[entra.Cloud]choice{}
	for _, cloud := range entra.Clouds() {
		c := good(t, identity+"cloud: "+string(cloud))
		r, err := c.Table.Route(c.DefaultRoute)
		if err != nil {
			t.Fatal(err)
		}
		got[cloud] = choice{string(c.Authority), r.Upstream.Host, r.Name}
	}
	want := map[entra.Cloud]choice{
		entra.Public:  {"https://login.microsoftonline.com", "api.security.microsoft.com", "defender"},
		entra.GCC:     {"https://login.microsoftonline.com", "api-gcc.security.microsoft.us", "defender"},
		entra.GCCHigh: {"https://login.microsoftonline.us", "api-gov.security.microsoft.us", "defender"},
		entra.DoD:     {"https://login.microsoftonline.us", "api-gov.security.microsoft.us", "defender"},
		entra.China:   {"https://login.partner.microsoftonline.cn", "microsoftgraph.chinacloudapi.cn", "graph"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
}
