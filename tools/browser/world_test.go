// Package browser signs users in as they do it: by the real binary, and with a
// real browser that is clicked through.
package browser

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// patience is how long a test may take, whatever it waits for.
const patience = 2 * time.Minute

const (
	alice, aliceObject = "alice@contoso.example", "aaaaaaaa-0000-4000-8000-000000000001"
	bob, bobObject     = "bob@contoso.example", "bbbbbbbb-0000-4000-8000-000000000001"
)

// binary is the program, built for these tests.
var binary string

func TestMain(m *testing.M) { os.Exit(testAll(m)) }

func testAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tokenbroker-browser-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "tokenbroker")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir, build.Stderr = filepath.Join("..", ".."), os.Stderr
	if err := build.Run(); err != nil {
		return 1
	}
	return m.Run()
}

// world is a fake Entra, a fake Defender and the broker, each a process, and a
// browser. Nobody is signed in to the identity me.
type world struct {
	t   *testing.T
	ctx context.Context // the test's
	dir string

	fakes struct {
		Entra, Defender, Tenant string
		Client                  string `json:"client_id"`
		User, Password          string
		Users                   map[string]string // the passwords of all
	}
	callers, ops string
	browser      context.Context // chromedp's handle
	http         *http.Client    // trusts the fakes
}

// newWorld starts everything. The browser takes names for what the rules say
// beside its own machine, and reaches nothing else.
func newWorld(t *testing.T, rules ...string) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, dir: t.TempDir()}
	emulate := w.start("emulate", "--entra", "127.0.0.1:0", "--defender", "127.0.0.1:0", "--ca-out", "ca.pem", "-o", "json")
	w.must(json.Unmarshal([]byte(emulate.until(`(?m)^(\{.*\})$`)), &w.fakes))
	w.must(os.WriteFile(filepath.Join(w.dir, "tokenbroker.yaml"), fmt.Appendf(nil, `
listen: {callers: ['127.0.0.1:0'], ops: '127.0.0.1:0'}
authority: %s
ca_file: ca.pem
identities:
  me: {tenant: %s, client_id: %s, credential: {kind: browser}}
routes:
  defender: {identity: me, upstream: '%s'}
audit: {file: audit.jsonl}
`, w.fakes.Entra, w.fakes.Tenant, w.fakes.Client, w.fakes.Defender), 0o600))
	var at struct {
		Callers []string
		Ops     string
	}
	serve := w.start("serve", "--config", "tokenbroker.yaml")
	w.must(json.Unmarshal([]byte(serve.until(`(?m)^(\{.*"msg":"serving".*\})$`)), &at))
	w.callers, w.ops = "http://"+at.Callers[0], "http://"+at.Ops
	w.browse(rules)
	return w
}

// in is the world for a test within its test.
func (w *world) in(t *testing.T) *world {
	t.Helper()
	within := *w
	within.t = t
	return &within
}

// browse starts the browser. It trusts the key of the fake Entra's certificate
// and no other that its own roots do not vouch for.
func (w *world) browse(rules []string) {
	w.t.Helper()
	pem, err := os.ReadFile(filepath.Join(w.dir, "ca.pem"))
	w.must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	trust := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	transport := &http.Transport{TLSClientConfig: trust}
	w.t.Cleanup(transport.CloseIdleConnections)
	w.http = &http.Client{Transport: transport}
	conn, err := (&tls.Dialer{Config: trust}).DialContext(w.ctx, "tcp", strings.TrimPrefix(w.fakes.Entra, "https://"))
	w.must(err)
	defer conn.Close()
	key := sha256.Sum256(conn.(*tls.Conn).ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)

	ctx, stop := chromedp.NewExecAllocator(w.ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.UserDataDir(w.t.TempDir()),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:])),
		chromedp.Flag("host-resolver-rules", strings.Join(append(rules, "MAP * ~NOTFOUND", "EXCLUDE localhost", "EXCLUDE 127.0.0.1"), ",")),
		// The broker has to be safe in browsers that do not guard it themselves.
		chromedp.Flag("disable-features", "LocalNetworkAccessChecks,HttpsUpgrades"),
	)...)
	w.t.Cleanup(stop)
	browser, quit := chromedp.NewContext(ctx)
	w.t.Cleanup(quit)
	w.must(chromedp.Do(browser))
	w.browser = browser
}

// run runs a command to its end.
func (w *world) run(args ...string) (code int, said string) {
	w.t.Helper()
	return w.start(args...).end()
}

// login begins a sign-in to me, and returns the page that it says to open.
func (w *world) login(args ...string) (p *process, page string) {
	w.t.Helper()
	p = w.start(append([]string{"login", "me"}, args...)...)
	return p, p.until(`(?m)^(https://\S+)$`)
}

// signedIn checks that a sign-in is over, and that callers get what is the
// user's.
func (w *world) signedIn(login *process, user, object string) {
	w.t.Helper()
	if code, said := login.end(); code != 0 || !strings.HasSuffix(said, "\nme: "+user+" is signed in\n") {
		w.t.Errorf("login ended with %d:\n%s", code, said)
	}
	if code, said := w.run("whoami", "me"); code != 0 || !strings.Contains(said, user) {
		w.t.Errorf("whoami ended with %d:\n%s", code, said)
	}
	for scope, permission := range map[string]string{
		"/token?route=defender&path=/api/machines":  "Machine.Read",
		"/token?route=defender&path=/api/incidents": "Incident.Read",
	} {
		var claims struct{ OID, UPN, SCP string }
		status, body := w.call(http.MethodGet, w.callers+scope, "")
		var token struct {
			Access string `json:"access_token"`
		}
		if status == http.StatusOK {
			w.must(json.Unmarshal([]byte(body), &token))
			payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token.Access, ".")[1])
			w.must(err)
			w.must(json.Unmarshal(payload, &claims))
		}
		if claims.OID != object || claims.UPN != user || !strings.Contains(" "+claims.SCP+" ", " "+permission+" ") {
			w.t.Errorf("%s: %d, %+v", scope, status, claims)
		}
	}
	if status, body := w.call(http.MethodGet, w.callers+"/proxy/defender/api/machines?$top=1", ""); status != http.StatusOK || !strings.Contains(body, `"value":[{`) {
		w.t.Errorf("a call: %d %s", status, body)
	}
}

// signedOut checks that a sign-in has failed, and says why.
func (w *world) signedOut(login *process, why string) {
	w.t.Helper()
	if code, said := login.end(); code != 1 || !strings.Contains(said, why) {
		w.t.Errorf("login ended with %d:\n%s", code, said)
	}
	if code, said := w.run("whoami", "me"); code != 1 {
		w.t.Errorf("whoami ended with %d:\n%s", code, said)
	}
}

// password is what a user signs in with.
func (w *world) password(user string) string {
	w.t.Helper()
	if user == w.fakes.User {
		return w.fakes.Password
	}
	password, known := w.fakes.Users[user]
	if !known {
		w.t.Fatalf("emulate does not say the password of %s", user)
	}
	return password
}

// call makes a request as a program does.
func (w *world) call(method, address, body string) (status int, answer string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.ctx, method, address, strings.NewReader(body))
	w.must(err)
	resp, err := w.http.Do(req)
	w.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.must(err)
	return resp.StatusCode, string(text)
}

// faults sets what goes wrong at the fake Entra.
func (w *world) faults(faults string) {
	w.t.Helper()
	if status, body := w.call(http.MethodPut, w.fakes.Entra+"/_emulator/faults", faults); status != http.StatusOK {
		w.t.Fatal(status, body)
	}
}

// redirect is where a page sends the browser in the end, with its state.
func (w *world) redirect(page string) (to, state string) {
	w.t.Helper()
	at, err := url.Parse(page)
	w.must(err)
	return at.Query().Get("redirect_uri"), at.Query().Get("state")
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}
