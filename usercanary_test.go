package main

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// Secrets of users, with what encodings change; and keys of a store, which may
// have no white space.
const (
	userPassword  = `canary~Up6/password+of&a%25"user\<'=é>`
	badPassword   = `canary~Bp4/password+that&is%25"wrong\<'=é>`
	storeKey      = `canary~St8/key+of&a%25"store\<'=>0123456789ABCDEFGHIJ`
	otherStoreKey = `canary~So3/key+of&another%25"store\<'=>0123456789ABCD`
)

// userEar is an ear at a broker that has users.
type userEar struct {
	*ear
	confidant *confidant
}

const usersConfig = `
authority: $ENTRA
ca_file: $DIR/ca.pem
caller_key_file: $DIR/keys
log: {level: debug}
audit: {file: $DIR/audit}
limits: {entra_timeout: 5s}
identities:
  default: &app
    tenant: 22222222-2222-2222-2222-222222222222
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: secret, file: $DIR/client-secret}
  me: {<<: *app, credential: {kind: device-code}, store: &kept {file: $DIR/sign-ins, key_file: $DIR/store.key}}
  web: {<<: *app, credential: {kind: browser}, store: *kept}
  analyst: {<<: *app, credential: {kind: password, username: alice@contoso.example, password_file: $DIR/password}}
  mistaken: {<<: *app, credential: {kind: password, username: bob@contoso.example, password_file: $DIR/bad-password}}
  people: {<<: *app, credential: {kind: on-behalf-of, credential: {kind: secret, file: $DIR/client-secret}}}
routes:
  defender: {upstream: "$DEFENDER"}
  me: &api {upstream: "$DEFENDER", identity: me, scope: https://api.security.microsoft.com/.default}
  web: {<<: *api, identity: web}
  analyst: {<<: *api, identity: analyst}
  mistaken: {<<: *api, identity: mistaken}
  people: {<<: *api, identity: people}
`

func newUserEar(t *testing.T) *userEar {
	t.Helper()
	c := &confidant{heard: map[string]string{}, given: map[string]int{}}
	e := &userEar{&ear{t: t, hidden: canaries{}, heard: map[string]string{}, world: newWorld(t, clientSecret, c.between)}, c}
	w := e.world
	for what, value := range map[string]string{
		"the client secret": clientSecret, "the caller key": callerKey, "the user's password": userPassword,
		"the wrong password": badPassword, "the store's key": storeKey, "another store's key": otherStoreKey,
	} {
		e.hidden.add(what, value)
	}
	e.person(func(u *entraemu.User) { u.Password = entra.NewSecret(userPassword) })
	for name, content := range map[string]string{
		"keys": callerKey, "password": userPassword, "bad-password": badPassword, "store.key": storeKey, "other.key": otherStoreKey,
	} {
		w.write(name, content+"\n")
	}
	w.write("tokenbroker.yaml", os.Expand(usersConfig, func(name string) string {
		return map[string]string{"DIR": w.dir, "ENTRA": w.entraURL, "DEFENDER": w.defenderURL}[name]
	}))
	e.serve()
	return e
}

// person changes alice.
func (e *userEar) person(edit func(*entraemu.User)) {
	e.t.Helper()
	alice, _ := e.world.entra.User(entraemu.DefaultUser)
	edit(&alice)
	e.world.must(e.world.entra.SetUser(alice))
}

func (e *userEar) serve() {
	e.t.Helper()
	e.broker = start(e.t, []string{"TOKENBROKER_SERVICE_HOST=10.0.0.1"}, "serve", "--config", filepath.Join(e.world.dir, "tokenbroker.yaml"))
}

// login runs the command, and does what it says; nil: nothing. The page that it
// names is for the user, with all that is in it.
func (e *userEar) login(want int, identity string, do func(page, code string)) {
	e.t.Helper()
	args := []string{"login", identity, "--url", e.broker.vars["CALLERS"], "--key-file", filepath.Join(e.world.dir, "keys")}
	p, err := spawn(e.world.dir, surroundings(), args...)
	e.world.must(err)
	e.t.Cleanup(p.kill)
	line, err := p.stderr.line(p, "https://")
	e.world.must(err)
	prompt := regexp.MustCompile(`(https://\S+)(?:.* enter the code (\w+))?`).FindStringSubmatch(string(line))
	if do != nil {
		do(prompt[1], prompt[2])
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		e.t.Errorf("login %s hangs", identity)
		p.kill()
	}
	said := p.stdout.String() + strings.ReplaceAll(p.stderr.String(), prompt[1], "PAGE")
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		e.t.Errorf("login %s: exit code %d, want %d: %s", identity, got, want, said)
	}
	e.heard["login "+identity+" "+strconv.Itoa(len(e.heard))] = strings.Join(p.cmd.Args, " ") + said
}

func (e *userEar) approve(_, code string) {
	e.world.must(e.world.entra.Approve(code, entraemu.DefaultUser))
}

// browse goes through the pages, and pastes the address at their end in.
func (e *userEar) browse(declines string) func(page, code string) {
	return func(page, _ string) {
		transport, err := call{ca: filepath.Join(e.world.dir, "ca.pem")}.transport()
		e.world.must(err)
		person := entraemu.Person{HTTP: &http.Client{Transport: transport}, User: entraemu.DefaultUser, Password: userPassword, Declines: declines}
		back, err := person.SignIn(e.t.Context(), page)
		e.world.must(err)
		paste := func(want int, address string) {
			e.ask(want, call{url: "/login/answer", body: url.Values{"identity": {"web"}, "url": {address}}.Encode()})
		}
		stray := back.URL.Query()
		stray.Set("state", "x")
		paste(400, "http://localhost/?"+stray.Encode())
		paste(400, strings.Replace(back.URL.String(), "http", "\x00", 1))
		paste(200, back.URL.String())
	}
}

// assertion is what a user shows.
func (e *userEar) assertion(upn, client, scope string) string {
	e.t.Helper()
	issued, err := e.world.entra.IssueForUser(entraemu.Delegation{UPN: upn, ClientID: client, Scope: scope, Host: strings.TrimPrefix(e.world.entraURL, "https://")}, 0)
	e.world.must(err)
	return issued.Access
}

// everything listens to what is for everybody.
func (e *userEar) everything() {
	e.t.Helper()
	for _, path := range []string{"/whoami", "/whoami?identity=me", "/routes"} {
		e.heard[path+" "+strconv.Itoa(len(e.heard))] = e.get(200, path).body
	}
	for _, path := range []string{"/readyz", "/livez", "/healthz", "/metrics"} {
		e.heard["ops "+path+" "+strconv.Itoa(len(e.heard))] = call{url: e.broker.vars["OPS"] + path}.do(e.t).String()
	}
}

// tokens asks for everybody's in every way.
func (e *userEar) tokens(want int, routes ...string) {
	e.t.Helper()
	for _, route := range routes {
		e.ask(want, call{url: "/token", body: "route=" + route + "&fresh=true"})
		e.get(want, "/token?route="+route)
		e.get(want, "/proxy/"+route+"/api/incidents?$top=1")
		a := e.get(want, "/claims?route="+route)
		e.heard["claims "+strconv.Itoa(len(e.heard))] = a.body
	}
}

// command runs one that has to exit with the code.
func (e *userEar) command(want int, args ...string) string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "tokenbroker", args...)
	cmd.Env = surroundings()
	said, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != want {
		e.t.Errorf("tokenbroker %v: exit code %d, want %d: %s", args, got, want, said)
	}
	e.heard["tokenbroker "+strings.Join(args, " ")+" "+strconv.Itoa(len(e.heard))] = string(said)
	return string(said)
}

// onBehalf shows assertions, right and wrong ones.
func (e *userEar) onBehalf(want int, shown string) {
	e.t.Helper()
	e.hidden.add("an assertion", shown)
	header := http.Header{"X-User-Assertion": {shown}}
	e.ask(want, call{url: "/token?route=people", header: header})
	e.ask(want, call{url: "/proxy/people/api/incidents?$top=1", header: header})
	e.ask(want, call{url: "/token", body: url.Values{"route": {"people"}, "assertion": {shown}}.Encode()})
}

// TestNothingOfAUserIsSaid signs users in and out in every way, lets all fail
// that can, and listens as TestNothingSecretIsSaid does.
func TestNothingOfAUserIsSaid(t *testing.T) {
	t.Parallel()
	e := newUserEar(t)
	const access = "api://" + entraemu.DefaultClient + "/access_as_user"
	alice := e.assertion(entraemu.DefaultUser, entraemu.FrontEnd, access)
	stranger := e.assertion(entraemu.DefaultUser, entraemu.DefaultClient, "https://api.security.microsoft.com/.default")

	e.tokens(403, "me", "web")
	e.login(0, "me", e.approve)
	e.login(0, "web", e.browse(""))
	e.with(200, "/token?route=me", "X-Request-Id", planted)
	e.tokens(200, "me", "web", "analyst")
	e.onBehalf(200, alice)
	e.everything()

	// Where they do not belong, or of somebody else.
	e.onBehalf(400, stranger)
	e.onBehalf(400, alice[:len(alice)-8]+"AAAAAAAA")
	e.get(400, "/token?route=people&assertion="+alice)
	e.ask(400, call{url: "/token?route=me", header: http.Header{"X-User-Assertion": {alice}}})
	e.ask(400, call{url: "/login/answer", body: url.Values{"identity": {"web"}, "url": {"http://localhost/?code=" + alice}}.Encode()})
	e.ask(0, call{url: "/login?state=" + alice, body: "identity=me"})
	e.ask(200, call{url: "/introspect", body: "token=" + url.QueryEscape(alice)})
	e.tokens(500, "mistaken")

	e.fails()
	e.keeps()
	e.listen()
}

// fails is what can go wrong with a sign-in.
func (e *userEar) fails() {
	e.login(1, "me", func(_, code string) { e.world.must(e.world.entra.Decline(code)) })
	e.confidant.behave(false, true)
	e.login(1, "me", nil)
	e.confidant.behave(true, false)
	e.login(1, "me", e.approve)
	e.login(1, "web", e.browse(""))
	for _, identity := range []string{"me", "web"} {
		e.ask(200, call{url: "/logout", body: "identity=" + identity})
	}
	e.confidant.behave(false, false)
	e.login(0, "me", e.approve)
	e.login(0, "web", e.browse(""))
	e.confidant.behave(true, false)
	e.tokens(0, "me", "web")
	e.onBehalf(0, e.assertion(entraemu.GuestUser, entraemu.FrontEnd, "api://"+entraemu.DefaultClient+"/access_as_user"))
	config := filepath.Join(e.world.dir, "tokenbroker.yaml")
	e.command(1, "check", "--live", "--config", config)
	e.command(1, "token", "--direct", "--route", "analyst", "--config", config)
	e.confidant.behave(false, false)

	e.person(func(u *entraemu.User) { u.MFA = true })
	e.command(1, "check", "--live", "--config", config)
	e.person(func(u *entraemu.User) { u.MFA, u.Disabled = false, true })
	e.command(1, "check", "--live", "--config", config)
	e.person(func(u *entraemu.User) { u.Disabled = false })
	e.world.must(e.world.entra.RevokeSessions(entraemu.DefaultUser))
	e.command(1, "token", "--direct", "--route", "web", "--config", config)
	e.everything()
}

// keeps ends the broker, without a warning too, and starts it with the wrong
// key: the sign-ins are there as they were.
func (e *userEar) keeps() {
	e.login(0, "me", e.approve)
	e.broker.kill()
	e.heard["killed, log"] = e.broker.stderr.String()
	config, file := filepath.Join(e.world.dir, "tokenbroker.yaml"), filepath.Join(e.world.dir, "sign-ins")
	before, err := os.ReadFile(file)
	e.world.must(err)
	e.world.write("store.key", otherStoreKey+"\n")
	for _, command := range []string{"serve", "check"} {
		if said := e.command(2, command, "--config", config); !strings.Contains(said, "another key than that of") {
			e.t.Errorf("%s with the wrong key: %s", command, said)
		}
	}
	e.world.write("store.key", storeKey+"\n")
	after, err := os.ReadFile(file)
	e.world.must(err)
	if !bytes.Equal(before, after) {
		e.t.Error("the wrong key has changed the file")
	}
	e.heard["the file of sign-ins"] = string(after)
	e.serve()
	if body := e.get(200, "/whoami?identity=me").body; !strings.Contains(body, entraemu.DefaultUser) {
		e.t.Errorf("after the broker was killed: %s", body)
	}
	e.tokens(200, "me")
}

// listen ends the run.
func (e *userEar) listen() {
	e.finish("broker", e.broker)
	audit, err := os.ReadFile(filepath.Join(e.world.dir, "audit"))
	e.world.must(err)
	e.heard["audit"] = string(audit)
	for value, what := range e.confidant.heard {
		e.hidden.add(what, value)
	}
	for where, text := range e.heard {
		if found := e.hidden.in(text); len(found) > 0 {
			e.t.Errorf("%.200s: %q", where, found)
		}
	}
	for _, name := range told {
		if name != "client_assertion" && e.confidant.given[name] == 0 {
			e.t.Errorf("no %s has passed: this shows nothing", name)
		}
	}
	for sign, what := range map[string]string{
		planted: "killed, log", `"aadsts":50126`: "killed, log", `"level":"DEBUG"`: "broker, log",
		`"mount":"login-answer"`: "audit", `"mount":"logout"`: "audit", `"route":"people"`: "audit",
	} {
		if !strings.Contains(e.heard[what], sign) {
			e.t.Errorf("%s has no %s: nobody listens", what, sign)
		}
	}
}
