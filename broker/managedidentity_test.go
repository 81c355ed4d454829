package broker_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	metadataemu "tokenbroker/emulator/metadata"
	"tokenbroker/entra"
)

// ofMachine is a request that leaves the tenant to the machine's identity.
func ofMachine() entra.Request { return entra.Request{Scope: scope} }

func TestManagedIdentityGetsItsToken(t *testing.T) {
	for _, where := range []string{"IMDS", "App Service"} {
		for name, tc := range map[string]struct {
			cfg  broker.ManagedIdentityConfig
			want metadataemu.Identity
		}{
			"system-assigned": {broker.ManagedIdentityConfig{}, machine},
			"client id":       {broker.ManagedIdentityConfig{ClientID: reader.ClientID}, reader},
			"object id":       {broker.ManagedIdentityConfig{ObjectID: reader.ObjectID}, reader},
			"resource id":     {broker.ManagedIdentityConfig{ResourceID: reader.ResourceID}, reader},
		} {
			t.Run(where+", "+name, func(t *testing.T) {
				if where != "IMDS" {
					t.Setenv("IDENTITY_ENDPOINT", appURL)
					t.Setenv("IDENTITY_HEADER", opaque)
				}
				synctest.Test(t, func(t *testing.T) {
					a := newAzure(t, machine, reader)
					tc.cfg.Tenant = tenant
					source := a.managed(t, tc.cfg)
					for _, req := range []entra.Request{ask(), ofMachine()} { // each is an exchange
						tok, err := source.Token(t.Context(), req)
						if err != nil {
							t.Fatal(err)
						}
						jwt, err := tok.JWT()
						if err != nil {
							t.Fatal(err)
						}
						if c := jwt.Claims; c.Client() != tc.want.ClientID || c.Tenant != string(tenant) || c.Audience[0] != scope.Audience() {
							t.Errorf("got a token of %s in %s for %s", c.Client(), c.Tenant, c.Audience)
						}
						if left, refresh := time.Until(tok.ExpiresOn), time.Until(tok.RefreshOn); left != 24*time.Hour || refresh != 12*time.Hour {
							t.Errorf("it expires in %v and is refreshed in %v, want 24h and 12h", left, refresh)
						}
					}
					if got := a.machine.Stats().Issued[tc.want.ClientID]; got != 2 {
						t.Errorf("%d tokens, want 2: remembering is the cache's work", got)
					}
				})
			})
		}
	}
}

func TestManagedIdentityUsesNoProxy(t *testing.T) {
	m, err := broker.NewManagedIdentity(broker.ManagedIdentityConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if broker.HasProxy(m) {
		t.Error("the environment's proxy would hear what opens the endpoint")
	}
}

func TestManagedIdentityTokenHasToBeOne(t *testing.T) {
	for name, tc := range map[string]struct{ token, says string }{
		"expired":     {`{"access_token":"canary","expires_on":"1","token_type":"Bearer"}`, "the token that came has expired already: is the clock of this machine right?"},
		"not a token": {`{"access_token":"a canary","expires_in":"3600","token_type":"Bearer"}`, "something that is no bearer token"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				serve(t, w.listen(t, metadataemu.IMDSHost), answer(http.StatusOK, tc.token))
				_, err := w.managed(t, broker.ManagedIdentityConfig{}).Token(t.Context(), ofMachine())
				wantError(t, err, entra.Unavailable, tc.says)
			})
		})
	}
}

func TestCallerThatLeavesCancelsIMDS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.swallow(t, metadataemu.IMDSHost)
		leaves(t, w.managed(t, broker.ManagedIdentityConfig{Tenant: tenant}), time.Second)
	})
}

func TestManagedIdentityRefusesWithoutAsking(t *testing.T) {
	for name, tc := range map[string]struct {
		tenant entra.Tenant // of the configuration
		edit   func(*entra.Request)
		says   string
	}{
		"another tenant":      {tenant, func(r *entra.Request) { r.Tenant = "customer.example" }, `tenant "customer.example": the system-assigned managed identity has tokens of its own tenant only: leave tenant out`},
		"a tenant, not known": {"", func(r *entra.Request) { r.Tenant = tenant }, "has tokens of its own tenant only"},
		"one permission":      {"", func(r *entra.Request) { r.Scope = "https://api.example/Alert.Read" }, "ask for https://api.example/.default"},
		"several":             {"", func(r *entra.Request) { r.Scope = "https://api.example/A https://api.example/B" }, "ask for https://api.example/.default"},
		"a user":              {"", func(r *entra.Request) { r.Assertion = entra.NewSecret("user-canary") }, "leave the user's assertion out"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t, machine)
			req := ofMachine()
			tc.edit(&req)
			_, err := a.managed(t, broker.ManagedIdentityConfig{Tenant: tc.tenant}).Token(t.Context(), req)
			wantError(t, err, entra.Invalid, tc.says)
			if got := a.machine.Stats().Requests["imds"]; got != 0 {
				t.Errorf("%d requests, want none", got)
			}
		})
	}
}

func TestManagedIdentityOfAnotherTenantIsNamed(t *testing.T) {
	a := newAzure(t, machine)
	const other = "33333333-3333-3333-3333-333333333333"
	_, err := a.managed(t, broker.ManagedIdentityConfig{Tenant: other}).Token(t.Context(), ofMachine())
	wantError(t, err, entra.Misconfigured, `the system-assigned managed identity is of tenant "`+string(tenant)+`": correct the identity's tenant, or leave it out`)
	if _, err := a.managed(t, broker.ManagedIdentityConfig{Tenant: "contoso.example"}).Token(t.Context(), ofMachine()); err != nil {
		t.Errorf("a domain name: got %v, want it not compared", err)
	}
}

// Each ends in the time of one exchange, however often MSAL tries.
func TestFaultsOfManagedIdentity(t *testing.T) {
	const user = "99999999-9999-9999-9999-999999999999"
	const absent = "no managed identity endpoint answers at 169.254.169.254: is this an Azure VM or an AKS node"
	for name, tc := range map[string]struct {
		cfg    broker.ManagedIdentityConfig
		faults metadataemu.Faults
		scope  entra.Scope
		kind   entra.Kind
		says   string
		took   time.Duration
		retry  time.Duration
	}{
		"not assigned":    {cfg: broker.ManagedIdentityConfig{ClientID: user}, kind: entra.Misconfigured, says: "the managed identity with client_id " + user + ": it is not assigned to where the broker runs, or misspelt (status 400)"},
		"no such API":     {scope: "https://nobody.example/.default", kind: entra.Misconfigured, says: "the API of https://nobody.example/.default is not in tenant (its own)"},
		"refused":         {faults: metadataemu.Faults{Status: 403}, kind: entra.Misconfigured, says: "169.254.169.254 refuses the broker (status 403)"},
		"being updated":   {faults: metadataemu.Faults{Status: 404}, kind: entra.Unavailable, says: "169.254.169.254 fails (status 404)", took: 2 * time.Second},
		"restarting":      {faults: metadataemu.Faults{Status: 410, RetryAfterS: 70}, kind: entra.Unavailable, says: "fails (status 410)", took: 2 * time.Second, retry: 70 * time.Second},
		"throttling":      {faults: metadataemu.Faults{Status: 429, RetryAfterS: 7}, kind: entra.Throttled, says: "is asked too often", took: 2 * time.Second, retry: 7 * time.Second},
		"broken":          {faults: metadataemu.Faults{Status: 500}, kind: entra.Unavailable, says: "fails (status 500)", took: 2 * time.Second},
		"hanging":         {faults: metadataemu.Faults{Hang: true}, kind: entra.Unavailable, says: absent, took: timeout},
		"garbage":         {faults: metadataemu.Faults{Body: "garbage"}, kind: entra.Unavailable, says: "169.254.169.254 answered with something that is no token"},
		"truncated":       {faults: metadataemu.Faults{Body: "truncated"}, kind: entra.Unavailable, says: "no token"},
		"no expiry":       {faults: metadataemu.Faults{Body: "no_expiry"}, kind: entra.Unavailable, says: "no token"},
		"a hotel's page":  {faults: metadataemu.Faults{Body: "html"}, kind: entra.Unavailable, says: "no token"},
		"empty":           {faults: metadataemu.Faults{Body: "empty"}, kind: entra.Unavailable, says: "no token"},
		"garbage refused": {faults: metadataemu.Faults{Body: "truncated", Status: 400}, kind: entra.Misconfigured, says: "there is none, or several user-assigned ones beside it (status 400)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAzure(t, machine)
				a.machine.SetFaults(tc.faults)
				req := ofMachine()
				if tc.scope != "" {
					req.Scope = tc.scope
				}
				start := time.Now()
				_, err := a.managed(t, tc.cfg).Token(t.Context(), req)
				e := wantError(t, err, tc.kind, tc.says)
				if strings.Contains(e.Error(), "garbage") || strings.Contains(e.Error(), "assigned identit") && !strings.Contains(tc.says, "assigned") {
					t.Errorf("IMDS' own text shows: %s", e)
				}
				if took := time.Since(start); took != tc.took || e.RetryAfter != tc.retry {
					t.Errorf("it took %v with Retry-After %v, want %v and %v", took, e.RetryAfter, tc.took, tc.retry)
				}
			})
		})
	}
}

func TestPlaceWithoutManagedIdentityIsNamed(t *testing.T) {
	const absent = "the system-assigned managed identity: no managed identity endpoint answers at 169.254.169.254: is this an Azure VM or an AKS node, " +
		"and may the broker reach that address from its network? If not, name another kind of credential"
	for name, tc := range map[string]struct {
		imds http.Handler // nil: nobody listens
		hole bool         // connections are swallowed
		says string
		took time.Duration
	}{
		"no route":            {nil, false, absent, 2 * time.Second},
		"a firewall":          {nil, true, absent, timeout},
		"a proxy of the pod":  {http.HandlerFunc(redirect), false, "answered with a redirect (status 307), which is never followed", 0},
		"more than an answer": {tooMuch, false, "no token", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if tc.hole {
					w.swallow(t, metadataemu.IMDSHost)
				} else if tc.imds != nil {
					serve(t, w.listen(t, metadataemu.IMDSHost), tc.imds)
				}
				start := time.Now()
				_, err := w.managed(t, broker.ManagedIdentityConfig{}).Token(t.Context(), ofMachine())
				wantError(t, err, entra.Unavailable, tc.says)
				if took := time.Since(start); took != tc.took {
					t.Errorf("it took %v, want %v", took, tc.took)
				}
			})
		})
	}
}

// tooMuch answers with a token and two MiB.
var tooMuch = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte(`{"access_token":"canary","value":"canary","expires_in":3600,"more":"` + strings.Repeat("x", 2<<20) + `"}`))
})

func TestAppServiceThatRefusesIsNamed(t *testing.T) {
	t.Setenv("IDENTITY_ENDPOINT", appURL)
	t.Setenv("IDENTITY_HEADER", "another-canary")
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t, machine)
		source := a.managed(t, broker.ManagedIdentityConfig{})
		_, err := source.Token(t.Context(), ofMachine())
		wantError(t, err, entra.Misconfigured, "IDENTITY_ENDPOINT refuses the broker (status 401): does it run where its environment says?")
		a.network.SetDown(appHost, true)
		_, err = source.Token(t.Context(), ofMachine())
		wantError(t, err, entra.Unavailable, "the managed identity endpoint does not answer: check IDENTITY_ENDPOINT")
	})
}

func TestPlaceThatOffersNoSuchIdentityIsNamed(t *testing.T) {
	t.Setenv("MSI_ENDPOINT", appURL)
	t.Setenv("MSI_SECRET", opaque)
	_, err := broker.NewManagedIdentity(broker.ManagedIdentityConfig{ObjectID: reader.ObjectID})
	wantError(t, err, entra.Misconfigured, "the managed identity with object_id "+reader.ObjectID+": AzureML, where the broker runs, does not offer it: use the one that it has, and check MSI_ENDPOINT")
	_, err = broker.NewManagedIdentity(broker.ManagedIdentityConfig{ObjectID: reader.ObjectID, ClientID: reader.ClientID})
	wantError(t, err, entra.Invalid, "want one of them at most")
}

// Arc's agent wants what stands in a file that only its group may read.
func TestArcWithoutItsGroupIsNamed(t *testing.T) {
	t.Setenv("IDENTITY_ENDPOINT", "http://"+appHost+"/metadata/identity/oauth2/token")
	t.Setenv("IMDS_ENDPOINT", "http://"+appHost)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		serve(t, w.listen(t, appHost), answer(http.StatusUnauthorized, "", "WWW-Authenticate", "Basic realm="+filepath.Join(os.TempDir(), "canary.key")))
		_, err := w.managed(t, broker.ManagedIdentityConfig{}).Token(t.Context(), ofMachine())
		wantError(t, err, entra.Misconfigured, "Azure Arc's agent wants a proof that could not be read: is the broker's user in the group himds?")
	})
}

// Service Fabric's endpoint is trusted by its certificate's thumbprint alone.
func TestServiceFabricIsPinned(t *testing.T) {
	t.Setenv("IDENTITY_ENDPOINT", "https://"+appHost+"/fabric")
	t.Setenv("IDENTITY_HEADER", opaque)
	t.Setenv("IDENTITY_SERVER_THUMBPRINT", strings.Repeat("00", 20))
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve(t, appHost, grant(bearer, 3600))
		_, err := w.managed(t, broker.ManagedIdentityConfig{}).Token(t.Context(), ofMachine())
		wantError(t, err, entra.Unavailable, "the managed identity endpoint does not answer: check IDENTITY_ENDPOINT")
	})
	t.Setenv("IDENTITY_SERVER_THUMBPRINT", "x")
	_, err := broker.NewManagedIdentity(broker.ManagedIdentityConfig{})
	wantError(t, err, entra.Misconfigured, "ServiceFabric, where the broker runs, does not offer it")
}
