package broker_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tokenbroker/broker"
	"tokenbroker/emulator"
	"tokenbroker/entra"
)

const (
	host    = "login.example"
	tenant  = entra.Tenant("22222222-2222-2222-2222-222222222222")
	client  = "11111111-1111-1111-1111-111111111111"
	scope   = entra.Scope("https://api.security.microsoft.com/.default")
	secret  = "s3cret~canary"
	bearer  = "access-canary"
	timeout = 10 * time.Second
)

// world is a network in memory and the authority whose certificates it trusts.
type world struct {
	network *emulator.Network
	ca      *emulator.CA
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ca, err := emulator.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	return &world{emulator.NewNetwork(), ca}
}

// serve stands up the handler at a host until the test ends.
func (w *world) serve(t *testing.T, host string, handler http.Handler) {
	t.Helper()
	serve(t, tls.NewListener(w.listen(t, host), w.ca.ServerTLS(host)), handler)
}

func (w *world) listen(t *testing.T, host string) net.Listener {
	t.Helper()
	l, err := w.network.Listen(host)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve serves the handler on the listener until the test ends.
func serve(t *testing.T, l net.Listener, handler http.Handler) {
	t.Helper()
	server := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve %s: %v", l.Addr(), err)
		}
	})
}

// app is the app whose authority stands at the host.
func (w *world) app(t *testing.T) broker.App {
	t.Helper()
	const authority = entra.Authority("https://" + host)
	c := broker.NewClient(broker.ClientConfig{
		Authority: authority, Roots: w.ca.Pool(), Timeout: timeout, DialContext: w.network.DialContext,
	})
	t.Cleanup(c.CloseIdleConnections)
	return broker.App{Authority: authority, Tenant: tenant, ClientID: client, HTTP: c}
}

// confidential is the source of the world's app with its secret.
func (w *world) confidential(t *testing.T) *broker.Confidential {
	t.Helper()
	return newConfidential(t, w.app(t))
}

func newConfidential(t *testing.T, app broker.App) *broker.Confidential {
	t.Helper()
	env, err := broker.NewSecretEnv("AZURE_CLIENT_SECRET", entra.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	source, err := broker.NewConfidential(app, env)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// recorder is an authority that keeps what it is asked.
type recorder struct {
	answer http.HandlerFunc

	mu    sync.Mutex
	asked []*http.Request // with their forms parsed
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_ = req.ParseForm()
	r.mu.Lock()
	r.asked = append(r.asked, req)
	r.mu.Unlock()
	r.answer(w, req)
}

func (r *recorder) requests() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// authority serves the answer at the world's authority.
func (w *world) authority(t *testing.T, answer http.HandlerFunc) *recorder {
	t.Helper()
	r := &recorder{answer: answer}
	w.serve(t, host, r)
	return r
}

// grant answers with a token of that many seconds.
func grant(token string, seconds int) http.HandlerFunc {
	return answer(http.StatusOK, fmt.Sprintf(`{"token_type":"Bearer","expires_in":%d,"access_token":%q}`, seconds, token))
}

// answer answers with a status and a body.
func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func ask() entra.Request { return entra.Request{Tenant: tenant, Scope: scope} }

// wantError checks a failure's kind, that its text says what it should, and
// that neither the secret nor a token shows in it, however it is printed.
func wantError(t *testing.T, err error, kind entra.Kind, says string) *entra.Error {
	t.Helper()
	e, ok := errors.AsType[*entra.Error](err)
	if !ok {
		t.Fatalf("got %v, want an *entra.Error", err)
	}
	if e.Kind != kind || !strings.Contains(e.Message(), says) {
		t.Errorf("got %v, %q; want %v with %q", e.Kind, e.Message(), kind, says)
	}
	fields, _ := json.Marshal(e)
	printed := string(fields)
	for wrapped := err; wrapped != nil; wrapped = errors.Unwrap(wrapped) {
		printed += fmt.Sprintf("%v %+v %#v ", wrapped, wrapped, wrapped)
	}
	if strings.Contains(printed, "canary") {
		t.Errorf("the error leaks: %s", printed)
	}
	return e
}
