package cli

import (
	"context"
	cryptorand "crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	"tokenbroker/cache"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
	"tokenbroker/verify"
)

const (
	brokerScope = "api://" + entraemu.DefaultClient + "/access_as_user"
	onBehalfOf  = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// people is a cache around the app that acts on behalf of users, and a verifier
// of what they show, as a broker nests them.
func (w *world) people(t *testing.T) *cache.Cache {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(w.dir, "ca.pem"))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{DialContext: w.network.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	verifier := verify.New(verify.Config{
		Authority: entra.Public.Authority(),
		Tenants:   []entra.Tenant{entraemu.DefaultTenant, entraemu.OtherTenant},
		Audiences: []string{entraemu.DefaultClient, "https://api.security.microsoft.com"},
		HTTP:      &http.Client{Transport: transport},
	})
	client := broker.NewClient(broker.ClientConfig{Authority: entra.Public.Authority(), Roots: pool, DialContext: w.network.DialContext})
	t.Cleanup(client.CloseIdleConnections)
	secret, err := broker.OpenSecretFile(filepath.Join(w.dir, "client-secret"), slog.New(slog.DiscardHandler))
	must(t, err)
	source, err := broker.NewOnBehalfOf(
		broker.App{Authority: entra.Public.Authority(), Tenant: entraemu.DefaultTenant, ClientID: entraemu.DefaultClient, HTTP: client},
		secret,
		func(ctx context.Context, assertion entra.Secret) (entra.Claims, string, error) {
			verified, err := verifier.Verify(ctx, assertion)
			return verified.Claims, verified.For, err
		})
	must(t, err)
	users, err := cache.New(source, cache.Config{})
	must(t, err)
	t.Cleanup(func() { must(t, users.Close(context.Background())) })
	return users
}

// assertion is what a user shows for a lifetime; zero: the usual one.
func (w *world) assertion(t *testing.T, upn string, in entra.Tenant, scope string, lifetime time.Duration) entra.Secret {
	t.Helper()
	issued, err := w.entra.IssueForUser(entraemu.Delegation{UPN: upn, Tenant: in, ClientID: entraemu.FrontEnd, Scope: scope}, lifetime)
	must(t, err)
	return entra.NewSecret(issued.Access)
}

func forUser(assertion entra.Secret) entra.Request {
	return entra.Request{Identity: "people", Tenant: entraemu.DefaultTenant, Scope: xdrScope, Assertion: assertion}
}

func TestColdCallersOfOneUserMakeOneExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		users := w.people(t)
		shown := w.assertion(t, entraemu.DefaultUser, "", brokerScope, 0)
		var callers sync.WaitGroup
		for range 256 {
			callers.Go(func() {
				if _, err := users.Token(t.Context(), forUser(shown)); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if got := w.entra.Stats().Given[onBehalfOf]; got != 1 {
			t.Errorf("%d exchanges, want 1", got)
		}
	})
}

// Two users in one tenant and one of them in another, 10,000 times in any order:
// everybody gets their own.
func TestUsersNeverMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		users := w.people(t)
		people := []struct {
			upn    string
			in     entra.Tenant
			object string
		}{
			{entraemu.DefaultUser, entraemu.DefaultTenant, "aaaaaaaa-0000-4000-8000-000000000001"},
			{entraemu.GuestUser, entraemu.DefaultTenant, "bbbbbbbb-0000-4000-8000-000000000001"},
			{entraemu.GuestUser, entraemu.OtherTenant, "bbbbbbbb-0000-4000-8000-000000000002"},
		}
		var requests []entra.Request
		for _, p := range people {
			req := forUser(w.assertion(t, p.upn, p.in, brokerScope, 0))
			req.Tenant = p.in
			requests = append(requests, req)
		}
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				for range 200 {
					i := rand.IntN(len(people))
					tok, err := users.Token(t.Context(), requests[i])
					if err != nil {
						t.Error(err)
						return
					}
					if jwt, err := tok.JWT(); err != nil || jwt.Claims.Object != people[i].object || jwt.Claims.Tenant != string(people[i].in) {
						t.Errorf("%s got the token of %s in %s, %v", people[i].upn, jwt.Claims.Object, jwt.Claims.Tenant, err)
					}
				}
			})
		}
		callers.Wait()
		if got := w.entra.Stats().Given[onBehalfOf]; got != len(people) {
			t.Errorf("%d exchanges, want %d", got, len(people))
		}
	})
}

// The tokens of an assertion die with it, and near its end Entra is not asked
// in vain.
func TestUsersTokenDiesWithTheAssertion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		users := w.people(t)
		shown := w.assertion(t, entraemu.DefaultUser, "", brokerScope, 20*time.Minute)
		end := time.Now().Add(20 * time.Minute)
		for time.Now().Before(end.Add(-3 * time.Second)) {
			tok, err := users.Token(t.Context(), forUser(shown))
			if err != nil {
				t.Fatalf("%v before the end: %v", time.Until(end), err)
			}
			if tok.ExpiresOn.After(end) {
				t.Fatalf("it is said to live until %v, the assertion does until %v", tok.ExpiresOn, end)
			}
			time.Sleep(time.Second)
		}
		if got := w.entra.Stats().Given[onBehalfOf]; got > 4 {
			t.Errorf("%d exchanges in 20 minutes", got)
		}
		time.Sleep(3 * time.Second)
		before := w.entra.Stats().Tokens
		if _, err := users.Token(t.Context(), forUser(shown)); entra.KindOf(err) != entra.Invalid {
			t.Errorf("after the end: got %v, want the assertion refused", err)
		}
		if got := w.entra.Stats().Tokens; got != before {
			t.Error("Entra was asked on behalf of an assertion that is over")
		}
	})
}

// What MSAL throws away after the exchange must not make us ask again and again.
func TestShortTokenIsRememberedAsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.entra.SetFaults(entraemu.Faults{LifetimeS: 200})
		users := w.people(t)
		shown := w.assertion(t, entraemu.DefaultUser, "", brokerScope, 0)
		for range 59 {
			if _, err := users.Token(t.Context(), forUser(shown)); entra.KindOf(err) != entra.Misconfigured {
				t.Fatalf("got %v", err)
			}
			time.Sleep(time.Second)
		}
		if got := w.entra.Stats().Given[onBehalfOf]; got != 1 {
			t.Errorf("%d exchanges in a minute, want 1", got)
		}
	})
}

func TestAssertionOfSomebodyElseIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, elsewhere := newWorld(t), newWorld(t, func(c *entraemu.Config) { c.SigningKey = strangersKey(t) })
		users := w.people(t)
		good := w.assertion(t, entraemu.DefaultUser, "", brokerScope, 0)
		application, err := w.entra.IssueFor(entraemu.ServicePrincipal{Tenant: entraemu.DefaultTenant, ClientID: entraemu.DefaultClient, ObjectID: entraemu.FrontEnd}, "api://"+entraemu.DefaultClient, 0)
		must(t, err)
		forRoute, err := w.entra.IssueForUser(entraemu.Delegation{UPN: entraemu.DefaultUser, ClientID: entraemu.DefaultClient, Scope: xdrScope}, 0)
		must(t, err)
		for name, tc := range map[string]struct {
			shown entra.Secret
			code  string
		}{
			"an application":   {entra.NewSecret(application.Access), "application"},
			"a route's token":  {entra.NewSecret(forRoute.Access), "audience"},
			"another issuer's": {elsewhere.assertion(t, entraemu.DefaultUser, "", brokerScope, 0), "signature"},
			"another tenant's": {w.assertion(t, entraemu.GuestUser, entraemu.OtherTenant, brokerScope, 0), "tenant"},
			"no token":         {entra.NewSecret("canary"), "opaque"},
			"changed":          {entra.NewSecret(good.Reveal()[:len(good.Reveal())-8] + "AAAAAAAA"), "signature"},
		} {
			_, err := users.Token(t.Context(), forUser(tc.shown))
			if e := entra.AsError(err); e == nil || e.Kind != entra.Invalid || e.Code != tc.code {
				t.Errorf("%s: got %v, want it refused as %s", name, err, tc.code)
			}
		}
		if got := w.entra.Stats().Tokens; got != 0 {
			t.Errorf("Entra was asked %d times", got)
		}
	})
}

// strangersKey is a signing key of somebody else's.
func strangersKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(cryptorand.Reader, 2048)
	must(t, err)
	return key
}
