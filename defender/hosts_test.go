package defender_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

const (
	commercial = entra.Authority("https://login.microsoftonline.com")
	government = entra.Authority("https://login.microsoftonline.us")
	chinese    = entra.Authority("https://login.partner.microsoftonline.cn")

	usGraph      = entra.Scope("https://graph.microsoft.us/.default")
	dodGraph     = entra.Scope("https://dod-graph.microsoft.us/.default")
	chineseGraph = entra.Scope("https://microsoftgraph.chinacloudapi.cn/.default")
)

// hostRow is what is wanted of one host: everything that decides where a call
// goes, and with which token.
type hostRow struct {
	clouds    []entra.Cloud
	name      string
	authority entra.Authority
	reached   string // the built-in route that leads there, and from which region
	scopes    scopes
}

// scopes are those of one path for each API; none: the host does not serve it.
type scopes struct{ incidents, hunting, machines, graph, cloudApps entra.Scope }

// both are the scopes of a host of the two resource applications.
var both = scopes{incidents: xdr, hunting: xdr, machines: mde}

func onlyXDR(s entra.Scope) scopes   { return scopes{incidents: s, hunting: s} }
func onlyMDE(s entra.Scope) scopes   { return scopes{machines: s} }
func onlyGraph(s entra.Scope) scopes { return scopes{graph: s} }

// The whole table, row by row. GCC signs in at the commercial authority.
func TestEveryHost(t *testing.T) {
	var (
		public = []entra.Cloud{entra.Public}
		gcc    = []entra.Cloud{entra.GCC}
		gov    = []entra.Cloud{entra.GCCHigh, entra.DoD}
	)
	rows := []hostRow{
		{public, "api.security.microsoft.com", commercial, "defender", both},
		{public, "us.api.security.microsoft.com", commercial, "defender us", both},
		{public, "eu.api.security.microsoft.com", commercial, "defender eu", both},
		{public, "uk.api.security.microsoft.com", commercial, "defender uk", both},
		{public, "au.api.security.microsoft.com", commercial, "defender au", both},
		{public, "swa.api.security.microsoft.com", commercial, "defender swa", both},
		{public, "ina.api.security.microsoft.com", commercial, "defender ina", both},
		{public, "aea.api.security.microsoft.com", commercial, "defender aea", both},
		{public, "api-us.security.microsoft.com", commercial, "", onlyXDR(xdr)},
		{public, "api-eu.security.microsoft.com", commercial, "", onlyXDR(xdr)},
		{public, "api-uk.security.microsoft.com", commercial, "", onlyXDR(xdr)},
		{public, "api.securitycenter.microsoft.com", commercial, "mde", onlyMDE(mde)},
		{public, "api-us.securitycenter.microsoft.com", commercial, "mde us", onlyMDE(mde)},
		{public, "api-eu.securitycenter.microsoft.com", commercial, "mde eu", onlyMDE(mde)},
		{public, "api-uk.securitycenter.microsoft.com", commercial, "mde uk", onlyMDE(mde)},
		{public, "api-au.securitycenter.microsoft.com", commercial, "mde au", onlyMDE(mde)},
		{public, "api.securitycenter.windows.com", commercial, "mde-legacy", onlyMDE(legacy)},
		{gcc, "api-gcc.security.microsoft.us", commercial, "defender", onlyXDR(gccXDR)},
		{gcc, "api-gcc.securitycenter.microsoft.us", commercial, "mde", onlyMDE(gccMDE)},
		{gov, "api-gov.security.microsoft.us", government, "defender", onlyXDR(govXDR)},
		{gov, "api-gov.securitycenter.microsoft.us", government, "mde", onlyMDE(govMDE)},
		{[]entra.Cloud{entra.Public, entra.GCC}, "graph.microsoft.com", commercial, "graph", onlyGraph(graph)},
		{[]entra.Cloud{entra.GCCHigh}, "graph.microsoft.us", government, "graph", onlyGraph(usGraph)},
		{[]entra.Cloud{entra.DoD}, "dod-graph.microsoft.us", government, "graph", onlyGraph(dodGraph)},
		{[]entra.Cloud{entra.China}, "microsoftgraph.chinacloudapi.cn", chinese, "graph", onlyGraph(chineseGraph)},
		{public, "{tenant}.{region}.portal.cloudappsecurity.com", commercial, "", scopes{mdca, mdca, mdca, mdca, mdca}},
	}
	c := load(t)
	var got []hostRow
	for _, h := range c.Hosts() {
		got = append(got, hostRow{h.Clouds, h.Name, h.Authority, reachedBy(t, c, &h), scopes{
			incidents: h.ScopeFor("/api/incidents/41"),
			hunting:   h.ScopeFor("/api/advancedhunting/run"),
			machines:  h.ScopeFor("/api/machines"),
			graph:     h.ScopeFor("/v1.0/security/incidents"),
			cloudApps: h.ScopeFor("/cas/api/v1/alerts/"),
		}})
	}
	if diff := cmp.Diff(rows, got, cmp.AllowUnexported(hostRow{}, scopes{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// reachedBy says by which built-in route a host is reached in its clouds, and
// from which region. It must be the same one in all of them.
func reachedBy(t *testing.T, c *defender.Catalogue, h *defender.Host) string {
	t.Helper()
	found := map[string]bool{}
	for _, cloud := range entra.Clouds() {
		for _, region := range append(c.Regions(cloud), "") {
			for _, b := range c.Builtin(cloud, region) {
				if b.Host.Name != h.Name || region != "" && h.Region == "" {
					continue // what has no host in a region is reached from there as well
				}
				if !slices.Contains(h.Clouds, cloud) {
					t.Errorf("%s is reached in %s, which is none of its clouds", h.Name, cloud)
				}
				name := b.Name
				if region != "" {
					name += " " + region
				}
				found[name] = true
			}
		}
	}
	if len(found) > 1 {
		t.Errorf("%s is reached in several ways: %v", h.Name, found)
	}
	for name := range found {
		return name
	}
	return ""
}
