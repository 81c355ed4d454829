package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const usersApp = `
log: {level: debug}
identities:
  default:
    tenant: 22222222-2222-2222-2222-222222222222
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: secret, file: 'DIR/client-secret'}
  me:
    tenant: 22222222-2222-2222-2222-222222222222
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: device-code}
routes:
  defender: {}
  mine: {upstream: "https://api.securitycenter.microsoft.com", identity: me}
`

const (
	aliceObject = "aaaaaaaa-0000-4000-8000-000000000001"
	bobObject   = "bbbbbbbb-0000-4000-8000-000000000001"
)

// reach lets a client come to the broker over the world's network, as a
// connection of this machine.
func (b *running) reach(w *world) *http.Client {
	b.t.Helper()
	l, err := w.network.Listen("broker")
	must(b.t, err)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.RemoteAddr, r.Host = "127.0.0.1:40000", "localhost:5178"
		b.handler.ServeHTTP(rw, r)
	})}
	go func() { _ = srv.Serve(l) }()
	b.t.Cleanup(func() { _ = srv.Close() })
	return &http.Client{Transport: &http.Transport{DialContext: w.network.DialContext, DisableKeepAlives: true}}
}

// underWay is a sign-in that was begun.
type underWay struct {
	t      *testing.T
	status int
	prompt signInPrompt
	end    func() signInLine // waits for what comes of it
	leave  func()
}

// begin begins a sign-in, and returns when there is something to do.
func begin(t *testing.T, at *http.Client, form string) *underWay {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://broker/login", strings.NewReader(form))
	must(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := at.Do(req)
	must(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	read := func() (line signInLine) {
		if !lines.Scan() {
			t.Errorf("no line: %v", lines.Err())
			return line
		}
		if resp.StatusCode == http.StatusOK {
			must(t, json.Unmarshal(lines.Bytes(), &line))
		} else {
			line.Problem = lines.Text()
		}
		if text := lines.Text(); strings.Contains(text, "token\"") || strings.Contains(text, "eyJ") {
			t.Errorf("a token is in %s", text)
		}
		return line
	}
	u := &underWay{t: t, status: resp.StatusCode, end: read, leave: cancel}
	if u.status == http.StatusOK {
		if first := read(); first.Prompt != nil {
			u.prompt = *first.Prompt
		}
	}
	return u
}

// signIn signs somebody in by a device code.
func signIn(t *testing.T, w *world, at *http.Client, upn string) {
	t.Helper()
	u := begin(t, at, "identity=me")
	must(t, w.entra.Approve(u.prompt.UserCode, upn))
	if got := u.end(); got.Account == nil || got.Account.Username != upn {
		t.Fatalf("%s: %+v", upn, got)
	}
}

// token asks for the user's token, and returns whose it is.
func (b *running) tokenOf(target string) (object string, resp *http.Response, body string) {
	b.t.Helper()
	resp = b.call(http.MethodPost, "/token", target)
	body = text(b.t, resp)
	var answer struct {
		Token string `json:"access_token"`
	}
	if json.Unmarshal([]byte(body), &answer) == nil && answer.Token != "" {
		jwt, err := entra.ParseJWT(answer.Token)
		must(b.t, err)
		object = jwt.Claims.Object
		if log := b.logs.String(); strings.Contains(log, answer.Token) {
			b.t.Error("a token is in the log")
		}
	}
	return object, resp, body
}

// wantLogin wants the answer that says to sign in.
func (b *running) wantLogin(when string) {
	b.t.Helper()
	_, resp, body := b.tokenOf("route=mine&fresh=true")
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, `"code":"login_required"`) || !strings.Contains(body, "run: tokenbroker login me") {
		b.t.Errorf("%s: %d %s", when, resp.StatusCode, body)
	}
}

func TestUserSignsInThroughTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.start(usersApp)
		at := b.reach(w)
		b.warm(t.Context())
		synctest.Wait()
		b.wantLogin("before")
		if body := text(t, b.get("/whoami")); !strings.Contains(body, `"identity":"me"`) || !strings.Contains(body, `"account":null`) || !strings.Contains(body, "tokenbroker login me") || strings.Contains(body, "default") {
			t.Errorf("before: %s", body)
		}

		for upn, object := range map[string]string{entraemu.DefaultUser: aliceObject, entraemu.GuestUser: bobObject} {
			signIn(t, w, at, upn)
			for _, target := range []string{"route=mine", "route=mine&fresh=true", "scope=" + mdeScope + "&identity=me"} {
				if got, resp, body := b.tokenOf(target); got != object {
					t.Errorf("%s: %s: %d %.300s, a token of %q", upn, target, resp.StatusCode, body, got)
				}
			}
			if resp := b.get("/proxy/mine/api/machines?$top=1"); resp.StatusCode != http.StatusOK {
				t.Errorf("a call as %s: %d %s", upn, resp.StatusCode, text(t, resp))
			}
			if body := text(t, b.get("/whoami?identity=me")); !strings.Contains(body, `"username":"`+upn+`"`) {
				t.Errorf("as %s: %s", upn, body)
			}
		}
		if got, _, _ := b.tokenOf("route=defender"); got == aliceObject || got == bobObject {
			t.Error("the app's token is a user's")
		}

		held := text(t, b.call(http.MethodGet, "/token?route=mine", "", "Accept", "text/plain"))
		if resp := b.call(http.MethodPost, "/logout", "identity=me"); resp.StatusCode != http.StatusOK {
			t.Errorf("logout: %d %s", resp.StatusCode, text(t, resp))
		}
		b.wantLogin("after the logout")
		if b.cache.holds(entra.NewSecret(held)) {
			t.Error("the token of who has signed out is still held")
		}
		log := b.logs.String()
		for _, mount := range []string{"login", "logout", "whoami"} {
			if !strings.Contains(log, `"msg":"audit"`) || !strings.Contains(log, `"mount":"`+mount+`"`) || !strings.Contains(log, `"rule":"identities.me"`) {
				t.Errorf("no record of %s", mount)
			}
		}
	})
}

func TestSignInThatComesToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.start(usersApp)
		at := b.reach(w)
		problem := func(line signInLine, want string) {
			t.Helper()
			said, _ := json.Marshal(line.Problem)
			if !strings.Contains(string(said), want) || !strings.Contains(string(said), `"code":"login_required"`) {
				t.Errorf("got %s, want %s", said, want)
			}
		}
		declined := begin(t, at, "identity=me&prompt=login")
		must(t, w.entra.Decline(declined.prompt.UserCode))
		problem(declined.end(), "declined")

		expired := begin(t, at, "identity=me")
		if left := time.Until(time.Unix(expired.prompt.ExpiresOn, 0)); left < 14*time.Minute || left > 16*time.Minute {
			t.Errorf("it expires in %v", left)
		}
		begun := time.Now()
		if resp := b.call(http.MethodPost, "/login", "identity=me"); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a second one: %d %s", resp.StatusCode, text(t, resp))
		}
		problem(expired.end(), "run: tokenbroker login me")
		if took := time.Since(begun); took > 16*time.Minute {
			t.Errorf("it took %v", took)
		}

		left := begin(t, at, "identity=me")
		left.leave()
		synctest.Wait()
		asked := w.entra.Stats().Tokens
		time.Sleep(time.Minute)
		if got := w.entra.Stats().Tokens; got != asked {
			t.Errorf("Entra was asked %d times after the caller had left", got-asked)
		}
		signIn(t, w, at, entraemu.DefaultUser) // and the next one may
	})
}

func TestRevokedSignInAsksForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.start(usersApp)
		at := b.reach(w)
		signIn(t, w, at, entraemu.DefaultUser)
		if got, _, body := b.tokenOf("route=mine"); got != aliceObject {
			t.Fatal(body)
		}
		time.Sleep(2 * time.Minute)
		must(t, w.entra.RevokeSessions(entraemu.DefaultUser))
		time.Sleep(2 * time.Hour)
		b.wantLogin("revoked")
		signIn(t, w, at, entraemu.DefaultUser)
		if got, resp, body := b.tokenOf("route=mine"); got != aliceObject {
			t.Errorf("after another sign-in: %d %s", resp.StatusCode, body)
		}
	})
}

func TestSignInIsRefused(t *testing.T) {
	w := newWorld(t)
	w.write("alice.key", keyOf("alice"))
	b := w.start(usersApp + `
  bare: {upstream: "https://api.security.microsoft.com", identity: default}
callers: [{name: alice, key_file: 'DIR/alice.key', routes: [mine, bare]}]
`)
	for _, tt := range []struct {
		path, form string
		status     int
		says       string
	}{
		{"/login", "", 400, "identity: missing"},
		{"/login", "identity=default", 400, "nobody signs in to it"},
		{"/login", "identity=nobody", 404, ""},
		{"/login", "identity=me&identity=me", 400, "said twice"},
		{"/login", "identity=me&browser=yes", 400, "want true or false"},
		{"/login", "identity=me&prompt=none", 400, "want select_account, login or consent"},
		{"/login", "identity=me&tenant=x", 400, "not known; want identity, prompt, browser or scope"},
		{"/login?identity=me", "identity=me", 400, "put the parameters into the form"},
		{"/login/answer", "identity=me", 400, "url: missing"},
		{"/login/answer", "identity=me&url=http://localhost/?code=c0de-canary", 400, "no sign-in by browser is under way"},
		{"/logout", "identity=nobody", 404, ""},
		{"/logout", "identity=default", 400, "nobody signs in to it"},
	} {
		resp := b.call(http.MethodPost, tt.path, tt.form, "X-Broker-Key", keyOf("alice"))
		if body := text(t, resp); resp.StatusCode != tt.status || !strings.Contains(body, tt.says) || resp.Header.Get("Content-Type") != "application/problem+json" || strings.Contains(body, "canary") {
			t.Errorf("%s %s: %d %s", tt.path, tt.form, resp.StatusCode, body)
		}
	}
	for _, method := range []string{"/login", "/login/answer", "/logout"} {
		if resp := b.call(http.MethodGet, method+"?identity=me", "", "X-Broker-Key", keyOf("alice")); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d", method, resp.StatusCode)
		}
	}
	if resp := b.call(http.MethodGet, "/whoami?identity=default", "", "X-Broker-Key", keyOf("alice")); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("whoami of an app: %d", resp.StatusCode)
	}
	if w.entra.Stats().Tokens != 0 || strings.Contains(b.logs.String(), "canary") {
		t.Error("Entra was asked, or a code is in the log")
	}
}

// An identity that is not open to a caller is not there for it.
func TestSignInOfAnotherCallersIdentity(t *testing.T) {
	w := newWorld(t)
	w.write("alice.key", keyOf("alice"))
	b := w.start(usersApp + `
callers: [{name: alice, key_file: 'DIR/alice.key', routes: [defender]}]
`)
	for _, path := range []string{"/login", "/logout", "/login/answer"} {
		form := "identity=me"
		if path == "/login/answer" {
			form += "&url=x"
		}
		if resp := b.call(http.MethodPost, path, form, "X-Broker-Key", keyOf("alice")); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text(t, resp))
		}
	}
	if body := text(t, b.call(http.MethodGet, "/whoami", "", "X-Broker-Key", keyOf("alice"))); !strings.Contains(body, `"users":[]`) {
		t.Errorf("whoami: %s", body)
	}
	if resp := b.call(http.MethodGet, "/whoami?identity=me", "", "X-Broker-Key", keyOf("alice")); resp.StatusCode != http.StatusNotFound {
		t.Errorf("whoami of it: %d", resp.StatusCode)
	}
}
