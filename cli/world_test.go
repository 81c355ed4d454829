package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tokenbroker/config"
	"tokenbroker/defender"
	"tokenbroker/emulator"
	defenderemu "tokenbroker/emulator/defender"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const (
	xdrScope = "https://api.security.microsoft.com/.default"
	mdeScope = "https://api.securitycenter.microsoft.com/.default"

	subject = "system:serviceaccount:soc:hunter"
)

// Making RSA keys takes longer than the tests that need them.
var (
	signingKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	cluster    = sync.OnceValues(func() (*entraemu.FederatedIssuer, error) {
		return entraemu.NewFederatedIssuer("https://cluster.example")
	})
)

// flows are the configurations of the two app-only flows.
var flows = map[string]string{
	"secret":            "{kind: secret, file: 'DIR/client-secret'}",
	"workload-identity": "{kind: workload-identity, token_file: 'DIR/federated-token'}",
}

// world is Entra and Defender on a network in memory, under their real names.
type world struct {
	t        *testing.T
	network  *emulator.Network
	entra    *entraemu.Server
	defender *defenderemu.Server
	dir      string // with the credentials, and ca.pem
	secret   string
	federate string
}

// newWorld may be called in a synctest bubble: nothing of it touches a socket.
// Edits change what its Entra knows.
func newWorld(t *testing.T, edits ...func(*entraemu.Config)) *world {
	t.Helper()
	key, err := signingKey()
	must(t, err)
	issuer, err := cluster()
	must(t, err)

	known := entraemu.Default()
	known.SigningKey = key
	known.Issuers = []entraemu.Issuer{issuer.Issuer()}
	known.Apps[0].Federated = []entraemu.FederatedCredential{issuer.Trust(subject)}
	for _, edit := range edits {
		edit(&known)
	}
	w := &world{t: t, network: emulator.NewNetwork(), dir: t.TempDir(), secret: known.Apps[0].Secrets[0].Value.Reveal()}
	w.entra, err = entraemu.New(known)
	must(t, err)
	w.defender, err = defenderemu.New(defenderemu.Config{Catalogue: catalogue(t), Verify: w.entra.Verify})
	must(t, err)
	w.federate, err = issuer.Token(subject, "", 24*time.Hour)
	must(t, err)

	ca, err := emulator.NewCA()
	must(t, err)
	for host, handler := range map[string]http.Handler{
		"login.microsoftonline.com":        w.entra,
		"api.security.microsoft.com":       w.defender,
		"api.securitycenter.microsoft.com": w.defender,
		"api.securitycenter.windows.com":   w.defender,
		"graph.microsoft.com":              w.defender,
	} {
		l, err := w.network.Listen(host)
		must(t, err)
		srv := &http.Server{
			Handler: handler, TLSConfig: ca.ServerTLS(host), ConnState: w.defender.ConnState,
			ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), ReadHeaderTimeout: time.Minute,
		}
		var ended sync.WaitGroup
		ended.Go(func() { _ = srv.ServeTLS(l, "", "") })
		t.Cleanup(func() { _ = srv.Close(); ended.Wait() })
	}
	w.write("ca.pem", string(ca.PEM()))
	w.write("client-secret", w.secret+"\n")
	w.write("federated-token", w.federate)
	return w
}

// write puts a file into the world's directory.
func (w *world) write(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	must(w.t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// running is a broker in front of a world.
type running struct {
	*app
	t       *testing.T
	handler http.Handler // of the callers' listener
	probes  http.Handler // of the ops listener
	logs    *logBuffer
}

// broker starts one with the flow's credential and further settings. DIR
// stands for the world's directory.
func (w *world) broker(flow, settings string) *running {
	w.t.Helper()
	return w.start(`
log: {level: debug}
identities:
  default:
    tenant: 22222222-2222-2222-2222-222222222222
    client_id: 11111111-1111-1111-1111-111111111111
    credential: ` + flows[flow] + "\n" + settings)
}

// start starts a broker with settings, those of the world's certificates left
// out.
func (w *world) start(settings string) *running {
	w.t.Helper()
	file := w.write("tokenbroker.yaml", strings.ReplaceAll("ca_file: 'DIR/ca.pem'\n"+settings, "DIR", w.dir))
	cfg, err := config.Load(config.Options{Catalogue: catalogue(w.t), File: file})
	must(w.t, err)
	logs := new(logBuffer)
	app, err := build(cfg, surroundings{catalogue: catalogue(w.t), logger: newLogger(logs, cfg.Log), dial: w.network.DialContext})
	must(w.t, err)
	w.t.Cleanup(func() { app.close(context.WithoutCancel(w.t.Context())) })
	s := newService(app, new(logWriter), nil, nil)
	s.doors = []door{{}}
	s.inForce = app
	return &running{app: app, t: w.t, handler: s.handlers(app)[0], probes: s.srv.Ops(), logs: logs}
}

// call sends a request as a local program would and returns the whole answer.
func (b *running) call(method, target, body string, header ...string) *http.Response {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), method, target, strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:40000", "localhost:5178"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w.Result()
}

func (b *running) get(target string) *http.Response {
	b.t.Helper()
	return b.call(http.MethodGet, target, "")
}

// ops asks the operators' listener.
func (b *running) ops(target string) *http.Response {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.probes.ServeHTTP(w, httptest.NewRequestWithContext(b.t.Context(), http.MethodGet, target, nil))
	return w.Result()
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(body)
}

// logBuffer is a log that a test can read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSecret(value string) entraemu.Secret { return entraemu.Secret{Value: entra.NewSecret(value)} }

func catalogue(t *testing.T) *defender.Catalogue {
	t.Helper()
	c, err := defender.Load()
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
