package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"tokenbroker/defender"
	"tokenbroker/emulator"
	defenderemu "tokenbroker/emulator/defender"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// subject is the service account that the world's app trusts.
const subject = "system:serviceaccount:soc:hunter"

// world is an Entra and a Defender in this process, over TLS on real sockets,
// for what the emulate command does not do: trust a cluster, and keep the book
// of every token that was given out.
type world struct {
	t        *testing.T
	dir      string // with ca.pem, client-secret and federated-token
	ca       *emulator.CA
	entra    *entraemu.Server
	defender *defenderemu.Server
	secret   string // of the app, where it is not a token of the cluster's
	federate string

	entraURL, defenderURL string

	mu     sync.Mutex // guards issued
	issued []string   // every access token that Entra gave
}

// newWorld makes a world whose Entra lies where lie says so: it answers a
// request and returns true, or leaves it to the emulator.
func newWorld(t *testing.T, secret string, lie func(*entraemu.Server, http.ResponseWriter, *http.Request) bool) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), secret: secret}
	cluster, err := entraemu.NewFederatedIssuer("https://cluster.example")
	w.must(err)
	known := entraemu.Default()
	known.Issuers = []entraemu.Issuer{cluster.Issuer()}
	known.Apps[0].Secrets = []entraemu.Secret{{Value: entra.NewSecret(secret)}}
	known.Apps[0].Federated = []entraemu.FederatedCredential{cluster.Trust(subject)}
	w.entra, err = entraemu.New(known)
	w.must(err)
	catalogue, err := defender.Load()
	w.must(err)
	w.defender, err = defenderemu.New(defenderemu.Config{Catalogue: catalogue, Verify: w.entra.Verify, ActionTime: time.Millisecond})
	w.must(err)
	w.ca, err = emulator.NewCA()
	w.must(err)
	w.federate, err = cluster.Token(subject, "", time.Hour)
	w.must(err)

	w.entraURL = w.listen(w.ca, http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if !lie(w.entra, out, r) {
			w.entra.ServeHTTP(&bookkeeper{ResponseWriter: out, world: w}, r)
		}
	}))
	w.defenderURL = w.listen(w.ca, w.defender)
	w.write("ca.pem", string(w.ca.PEM()))
	w.write("client-secret", secret+"\n")
	w.write("federated-token", w.federate+"\n")
	return w
}

// honest is an Entra that never lies.
func honest(*entraemu.Server, http.ResponseWriter, *http.Request) bool { return false }

// listen serves a handler over TLS, by HTTP/1.1 so that it may take over its
// connections, until the test ends.
func (w *world) listen(ca *emulator.CA, handler http.Handler) (url string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	srv := &http.Server{
		Handler: handler, TLSConfig: ca.ServerTLS("127.0.0.1"), Protocols: new(http.Protocols),
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), ReadHeaderTimeout: patience,
	}
	srv.Protocols.SetHTTP1(true)
	var ended sync.WaitGroup
	ended.Go(func() { _ = srv.ServeTLS(l, "", "") })
	w.t.Cleanup(func() { _ = srv.Close(); ended.Wait() })
	return "https://" + l.Addr().String()
}

// write puts a file into the world's directory.
func (w *world) write(name, content string) {
	w.t.Helper()
	w.must(os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600))
}

// tokens are those that Entra gave so far.
func (w *world) tokens() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.issued)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// bookkeeper notes the access tokens in the answers that pass.
type bookkeeper struct {
	http.ResponseWriter
	world *world
	body  bytes.Buffer
}

func (b *bookkeeper) Write(p []byte) (int, error) {
	b.body.Write(p)
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(b.body.Bytes(), &answer) == nil && answer.AccessToken != "" {
		b.world.mu.Lock()
		defer b.world.mu.Unlock()
		b.world.issued = append(b.world.issued, answer.AccessToken)
	}
	return b.ResponseWriter.Write(p)
}
