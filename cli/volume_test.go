//go:build unix

package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tokenbroker/emulator"
	defenderemu "tokenbroker/emulator/defender"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const (
	crowdOf   = 32 // callers
	crowdPace = 16 * time.Millisecond
)

// site is an Entra and a Defender over TLS on real sockets, and a folder in
// which the broker's files stand, each kind in a volume of its own.
type site struct {
	t        *testing.T
	dir      string
	entra    *entraemu.Server
	tap      *tap // between the broker and Entra
	defender http.Handler
	leaf     atomic.Pointer[tls.Certificate] // of all servers
	words    []string                        // DIR, ENTRA and DEFENDER in settings, and what they stand for
	servers  []*http.Server
	between  func() // is called when a broker has read its files and does not serve yet; nil: nothing is
}

// newSite makes a site in which Entra knows what edit makes of the default.
func newSite(t *testing.T, edit func(*entraemu.Config)) *site {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) }) // the last of all cleanups
	s := &site{t: t, dir: t.TempDir()}
	s.entra = newEntra(t, edit)
	s.tap = &tap{next: s.entra, first: map[string]time.Time{}}
	var err error
	s.defender, err = defenderemu.New(defenderemu.Config{Catalogue: catalogue(t), Verify: s.entra.Verify})
	must(t, err)
	ca := newCA(t)
	s.present(ca)
	s.volume("ca", map[string]string{"ca.pem": string(ca.PEM())})
	s.words = []string{"DIR", s.dir, "ENTRA", s.listen(s.tap), "DEFENDER", s.listen(s.defender)}
	return s
}

func newEntra(t *testing.T, edit func(*entraemu.Config)) *entraemu.Server {
	t.Helper()
	known := entraemu.Default()
	if edit != nil {
		edit(&known)
	}
	fake, err := entraemu.New(known)
	must(t, err)
	return fake
}

func newCA(t *testing.T) *emulator.CA {
	t.Helper()
	ca, err := emulator.NewCA()
	must(t, err)
	return ca
}

// present makes the servers show a certificate of the authority from now on.
func (s *site) present(ca *emulator.CA) { s.leaf.Store(&ca.ServerTLS("127.0.0.1").Certificates[0]) }

// listen serves the handler until the test ends.
func (s *site) listen(handler http.Handler) (url string) {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(s.t, err)
	srv := &http.Server{
		Handler:           handler,
		TLSConfig:         &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.leaf.Load(), nil }},
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ReadHeaderTimeout: patience,
	}
	var ended sync.WaitGroup
	ended.Go(func() { _ = srv.ServeTLS(l, "", "") })
	s.servers = append(s.servers, srv)
	s.t.Cleanup(func() { _ = srv.Close(); ended.Wait() })
	return "https://" + l.Addr().String()
}

// write puts a plain file there.
func (s *site) write(t *testing.T, name, content string) (path string) {
	t.Helper()
	must(t, s.replace(name, content))
	return filepath.Join(s.dir, name)
}

// volume makes a folder of the site's one as a kubelet does.
func (s *site) volume(name string, files map[string]string) *emulator.Volume {
	s.t.Helper()
	v, err := emulator.NewVolume(filepath.Join(s.dir, name), files)
	must(s.t, err)
	return v
}

// replace puts a plain file there by a rename, as mv does.
func (s *site) replace(name, content string) error {
	path := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path+".new", []byte(content), 0o600)); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// settings are those that every broker of a site needs, and further ones.
func (s *site) settings(text string) string {
	return strings.NewReplacer(s.words...).Replace(`
listen: {callers: ['127.0.0.1:0'], ops: '127.0.0.1:0'}
ca_file: DIR/ca/ca.pem
audit: {file: DIR/audit.jsonl}
` + text)
}

// served is a broker that serves from a site, with all that belongs to serving:
// real listeners, the watcher, the signals' channel.
type served struct {
	*reloader
	site   *site
	config *emulator.Volume
	logs   *logBuffer
	client *http.Client
	at     addresses
}

func (s *site) serve(settings string) *served {
	s.t.Helper()
	b := &served{site: s, logs: new(logBuffer), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * crowdOf}}}
	b.config = s.volume("config", map[string]string{configFile: s.settings(settings)})
	file, sys := filepath.Join(s.dir, "config", configFile), System{Err: b.logs}
	log := newLogWriter(b.logs)
	b.reloader = newReloader(sys, file)
	app, err := load(sys, file, log)
	must(s.t, err)
	if s.between != nil {
		s.between()
	}
	ctx, stop := context.WithCancel(s.t.Context())
	ready, ended := make(chan addresses, 1), make(chan error, 1)
	go func() { ended <- app.serve(ctx, log, b.reloader, func(at addresses) { ready <- at }) }()
	s.t.Cleanup(func() {
		stop()
		b.client.CloseIdleConnections()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
		b.close()
		log.Close()
	})
	select {
	case b.at = <-ready:
	case <-time.After(patience):
		s.t.Fatal("not serving")
	}
	return b
}

// configure puts other settings there and waits until they are in force, as the
// metric has it.
func (b *served) configure(settings string) error {
	before := b.taken.Load()
	if err := b.config.Swap(map[string]string{configFile: b.site.settings(settings)}); err != nil {
		return err
	}
	return eventually("the settings come into force", func() bool { return b.taken.Load() > before })
}

// generations counts the configurations by which requests are answered.
func (b *served) generations() int {
	b.service.mu.Lock()
	defer b.service.mu.Unlock()
	return len(b.service.live)
}

// drop forgets the tokens of an identity, so that the next caller needs a new one.
func (b *served) drop(identity string) {
	a := b.service.current()
	config := a.cfg.Identities[identity]
	id := config.ID(a.cfg.Authority)
	a.cache.own.Retain(func(other entra.IdentityID) bool { return other != id })
}

// ask sends a request as a local program would.
func (b *served) ask(path, key string, header ...string) (status int, body []byte, err error) {
	r, err := http.NewRequest(http.MethodGet, "http://"+b.at.Callers[0]+path, nil)
	if err != nil {
		return 0, nil, err
	}
	if key != "" {
		r.Header.Set("X-Broker-Key", key)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r.Host = r.Header.Get("Host") // empty: that of the URL
	resp, err := b.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// metrics are the operators' figures.
func (b *served) metrics(t *testing.T) string {
	t.Helper()
	resp, err := b.client.Get("http://" + b.at.Ops + "/metrics")
	must(t, err)
	defer resp.Body.Close()
	return text(t, resp)
}

// complaints are what the log has to say above info, but for warnings of the
// settings themselves.
func (b *served) complaints() (lines []string) {
	for line := range strings.Lines(b.logs.String()) {
		if strings.Contains(line, `"level":"INFO"`) || strings.Contains(line, `"msg":"configuration",`) {
			continue
		}
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// tap notes when each credential came by for the first time.
type tap struct {
	next  http.Handler
	mu    sync.Mutex
	first map[string]time.Time
}

func (p *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	form, formErr := url.ParseQuery(string(body))
	if err != nil || formErr != nil {
		http.Error(w, "no form", http.StatusBadRequest)
		return
	}
	p.note(proofIn(form))
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	p.next.ServeHTTP(w, r)
}

// proofIn is the secret, the token of another issuer, or the thumbprint of the
// certificate.
func proofIn(form url.Values) string {
	assertion := form.Get("client_assertion")
	if jwt, err := entra.ParseJWT(assertion); err == nil && !strings.HasPrefix(jwt.Claims.Issuer, "https://") {
		var header struct {
			Thumbprint string `json:"x5t#S256"`
		}
		_ = json.Unmarshal(jwt.Header, &header)
		return strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(header.Thumbprint) // in whichever alphabet
	}
	return assertion + form.Get("client_secret")
}

func (p *tap) note(proof string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, seen := p.first[proof]; !seen {
		p.first[proof] = time.Now()
	}
}

// saw returns when a credential first came by; zero: it did not.
func (p *tap) saw(proof string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first[proof]
}

// timings are how long something took, again and again.
type timings []time.Duration

func (s timings) String() string {
	slices.Sort(s)
	at := func(share int) time.Duration { return s[(len(s)-1)*share/100].Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d times: median %v, 95 %% within %v, longest %v", len(s), at(50), at(95), at(100))
}
