package broker_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	metadataemu "tokenbroker/emulator/metadata"
	"tokenbroker/entra"
)

const (
	issuer  = "https://oidc.example/cluster/"
	subject = "system:serviceaccount:soc:broker"
)

// Keys take longer to make than all tests that use them.
var (
	signingKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	cluster    = sync.OnceValues(func() (*entraemu.FederatedIssuer, error) { return entraemu.NewFederatedIssuer(issuer) })
)

// emulate stands up the fake Entra as the world's authority. Its app has the
// secret and trusts the cluster's service account; it knows the machine's
// identities.
func (w *world) emulate(t *testing.T) *entraemu.Server {
	t.Helper()
	key, err := signingKey()
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	config := entraemu.Default()
	config.SigningKey = key
	config.Issuers = []entraemu.Issuer{trusted.Issuer()}
	config.Apps[0].Secrets = []entraemu.Secret{{Value: entra.NewSecret(secret)}}
	config.Apps[0].Federated = []entraemu.FederatedCredential{trusted.Trust(subject)}
	config.Resources = append(config.Resources, entraemu.KeyVaultResource())
	for _, identity := range []metadataemu.Identity{machine, reader} {
		config.Apps = append(config.Apps, entraemu.App{ClientID: identity.ClientID, Consents: []entraemu.Consent{{Tenant: tenant, Roles: entraemu.AllRoles()}}})
	}
	emulated, err := entraemu.New(config)
	if err != nil {
		t.Fatal(err)
	}
	w.serve(t, host, emulated)
	return emulated
}

func TestBothFlowsGetATokenForTheScope(t *testing.T) {
	for _, flow := range []string{"secret", "workload identity"} {
		t.Run(flow, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "token")
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				emulated := w.emulate(t)
				var source entra.Source = w.confidential(t)
				if flow != "secret" {
					writeFile(t, path, projected(t, subject, "", time.Hour))
					source = w.federated(t, path)
				}
				for _, in := range []entra.Tenant{entraemu.DefaultTenant, entraemu.OtherTenant} {
					req := ask()
					req.Tenant = in
					tok, err := source.Token(t.Context(), req)
					if err != nil {
						t.Fatal(err)
					}
					jwt, err := tok.JWT()
					if err != nil {
						t.Fatal(err)
					}
					claims := jwt.Claims
					if claims.Tenant != string(in) || claims.Client() != client || !strings.HasPrefix(string(scope), claims.Audience[0]) {
						t.Errorf("got a token of tenant %s and client %s for %s", claims.Tenant, claims.Client(), claims.Audience)
					}
					if !tok.ExpiresOn.Equal(claims.Expires.Time()) {
						t.Errorf("it expires at %v, its claims say %v", tok.ExpiresOn, claims.Expires.Time())
					}
				}
				if got := emulated.Stats(); got.Tokens != 2 || got.Issued != 2 || got.Discovery != 0 {
					t.Errorf("Entra counted %+v, want 2 token requests and nothing else", got)
				}
			})
		})
	}
}

func TestRotatedSecretIsUsedAtTheNextExchange(t *testing.T) {
	path := secretFile(t, secret)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		file, err := broker.OpenSecretFile(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		source, err := broker.NewConfidential(w.app(t), file)
		if err != nil {
			t.Fatal(err)
		}
		exchange := func() error {
			_, err := source.Token(t.Context(), ask())
			return err
		}
		if err := exchange(); err != nil {
			t.Fatal(err)
		}

		const next = "next-canary"
		if err := emulated.SetSecrets(client, entraemu.Secret{Value: entra.NewSecret(next)}); err != nil {
			t.Fatal(err)
		}
		e := wantError(t, exchange(), entra.Misconfigured, "wrong client secret for app "+client+": put the secret's value, not its id, into file "+path)
		if e.AADSTS != 7000215 {
			t.Errorf("got AADSTS%d, want 7000215", e.AADSTS)
		}

		writeFile(t, path, next+"\n")
		if err := exchange(); err != nil {
			t.Errorf("after the rotation: got %v", err)
		}
		writeFile(t, path, "")
		if err := exchange(); err != nil {
			t.Errorf("with the file emptied: got %v, want the last good secret used", err)
		}

		if err := emulated.SetSecrets(client, entraemu.Secret{Value: entra.NewSecret(next), Expires: time.Now()}); err != nil {
			t.Fatal(err)
		}
		wantError(t, exchange(), entra.Misconfigured, "has expired")
	})
}

// The emulator's faults, as everybody else's tests use them.
func TestFaultsOfEntra(t *testing.T) {
	for name, tc := range map[string]struct {
		faults entraemu.Faults
		kind   entra.Kind
		says   string
		retry  time.Duration
	}{
		"hang":                 {entraemu.Faults{Hang: true}, entra.Unavailable, "did not answer in time", 0},
		"too slow":             {entraemu.Faults{DelayMS: 10_001}, entra.Unavailable, "did not answer in time", 0},
		"429":                  {entraemu.Faults{Status: 429}, entra.Throttled, "asked too often", 0},
		"429 with Retry-After": {entraemu.Faults{Status: 429, RetryAfterS: 30}, entra.Throttled, "asked too often", 30 * time.Second},
		"500":                  {entraemu.Faults{Status: 500}, entra.Unavailable, "fails (status 500)", 0},
		"503 with Retry-After": {entraemu.Faults{Status: 503, RetryAfterS: 5}, entra.Unavailable, "fails (status 503)", 5 * time.Second},
		"redirect":             {entraemu.Faults{Redirect: "https://stranger.example/"}, entra.Unavailable, "redirect", 0},
		"garbage":              {entraemu.Faults{Body: "garbage"}, entra.Unavailable, "answered with something that is no token", 0},
		"truncated":            {entraemu.Faults{Body: "truncated"}, entra.Unavailable, "answered with something that is no token", 0},
		"no expiry":            {entraemu.Faults{Body: "no_expiry"}, entra.Unavailable, "answered with something that is no token", 0},
		"a hotel's page":       {entraemu.Faults{Body: "html"}, entra.Unavailable, "is a proxy in between?", 0},
		"empty":                {entraemu.Faults{Body: "empty"}, entra.Unavailable, "answered with something that is no token", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				emulated := w.emulate(t)
				emulated.SetFaults(tc.faults)
				source := w.confidential(t)
				_, err := source.Token(t.Context(), ask())
				e := wantError(t, err, tc.kind, tc.says)
				if e.RetryAfter != tc.retry {
					t.Errorf("got Retry-After %v, want %v", e.RetryAfter, tc.retry)
				}
				if text := e.Error(); strings.Contains(text, entraemu.GarbageToken) || errors.Unwrap(errors.Unwrap(err)) != nil {
					t.Errorf("the error leaks: %s", text)
				}

				// Nothing of it is left when Entra is well again.
				emulated.SetFaults(entraemu.Faults{})
				if _, err := source.Token(t.Context(), ask()); err != nil {
					t.Errorf("afterwards: got %v", err)
				}
			})
		})
	}
}

// Neither a foreign endpoint in the document of discovery nor its outage
// matters to an exchange.
func TestDiscoveryIsNotNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		source := w.confidential(t)
		for _, faults := range []entraemu.Faults{
			{Endpoint: entraemu.DiscoveryEndpoint, TokenEndpoint: "https://stranger.example/token"},
			{Endpoint: entraemu.DiscoveryEndpoint, Hang: true},
		} {
			emulated.SetFaults(faults)
			if _, err := source.Token(t.Context(), ask()); err != nil {
				t.Error(err)
			}
		}
		if got := emulated.Stats().Discovery; got != 0 {
			t.Errorf("%d requests of discovery, want none", got)
		}
	})
}
