package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// standing is a broker that serves on real listeners, with all that belongs to
// serving, and whose Entra is nowhere: for what is answered without a token.
type standing struct {
	*reloader
	t    *testing.T
	file string // the configuration
	at   addresses
	logs *logBuffer
	stop func() // once
}

const nowhere = `
authority: https://127.0.0.1:1
identities: {default: {tenant: contoso.com, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: secret, file: 'DIR/client-secret'}}}
`

// stand starts a broker. DIR in the settings stands for dir.
func stand(t *testing.T, dir, settings string) *standing {
	t.Helper()
	b := &standing{t: t, file: filepath.Join(dir, configFile), logs: new(logBuffer)}
	must(t, os.WriteFile(filepath.Join(dir, "client-secret"), []byte("a secret"), 0o600))
	b.configure(settings)
	sys, log := System{Err: b.logs}, newLogWriter(b.logs)
	b.reloader = newReloader(sys, b.file)
	app, err := load(sys, b.file, log)
	must(t, err)
	app.logWarnings()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan addresses, 1), make(chan error, 1)
	go func() { ended <- app.serve(ctx, log, b.reloader, func(at addresses) { ready <- at }) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		b.close()
		log.Close()
	})
	t.Cleanup(b.stop)
	select {
	case b.at = <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	return b
}

// configure puts settings there.
func (b *standing) configure(settings string) {
	b.t.Helper()
	dir := filepath.Dir(b.file)
	must(b.t, os.WriteFile(b.file+".new", []byte(strings.ReplaceAll(nowhere+settings, "DIR", dir)), 0o600))
	must(b.t, os.Rename(b.file+".new", b.file))
}

// reconfigure puts settings there and waits until they are in force.
func (b *standing) reconfigure(settings string) {
	b.t.Helper()
	before := b.taken.Load()
	b.configure(settings)
	must(b.t, eventually("the settings come into force", func() bool { return b.taken.Load() > before }))
}

// get asks at the nth of the callers' addresses; with roots by TLS, and then
// under the name of a host.
func (b *standing) get(n int, host, path string, roots *x509.CertPool, headers ...string) (*http.Response, error) {
	b.t.Helper()
	address := b.at.Callers[n]
	port := address[strings.LastIndexByte(address, ':'):]
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	scheme := "http://"
	if roots != nil {
		scheme = "https://"
	}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, scheme+host+port+path, nil)
	must(b.t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Do(r)
	if err == nil {
		resp.Body = http.NoBody
	}
	return resp, err
}

// principal returns who the last request to a mount was admitted as, and how
// it ended.
func (b *standing) principal(path string) (name string, status int) {
	b.t.Helper()
	for line := range strings.Lines(b.logs.String()) {
		var entry struct {
			Msg, Path, Principal string
			Status               int
			Time                 time.Time
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "request" && entry.Path == path {
			name, status = entry.Principal, entry.Status
		}
	}
	return name, status
}
