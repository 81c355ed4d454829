package setup_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/setup"
)

var update = flag.Bool("update", false, "write the golden files")

// now is when all plans of the tests are made.
var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	objectID = "11111111-2222-3333-4444-555555555555"
	tenantID = "22222222-2222-2222-2222-222222222222"
	clientID = "33333333-3333-3333-3333-333333333333"
)

func catalogue(tb testing.TB) *defender.Catalogue {
	tb.Helper()
	c, err := defender.Load()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// endpoints finds endpoints by their names, as in GET /api/incidents.
func endpoints(tb testing.TB, names ...string) []defender.Endpoint {
	tb.Helper()
	var found []defender.Endpoint
	for _, name := range names {
		method, path, _ := strings.Cut(name, " ")
		e, ok := catalogue(tb).Match(method, path)
		if !ok {
			tb.Fatalf("no endpoint %q", name)
		}
		found = append(found, *e)
	}
	return found
}

func certificate(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func plan(tb testing.TB, want setup.Want) *setup.Plan {
	tb.Helper()
	want.Now = now
	p, err := setup.New(catalogue(tb), want)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func script(tb testing.TB, p *setup.Plan, f setup.Format) string {
	tb.Helper()
	text, err := p.Script(f)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// scenarios are what the golden files are of.
func scenarios(tb testing.TB) map[string]setup.Want {
	tb.Helper()
	return map[string]setup.Want{
		"secret": {
			Endpoints:  endpoints(tb, "GET /api/incidents", "PATCH /api/incidents/1", "GET /api/machines"),
			Credential: setup.Secret{Days: 180, File: "client-secret"},
		},
		"certificate-gcchigh": {
			Name: "Broker's \"own\" $(id) `id` ${x} %{y} \\", Tenant: tenantID, Cloud: entra.GCCHigh,
			Endpoints:  endpoints(tb, "GET /api/alerts", "POST /v1.0/security/runHuntingQuery"),
			Credential: setup.Certificate{PEM: certificate(tb, "certificate.pem"), File: "/etc/tokenbroker/tls.crt", KeyFile: "/etc/tokenbroker/tls.key"},
		},
		"aks": {
			Tenant:     "contoso.example",
			Endpoints:  endpoints(tb, "GET /api/incidents"),
			Credential: setup.AKS("https://oidc.example/11111111-1111-1111-1111-111111111111/", "security", "tokenbroker"),
		},
		"managed-identity": {
			Endpoints:  endpoints(tb, "GET /api/machines", "POST /api/machines/1/isolate"),
			Credential: setup.ManagedIdentity{ObjectID: objectID},
		},
		"browser": {
			Endpoints:  endpoints(tb, "GET /api/incidents", "GET /api/machines"),
			Credential: setup.User{Flow: setup.Browser},
		},
		"partners": {
			Endpoints:  endpoints(tb, "GET /v1.0/security/incidents"),
			Tenants:    []entra.Tenant{"one.example", "two.example"},
			Credential: setup.Secret{Days: 90, File: "client-secret"},
		},
	}
}

// anyText is what somebody might give as a name who means harm, or has one.
func anyText() *rapid.Generator[string] {
	hostile := []rune("'\"`$(){}%\\;&|<>*?~!#@-=,: \u2018\u2019\u201a\u201b\u201c\u00e9\u20d1\U0001f511aZ09")
	return rapid.StringOfN(rapid.SampledFrom(hostile), 1, 40, -1).Filter(func(s string) bool {
		return strings.TrimSpace(s) == s && !strings.Contains(s, "=@") && s[0] != '@' && s[0] != '-'
	})
}

// anyWant is any combination that New takes.
func anyWant(tb testing.TB) *rapid.Generator[setup.Want] {
	tb.Helper()
	c, pem := catalogue(tb), certificate(tb, "certificate.pem")
	return rapid.Custom(func(t *rapid.T) setup.Want {
		w := setup.Want{
			Name:   anyText().Draw(t, "name"),
			Tenant: rapid.SampledFrom([]entra.Tenant{"", tenantID, "contoso.example"}).Draw(t, "tenant"),
			Cloud:  rapid.SampledFrom(entra.Clouds()).Draw(t, "cloud"),
			Now:    now,
		}
		path := func(label string) string {
			return rapid.SampledFrom([]string{"./", "/etc/x y/"}).Draw(t, label) + anyText().Draw(t, label)
		}
		credentials := []setup.Credential{
			setup.Secret{Days: rapid.IntRange(1, 730).Draw(t, "days"), File: path("secret")},
			setup.Certificate{PEM: pem, File: path("certificate"), KeyFile: path("key")},
			setup.Federated{Issuer: "https://issuer.example/a", Subject: "x" + anyText().Draw(t, "subject") + "x", Audience: anyText().Draw(t, "audience"), TokenFile: path("token")},
			setup.ManagedIdentity{ObjectID: objectID, SystemAssigned: rapid.Bool().Draw(t, "system")},
			setup.User{Flow: setup.Browser, RedirectURI: rapid.SampledFrom([]string{"", "https://127.0.0.1", "http://localhost:8400/x"}).Draw(t, "redirect")},
			setup.User{Flow: setup.DeviceCode},
		}
		w.Credential = rapid.SampledFrom(credentials).Draw(t, "credential")
		_, user := w.Credential.(setup.User)
		if _, managed := w.Credential.(setup.ManagedIdentity); managed {
			w.Name = ""
		} else {
			w.MultiTenant = rapid.Bool().Draw(t, "multi-tenant")
			w.Tenants = rapid.SampledFrom([][]entra.Tenant{nil, {"one.example"}, {tenantID, "two.example"}}).Draw(t, "tenants")
		}
		possible := slices.DeleteFunc(slices.Clone(c.Endpoints()), func(e defender.Endpoint) bool {
			return user && len(e.Delegated) == 0 ||
				!slices.ContainsFunc(c.Hosts(), func(h defender.Host) bool { return slices.Contains(h.Clouds, w.Cloud) && h.Scope(e.API) != "" })
		})
		w.Endpoints = rapid.SliceOfN(rapid.SampledFrom(possible), 1, 12).Draw(t, "endpoints")
		return w
	}).Filter(func(w setup.Want) bool {
		f, federated := w.Credential.(setup.Federated)
		return !federated || !strings.Contains(f.Subject, "::")
	})
}
