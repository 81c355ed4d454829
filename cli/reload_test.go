//go:build unix

package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tokenbroker/config"
	defenderemu "tokenbroker/emulator/defender"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// swinging are settings in which the identity default is one of several.
const swinging = `
authority: %s
identities:
  default: {tenant: %s, client_id: %s, credential: %s}
routes:
  default: {upstream: DEFENDER, identity: default, scope: 'https://api.securitycenter.microsoft.com/.default', rate: off}
`

const (
	bySecretFile = "{kind: secret, file: DIR/secret/client-secret}"
	byToken      = "{kind: workload-identity, token_file: DIR/projected/token}"
)

// station is one of the identities that default swings between.
type station struct{ authority, tenant, client, credential string }

func (s station) settings() string {
	return fmt.Sprintf(swinging, s.authority, s.tenant, s.client, s.credential)
}

// mark is what tells the tokens of stations apart: tenant, app, kind of
// credential, and the key of the authority that signed them.
func mark(token string) string {
	parts := strings.Split(token, ".")
	var header struct{ Kid string }
	var claims struct{ TID, AppID, AppIDACR string }
	for i, into := range []any{&header, &claims} {
		part, err := base64.RawURLEncoding.DecodeString(parts[i%len(parts)])
		if err != nil || json.Unmarshal(part, into) != nil {
			return "no token"
		}
	}
	return strings.Join([]string{claims.TID, claims.AppID, claims.AppIDACR, header.Kid}, " ")
}

// swing is the two stations, and which of them are in force: at an even number
// of steps one, at an odd one a reload is on its way to the next.
type swing struct {
	t       *testing.T
	steps   atomic.Int64
	marks   [2]string
	decided atomic.Int64 // tokens of which there was one right answer
}

const stepHeader = "X-Step"

// check fails the test if a token is of a station that was not in force at any
// time since began.
func (s *swing) check(where, token string, began int64) {
	ended := s.steps.Load()
	first, last := began/2, (ended+1)/2
	if last > first {
		return // either will do
	}
	s.decided.Add(1)
	if got, want := mark(token), s.marks[first%2]; got != want {
		s.t.Errorf("%s: a token of %s, while in force is %s", where, got, want)
	}
}

// watched notes the tokens that come to Defender.
func (s *swing) watched(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, err := strconv.ParseInt(r.Header.Get(stepHeader), 10, 64)
		if err != nil {
			s.t.Errorf("the step did not come through: %v", err)
		}
		s.check("Defender", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), began)
		next.ServeHTTP(w, r)
	})
}

// swingSite is a site with two tenants and two apps, each of which has the same
// secret and trusts the same cluster, and a second authority with the same.
func swingSite(t *testing.T, s *swing) (at *site, other string) {
	t.Helper()
	issuers, err := clusterKeys()
	must(t, err)
	known := func(known *entraemu.Config) {
		app := known.Apps[0]
		app.Secrets = []entraemu.Secret{newSecret("the secret of both")}
		app.Federated = []entraemu.FederatedCredential{issuers[0].Trust(subject)}
		second := app
		second.ClientID = clientID(1)
		known.Apps, known.Issuers = []entraemu.App{app, second}, []entraemu.Issuer{issuers[0].Issuer()}
	}
	at = newSite(t, known)
	second := newEntra(t, known)
	fake, err := defenderemu.New(defenderemu.Config{Catalogue: catalogue(t), Verify: func(token string) (entra.Claims, error) {
		claims, err := at.entra.Verify(token)
		if err != nil {
			return second.Verify(token)
		}
		return claims, nil
	}})
	must(t, err)
	at.words[len(at.words)-1] = at.listen(s.watched(fake))
	token, err := issuers[0].Token(subject, "", 3600e9)
	must(t, err)
	at.volume("secret", map[string]string{"client-secret": "the secret of both"})
	at.volume("projected", map[string]string{"token": token})
	return at, at.listen(second)
}

// TestRepointedIdentityNeverHasATokenOfBefore swings the identity between two
// stations under 16 callers. A request that came after a reload was in force
// gets, and sends to Defender, no token of the station before.
func TestRepointedIdentityNeverHasATokenOfBefore(t *testing.T) {
	home := station{"ENTRA", entraemu.DefaultTenant, clientID(0), bySecretFile}
	for name, away := range map[string]station{
		"tenant and app":     {"ENTRA", entraemu.OtherTenant, clientID(1), bySecretFile},
		"app only":           {"ENTRA", entraemu.DefaultTenant, clientID(1), bySecretFile},
		"tenant only":        {"ENTRA", entraemu.OtherTenant, clientID(0), bySecretFile},
		"kind of credential": {"ENTRA", entraemu.DefaultTenant, clientID(0), byToken},
		"authority":          {"OTHER", entraemu.DefaultTenant, clientID(0), bySecretFile},
	} {
		t.Run(name, func(t *testing.T) {
			s := &swing{t: t}
			at, other := swingSite(t, s)
			at.words = append(at.words, "OTHER", other)
			b := at.serve(home.settings())
			for i, one := range []station{home, away, home} {
				if i > 0 {
					must(t, b.configure(one.settings()))
				}
				if i < 2 {
					s.marks[i] = mark(b.token(t))
				}
			}
			if s.marks[0] == s.marks[1] {
				t.Fatalf("the tokens cannot be told apart: %s", s.marks[0])
			}
			s.callers(b, func() {
				for n := range rotations() / 10 {
					s.steps.Add(1)
					if err := b.configure([]station{away, home}[n%2].settings()); err != nil {
						t.Error(err)
						return
					}
					s.steps.Add(1)
					enough := s.decided.Load() + 32
					if err := eventually("callers ask", func() bool { return s.decided.Load() >= enough }); err != nil {
						t.Error(err)
						return
					}
				}
			})
			t.Logf("%d tokens that only one station may have given", s.decided.Load())
			for _, line := range b.complaints() {
				t.Errorf("logged: %s", line)
			}
		})
	}
}

// TestIdentityThatComesBackIsAskedForAtOnce: what was still asked for behind the
// last request of a configuration, and failed, fails no caller of the next one
// that has the identity again.
func TestIdentityThatComesBackIsAskedForAtOnce(t *testing.T) {
	at, _ := swingSite(t, &swing{t: t})
	home := station{"ENTRA", entraemu.DefaultTenant, clientID(0), bySecretFile}
	away := station{"ENTRA", entraemu.OtherTenant, clientID(1), bySecretFile}
	b := at.serve(home.settings())
	b.token(t)
	gone := b.service.current()
	identity := gone.cfg.Identities["default"]
	late := entra.Request{Identity: identity.ID(gone.cfg.Authority), Tenant: identity.Tenant, Scope: mdeScope}
	must(t, b.configure(away.settings()))
	must(t, eventually("the one of before is let go of", func() bool { return b.generations() == 1 }))
	if _, err := gone.cache.Token(t.Context(), late); entra.KindOf(err) != entra.NotFound {
		t.Fatalf("after it is gone: %v", err)
	}
	must(t, b.configure(home.settings()))
	b.token(t)
}

// callers ask while do is done, for tokens and through the proxy by turns.
func (s *swing) callers(b *served, do func()) {
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 16 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				began := s.steps.Load()
				path := []string{"/token?route=default", "/proxy/default/api/machines?$top=1"}[n%2]
				status, body, err := b.ask(path, "", stepHeader, strconv.FormatInt(began, 10))
				if err != nil || status != http.StatusOK {
					s.t.Errorf("GET %s: %d %v %.300s", path, status, err, body)
					return
				}
				if n%2 == 0 {
					s.check("/token", tokenIn(body), began)
				}
			}
		})
	}
	do()
	close(stop)
	all.Wait()
}

func (b *served) token(t *testing.T) string {
	t.Helper()
	status, body, err := b.ask("/token?route=default", "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("/token: %d %v %s", status, err, body)
	}
	return tokenIn(body)
}

func tokenIn(body []byte) string {
	var answer struct {
		Access string `json:"access_token"`
	}
	_ = json.Unmarshal(body, &answer) // no token is no mark
	return answer.Access
}

// reloads is how often the configuration changes, most of it without its file.
func reloads() (all, byFile int) {
	if testing.Short() {
		return 500, 20
	}
	return 10_000, 200
}

// holdings are what a reload could leave behind.
type holdings struct{ goroutines, descriptors, heap, series int }

func (b *served) holdings(t *testing.T) (h holdings) {
	t.Helper()
	h.series = strings.Count(b.metrics(t), "\n")
	b.client.CloseIdleConnections()
	for _, srv := range b.site.servers { // idle connections, which the broker's side closes after 90 s
		srv.SetKeepAlivesEnabled(false)
		srv.SetKeepAlivesEnabled(true)
	}
	for range 3 { // what a finalizer lets go of is gone at the next one
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	h.heap, h.goroutines = int(stats.HeapAlloc), runtime.NumGoroutine()
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		h.descriptors = len(entries)
	}
	return h
}

// TestReloadsLeaveNothingBehind reloads by alternating configurations, of which
// each has other identities and connections of its own, while the answer of a
// request that began under the first one does not end.
func TestReloadsLeaveNothingBehind(t *testing.T) {
	s := &swing{t: t}
	at, other := swingSite(t, s)
	at.words = append(at.words, "OTHER", other)
	begun, release := make(chan struct{}), make(chan struct{})
	stream := at.listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("begun\n"))
		_ = http.NewResponseController(w).Flush()
		close(begun)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	stations := [2]station{
		{"ENTRA", entraemu.DefaultTenant, clientID(0), bySecretFile},
		{"OTHER", entraemu.OtherTenant, clientID(1), byToken},
	}
	var texts [2]string
	for i, one := range stations {
		texts[i] = strings.Replace(one.settings(), "routes:", fmt.Sprintf("cache: {size: %d}\nlimits: {response_header_timeout: %dm}\nroutes:\n  stream: {upstream: '%s', identity: default, scope: 'https://api.securitycenter.microsoft.com/.default', rate: off}", 100+i, 1+i, stream), 1)
	}
	b := at.serve(texts[0])
	var streaming sync.WaitGroup
	streaming.Go(func() {
		if status, body, err := b.ask("/proxy/stream/", ""); err != nil || status != http.StatusOK || string(body) != "begun\n" {
			t.Errorf("the stream: %d %v %s", status, err, body)
		}
	})
	<-begun

	all, byFile := reloads()
	var configs [2]string
	for i := range configs {
		configs[i] = at.write(t, fmt.Sprintf("configuration-%d.yaml", i), at.settings(texts[i]))
	}
	turn := func(n int) {
		before := b.service.current()
		cfg, err := readConfig(System{}, config.Options{Catalogue: before.catalogue, File: configs[n%2]})
		must(t, err)
		next, err := build(cfg, surroundings{catalogue: before.catalogue, logger: before.logger, before: before})
		must(t, err)
		must(t, b.service.adopt(t.Context(), next))
		if n%100 == 0 { // else nobody would hold a token of it, or a connection
			b.token(t)
		}
	}
	settled := func(generations int) holdings {
		b.token(t)
		must(t, eventually("what is over is let go of", func() bool { return b.generations() == generations }))
		before, now := holdings{}, b.holdings(t)
		for tries := 20; before.goroutines != now.goroutines && tries > 0; tries-- { // connections end behind whoever closes them
			before, now = now, b.holdings(t)
		}
		return now
	}
	for n := range all / 20 {
		turn(n + 1)
	}
	before := settled(2)
	for n := range all {
		turn(n + 1)
	}
	for n := range byFile {
		must(t, b.configure(texts[(n+1)%2]))
	}
	if n := runtime.NumGoroutine(); n > before.goroutines+500 { // some may have an idle connection for a while yet
		t.Errorf("%d goroutines before idle connections are closed from the other side", n)
	}
	after := settled(2)
	close(release)
	streaming.Wait()
	last := settled(1)
	last.series = after.series // now the stream has been counted
	t.Logf("before %+v, after %d reloads %+v, after the last request %+v", before, all+byFile, after, last)
	for _, now := range []holdings{after, last} {
		for what, grown := range map[string]int{
			"goroutines":           now.goroutines - before.goroutines - 10,
			"descriptors":          now.descriptors - before.descriptors - 10,
			"bytes of heap":        now.heap - before.heap - 2<<20,
			"series of Prometheus": now.series - before.series,
		} {
			if grown > 0 {
				t.Errorf("%d %s too many", grown, what)
			}
		}
	}
}
