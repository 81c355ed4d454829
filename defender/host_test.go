package defender_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

const (
	xdr    = entra.Scope("https://api.security.microsoft.com/.default")
	mde    = entra.Scope("https://api.securitycenter.microsoft.com/.default")
	legacy = entra.Scope("https://api.securitycenter.windows.com/.default")
	gccXDR = entra.Scope("https://api-gcc.security.microsoft.us/.default")
	gccMDE = entra.Scope("https://api-gcc.securitycenter.microsoft.us/.default")
	govXDR = entra.Scope("https://api-gov.security.microsoft.us/.default")
	govMDE = entra.Scope("https://api-gov.securitycenter.microsoft.us/.default")
	graph  = entra.Scope("https://graph.microsoft.com/.default")
	mdca   = entra.Scope("05a65629-4c1b-48c1-a78b-804c4abdd4af/.default")
	none   = entra.Scope("")
)

func host(tb testing.TB, c *defender.Catalogue, name string) *defender.Host {
	tb.Helper()
	h, ok := c.Host(name)
	if !ok {
		tb.Fatalf("no host %q", name)
	}
	return h
}

func TestEveryHostIsConsistent(t *testing.T) {
	seen := map[string]bool{}
	for _, h := range load(t).Hosts() {
		if seen[h.Name] || h.Name != strings.ToLower(h.Name) {
			t.Errorf("%s: stands there twice, or not in lower case", h.Name)
		}
		seen[h.Name] = true
		for _, cloud := range h.Clouds {
			if got, want := h.Authority, cloud.Authority(); got != want {
				t.Errorf("%s: authority %s, but %s signs in at %s", h.Name, got, cloud, want)
			}
		}
		if h.Status == "" || h.Source == "" {
			t.Errorf("%s: want a status and a source", h.Name)
		}
	}
}

func TestHostIsFoundInAnyCase(t *testing.T) {
	c := load(t)
	if got := host(t, c, "API.Security.Microsoft.COM").Name; got != "api.security.microsoft.com" {
		t.Errorf("got %s", got)
	}
	for _, name := range []string{"", "api.security.microsoft.com.example.test", "security.microsoft.com", "api.security.microsoft.com:443"} {
		if h, ok := c.Host(name); ok {
			t.Errorf("%q: got %s, want none", name, h.Name)
		}
	}
}

func TestAudienceByPath(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		host, path string
		want       entra.Scope
	}{
		// One host, two resource applications.
		{"api.security.microsoft.com", "/api/incidents", xdr},
		{"api.security.microsoft.com", "/api/incidents/41", xdr},
		{"api.security.microsoft.com", "/api/incidents(41)", xdr},
		{"api.security.microsoft.com", "/api/incidents/$count", xdr},
		{"api.security.microsoft.com", "/api/advancedhunting/run", xdr},
		{"api.security.microsoft.com", "/api/advancedqueries/run", mde},
		{"api.security.microsoft.com", "/api/machines", mde},
		{"api.security.microsoft.com", "/api/machines/incidents", mde},
		{"api.security.microsoft.com", "/api/alerts/1/machine", mde},
		{"api.security.microsoft.com", "/api/incidentsandmore", mde},
		{"api.security.microsoft.com", "/api/anything/new", mde},
		{"api.security.microsoft.com", "/api", mde},

		// Spellings of the same paths.
		{"api.security.microsoft.com", "/API/Incidents/", xdr},
		{"api.security.microsoft.com", "/api/v1.0/incidents", xdr},
		{"api.security.microsoft.com", "/Api/V1.0/AdvancedHunting/Run", xdr},
		{"api.security.microsoft.com", "/api/v1.0/machines", mde},

		// Nothing but /api is served.
		{"api.security.microsoft.com", "/", none},
		{"api.security.microsoft.com", "/apis/incidents", none},
		{"api.security.microsoft.com", "/v1.0/security/incidents", none},

		// Regional hosts take the global audiences.
		{"eu.api.security.microsoft.com", "/api/incidents", xdr},
		{"aea.api.security.microsoft.com", "/api/machines", mde},
		{"api-eu.security.microsoft.com", "/api/incidents", xdr},
		{"api-eu.security.microsoft.com", "/api/machines", none},
		{"api-au.securitycenter.microsoft.com", "/api/machines", mde},

		// Hosts of MDE alone; the legacy one has an audience of its own.
		{"api.securitycenter.microsoft.com", "/api/machines", mde},
		{"api.securitycenter.microsoft.com", "/api/incidents", none},
		{"api.securitycenter.windows.com", "/api/alerts", legacy},

		// The GCC trap: two hosts, and the host itself is the audience.
		{"api-gcc.security.microsoft.us", "/api/incidents", gccXDR},
		{"api-gcc.security.microsoft.us", "/api/machines", none},
		{"api-gcc.securitycenter.microsoft.us", "/api/machines", gccMDE},
		{"api-gov.security.microsoft.us", "/api/advancedhunting/run", govXDR},
		{"api-gov.securitycenter.microsoft.us", "/api/machines", govMDE},

		{"graph.microsoft.com", "/v1.0/security/incidents", graph},
		{"graph.microsoft.com", "/beta/security/runHuntingQuery", graph},
		{"graph.microsoft.com", "/api/incidents", none},
		{"{tenant}.{region}.portal.cloudappsecurity.com", "/api/v1/alerts/", mdca},
	} {
		if got := host(t, c, tt.host).ScopeFor(tt.path); got != tt.want {
			t.Errorf("%s %s: got %q, want %q", tt.host, tt.path, got, tt.want)
		}
	}
}

func TestEveryEndpointHasAnAudience(t *testing.T) {
	c := load(t)
	for _, e := range c.Endpoints() {
		for _, h := range c.Hosts() {
			if want := h.Scope(e.API); want != "" {
				if got := h.ScopeFor(e.Path); got != want {
					t.Errorf("%s at %s: got %q, want %q", &e, h.Name, got, want)
				}
			}
		}
	}
}

func TestScopesOfAHostStartWithItsOwn(t *testing.T) {
	c := load(t)
	for name, want := range map[string][]entra.Scope{
		"api.security.microsoft.com":          {xdr, mde},
		"us.api.security.microsoft.com":       {xdr, mde},
		"api-gcc.securitycenter.microsoft.us": {gccMDE},
		"graph.microsoft.com":                 {graph},
	} {
		if diff := cmp.Diff(want, host(t, c, name).Scopes()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := host(t, c, "graph.microsoft.com").Scope("SOMETHING"); got != "" {
		t.Errorf("scope of an unknown API: got %q, want none", got)
	}
}

func TestOpensByEveryNameOfTheAudience(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		api      defender.API
		audience string
	}{
		{defender.XDR, "https://api.security.microsoft.com"},
		{defender.XDR, "https://api-gov.security.microsoft.us"},
		{defender.XDR, "https://security.microsoft.com/mtp"},
		{defender.XDR, "8ee8fdad-f234-4243-8f3b-15c294843740"},
		{defender.MDE, "https://api.securitycenter.microsoft.com"},
		{defender.MDE, "https://api.securitycenter.windows.com/"},
		{defender.MDE, "https://securitycenter.onmicrosoft.com/windowsatpservice"},
		{defender.MDE, "https://securitycenter.onmicrosoft.us/WindowsATPService"},
		{defender.MDE, "fc780465-2017-40d4-a0c5-307022471b92"},
		{defender.Graph, "https://graph.microsoft.com"},
		{defender.Graph, "00000003-0000-0000-c000-000000000000"},
		{defender.MDCA, "05a65629-4c1b-48c1-a78b-804c4abdd4af"},
		{"", ""},
		{"", "https://userrequestsgraphapi-prd.trafficmanager.net"},
	} {
		for _, api := range []defender.API{defender.XDR, defender.MDE, defender.Graph, defender.MDCA} {
			if got, want := c.Opens(entra.Audience{"https://other.example", tt.audience}, api), api == tt.api; got != want {
				t.Errorf("audience %q opens %s: got %v, want %v", tt.audience, api, got, want)
			}
		}
	}
}

func TestSameResource(t *testing.T) {
	const (
		mde   = entra.Scope("https://api.securitycenter.microsoft.com/.default")
		other = entra.Scope("https://other.example/.default")
	)
	for _, tt := range []struct {
		a, b entra.Scope
		want bool
	}{
		{mde, mde, true},
		{mde, "https://securitycenter.onmicrosoft.com/windowsatpservice/.default", true},
		{mde, "fc780465-2017-40d4-a0c5-307022471b92/.default", true},
		{"fc780465-2017-40d4-a0c5-307022471b92/.default", "https://securitycenter.onmicrosoft.us/windowsatpservice/.default", true},
		{mde, "https://api.security.microsoft.com/.default", false},
		{mde, other, false},
		{other, other, true},
		{other, "https://another.example/.default", false},
	} {
		c := load(t)
		if got := c.SameResource(tt.a, tt.b); got != tt.want || c.SameResource(tt.b, tt.a) != got {
			t.Errorf("%s and %s: got %v, want %v, either way round", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestAliases(t *testing.T) {
	c := load(t)
	want := []entra.Scope{
		"8ee8fdad-f234-4243-8f3b-15c294843740/.default", "https://api-gcc.security.microsoft.us/.default",
		"https://api-gov.security.microsoft.us/.default", "https://security.microsoft.com/mtp/.default",
	}
	if diff := cmp.Diff(want, c.Aliases(xdr)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, alias := range c.Aliases(mde) {
		if !c.SameResource(alias, mde) || !slices.Contains(c.Aliases(alias), mde) || slices.Contains(c.Aliases(alias), alias) {
			t.Errorf("%s: want it to have %s for another name, and not itself", alias, mde)
		}
	}
	for _, scope := range []entra.Scope{"", "https://other.example/.default", "https://api.security.microsoft.com/Incident.Read", mde + " " + xdr} {
		if got := c.Aliases(scope); got != nil {
			t.Errorf("%q: got %s, want none", scope, got)
		}
	}
}
