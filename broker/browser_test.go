package broker_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// A browser comes to a socket, so these tests take place outside of a bubble.

// page is what a browser shows.
type page struct {
	status int
	text   string
	header http.Header
}

// get opens an address of this machine, as a browser does.
func get(t *testing.T, method, address string) page {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return page{resp.StatusCode, string(body), resp.Header}
}

// back is where a person who goes to the prompt's page is sent.
func back(t *testing.T, p *entraemu.Person, prompt broker.Prompt) string {
	t.Helper()
	req, err := p.SignIn(t.Context(), prompt.URL)
	if err != nil {
		t.Fatal(err)
	}
	return req.URL.String()
}

// began is a sign-in by browser under way.
type began struct {
	prompt broker.Prompt
	done   chan error
	got    broker.Account
}

// browse begins a sign-in by browser.
func browse(ctx context.Context, t *testing.T, u *broker.User, opts broker.LoginOptions) *began {
	t.Helper()
	b := &began{done: make(chan error, 1)}
	shown := make(chan broker.Prompt, 1)
	go func() {
		var err error
		b.got, err = u.Login(ctx, opts, func(p broker.Prompt) { shown <- p })
		b.done <- err
	}()
	select {
	case b.prompt = <-shown:
	case err := <-b.done:
		t.Fatalf("nothing was shown: %v", err)
	}
	return b
}

func byBrowser(cfg *broker.UserConfig) { cfg.Flow = broker.Browser }

func redirectTo(uri string) func(*broker.UserConfig) {
	return func(cfg *broker.UserConfig) { cfg.Flow, cfg.RedirectURI = broker.Browser, uri }
}

func TestBrowserSignsAUserIn(t *testing.T) {
	for name, change := range map[string]func(*broker.UserConfig){
		"of its kind":  byBrowser,
		"asked for":    func(*broker.UserConfig) {},
		"by address":   redirectTo("http://127.0.0.1/signed-in"),
		"with a slash": redirectTo("http://localhost/"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			emulated := w.emulateApp(t, func(app *entraemu.App) {
				app.Public = false // that is for device codes and passwords
				app.NativeRedirectURIs = append(app.NativeRedirectURIs, "http://127.0.0.1/signed-in")
			})
			edit(t, emulated, alice, func(u *entraemu.User) { u.MFA = true })
			u := w.user(t, newDrawer(), change)
			b := browse(t.Context(), t, u, broker.LoginOptions{Scope: alerts + " " + mdeHost + "/Machine.Read", Browser: name == "asked for"})
			to := back(t, w.person(t, emulated, alice), b.prompt)
			shown := get(t, http.MethodGet, to)
			if shown.status != http.StatusOK || !strings.Contains(shown.text, "You can close this window") || shown.header.Get("Referrer-Policy") != "no-referrer" || shown.header.Get("Cache-Control") != "no-store" {
				t.Errorf("the page is %+v", shown)
			}
			wantForgetting(t, shown)
			if err := <-b.done; err != nil {
				t.Fatal(err)
			}
			if b.got.Username != alice {
				t.Errorf("%s signed in", b.got.Username)
			}
			tok, err := u.Token(t.Context(), entra.Request{Account: b.got.ID, Scope: alerts})
			wantUsers(t, emulated, tok, err, alice)
			if _, err := net.DialTimeout("tcp", mustHost(t, to), time.Second); err == nil {
				t.Error("somebody still listens")
			}
		})
	}
}

// wantForgetting checks that a page takes the code out of its address, by a
// script that its policy allows.
func wantForgetting(t *testing.T, shown page) {
	t.Helper()
	_, rest, _ := strings.Cut(shown.text, "<script>")
	script, _, _ := strings.Cut(rest, "</script>")
	sum := sha256.Sum256([]byte(script))
	policy := "default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if !strings.HasPrefix(script, "history.replaceState(") || shown.header.Get("Content-Security-Policy") != policy {
		t.Errorf("the page is %+v", shown)
	}
}

func mustHost(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func TestAuthorizeURL(t *testing.T) {
	w := newWorld(t)
	for prompt, want := range map[string]string{"": "select_account", "select_account": "select_account", "login": "login", "consent": "consent"} {
		ctx, cancel := context.WithCancel(t.Context())
		b := browse(ctx, t, w.user(t, newDrawer(), byBrowser), broker.LoginOptions{Scope: alerts, Prompt: prompt})
		at, err := url.Parse(b.prompt.URL)
		if err != nil {
			t.Fatal(err)
		}
		q := at.Query()
		if at.Host != host || at.Path != "/"+string(tenant)+"/oauth2/v2.0/authorize" || q.Get("prompt") != want || q.Get("code_challenge_method") != "S256" ||
			len(q.Get("code_challenge")) != 43 || len(q.Get("state")) < 26 || q.Get("response_type") != "code" || q.Get("client_id") != client ||
			q.Get("scope") != string(alerts)+" openid offline_access profile" || !strings.HasPrefix(q.Get("redirect_uri"), "http://localhost:") {
			t.Errorf("%s: the page is %s", prompt, b.prompt.URL)
		}
		if !strings.Contains(b.prompt.Message, "it begins with http://localhost. ") || !strings.Contains(b.prompt.Message, "AADSTS50011, add http://localhost to the app") || time.Until(b.prompt.ExpiresOn) < 14*time.Minute {
			t.Errorf("%s, until %v", b.prompt.Message, b.prompt.ExpiresOn)
		}
		cancel()
		wantError(t, <-b.done, entra.Canceled, "context canceled")
	}
}

// Whatever comes to the port, only the first answer with the state counts.
func TestBrowserTakesOneAnswer(t *testing.T) {
	w := newWorld(t)
	emulated := w.emulate(t)
	u := w.user(t, newDrawer(), byBrowser)
	b := browse(t.Context(), t, u, broker.LoginOptions{Scope: alerts})
	to := back(t, w.person(t, emulated, alice), b.prompt)
	at, _ := url.Parse(to)
	state := at.Query().Get("state")
	for name, tc := range map[string]struct {
		method, path, query string
		status              int
	}{
		"another path":    {http.MethodGet, "/favicon.ico", at.RawQuery, http.StatusNotFound},
		"another method":  {http.MethodPost, "/", at.RawQuery, http.StatusNotFound},
		"no state":        {http.MethodGet, "/", "code=x", http.StatusBadRequest},
		"another state":   {http.MethodGet, "/", "code=x&state=x", http.StatusBadRequest},
		"two states":      {http.MethodGet, "/", "code=x&state=" + state + "&state=" + state, http.StatusBadRequest},
		"no code":         {http.MethodGet, "/", "state=" + state, http.StatusBadRequest},
		"an empty code":   {http.MethodGet, "/", "code=&state=" + state, http.StatusBadRequest},
		"two codes":       {http.MethodGet, "/", "code=x&code=y&state=" + state, http.StatusBadRequest},
		"code and error":  {http.MethodGet, "/", "code=x&error=y&state=" + state, http.StatusBadRequest},
		"script in state": {http.MethodGet, "/", "code=x&state=<script>", http.StatusBadRequest},
	} {
		got := get(t, tc.method, "http://"+at.Host+tc.path+"?"+tc.query)
		if got.status != tc.status || strings.Contains(got.text, "script") { // nor ours: the address may have to be pasted
			t.Errorf("%s: got %d %s", name, got.status, got.text)
		}
	}
	emulated.SetFaults(entraemu.Faults{Hang: true}) // so that the sign-in is still under way
	first := get(t, http.MethodGet, to)
	wantError(t, b.prompt.Answer(to), entra.Invalid, "the sign-in has had its answer")
	emulated.SetFaults(entraemu.Faults{})
	if err := <-b.done; err != nil || first.status != http.StatusOK {
		t.Errorf("got %v, page %+v", err, first)
	}
}

func TestBrowserSignInThatFails(t *testing.T) {
	for name, tc := range map[string]struct {
		query string // beside the state
		kind  entra.Kind
		code  string
		says  string
	}{
		"declined":                   {"error=access_denied&error_description=AADSTS65004:+canary", entra.Challenged, broker.LoginRequired, "declined: run: tokenbroker login me, and accept what is asked (AADSTS65004)"},
		"declined, without a number": {"error=access_denied", entra.Challenged, broker.LoginRequired, "declined"},
		"for administrators":         {"error=consent_required&error_description=AADSTS90094:+x", entra.Challenged, "consent_required", "only an administrator"},
		"something unknown":          {"error=unsupported_thing&error_description=AADSTS4711:+canary", entra.Misconfigured, "unsupported_thing", "unsupported_thing: see https://login.example/error?code=4711 (AADSTS4711)"},
		"no error of theirs":         {"error=%3Cscript%3Ecanary", entra.Unavailable, "", "no OAuth error"},
		"a code of nobody's":         {"code=x", entra.Challenged, broker.LoginRequired, "run: tokenbroker login me"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.emulate(t)
			store := newDrawer()
			b := browse(t.Context(), t, w.user(t, store, byBrowser), broker.LoginOptions{Scope: alerts})
			at, _ := url.Parse(b.prompt.URL)
			shown := get(t, http.MethodGet, at.Query().Get("redirect_uri")+"/?"+tc.query+"&state="+at.Query().Get("state"))
			if shown.status != http.StatusOK || strings.Contains(shown.text, "canary") || strings.Contains(shown.text, "Nobody was signed in") == strings.HasPrefix(tc.query, "code") {
				t.Errorf("the page is %+v", shown)
			}
			if e := wantError(t, <-b.done, tc.kind, tc.says); e.Code != tc.code {
				t.Errorf("got code %q, want %q", e.Code, tc.code)
			}
			if !store.kept().IsZero() {
				t.Error("something was kept")
			}
		})
	}
}

// An app registered as Microsoft's pages have it sends the browser where nobody
// listens; its user pastes the address.
func TestPastedAddressSignsAUserIn(t *testing.T) {
	for _, uri := range []string{"https://127.0.0.1", "http://localhost"} {
		t.Run(uri, func(t *testing.T) {
			w := newWorld(t)
			emulated := w.emulate(t)
			b := browse(t.Context(), t, w.user(t, newDrawer(), redirectTo(uri)), broker.LoginOptions{Scope: alerts})
			if !strings.Contains(b.prompt.Message, "paste the address that") || !strings.Contains(b.prompt.Message, "it begins with "+uri) {
				t.Errorf("shown: %s", b.prompt.Message)
			}
			to := back(t, w.person(t, emulated, bob), b.prompt)
			if !strings.HasPrefix(to, uri) {
				t.Fatalf("sent to %s", to)
			}
			for says, pasted := range map[string]string{
				"of another sign-in": uri + "?code=code-canary&state=x",
				"not whole":          uri,
				"not an address":     "https://%zz/code-canary",
				"longer than":        uri + "?code=" + strings.Repeat("x", 16<<10),
			} {
				wantError(t, b.prompt.Answer(pasted), entra.Invalid, says)
			}
			if err := b.prompt.Answer(" " + to + "\n"); err != nil {
				t.Fatal(err)
			}
			if err := <-b.done; err != nil || b.got.Username != bob {
				t.Errorf("%s signed in, %v", b.got.Username, err)
			}
		})
	}
}

func TestRedirectURIThatIsTaken(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	uri := "http://" + l.Addr().String()
	_, err = newWorld(t).user(t, newDrawer(), redirectTo(uri)).Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) { t.Error("shown") })
	wantError(t, err, entra.Misconfigured, "redirect_uri "+uri+": nobody can listen there: ")
}

// Web and single-page registrations of the redirect URI do not work for a
// client without a secret.
func TestRedirectURIOfAnotherPlatform(t *testing.T) {
	for says, register := range map[string]func(*entraemu.App){
		"not under Web": func(app *entraemu.App) { app.RedirectURIs, app.NativeRedirectURIs = []string{"http://localhost"}, nil },
		"single-page application: in the": func(app *entraemu.App) {
			app.SPARedirectURIs, app.NativeRedirectURIs = []string{"http://localhost"}, nil
		},
	} {
		w := newWorld(t)
		emulated := w.emulateApp(t, register)
		b := browse(t.Context(), t, w.user(t, newDrawer(), byBrowser), broker.LoginOptions{Scope: alerts})
		get(t, http.MethodGet, back(t, w.person(t, emulated, alice), b.prompt))
		wantError(t, <-b.done, entra.Misconfigured, says)
	}
}

func TestBrowserThatNeverComesBack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	b := browse(ctx, t, newWorld(t).user(t, newDrawer(), byBrowser), broker.LoginOptions{Scope: alerts})
	// One that only connects holds nothing up.
	at, _ := url.Parse(b.prompt.URL)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.Replace(mustHost(t, at.Query().Get("redirect_uri")), "localhost", "127.0.0.1", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = <-b.done
	wantLogin(t, err, "nobody has signed in in time")
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("it reads as a failure of ours")
	}
}
