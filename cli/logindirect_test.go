//go:build unix

package cli

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const directUsers = `
authority: ENTRA
identities:
  default: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: secret, file: DIR/secret/client-secret}}
  me: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: browser}, store: {file: DIR/sign-ins, key_file: DIR/sign-ins.key}}
  brief: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: device-code}}
routes:
  mine: {upstream: DEFENDER, identity: me, scope: 'https://api.securitycenter.microsoft.com/.default'}
`

// directly is the commands with --direct at a site.
type directly struct {
	*site
	file string
}

func newDirectly(t *testing.T) *directly {
	t.Helper()
	s := newSite(t, nil)
	s.oneSecret()
	s.write(t, "sign-ins.key", "tbk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
	return &directly{s, s.write(t, "direct.yaml", s.settings(directUsers))}
}

func (d *directly) run(args ...string) (code int, out, errs string) {
	d.t.Helper()
	o, e := new(logBuffer), new(logBuffer)
	code = Main(d.t.Context(), System{Args: append(args, "--config", d.file), Out: o, Err: e})
	return code, o.String(), e.String()
}

// person is somebody at a browser of their own.
func (d *directly) person(upn string) *entraemu.Person {
	d.t.Helper()
	pem, err := os.ReadFile(filepath.Join(d.dir, "ca", "ca.pem"))
	must(d.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	jar, err := cookiejar.New(nil)
	must(d.t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	d.t.Cleanup(transport.CloseIdleConnections)
	user, _ := d.entra.User(upn)
	return &entraemu.Person{HTTP: &http.Client{Transport: transport, Jar: jar}, User: upn, Password: user.Password.Reveal()}
}

// login signs somebody in with --direct.
func (d *directly) login(upn string) {
	d.t.Helper()
	out, e := new(logBuffer), new(logBuffer)
	ended := make(chan int, 1)
	go func() {
		ended <- Main(d.t.Context(), System{Args: []string{"login", "me", "--direct", "--config", d.file}, Out: out, Err: e})
	}()
	var page string
	must(d.t, eventually("the page is shown", func() bool {
		_, rest, ok := strings.Cut(e.String(), "\nhttps://")
		page, _, _ = strings.Cut("https://"+rest, "\n")
		return ok && strings.HasSuffix(e.String(), "\n")
	}))
	back, err := d.person(upn).SignIn(d.t.Context(), page)
	must(d.t, err)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(back)
	must(d.t, err)
	must(d.t, resp.Body.Close())
	if got := <-ended; got != 0 || out.String() != "me: "+upn+" is signed in\n" {
		d.t.Fatalf("exit code %d, %s%s", got, out, e)
	}
}

// object asks a running broker for the user's token, and returns whose it is.
func (b *served) object(t *testing.T) (object string, status int, body string) {
	t.Helper()
	resp, err := b.client.Post("http://"+b.at.Callers[0]+"/token", "application/x-www-form-urlencoded", strings.NewReader("route=mine"))
	must(t, err)
	defer resp.Body.Close()
	body = text(t, resp)
	var answer struct {
		Token string `json:"access_token"`
	}
	if json.Unmarshal([]byte(body), &answer) == nil && answer.Token != "" {
		jwt, err := entra.ParseJWT(answer.Token)
		must(t, err)
		object = jwt.Claims.Object
	}
	return object, resp.StatusCode, body
}

// A sign-in without a broker is there for the next one, and for the commands.
func TestDirectSignIn(t *testing.T) {
	d := newDirectly(t)
	for _, tt := range []struct {
		code int
		says string
		args []string
	}{
		{1, "nobody is signed in; run: tokenbroker login me", []string{"whoami", "me", "--direct"}},
		{0, "leave --direct out", []string{"whoami", "--direct"}},
		{2, "its store is memory", []string{"login", "brief", "--direct"}},
		{2, "its store is memory", []string{"logout", "brief", "--direct"}},
		{2, "its store is memory", []string{"whoami", "brief", "--direct"}},
		{2, "nobody signs in to it", []string{"login", "default", "--direct"}},
		{1, "nobody", []string{"login", "nobody", "--direct"}},
		{2, "prompt", []string{"login", "me", "--direct", "--prompt", "none"}},
		{0, "me: nobody is signed in", []string{"logout", "me", "--direct"}},
	} {
		if code, out, errs := d.run(tt.args...); code != tt.code || !strings.Contains(out+errs, tt.says) {
			t.Errorf("%v: exit code %d, %s%s", tt.args, code, out, errs)
		}
	}

	d.login(entraemu.DefaultUser)
	if code, out, errs := d.run("whoami", "me", "--direct", "-o", "json"); code != 0 || !strings.Contains(out, entraemu.DefaultUser) {
		t.Errorf("whoami: exit code %d, %s%s", code, out, errs)
	}
	if code, out, errs := d.run("token", "--route", "mine", "--direct"); code != 0 || !strings.Contains(out, "access_token") {
		t.Errorf("token: exit code %d, %s", code, errs)
	}
	if got, status, body := d.serve(directUsers).object(t); got != aliceObject {
		t.Errorf("a broker that starts then: %d %s", status, body)
	}
}

// A running broker goes on with what was done beside it. (That somebody else is
// signed in it sees within seconds: package broker's tests have them.)
func TestDirectSignInBesideARunningBroker(t *testing.T) {
	d := newDirectly(t)
	b := d.serve(directUsers)
	if got, status, body := b.object(t); got != "" {
		t.Fatalf("%d %s", status, body)
	}
	d.login(entraemu.DefaultUser)
	if got, status, body := b.object(t); got != aliceObject {
		t.Errorf("the sign-in is not seen: %d %s", status, body)
	}
	if code, out, errs := d.run("logout", "me", "--direct"); code != 0 || out != "me: nobody is signed in\n" {
		t.Errorf("logout: exit code %d, %s%s", code, out, errs)
	}
	if code, out, errs := d.run("whoami", "me", "--direct"); code != 1 || !strings.Contains(out, "nobody is signed in") {
		t.Errorf("whoami: exit code %d, %s%s", code, out, errs)
	}
	if kept, err := filepath.Glob(filepath.Join(d.dir, "sign-ins*")); err != nil || len(kept) != 3 {
		t.Errorf("beside the file, its key and its lock there are %v, %v", kept, err)
	}
}
