//go:build unix

package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	entraemu "tokenbroker/emulator/entra"
)

// commands are those that users see a refusal by, at a site where a broker runs
// that has one identity.
type commands struct {
	*site
	*served
	file string
}

// newCommands starts the broker. What happens to a password happens when it has
// been read.
func newCommands(t *testing.T, credential string, app func(*entraemu.App), happens func(*site)) *commands {
	t.Helper()
	s := newSite(t, func(known *entraemu.Config) {
		if app != nil {
			app(&known.Apps[0])
		}
	})
	if happens != nil {
		s.between = func() { happens(s) }
	}
	s.tap.next = hurry(s.entra)
	s.write(t, "sign-ins.key", keyOf("sign-ins-of-a-test-that-are-sealed"))
	alice, _ := s.entra.User(entraemu.DefaultUser)
	s.write(t, "password", alice.Password.Reveal()+"\n")
	b := s.serve(`
log: {level: debug}
authority: ENTRA
identities:
  me: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: ` + credential + `}
routes:
  mine: {upstream: DEFENDER, scope: 'https://api.securitycenter.microsoft.com/.default'}
`)
	return &commands{s, b, filepath.Join(s.dir, "config", configFile)}
}

// hurry is an Entra whose device codes live for two seconds, and are asked about
// every second.
func hurry(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/devicecode") {
			next.ServeHTTP(w, r)
			return
		}
		recorded := httptest.NewRecorder()
		next.ServeHTTP(recorded, r)
		body := regexp.MustCompile(`"expires_in":\d+`).ReplaceAllString(recorded.Body.String(), `"expires_in":2`)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(recorded.Code)
		_, _ = io.WriteString(w, strings.Replace(body, `"interval":5`, `"interval":1`, 1))
	})
}

// run runs a command, which has to end.
func (c *commands) run(in io.Reader, errs *logBuffer, args ...string) (code int, said string) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	out := new(logBuffer)
	code = Main(ctx, System{Args: args, In: in, Out: out, Err: errs})
	if ctx.Err() != nil {
		c.t.Errorf("%v hangs", args)
	}
	return code, out.String() + errs.String()
}

// says runs a command that has to exit with a code and to say something.
func (c *commands) says(want int, text string, args ...string) {
	c.t.Helper()
	code, said := c.run(nil, new(logBuffer), args...)
	if code != want || !strings.Contains(said, text) {
		c.t.Errorf("tokenbroker %s: exit code %d, want %d with %q: %s", args[0], code, want, text, said)
	}
}

// running are the arguments of a command that asks the running broker.
func (c *commands) running(args ...string) []string {
	return append(args, "--url", "http://"+c.at.Callers[0])
}

// prompted is what login has said when it waits for somebody: a code, or a page
// on a line of its own.
var prompted = regexp.MustCompile(`(?m)enter the code \w+.*\n|^https://\S+\n`)

// login runs the command of that name, does what it says, and pastes what comes
// of that.
func (c *commands) login(do func(prompt string) (pasted string)) (code int, said string) {
	c.t.Helper()
	typed, typing := io.Pipe()
	defer typing.Close()
	errs := new(logBuffer)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		code, said = c.run(typed, errs, c.running("login", "me")...)
	}()
	waited := eventually("it says what to do", func() bool {
		select {
		case <-ended:
			return true
		default:
			return prompted.MatchString(errs.String())
		}
	})
	must(c.t, waited)
	if do != nil {
		if pasted := do(errs.String()); pasted != "" {
			_, _ = io.WriteString(typing, pasted+"\n")
		}
	}
	<-ended
	return code, said
}

// person is alice at a browser.
func (c *commands) person() *entraemu.Person {
	c.t.Helper()
	pem, err := os.ReadFile(filepath.Join(c.dir, "ca", "ca.pem"))
	must(c.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	alice, _ := c.entra.User(entraemu.DefaultUser)
	return &entraemu.Person{HTTP: &http.Client{Transport: transport}, User: alice.UPN, Password: alice.Password.Reveal()}
}

// browse opens the page of a prompt, and returns the address at the end of it.
func (c *commands) browse(p *entraemu.Person) func(prompt string) string {
	return func(prompt string) string {
		page := regexp.MustCompile(`(?m)^https://\S+`).FindString(prompt)
		back, err := p.SignIn(c.t.Context(), page)
		must(c.t, err)
		return back.URL.String()
	}
}

func codeOf(prompt string) string {
	return regexp.MustCompile(`enter the code (\w+)`).FindStringSubmatch(prompt)[1]
}
