package main_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	"tokenbroker/cache"
	"tokenbroker/emulator"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
	"tokenbroker/store"
	"tokenbroker/verify"
)

const (
	users1    = entra.Scope("https://api.securitycenter.microsoft.com/Alert.Read")
	usersAll  = entra.Scope("https://api.securitycenter.microsoft.com/.default")
	usersHost = "login.example"
)

// usersWorld is Entra, and before it, nested as a broker nests them: users who
// sign in, one whose password is in a file, an app that acts on behalf of
// users, and the app itself.
type usersWorld struct {
	*entraemu.Server
	t           *testing.T
	source      entra.Source
	own, theirs *cache.Cache // of the identities, and of users' assertions
	flows       broker.Flows
	users       map[entra.IdentityID]*broker.User
	browser     *http.Client
}

// newUsersWorld may be called in a synctest bubble.
func newUsersWorld(t *testing.T) *usersWorld {
	t.Helper()
	ca, err := emulator.NewCA()
	need(t, err)
	config := entraemu.Default()
	secret := config.Apps[0].Secrets[0].Value
	emulated, err := entraemu.New(config)
	need(t, err)
	network := emulator.NewNetwork()
	l, err := network.Listen(usersHost)
	need(t, err)
	server := &http.Server{Handler: emulated}
	go server.Serve(tls.NewListener(l, ca.ServerTLS(usersHost)))
	t.Cleanup(func() { server.Close() })
	transport := &http.Transport{DialContext: network.DialContext, TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}
	t.Cleanup(transport.CloseIdleConnections)
	w := &usersWorld{Server: emulated, t: t, users: map[entra.IdentityID]*broker.User{}, browser: &http.Client{Transport: transport}}

	cfg := broker.ClientConfig{Authority: "https://" + usersHost, Roots: ca.Pool(), DialContext: network.DialContext}
	app := broker.App{Authority: cfg.Authority, Tenant: entraemu.DefaultTenant, ClientID: entraemu.DefaultClient, HTTP: broker.NewClient(cfg)}
	person := app
	person.HTTP = broker.NewUserClient(cfg)
	t.Cleanup(app.HTTP.CloseIdleConnections)
	t.Cleanup(person.HTTP.CloseIdleConnections)
	w.flows = broker.Flows{"password": w.password(person)}
	w.behind(app, secret)
	memory := store.NewMemory()
	for id, flow := range map[entra.IdentityID]broker.UserFlow{"alice": broker.DeviceCode, "bob": broker.Browser, "seat": broker.Browser} {
		u, err := broker.NewUser(broker.UserConfig{
			App: person, Name: string(id), Flow: flow, RedirectURI: "https://127.0.0.1",
			Store: memory, StoreName: string(id), Logger: slog.New(slog.DiscardHandler),
		})
		need(t, err)
		w.users[id], w.flows[id] = u, u
	}
	w.own, w.theirs = w.cache(), w.cache()
	w.source = broker.NewAccounts(entra.SourceFunc(func(ctx context.Context, req entra.Request) (entra.Token, error) {
		if req.Assertion.IsZero() {
			return w.own.Token(ctx, req)
		}
		return w.theirs.Token(ctx, req)
	}), func(id entra.IdentityID) *broker.User { return w.users[id] })
	w.signIn("alice", entraemu.DefaultUser)
	w.signIn("bob", entraemu.GuestUser)
	return w
}

func (w *usersWorld) cache() *cache.Cache {
	c, err := cache.New(broker.NewMux(w.flows), cache.Config{})
	need(w.t, err)
	w.t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// password is alice, by the password in a file.
func (w *usersWorld) password(app broker.App) entra.Source {
	alice, _ := w.User(entraemu.DefaultUser)
	path := filepath.Join(w.t.TempDir(), "p")
	need(w.t, os.WriteFile(path, []byte(alice.Password.Reveal()), 0o600))
	file, err := broker.OpenPasswordFile(path, slog.New(slog.DiscardHandler))
	need(w.t, err)
	source, err := broker.NewPassword(app, entraemu.DefaultUser, file)
	need(w.t, err)
	return source
}

// behind adds the app, as itself and on behalf of users.
func (w *usersWorld) behind(app broker.App, secret entra.Secret) {
	env, err := broker.NewSecretEnv("S", secret)
	need(w.t, err)
	own, err := broker.NewConfidential(app, env)
	need(w.t, err)
	verifier := verify.New(verify.Config{
		Authority: app.Authority, Tenants: []entra.Tenant{entraemu.DefaultTenant, entraemu.OtherTenant},
		Audiences: []string{entraemu.DefaultClient}, HTTP: w.browser,
	})
	people, err := broker.NewOnBehalfOf(app, env, func(ctx context.Context, assertion entra.Secret) (entra.Claims, string, error) {
		verified, err := verifier.Verify(ctx, assertion)
		return verified.Claims, verified.For, err
	})
	need(w.t, err)
	w.flows["app"], w.flows["people"] = own, people
}

// signIn signs somebody in to an identity, and forgets what was held for it.
func (w *usersWorld) signIn(id entra.IdentityID, upn string) {
	w.t.Helper()
	user, _ := w.User(upn)
	account, err := w.users[id].Login(w.t.Context(), broker.LoginOptions{Scope: users1}, func(p broker.Prompt) {
		if p.UserCode != "" {
			need(w.t, w.Approve(p.UserCode, upn))
			return
		}
		person := entraemu.Person{HTTP: w.browser, User: upn, Password: user.Password.Reveal()}
		back, err := person.SignIn(w.t.Context(), p.URL)
		need(w.t, err)
		need(w.t, p.Answer(back.URL.String()))
	})
	if err != nil || account.Username != upn {
		w.t.Errorf("%s: %+v, %v", id, account, err)
	}
	w.own.Forget(id)
	w.own.Forgive()
}

// shown is what a user shows to the app that acts on their behalf.
func (w *usersWorld) shown(upn string, tenant entra.Tenant) entra.Secret {
	w.t.Helper()
	issued, err := w.IssueForUser(entraemu.Delegation{
		UPN: upn, Tenant: tenant, ClientID: entraemu.FrontEnd, Host: usersHost, Scope: "api://" + entraemu.DefaultClient + "/access_as_user",
	}, 0)
	need(w.t, err)
	return entra.NewSecret(issued.Access)
}

func (w *usersWorld) object(upn string) string {
	user, _ := w.User(upn)
	return user.ObjectID
}

// question is a request, and whose token is to answer it; of the application
// itself nobody's.
type question struct {
	req    entra.Request
	object string
}

// questions are everybody's in every tenant that they are in.
func (w *usersWorld) questions() []question {
	const home, other = entraemu.DefaultTenant, entraemu.OtherTenant
	alice, bob := w.object(entraemu.DefaultUser), w.object(entraemu.GuestUser)
	user, _ := w.User(entraemu.GuestUser)
	guest := user.Guest[other]
	more := users1 + " https://api.securitycenter.microsoft.com/Machine.Read"
	var all []question
	for _, scope := range []entra.Scope{users1, more} {
		all = append(
			all,
			question{entra.Request{Identity: "alice", Tenant: home, Scope: scope}, alice},
			question{entra.Request{Identity: "bob", Tenant: home, Scope: scope}, bob},
			question{entra.Request{Identity: "bob", Tenant: other, Scope: scope}, guest},
			question{entra.Request{Identity: "password", Tenant: home, Scope: scope}, alice},
			question{entra.Request{Identity: "people", Tenant: home, Scope: scope, Assertion: w.shown(entraemu.DefaultUser, home)}, alice},
			question{entra.Request{Identity: "people", Tenant: home, Scope: scope, Assertion: w.shown(entraemu.GuestUser, home)}, bob},
			question{entra.Request{Identity: "people", Tenant: other, Scope: scope, Assertion: w.shown(entraemu.GuestUser, other)}, guest},
		)
	}
	return append(
		all,
		question{entra.Request{Identity: "app", Tenant: home, Scope: usersAll}, ""},
		question{entra.Request{Identity: "app", Tenant: other, Scope: usersAll}, ""},
	)
}

// fault is what is wrong with a token for the question; empty: nothing.
func (q *question) fault(tok entra.Token) string {
	jwt, err := tok.JWT()
	if err != nil || jwt.Claims.Tenant != string(q.req.Tenant) || tok.Scope != q.req.Scope ||
		jwt.Claims.Delegated() != (q.object != "") || q.object != "" && jwt.Claims.Object != q.object {
		return fmt.Sprintf("%+v got %+v, %v", q.req, jwt.Claims, err)
	}
	return ""
}

func TestColdCallersAreOneExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newUsersWorld(t)
		const behalf = "urn:ietf:params:oauth:grant-type:jwt-bearer"
		for name, tt := range map[string]struct {
			req   entra.Request
			grant string
		}{
			"device code":        {entra.Request{Identity: "alice", Scope: users1}, "refresh_token"},
			"browser":            {entra.Request{Identity: "bob", Scope: users1}, "refresh_token"},
			"password":           {entra.Request{Identity: "password", Scope: users1}, "password"},
			"on behalf of alice": {entra.Request{Identity: "people", Scope: users1, Assertion: w.shown(entraemu.DefaultUser, "")}, behalf},
			"on behalf of bob":   {entra.Request{Identity: "people", Scope: users1, Assertion: w.shown(entraemu.GuestUser, "")}, behalf},
		} {
			before := w.Stats().Grants[tt.grant]
			var all sync.WaitGroup
			for range 256 {
				all.Go(func() {
					if _, err := w.source.Token(t.Context(), tt.req); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			all.Wait()
			if got := w.Stats().Grants[tt.grant] - before; got != 1 {
				t.Errorf("%s: %d exchanges, want 1", name, got)
			}
		}
	})
}

func TestTenThousandMixedRequestsNeverMix(t *testing.T) {
	const callers, each, between = 16, 625, 800
	synctest.Test(t, func(t *testing.T) {
		w := newUsersWorld(t)
		s := newSeat(w)
		s.change()
		questions := w.questions()
		var asked atomic.Int64
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for range each {
					if asked.Add(1)%between == 0 {
						s.change() // and the others go on meanwhile
					}
					i := rand.IntN(len(questions) + len(questions)/4)
					if i >= len(questions) {
						s.ask(seatScopes[rand.IntN(len(seatScopes))])
						continue
					}
					tok, err := w.source.Token(t.Context(), questions[i].req)
					if err != nil {
						t.Errorf("%+v: %v", questions[i].req, err)
						return
					}
					if fault := questions[i].fault(tok); fault != "" {
						t.Error(fault)
					}
				}
			})
		}
		all.Wait()
		if got := w.Stats().Grants["refresh_token"]; got < callers*each/between {
			t.Errorf("%d exchanges of refresh tokens are too few to show anything", got)
		}
	})
}

var seatScopes = []entra.Scope{users1, usersAll, "https://api.securitycenter.microsoft.com/Machine.Read"}

// seat is the identity that one user after the other signs in to. Sign-ins are
// counted from 1.
type seat struct {
	*usersWorld
	flow         entra.Source
	turn         chan struct{} // who signs somebody in has put something there
	begun, ended atomic.Int64

	mu   sync.Mutex       // guards the rest
	made map[string]int64 // the sign-in that had begun when Entra gave a token
	next chan struct{}    // closed when the next sign-in has ended
}

func newSeat(w *usersWorld) *seat {
	s := &seat{usersWorld: w, flow: w.flows["seat"], turn: make(chan struct{}, 1), made: map[string]int64{}, next: make(chan struct{})}
	w.flows["seat"] = s
	return s
}

// Token is the flow's, and holds the answers for all scopes but the first back
// until somebody else has signed in.
func (s *seat) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	s.mu.Lock()
	next := s.next
	s.mu.Unlock()
	tok, err := s.flow.Token(ctx, req)
	s.mu.Lock()
	s.made[tok.Access.Fingerprint()] = s.begun.Load()
	s.mu.Unlock()
	if req.Scope != users1 {
		select {
		case <-next:
		case <-time.After(time.Second): // all the others wait for it
		}
	}
	return tok, err
}

// change signs the next user in: alice, bob, bob, alice, alice and so on. Each
// third time the one of before signs out first.
func (s *seat) change() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	n := s.begun.Add(1)
	if n%3 == 0 {
		need(s.t, s.users["seat"].Logout(s.t.Context()))
		s.own.Forget("seat")
		s.own.Forgive()
	}
	s.signIn("seat", s.who(n))
	s.ended.Store(n)
	s.mu.Lock()
	close(s.next)
	s.next = make(chan struct{})
	s.mu.Unlock()
	s.ask(users1) // for once with nobody signing in
}

func (s *seat) who(signIn int64) string {
	if signIn/2%2 == 0 {
		return entraemu.DefaultUser
	}
	return entraemu.GuestUser
}

// ask asks for the seat's token. It has to be that of a user who was signed in
// meanwhile, and none that Entra gave before they had begun to.
func (s *seat) ask(scope entra.Scope) {
	req := entra.Request{Identity: "seat", Tenant: entraemu.DefaultTenant, Scope: scope}
	since := s.ended.Load()
	tok, err := s.source.Token(s.t.Context(), req)
	until := s.begun.Load()
	if err != nil {
		if since == until || !strings.Contains(err.Error(), "signed in") {
			s.t.Errorf("sign-ins %d to %d: %v", since, until, err)
		}
		return
	}
	fault := ""
	for n := since; n <= until; n++ {
		q := question{req, s.object(s.who(n))}
		if fault = q.fault(tok); fault == "" {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if made := s.made[tok.Access.Fingerprint()]; fault != "" || made < since {
		s.t.Errorf("sign-ins %d to %d: the token of sign-in %d, %s", since, until, made, fault)
	}
}

func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
