package entraemu_test

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const (
	customer    = entraemu.OtherTenant
	portal      = "https://portal.azure.com"
	incidents   = "Incident.Read.All"
	consentLink = "/" + customer + "/adminconsent?client_id=" + client
)

// withoutConsent makes a partner's app that its customer does not know yet.
func withoutConsent(c *entraemu.Config) {
	app := &c.Apps[0]
	app.Consents = app.Consents[:1]
	app.Requires = entraemu.Roles{entraemu.XDR: {incidents}}
}

// number asks for a token in a tenant and returns the number of the refusal;
// zero: there was none.
func (w *world) number(t *testing.T, tenant, scope string) int {
	t.Helper()
	got := w.post(t, "/"+tenant+"/oauth2/v2.0/token", w.bySecret("scope", scope))
	if got.StatusCode == http.StatusOK {
		return 0
	}
	return parseError(t, got.body).Codes[0]
}

func TestAdministratorConsents(t *testing.T) {
	const v2 = "client_id=" + client + "&scope=" + xdrScope + "&redirect_uri=" + portal
	for _, tc := range []struct {
		name, link string
		answer     url.Values
		want       url.Values // where the browser is sent
	}{
		{
			"one tenant", consentLink,
			url.Values{},
			url.Values{"admin_consent": {"True"}, "tenant": {customer}},
		},
		{
			"one tenant, by its domain", "/fabrikam.example/adminconsent?state=a%26b&client_id=" + client,
			url.Values{},
			url.Values{"admin_consent": {"True"}, "tenant": {customer}, "state": {"a&b"}},
		},
		{
			"any tenant", "/common/adminconsent?client_id=" + client,
			url.Values{"tenant": {customer}},
			url.Values{"admin_consent": {"True"}, "tenant": {customer}},
		},
		{
			"v2, one tenant", "/" + customer + "/v2.0/adminconsent?state=x&" + v2,
			url.Values{},
			url.Values{"admin_consent": {"True"}, "tenant": {customer}, "scope": {xdrScope}, "state": {"x"}},
		},
		{
			"v2, any tenant", "/organizations/v2.0/adminconsent?" + v2,
			url.Values{"tenant": {"fabrikam.example"}},
			url.Values{"admin_consent": {"True"}, "tenant": {customer}, "scope": {xdrScope}},
		},
		{
			"as the partners' page has it", "/common/oauth2/authorize?prompt=consent&client_id=" + client + "&response_type=code&sso_reload=true",
			url.Values{"tenant": {customer}},
			url.Values{"code": nil, "session_state": nil},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, withoutConsent)
			if got := w.number(t, customer, xdrScope); got != 700016 {
				t.Fatalf("before: got %d, want 700016", got)
			}
			page := w.get(t, tc.link)
			choice := strings.Contains(page.body, "<select") && strings.Contains(page.body, "fabrikam.example")
			if page.StatusCode != http.StatusOK || !strings.Contains(page.body, entraemu.XDR+": "+incidents) || choice != tc.answer.Has("tenant") {
				t.Errorf("page: got %s\n%s", page.Status, page.body)
			}
			if got := w.number(t, customer, xdrScope); got != 700016 {
				t.Fatalf("the page alone: got %d, want 700016", got)
			}

			got := w.post(t, tc.link, form(tc.answer, "answer", "accept"))
			to, query, _ := strings.Cut(got.Header.Get("Location"), "?")
			sent, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			for _, random := range []string{"code", "session_state"} {
				if _, wanted := tc.want[random]; wanted && sent.Get(random) != "" {
					sent[random] = nil
				}
			}
			if diff := cmp.Diff(tc.want, sent); diff != "" || got.StatusCode != http.StatusFound || to != portal {
				t.Errorf("%s to %s (-want +got):\n%s", got.Status, to, diff)
			}

			answer := w.post(t, "/"+customer+"/oauth2/v2.0/token", w.bySecret())
			_, access, _ := strings.Cut(answer.body, `"access_token":"`)
			access, _, _ = strings.Cut(access, `"`)
			claims, err := w.Verify(access)
			if err != nil || claims.Tenant != customer || !slices.Equal(claims.Roles, []string{incidents}) {
				t.Errorf("after: got %+v, %v", claims, err)
			}
			if w.Stats().Consents != 1 {
				t.Errorf("statistics: got %+v, want 1 consent", w.Stats())
			}
		})
	}
}

func TestAdministratorDeclines(t *testing.T) {
	w := newWorld(t, withoutConsent, func(c *entraemu.Config) { c.Apps[0].RedirectURIs = []string{"https://app.example/done?from=entra"} })
	for link, want := range map[string]string{
		consentLink + "&state=s": "admin_consent=True&error=consent_required&",
		"/common/oauth2/authorize?prompt=admin_consent&response_type=code&client_id=" + client + "&state=s": "error=access_denied&",
	} {
		got := w.post(t, link, url.Values{"tenant": {customer}, "answer": {"cancel"}}).Header.Get("Location")
		if !strings.HasPrefix(got, "https://app.example/done?from=entra&"+want) || !strings.Contains(got, "AADSTS65004") || !strings.HasSuffix(got, "&state=s") {
			t.Errorf("%s: got %s", link, got)
		}
	}
	if got := w.number(t, customer, xdrScope); got != 700016 || w.Stats().Consents != 0 {
		t.Errorf("got %d and %+v, want 700016 and no consent", got, w.Stats())
	}
}

func TestConsentLinksThatAreRefused(t *testing.T) {
	const (
		bare, single = "44444444-4444-4444-4444-444444444444", "55555555-5555-5555-5555-555555555555"
		authorize    = "/common/oauth2/authorize?response_type=code&prompt=consent&client_id="
		v2           = "/organizations/v2.0/adminconsent?client_id=" + client
	)
	w := newWorld(t, withoutConsent, func(c *entraemu.Config) {
		c.Tenants[1].Resources = []string{entraemu.MDE}
		c.Apps = append(
			c.Apps,
			entraemu.App{ClientID: bare},
			entraemu.App{ClientID: single, Home: tenant, RedirectURIs: []string{portal}},
		)
	})
	accept := url.Values{"answer": {"accept"}, "tenant": {customer}}
	for _, tc := range []struct {
		name, link string
		answer     url.Values // nil: the page is asked for
		number     int
	}{
		{"no client", "/common/adminconsent", nil, 900144},
		{"no response type", "/common/oauth2/authorize?prompt=consent&client_id=" + client, nil, 900144},
		{"another response type", "/common/oauth2/authorize?prompt=consent&response_type=token&client_id=" + client, nil, 9002313},
		{"v2 without a scope", v2 + "&redirect_uri=" + portal, nil, 900144},
		{"v2 without a redirect URI", v2 + "&scope=" + xdrScope, nil, 900144},
		{"v2 with a permission", v2 + "&redirect_uri=" + portal + "&scope=User.Read", nil, 70011},
		{"another redirect URI", v2 + "&redirect_uri=" + portal + "/&scope=" + xdrScope, nil, 50011},
		{"an app without a redirect URI", authorize + bare, nil, 500113},
		{"an unknown app", authorize + stranger, nil, 700016},
		{"another tenant's app", "/" + customer + "/adminconsent?client_id=" + single, nil, 700016},
		{"an app of one tenant", authorize + single, nil, 50194},
		{"an unknown tenant", "/" + stranger + "/adminconsent?client_id=" + client, nil, 90002},
		{"no tenant", "/consumers/adminconsent?client_id=" + client, nil, 900023},
		{"no answer", authorize + client, url.Values{"tenant": {customer}}, 900144},
		{"an answer for no tenant", authorize + client, url.Values{"answer": {"accept"}}, 900023},
		{"too large", authorize + client, url.Values{"x": {strings.Repeat("x", 1<<17)}}, 9002313},
		{"a tenant without the API", authorize + client, accept, 650052},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := w.get(t, tc.link)
			if tc.answer != nil {
				got = w.post(t, tc.link, tc.answer)
			}
			if got.StatusCode != http.StatusBadRequest || !strings.Contains(got.body, "AADSTS"+strconv.Itoa(tc.number)+":") || w.Stats().Refused[tc.number] == 0 {
				t.Errorf("got %s %s, want AADSTS%d", got.Status, got.body, tc.number)
			}
		})
	}
	if got := w.get(t, v2+"&scope="+xdrScope+"&redirect_uri=%3Cscript%3E"); strings.Contains(got.body, "<script>") {
		t.Errorf("got %s", got.body)
	}
	if w.Stats().Consents != 0 {
		t.Errorf("got %+v, want no consent", w.Stats())
	}
	got := w.post(t, "/"+tenant+"/adminconsent?client_id="+single, url.Values{"answer": {"accept"}})
	if got.StatusCode != http.StatusFound {
		t.Errorf("the app of one tenant, there: got %s %s", got.Status, got.body)
	}
}

// What is wrong in one tenant is wrong there alone.
func TestEachTenantRefusesByItself(t *testing.T) {
	w := newWorld(t, func(c *entraemu.Config) { c.Tenants[1].Resources = []string{entraemu.XDR} })
	roles := entraemu.Roles{entraemu.XDR: {incidents}}
	for _, tc := range []struct {
		name    string
		consent *entraemu.Consent // nil: there is none
		scope   string
		number  int
	}{
		{"good", &entraemu.Consent{Roles: roles}, xdrScope, 0},
		{"nobody has consented", &entraemu.Consent{Roles: roles, Withheld: true}, xdrScope, 65001},
		{"switched off", &entraemu.Consent{Roles: roles, Disabled: true}, xdrScope, 7000112},
		{"not known", nil, xdrScope, 700016},
		{"without the API", &entraemu.Consent{Roles: roles}, "https://api.securitycenter.microsoft.com/.default", 500011},
	} {
		err := w.Revoke(client, customer)
		if tc.consent != nil {
			tc.consent.Tenant = customer
			err = w.SetConsent(client, *tc.consent)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := w.number(t, customer, tc.scope); got != tc.number {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.number)
		}
		if got := w.number(t, tenant, tc.scope); got != 0 {
			t.Errorf("%s: the other tenant: got %d", tc.name, got)
		}
	}
}

func TestConsentCuresWhatItCan(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		consent       entraemu.Consent
		before, after int
	}{
		{entraemu.Consent{Tenant: customer, Withheld: true}, 65001, 0},
		{entraemu.Consent{Tenant: customer, Disabled: true}, 7000112, 7000112},
	} {
		if err := w.SetConsent(client, tc.consent); err != nil {
			t.Fatal(err)
		}
		before := w.number(t, customer, xdrScope)
		w.post(t, consentLink, url.Values{"answer": {"accept"}})
		if after := w.number(t, customer, xdrScope); before != tc.before || after != tc.after {
			t.Errorf("got %d, then %d; want %d, then %d", before, after, tc.before, tc.after)
		}
	}
}

func TestConsentsThatCannotBe(t *testing.T) {
	w := newWorld(t)
	for name, err := range map[string]error{
		"unknown tenant": w.SetConsent(client, entraemu.Consent{Tenant: stranger}),
		"unknown app":    w.SetConsent(stranger, entraemu.Consent{Tenant: customer}),
		"nobody's":       w.Revoke(stranger, customer),
	} {
		if entra.KindOf(err) != entra.NotFound {
			t.Errorf("%s: got %v, want not found", name, err)
		}
	}
}
