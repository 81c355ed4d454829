package broker_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"testing"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const (
	fabrikam = entra.Tenant(entraemu.OtherTenant)
	mdeHost  = "https://api.securitycenter.microsoft.com"
	alerts   = entra.Scope(mdeHost + "/Alert.Read")

	deviceGrant   = "urn:ietf:params:oauth:grant-type:device_code"
	refreshGrant  = "refresh_token"
	passwordGrant = "password"
)

// drawer keeps sign-ins in memory, and can be told to fail.
type drawer struct {
	mu     sync.Mutex
	held   map[string]entra.Secret
	faults map[string]error // by the name of the method
}

func newDrawer() *drawer {
	return &drawer{held: map[string]entra.Secret{}, faults: map[string]error{}}
}

func (d *drawer) Load(_ context.Context, name string) (entra.Secret, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held[name], d.faults["Load"]
}

func (d *drawer) Save(ctx context.Context, name string, signIn entra.Secret) error {
	return d.Update(ctx, name, func(entra.Secret) entra.Secret { return signIn })
}

func (d *drawer) Update(_ context.Context, name string, edit func(entra.Secret) entra.Secret) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.faults["Save"]; err != nil {
		return err
	}
	d.held[name] = edit(d.held[name])
	return nil
}

func (d *drawer) Delete(_ context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.faults["Delete"]; err != nil {
		return err
	}
	delete(d.held, name)
	return nil
}

// fail makes a method fail; nil ends that.
func (d *drawer) fail(method string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults[method] = err
}

// put puts what was not signed in into the drawer.
func (d *drawer) put(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held["me"] = entra.NewSecret(text)
}

func (d *drawer) kept() entra.Secret {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held["me"]
}

// emulateApp is emulate with a change to the app.
func (w *world) emulateApp(t *testing.T, change func(*entraemu.App)) *entraemu.Server {
	t.Helper()
	key, err := signingKey()
	if err != nil {
		t.Fatal(err)
	}
	config := entraemu.Default()
	config.SigningKey = key
	change(&config.Apps[0])
	emulated, err := entraemu.New(config)
	if err != nil {
		t.Fatal(err)
	}
	w.serve(t, host, emulated)
	return emulated
}

// userApp is the app of users, whose authority stands at the host.
func (w *world) userApp(t *testing.T) broker.App {
	t.Helper()
	const authority = entra.Authority("https://" + host)
	c := broker.NewUserClient(broker.ClientConfig{
		Authority: authority, Roots: w.ca.Pool(), Timeout: timeout, DialContext: w.network.DialContext,
	})
	t.Cleanup(c.CloseIdleConnections)
	return broker.App{Authority: authority, Tenant: tenant, ClientID: client, HTTP: c}
}

// user is the identity named me, whose sign-in is in the drawer.
func (w *world) user(t *testing.T, store broker.SignIns, edits ...func(*broker.UserConfig)) *broker.User {
	t.Helper()
	cfg := broker.UserConfig{App: w.userApp(t), Name: "me", Store: store, StoreName: "me", Logger: slog.New(slog.DiscardHandler)}
	for _, edit := range edits {
		edit(&cfg)
	}
	u, err := broker.NewUser(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// person is somebody at a browser of their own.
func (w *world) person(t *testing.T, emulated *entraemu.Server, upn string) *entraemu.Person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	user, _ := emulated.User(upn)
	return &entraemu.Person{HTTP: &http.Client{Transport: w.transport(t), Jar: jar}, User: upn, Password: user.Password.Reveal()}
}

func (w *world) transport(t *testing.T) *http.Transport {
	t.Helper()
	transport := &http.Transport{DialContext: w.network.DialContext, TLSClientConfig: &tls.Config{RootCAs: w.ca.Pool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// signIn signs a user in by a device code, at once.
func signIn(t *testing.T, emulated *entraemu.Server, u *broker.User, upn string) broker.Account {
	t.Helper()
	account, err := u.Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(p broker.Prompt) {
		if err := emulated.Approve(p.UserCode, upn); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// edit changes a user of the emulator's.
func edit(t *testing.T, emulated *entraemu.Server, upn string, change func(*entraemu.User)) {
	t.Helper()
	user, _ := emulated.User(upn)
	change(&user)
	if err := emulated.SetUser(user); err != nil {
		t.Fatal(err)
	}
}

// wantUsers checks whose token it is, and for what.
func wantUsers(t *testing.T, emulated *entraemu.Server, tok entra.Token, err error, upn string) entra.Claims {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	claims, err := emulated.Verify(tok.Access.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	user, _ := emulated.User(upn)
	if claims.Object != user.ObjectID && claims.Object != user.Guest[entra.Tenant(claims.Tenant)] || !claims.Delegated() {
		t.Errorf("got a token of %s with %q, want one of %s", claims.User, claims.Scp, upn)
	}
	return claims
}

// wantLogin checks that a failure sends the user to sign in, with the command.
func wantLogin(t *testing.T, err error, says string) {
	t.Helper()
	e := wantError(t, err, entra.Challenged, says)
	wantError(t, err, entra.Challenged, "run: tokenbroker login me")
	if e.Code != broker.LoginRequired {
		t.Errorf("got code %q, want %q", e.Code, broker.LoginRequired)
	}
}
