package entraemu_test

import (
	"crypto/rsa"
	"encoding/csv"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

func TestNewNamesEveryFaultOfTheConfiguration(t *testing.T) {
	_, err := entraemu.New(entraemu.Config{
		SigningKey: signingKey(),
		Tenants:    []entraemu.Tenant{{ID: "contoso.example", Resources: []string{"Unknown"}}},
		Apps: []entraemu.App{{
			ClientID:  "app",
			Federated: []entraemu.FederatedCredential{{Issuer: "https://nobody.example"}},
			Consents:  []entraemu.Consent{{Tenant: stranger, Roles: entraemu.Roles{"Unknown": nil}}},

			Home: "77777777-7777-7777-7777-777777777777", Requires: entraemu.Roles{"Asked": nil}, RedirectURIs: []string{"portal"},
			Delegates: entraemu.Scopes{"Delegated": nil}, NativeRedirectURIs: []string{"native"}, SPARedirectURIs: []string{"spa"},
		}},
		Resources: []entraemu.Resource{{Name: "Second", V2: true}},
		Users: []entraemu.User{{
			UPN: "alice", ObjectID: "object", Home: stranger,
			Consents: []entraemu.UserConsent{{Tenant: "elsewhere", Scopes: entraemu.Scopes{"Consented": nil}}},
		}},
	})
	if entra.KindOf(err) != entra.Invalid {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		`tenants[0]: id "contoso.example"`, `tenants[0]: resource "Unknown"`, `apps[0]: client id "app"`,
		`apps[0]: federated issuer "https://nobody.example"`, `apps[0]: tenant "` + stranger + `"`, `apps[0]: resource "Unknown"`,
		`apps[0]: tenant "77777777-7777-7777-7777-777777777777"`, `apps[0]: resource "Asked"`, `apps[0]: redirect URI "portal"`,
		`apps[0]: resource "Delegated"`, `apps[0]: redirect URI "native"`, `apps[0]: redirect URI "spa"`, `resources[0]: "Second"`,
		`users[0]: upn "alice"`, `password: want one`, `tenant "` + stranger + `" is not`, `object id "object"`,
		`consent: tenant "elsewhere"`, `consent: resource "Consented"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
}

func TestNewMakesAKeyUnlessItIsGivenOne(t *testing.T) {
	made, err := entraemu.New(entraemu.Default())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	token, _ := w.token(t, w.bySecret())
	if _, err := made.Verify(token.Access); err == nil {
		t.Error("two Servers share a key that nobody gave them")
	}
	if _, err := entraemu.New(entraemu.Config{SigningKey: &rsa.PrivateKey{}}); entra.KindOf(err) != entra.Invalid {
		t.Errorf("an empty key: got %v", err)
	}
}

// The catalogue is another package's, so this reads its table.
func TestDefaultGrantsEveryPermissionOfTheCatalogue(t *testing.T) {
	f, err := os.Open("../../defender/endpoints.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table := csv.NewReader(f)
	table.Comma, table.FieldsPerRecord, table.LazyQuotes, table.Comment = '\t', -1, true, '#'
	rows, err := table.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := func(name string) int {
		i := slices.Index(rows[0], name)
		if i < 0 {
			t.Fatalf("endpoints.tsv has no column %s: %q", name, rows[0])
		}
		return i
	}
	api, permissions, delegated := column("api"), column("app_permissions"), column("delegated_permissions")
	names := map[string]string{"XDR": entraemu.XDR, "MDE": entraemu.MDE, "GRAPH": entraemu.Graph, "MDCA": entraemu.MDCA}
	catalogue, scopes := map[string][]string{}, entraemu.Scopes{}
	for _, row := range rows[1:] {
		for scope := range strings.SplitSeq(row[delegated], ";") {
			if resource := names[row[api]]; scope != "" && !slices.Contains(scopes[resource], scope) {
				scopes[resource] = append(scopes[resource], scope)
			}
		}
		for role := range strings.SplitSeq(row[permissions], ";") {
			if resource := names[row[api]]; role != "" && !slices.Contains(catalogue[resource], role) {
				catalogue[resource] = append(catalogue[resource], role)
			}
		}
	}
	for resource, want := range scopes {
		slices.Sort(want)
		if got := entraemu.AllScopes()[resource]; !slices.Equal(got, want) {
			t.Errorf("%q, delegated: got %q, want %q", resource, got, want)
		}
	}
	all, read := entraemu.AllRoles(), entraemu.ReadRoles()
	for resource, roles := range catalogue {
		slices.Sort(roles)
		if got := slices.Sorted(slices.Values(all[resource])); !slices.Equal(got, roles) {
			t.Errorf("%q: got %q, want %q", resource, got, roles)
		}
		for _, role := range read[resource] {
			if !slices.Contains(roles, role) || !strings.Contains(strings.ToLower(role), "read") || strings.Contains(role, "Write") {
				t.Errorf("%q: %s is no role to read with", resource, role)
			}
		}
	}
}

func TestDefaultSecretIsNewEveryTime(t *testing.T) {
	one, other := entraemu.Default().Apps[0].Secrets[0].Value, entraemu.Default().Apps[0].Secrets[0].Value
	if one.Equal(other) || len(one.Reveal()) < 20 {
		t.Error("the secret can be guessed")
	}
}

func TestFederatedTokenLooksProjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, err := cluster().Token(subject, "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		token, err := entra.ParseJWT(raw)
		if err != nil {
			t.Fatal(err)
		}
		now := entra.Epoch(time.Now().Unix())
		c := token.Claims
		if c.Issuer != clusterID || c.Subject != subject || !slices.Equal(c.Audience, []string{"api://AzureADTokenExchange"}) || c.Expires != now+3600 || c.NotBefore != now {
			t.Errorf("got %s", token.Payload)
		}
		var kube struct {
			Claim struct {
				Namespace      string
				Pod            struct{ Name, UID string }
				ServiceAccount struct{ Name, UID string }
			} `json:"kubernetes.io"`
			Audience []string `json:"aud"` // an array, even of one
		}
		if err := json.Unmarshal(token.Payload, &kube); err != nil || kube.Claim.Namespace != "soc" || kube.Claim.ServiceAccount.Name != "hunter" || !entra.IsGUID(kube.Claim.Pod.UID) {
			t.Errorf("got %+v, %v", kube, err)
		}
		plain, err := cluster().Token("repo:contoso/hunts", "aud", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if token, err := entra.ParseJWT(plain); err != nil || strings.Contains(string(token.Payload), "kubernetes.io") {
			t.Errorf("not a service account's: got %s, %v", token.Payload, err)
		}
	})
}
