package cli

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
)

const (
	theApp   = "11111111-1111-1111-1111-111111111111"
	theLink  = "https://login.microsoftonline.com/fabrikam.example/adminconsent?client_id=" + theApp
	addXDR   = "to add them: App registrations > " + theApp + " > API permissions > Add a permission > APIs my organization uses > Microsoft Threat Protection > Application permissions; then have an administrator consent: " + theLink
	newCert  = ": make a new one, upload it to the app, and put it into the file; the broker takes it up by itself"
	hunting  = "AdvancedHunting.Read.All (for POST /api/advancedhunting/run)"
	xdrAlias = "8ee8fdad-f234-4243-8f3b-15c294843740"
)

// found is a finding of the defender route's own scope that a row changes.
func found(t *testing.T, changes ...func(*finding)) *finding {
	t.Helper()
	c := catalogue(t)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f := &finding{
		catalogue: c, scope: xdrScope, lets: func(*defender.Endpoint) bool { return true },
		route:     &route.Route{Name: "defender", Upstream: &url.URL{Scheme: "https", Host: "api.security.microsoft.com"}},
		authority: entra.Public.Authority(), tenant: "fabrikam.example", client: theApp,
		claims: &entra.Claims{Audience: entra.Audience{"https://api.security.microsoft.com"}, IssuedAt: entra.Epoch(now.Add(-5 * time.Minute).Unix())},
		now:    now,
	}
	f.route.Host, _ = c.Host("api.security.microsoft.com")
	for _, change := range changes {
		change(f)
	}
	return f
}

func roles(names ...string) func(*finding) { return func(f *finding) { f.claims.Roles = names } }

func readOnly(f *finding) {
	f.route.Access = route.ReadOnly
	f.lets = func(e *defender.Endpoint) bool { return e.Effect == defender.Read }
}

// allow makes it a route with a list: a path, and what is below it.
func allow(path string) func(*finding) {
	return func(f *finding) {
		pattern, err := route.ParsePattern(path)
		if err != nil {
			panic(err)
		}
		f.route.Allow = []route.Rule{{Path: pattern}}
		f.lets = func(e *defender.Endpoint) bool { return strings.HasPrefix(e.Path, strings.TrimSuffix(path, "/**")) }
	}
}

// builtinGraph makes it a route with the list that nobody wrote.
func builtinGraph(f *finding) {
	for _, path := range f.route.Host.Paths() {
		pattern, err := route.ParsePattern(path)
		if err != nil {
			panic(err)
		}
		f.route.Allow = append(f.route.Allow, route.Rule{Path: pattern})
	}
}

// at makes it a route to another host with another scope, set by hand or by path.
func at(host string, scope entra.Scope, byHand entra.Scope) func(*finding) {
	return func(f *finding) {
		f.route.Host, _ = f.catalogue.Host(host)
		f.scope, f.route.Scope = scope, byHand
		f.claims.Audience = entra.Audience{scope.Audience()}
	}
}

func failed(number int, text string) func(*finding) {
	return func(f *finding) {
		f.failure, f.claims = &entra.Error{Kind: entra.Misconfigured, AADSTS: number, Err: entra.Errorf(entra.Misconfigured, "", "%s", text)}, nil
	}
}

func managed(f *finding) {
	f.managed = true
	if f.claims != nil {
		f.claims.Object = "55555555-5555-5555-5555-555555555555"
	}
}

func TestAdvice(t *testing.T) {
	all := roles("AdvancedHunting.Read.All", "Incident.ReadWrite.All")
	const byPath = "remove routes.defender.scope, and the catalogue chooses the scope by path"
	for _, tt := range []struct {
		name    string
		changes []func(*finding)
		want    counsel
	}{
		{"all is well", []func(*finding){all}, counsel{true, "works; opens 4 of 4 endpoints", nil}},
		{"by another name of the resource", []func(*finding){all, func(f *finding) { f.claims.Audience = entra.Audience{xdrAlias} }}, counsel{true, "works; opens 4 of 4 endpoints", nil}},
		{"opaque", []func(*finding){func(f *finding) { f.claims = nil }}, counsel{true, "a token came back, but it is opaque", nil}},
		{
			"no permissions", nil,
			counsel{false, "the token has no permissions", []string{"missing: Incident.Read.All (for GET /api/incidents and 1 more), " + hunting, addXDR}},
		},
		{
			"no permissions, for a list",
			[]func(*finding){allow("/api/incidents/**")},
			counsel{false, "the token has no permissions", []string{"missing: Incident.ReadWrite.All (for GET /api/incidents and 2 more)", addXDR}},
		},
		{
			"useless permissions",
			[]func(*finding){roles("Machine.Read.All"), readOnly},
			counsel{false, "its permissions open none of the endpoints of this API", []string{"missing: Incident.Read.All (for GET /api/incidents and 1 more), " + hunting, addXDR}},
		},
		{
			"one missing of a read-only route",
			[]func(*finding){roles("Incident.Read.All"), readOnly},
			counsel{true, "works; the token opens 2 of 4 endpoints, the route lets 2 through", []string{"missing: " + hunting, addXDR}},
		},
		{
			"only reads are missed where nothing is listed",
			[]func(*finding){roles("Incident.Read.All")},
			counsel{true, "works; opens 2 of 4 endpoints", []string{"missing: " + hunting, addXDR}},
		},
		{"nothing that the route wants is missing", []func(*finding){roles("Incident.Read.All", "AdvancedHunting.Read.All"), readOnly}, counsel{true, "works; the token opens 3 of 4 endpoints, the route lets 3 through", nil}},
		{
			"it opens what the route refuses",
			[]func(*finding){roles("Incident.Read.All"), func(f *finding) {
				f.route.Access = route.ReadOnly
				f.lets = func(e *defender.Endpoint) bool { return e.Path == "/api/advancedhunting/run" }
			}},
			counsel{false, "its permissions open none of the endpoints that the route lets through", []string{"missing: " + hunting, addXDR}},
		},
		{
			"of Graph",
			[]func(*finding){at("graph.microsoft.com", "https://graph.microsoft.com/.default", ""), builtinGraph, roles("SecurityAlert.Read.All", "SecurityIncident.Read.All")},
			counsel{true, "works; the token opens 4 of 51 endpoints, the route lets 4 through", []string{
				"missing: ThreatIntelligence.Read.All (for GET /v1.0/security/threatIntelligence/articleIndicators/{id} and 29 more), " +
					"AttackSimulation.Read.All (for GET /v1.0/security/attackSimulation/operations/{id} and 3 more), " +
					"SecurityEvents.Read.All (for GET /v1.0/security/secureScoreControlProfiles and 3 more), " +
					"SecurityIdentitiesHealth.Read.All (for GET /v1.0/security/identities/healthIssues and 1 more), " +
					"ThreatHunting.Read.All (for POST /v1.0/security/runHuntingQuery)",
				"to add them: App registrations > " + theApp + " > API permissions > Add a permission > Microsoft Graph > Application permissions; then have an administrator consent: " + theLink,
			}},
		},
		{
			"of a managed identity",
			[]func(*finding){roles("Incident.Read.All"), managed},
			counsel{true, "works; opens 2 of 4 endpoints", []string{
				"missing: " + hunting,
				"to add them: tokenbroker setup --managed-identity 55555555-5555-5555-5555-555555555555 --role AdvancedHunting.Read.All; the portal has no button for it",
			}},
		},
		{
			"of a user",
			[]func(*finding){func(f *finding) { f.claims.Scp = "Incident.Read" }},
			counsel{true, "works; opens 2 of 4 endpoints", []string{
				"missing: AdvancedHunting.Read (for POST /api/advancedhunting/run)", strings.Replace(addXDR, "Application", "Delegated", 1),
			}},
		},

		{
			"another audience came back",
			[]func(*finding){all, func(f *finding) {
				f.claims.Audience = entra.Audience{"https://userrequestsgraphapi-prd.trafficmanager.net"}
			}},
			counsel{false, "wrong audience: the token is for https://userrequestsgraphapi-prd.trafficmanager.net, and Microsoft Threat Protection was asked for", nil},
		},
		{
			"none came back",
			[]func(*finding){all, func(f *finding) { f.claims.Audience = nil }},
			counsel{false, "wrong audience: the token is for nobody, and Microsoft Threat Protection was asked for", nil},
		},
		{
			"a scope by hand that the host refuses",
			[]func(*finding){all, at("api.securitycenter.windows.com", xdrScope, xdrScope)},
			counsel{false, "wrong audience: the token is for Microsoft Threat Protection, and api.securitycenter.windows.com takes those for WindowsDefenderATP", []string{byPath}},
		},
		{
			"a scope by hand for half of the host",
			[]func(*finding){all, at("api.security.microsoft.com", xdrScope, xdrScope)},
			counsel{true, "works; opens 4 of 4 endpoints", []string{"api.security.microsoft.com refuses this token at the paths of WindowsDefenderATP: " + byPath}},
		},
		{
			"a resource that the catalogue does not know",
			[]func(*finding){at("", "api://gw/.default", "api://gw/.default"), func(f *finding) {
				f.route.Host, f.claims.Audience = nil, entra.Audience{theApp}
			}},
			counsel{true, "works; the catalogue knows no endpoint of this upstream", nil},
		},
		{
			"a name that the catalogue does not know, at a host that it does",
			[]func(*finding){at("api.security.microsoft.com", "https://alias.example/.default", "https://alias.example/.default")},
			counsel{true, "works; the catalogue knows no endpoint of this upstream", []string{
				"the catalogue knows no API of the name https://alias.example: if api.security.microsoft.com refuses the token, " + byPath,
			}},
		},
		{
			"a host that the catalogue does not know",
			[]func(*finding){all, at("", xdrScope, xdrScope), func(f *finding) { f.route.Host = nil }},
			counsel{true, "works; opens 4 of 4 endpoints", nil},
		},

		{
			"an expired secret",
			[]func(*finding){failed(7000222, "it has expired")},
			counsel{false, "it has expired", []string{"secrets are made at App registrations > " + theApp + " > Certificates & secrets > New client secret; put the value into the file, and the broker takes it up by itself"}},
		},
		{
			"an unknown certificate",
			[]func(*finding){failed(700027, "refused")},
			counsel{false, "refused", []string{"certificates are uploaded at App registrations > " + theApp + " > Certificates & secrets > Certificates"}},
		},
		{"no consent", []func(*finding){failed(65001, "no consent")}, counsel{false, "no consent", []string{"an administrator of the tenant consents at " + theLink}}},
		{"no consent, and the text says where", []func(*finding){failed(700016, "consent at "+theLink)}, counsel{false, "consent at " + theLink, nil}},
		{"no consent to a managed identity", []func(*finding){failed(700016, "unknown"), managed}, counsel{false, "unknown", nil}},
		{
			"switched off",
			[]func(*finding){failed(7000112, "disabled")},
			counsel{false, "disabled", []string{"an administrator of the tenant switches it on at Enterprise applications > " + theApp + " > Properties > Enabled for users to sign-in"}},
		},
		{
			"Entra away",
			[]func(*finding){failed(0, "away"), func(f *finding) { f.failure.CorrelationID = "c" }},
			counsel{false, "away [correlation id c]", nil},
		},

		{"a certificate for long", []func(*finding){all, func(f *finding) { f.expires = f.now.Add(soon + time.Second) }}, counsel{true, "works; opens 4 of 4 endpoints", nil}},
		{"a certificate that ends", []func(*finding){all, func(f *finding) { f.expires = f.now.Add(12*24*time.Hour + time.Hour) }}, counsel{true, "works; opens 4 of 4 endpoints", []string{"the certificate expires on 2026-12-03, in 12 days" + newCert}}},
		{"a certificate that has ended", []func(*finding){failed(700027, "refused"), func(f *finding) { f.expires = f.now }}, counsel{false, "refused", []string{
			"certificates are uploaded at App registrations > " + theApp + " > Certificates & secrets > Certificates", "the certificate expired on 2026-11-21" + newCert,
		}}},

		{"a clock that is right enough", []func(*finding){all, func(f *finding) { f.skew = -tolerant }}, counsel{true, "works; opens 4 of 4 endpoints", nil}},
		{
			"a fast clock",
			[]func(*finding){failed(700024, "expired"), func(f *finding) { f.skew = 7 * time.Minute }},
			counsel{false, "expired", []string{"this machine's clock is 7m0s ahead of Entra's: set it right (NTP); tokens are refreshed at the wrong time, and certificates refused"}},
		},
		{
			"a token from the future",
			[]func(*finding){all, func(f *finding) { f.now = f.now.Add(-time.Hour) }},
			counsel{true, "works; opens 4 of 4 endpoints", []string{"this machine's clock is 55m0s behind Entra's: set it right (NTP); tokens are refreshed at the wrong time, and certificates refused"}},
		},
	} {
		if diff := cmp.Diff(tt.want, advise(found(t, tt.changes...)), cmp.AllowUnexported(counsel{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// A whole API's permissions do not fit into a line, and are not all named.
func TestAdviceIsShort(t *testing.T) {
	got := advise(found(t, at("api.securitycenter.microsoft.com", mdeScope, "")))
	if len(got.steps) != 2 || strings.Count(got.steps[0], "(for ") != mostSaid || !strings.Contains(got.steps[0], "more: see tokenbroker endpoints") {
		t.Errorf("got %q", got.steps)
	}
}
