package entraemu_test

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const vaultAudience = "https://vault.azure.net"

// identity is a managed identity of the default tenant.
var identity = entraemu.ServicePrincipal{
	Tenant:     tenant,
	ClientID:   "44444444-4444-4444-4444-444444444444",
	ObjectID:   "55555555-5555-5555-5555-555555555555",
	ResourceID: "/subscriptions/s/resourcegroups/soc/providers/Microsoft.ManagedIdentity/userAssignedIdentities/hunter",
}

// withIdentity makes a world know the managed identity and the vault.
func withIdentity(c *entraemu.Config) {
	c.Resources = append(c.Resources, entraemu.KeyVaultResource())
	c.Apps = append(c.Apps, entraemu.App{
		ClientID: identity.ClientID,
		Consents: []entraemu.Consent{{Tenant: tenant, Roles: entraemu.Roles{entraemu.MDE: {"Alert.Read.All"}}}},
	})
}

func TestTokenForAManagedIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, withIdentity)
		now := time.Now().Truncate(time.Second)
		for _, tc := range []struct {
			resource string
			lifetime time.Duration
			want     time.Duration
			roles    []string
		}{
			{"https://api.securitycenter.microsoft.com", 0, 3599 * time.Second, []string{"Alert.Read.All"}},
			{vaultAudience, 24 * time.Hour, 24 * time.Hour, nil},
			{vaultAudience + "/", time.Minute, time.Minute, nil},
		} {
			token, err := w.IssueFor(identity, tc.resource, tc.lifetime)
			if err != nil {
				t.Fatal(err)
			}
			claims, err := w.Verify(token.Access)
			if err != nil {
				t.Fatal(err)
			}
			if !token.Expires.Equal(now.Add(tc.want)) || !claims.Expires.Time().Equal(token.Expires) || !claims.NotBefore.Time().Equal(token.NotBefore) {
				t.Errorf("%s: expires %v, the token says %v, want in %v", tc.resource, token.Expires, claims.Expires.Time(), tc.want)
			}
			want := entra.Claims{
				Audience: entra.Audience{tc.resource}, Issuer: "https://sts.windows.net/" + tenant + "/", Tenant: tenant,
				AppID: identity.ClientID, Object: identity.ObjectID, Subject: identity.ObjectID, Roles: tc.roles, IDType: "app", Version: "1.0",
				TokenID: claims.TokenID, IssuedAt: claims.IssuedAt, NotBefore: claims.NotBefore, Expires: claims.Expires,
			}
			if diff := cmp.Diff(claims, want); diff != "" {
				t.Errorf("%s: got -, want +:\n%s", tc.resource, diff)
			}
		}
		stats := w.Stats()
		if stats.Issued != 3 || stats.Tokens != 0 || stats.Audiences[vaultAudience] != 1 {
			t.Errorf("got %+v, want three tokens issued without a request", stats)
		}
	})
}

func TestTokenOfAManagedIdentityNamesItsResource(t *testing.T) {
	w := newWorld(t, withIdentity)
	system := identity
	system.ResourceID = ""
	for _, p := range []entraemu.ServicePrincipal{identity, system} {
		token, err := w.IssueFor(p, vaultAudience, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := entra.ParseJWT(token.Access)
		if err != nil {
			t.Fatal(err)
		}
		var claims struct {
			MIRID *string `json:"xms_mirid"`
		}
		if err := json.Unmarshal(parsed.Payload, &claims); err != nil {
			t.Fatal(err)
		}
		if named := claims.MIRID != nil && *claims.MIRID == p.ResourceID; named != (p.ResourceID != "") {
			t.Errorf("resource %q: xms_mirid is %v", p.ResourceID, claims.MIRID)
		}
	}
}

func TestNoTokenForAManagedIdentity(t *testing.T) {
	w := newWorld(t, withIdentity)
	edit := func(edit func(*entraemu.ServicePrincipal)) entraemu.ServicePrincipal {
		p := identity
		edit(&p)
		return p
	}
	for name, tc := range map[string]struct {
		principal entraemu.ServicePrincipal
		resource  string
		number    int
	}{
		"unknown client":      {edit(func(p *entraemu.ServicePrincipal) { p.ClientID = stranger }), vaultAudience, 700016},
		"client of elsewhere": {edit(func(p *entraemu.ServicePrincipal) { p.Tenant = entraemu.OtherTenant }), vaultAudience, 700016},
		"unknown tenant":      {edit(func(p *entraemu.ServicePrincipal) { p.Tenant = stranger }), vaultAudience, 90002},
		"no tenant":           {edit(func(p *entraemu.ServicePrincipal) { p.Tenant = "" }), vaultAudience, 900023},
		"unknown resource":    {identity, "https://contoso.vault.azure.net", 500011},
	} {
		_, err := w.IssueFor(tc.principal, tc.resource, 0)
		if got, ok := errors.AsType[*entra.Error](err); !ok || got.AADSTS != tc.number || got.Kind != entra.Invalid {
			t.Errorf("%s: got %v, want %d", name, err, tc.number)
		}
	}
	if w.Stats().Issued != 0 {
		t.Error("a refused token was counted")
	}
}
