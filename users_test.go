package main_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"tokenbroker/broker"
	"tokenbroker/cache"
	"tokenbroker/emulator"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
	"tokenbroker/store"
)

// usersWorld is two users who signed in, one whose password is in a file, and
// the app, behind one cache.
type usersWorld struct {
	*entraemu.Server
	source entra.Source
	users  map[entra.IdentityID]*broker.User
}

const users1 = entra.Scope("https://api.securitycenter.microsoft.com/Alert.Read")

func newUsersWorld(t *testing.T) *usersWorld {
	t.Helper()
	const host = "login.example"
	ca, err := emulator.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	config := entraemu.Default()
	secret := config.Apps[0].Secrets[0].Value
	emulated, err := entraemu.New(config)
	if err != nil {
		t.Fatal(err)
	}
	network := emulator.NewNetwork()
	l, err := network.Listen(host)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: emulated}
	go server.Serve(tls.NewListener(l, ca.ServerTLS(host)))
	t.Cleanup(func() { server.Close() })
	cfg := broker.ClientConfig{Authority: "https://" + host, Roots: ca.Pool(), DialContext: network.DialContext}
	app := broker.App{Authority: "https://" + host, Tenant: entraemu.DefaultTenant, ClientID: entraemu.DefaultClient, HTTP: broker.NewClient(cfg)}
	person := app
	person.HTTP = broker.NewUserClient(cfg)
	t.Cleanup(app.HTTP.CloseIdleConnections)
	t.Cleanup(person.HTTP.CloseIdleConnections)
	env, err := broker.NewSecretEnv("S", secret)
	if err != nil {
		t.Fatal(err)
	}
	own, err := broker.NewConfidential(app, env)
	if err != nil {
		t.Fatal(err)
	}
	w := &usersWorld{Server: emulated, users: map[entra.IdentityID]*broker.User{}}
	flows := broker.Flows{"app": own}
	memory := store.NewMemory()
	for id, upn := range map[entra.IdentityID]string{"alice": entraemu.DefaultUser, "bob": entraemu.GuestUser} {
		u, err := broker.NewUser(broker.UserConfig{App: person, Name: string(id), Store: memory, StoreName: string(id), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Login(t.Context(), broker.LoginOptions{Scope: users1}, func(p broker.Prompt) {
			if err := emulated.Approve(p.UserCode, upn); err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		w.users[id], flows[id] = u, u
	}
	alice, _ := emulated.User(entraemu.DefaultUser)
	path := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(path, []byte(alice.Password.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := broker.OpenPasswordFile(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	password, err := broker.NewPassword(person, entraemu.DefaultUser, file)
	if err != nil {
		t.Fatal(err)
	}
	flows["password"] = password
	c, err := cache.New(broker.NewMux(flows), cache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	w.source = broker.NewAccounts(c, func(id entra.IdentityID) *broker.User { return w.users[id] })
	return w
}

func TestColdCallersAreOneExchange(t *testing.T) {
	w := newUsersWorld(t)
	for id, grant := range map[entra.IdentityID]string{"alice": "refresh_token", "bob": "refresh_token", "password": "password"} {
		before := w.Stats().Grants[grant]
		var all sync.WaitGroup
		for range 256 {
			all.Go(func() {
				if _, err := w.source.Token(context.Background(), entra.Request{Identity: id, Scope: users1}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := w.Stats().Grants[grant] - before; got != 1 {
			t.Errorf("%s: %d exchanges, want 1", id, got)
		}
	}
}

func TestTenThousandMixedRequestsNeverMix(t *testing.T) {
	w := newUsersWorld(t)
	want := map[entra.IdentityID]string{}
	for id, upn := range map[entra.IdentityID]string{"alice": entraemu.DefaultUser, "bob": entraemu.GuestUser, "password": entraemu.DefaultUser} {
		u, _ := w.User(upn)
		want[id] = u.ObjectID
	}
	bob, _ := w.User(entraemu.GuestUser)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 625 {
				id := []entra.IdentityID{"alice", "bob", "password", "app"}[rand.IntN(4)]
				req := entra.Request{Identity: id, Scope: users1, Tenant: entraemu.DefaultTenant}
				object := want[id]
				if id == "app" {
					req.Scope = "https://api.securitycenter.microsoft.com/.default"
				} else if rand.IntN(2) == 0 {
					req.Scope += " https://api.securitycenter.microsoft.com/Machine.Read"
				}
				if id == "bob" && rand.IntN(2) == 0 {
					req.Tenant, object = entraemu.OtherTenant, bob.Guest[entraemu.OtherTenant]
				}
				tok, err := w.source.Token(context.Background(), req)
				if err != nil {
					t.Error(err)
					return
				}
				jwt, err := tok.JWT()
				if err != nil || jwt.Claims.Tenant != string(req.Tenant) || tok.Scope != req.Scope || jwt.Claims.Delegated() != (id != "app") || id != "app" && jwt.Claims.Object != object {
					t.Errorf("%v: %+v, %v", req, jwt.Claims, err)
				}
			}
		})
	}
	all.Wait()
}
