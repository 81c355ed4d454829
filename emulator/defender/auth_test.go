package defenderemu

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

func TestAudienceIsCheckedByPath(t *testing.T) {
	e := newEmulator(t)
	const (
		xdr     = "https://api.security.microsoft.com"
		mde     = "https://api.securitycenter.microsoft.com"
		legacy  = "https://api.securitycenter.windows.com"
		service = "https://securitycenter.onmicrosoft.com/windowsatpservice"
		govMDE  = "https://api-gov.securitycenter.microsoft.us"
		graph   = "https://graph.microsoft.com"
	)
	tests := []struct {
		host, path, audience string
		status               int
	}{
		{"127.0.0.1:8080", "/api/incidents", xdr, 200},
		{"127.0.0.1:8080", "/api/incidents", mde, 401},
		{"127.0.0.1:8080", "/api/incidents", "https://security.microsoft.com/mtp", 200},
		{"127.0.0.1:8080", "/api/machines", mde, 200},
		{"127.0.0.1:8080", "/api/machines", mde + "/", 200},
		{"127.0.0.1:8080", "/api/machines", strings.ToUpper(mde), 200},
		{"127.0.0.1:8080", "/api/machines", service, 200},
		{"127.0.0.1:8080", "/api/machines", xdr, 401},
		{"127.0.0.1:8080", "/api/machines", "https://evil.example", 401},
		{"127.0.0.1:8080", "/api/machines", "https://userrequestsgraphapi-prd.trafficmanager.net", 403},
		{"127.0.0.1:8080", "/v1.0/security/incidents", graph, 200},
		{"127.0.0.1:8080", "/beta/security/incidents", graph, 200},
		{"127.0.0.1:8080", "/v1.0/security/incidents", xdr, 401},
		{"127.0.0.1:8080", "/api/v1/alerts/", "05a65629-4c1b-48c1-a78b-804c4abdd4af", 200},
		{"api.security.microsoft.com", "/api/incidents", xdr, 200},
		{"api.security.microsoft.com", "/API/v1.0/INCIDENTS/", xdr, 200},
		{"api.security.microsoft.com", "/api/machines", mde, 200},
		{"api.securitycenter.windows.com", "/api/machines", legacy, 200},
		{"api.securitycenter.windows.com", "/api/incidents", xdr, 404},
		{"api.security.microsoft.com", "/v1.0/security/incidents", graph, 404},
		{"graph.microsoft.com", "/v1.0/security/alerts_v2", graph, 200},
		{"graph.microsoft.com", "/api/incidents", xdr, 404},
		{"api-gov.securitycenter.microsoft.us", "/api/machines", govMDE, 200},
		{"api-gov.securitycenter.microsoft.us", "/api/machines", "https://securitycenter.onmicrosoft.us/windowsatpservice", 200},
		{"api-gov.securitycenter.microsoft.us", "/api/machines", mde, 401},
		{"api-gcc.securitycenter.microsoft.us", "/api/machines", service, 200},
		{"127.0.0.1", "/api/nothing", mde, 404},
		{"127.0.0.1", "/", mde, 404},
	}
	for _, tt := range tests {
		r := e.request(entra.Claims{}, http.MethodGet, tt.path, "")
		var claims entra.Claims
		for _, api := range []defender.API{defender.XDR, defender.MDE, defender.Graph, defender.MDCA} {
			claims.Roles = append(claims.Roles, e.all(api).Roles...)
		}
		claims.Audience, claims.Tenant = entra.Audience{tt.audience}, tenant
		r.Header.Set("Authorization", "Bearer "+token64(claims))
		r.Host = tt.host
		if got := e.send(r).Code; got != tt.status {
			t.Errorf("%s%s for %s: got %d, want %d", tt.host, tt.path, tt.audience, got, tt.status)
		}
	}
}

func TestTokenIsChecked(t *testing.T) {
	e := newEmulator(t)
	good := "Bearer " + token64(e.all(defender.MDE))
	expired := e.all(defender.MDE)
	expired.Expires = entra.Epoch(time.Now().Add(-time.Second).Unix())
	for name, headers := range map[string][]string{
		"none":      nil,
		"empty":     {"Bearer "},
		"basic":     {"Basic " + token64(e.all(defender.MDE))},
		"no scheme": {token64(e.all(defender.MDE))},
		"two":       {good, good},
		"forged":    {"Bearer forged"},
		"expired":   {"Bearer " + token64(expired)},
	} {
		r := e.request(entra.Claims{}, http.MethodGet, "/api/machines", "")
		r.Header["Authorization"] = headers
		a := e.send(r)
		if a.Code != http.StatusUnauthorized || !strings.Contains(a.Body.String(), `"code":"Unauthorized"`) {
			t.Errorf("%s: got %d %s, want 401", name, a.Code, a.Body)
		}
	}
	if got, want := e.Stats().Unauthorized, 7; got != want {
		t.Errorf("got %d counted 401s, want %d", got, want)
	}
	e.send(e.request(may(defender.MDE), http.MethodGet, "/v1.0/security/incidents", "")).is(http.StatusUnauthorized, "InvalidAuthenticationToken")
	r := e.request(e.all(defender.MDE), http.MethodGet, "/api/machines", "")
	r.Header.Set("Authorization", strings.Replace(good, "Bearer", "bearer", 1))
	e.send(r).ok()
}

func TestRolesAreChecked(t *testing.T) {
	e := newEmulator(t)
	user := entra.Claims{Audience: entra.Audience{audiences[defender.MDE]}, Tenant: tenant, AppID: client}
	user.Scp = "Alert.Read Ti.ReadWrite"
	tests := []struct {
		name, method, path string
		claims             entra.Claims
		message            string // empty: let through
	}{
		{"role", "GET", "/api/machines", may(defender.MDE, "Machine.Read.All"), ""},
		{
			"other role", "GET", "/api/machines", may(defender.MDE, "Alert.Read.All", "Ti.ReadWrite"),
			"Missing application roles. API required roles: Machine.Read.All, Machine.ReadWrite.All, application roles: Alert.Read.All, Ti.ReadWrite.",
		},
		{
			"no roles", "GET", "/api/incidents", may(defender.XDR),
			"Missing application roles. API required roles: Incident.Read.All, Incident.ReadWrite.All, application roles: .",
		},
		{
			"reader may not write", "PATCH", "/api/machines/x", may(defender.MDE, "Machine.Read.All"),
			"Missing application roles. API required roles: Machine.ReadWrite.All, application roles: Machine.Read.All.",
		},
		{"delegated", "GET", "/api/alerts", user, ""},
		{
			"delegated, missing", "GET", "/api/machines", user,
			"Missing application scopes. API required scopes: Machine.Read, Machine.ReadWrite, application scopes: Alert.Read, Ti.ReadWrite.",
		},
	}
	for _, tt := range tests {
		a := e.send(e.request(tt.claims, tt.method, tt.path, ""))
		if tt.message == "" {
			a.ok()
			continue
		}
		if got := a.is(http.StatusForbidden, "Forbidden").message(); got != tt.message {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.message)
		}
	}
	if got, want := e.Stats().Forbidden, 4; got != want {
		t.Errorf("got %d counted 403s, want %d", got, want)
	}
}

func TestRequestorIsTheUserOfADelegatedToken(t *testing.T) {
	e := newEmulator(t)
	claims := entra.Claims{Audience: entra.Audience{audiences[defender.MDE]}, Tenant: tenant, AppID: client, User: "ines@example.test", Scp: "Machine.Offboard Machine.Read"}
	machine := e.first("/api/machines", "id")
	var got struct{ Requestor string }
	e.send(e.request(claims, http.MethodPost, "/api/machines/"+machine+"/offboard", `{"Comment":"c"}`)).is(http.StatusCreated, "").into(&got)
	if got.Requestor != claims.User {
		t.Errorf("got %s, want %s", got.Requestor, claims.User)
	}
}

func TestTenantsHaveDataOfTheirOwn(t *testing.T) {
	e := newEmulator(t)
	machines := func(tenant string) any {
		claims := may(defender.MDE, "Machine.Read.All")
		claims.Tenant = tenant
		var l listed
		e.send(e.request(claims, http.MethodGet, "/api/machines?$top=1", "")).ok().into(&l)
		return l.Value[0]["id"]
	}
	if a, b := machines("aaaaaaaa-3333-3333-3333-333333333333"), machines(tenant); a == b {
		t.Errorf("two tenants have the machine %v", a)
	}
	if a, b := machines("aaaaaaaa-3333-3333-3333-333333333333"), machines("AAAAAAAA-3333-3333-3333-333333333333"); a != b {
		t.Errorf("one tenant has the machines %v and %v", a, b)
	}
}
