package cli

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tokenbroker/config"
)

const api = "api.security.microsoft.com"

// forwarding is a broker with listeners that are forward proxies, in front of a
// world in memory, and of a lab that is a real server.
type forwarding struct {
	*daemon
	*world
	lab string // its address

	mu     sync.Mutex
	dialed map[string]bool
	atLab  []*http.Request
}

const forwardListeners = `[
  {address: '127.0.0.1:0', forward: true},
  {address: '127.0.0.1:0', forward: true, route: reader},
  {address: '127.0.0.1:0', forward: true, tls: {ca_out: 'DIR/listener.pem'}},
  {address: '127.0.0.1:0', route: defender, tls: {ca_out: 'DIR/listener.pem'}}]`

const forwardRoutes = `
routes:
  defender: {}
  reader: {upstream: https://api.security.microsoft.com, access: read-only}
  mde: {}
  lab: {upstream: 'https://LAB', scope: https://api.security.microsoft.com/.default}
`

const forwardCallers = `
callers:
  - {name: hunter, key_file: 'DIR/hunter.key', routes: [defender, lab]}
  - {name: clerk, key_file: 'DIR/clerk.key', routes: [mde, reader]}
`

// newForwarding starts one, with doors "route/all", "route/reader", "route/tls"
// and "route/hosts".
func newForwarding(t *testing.T, settings string) *forwarding {
	t.Helper()
	f := &forwarding{world: newWorld(t), dialed: map[string]bool{}}
	lab := httptest.NewTLSServer(http.HandlerFunc(f.serveLab))
	t.Cleanup(lab.Close)
	f.lab = lab.Listener.Addr().String()
	ca, err := os.ReadFile(filepath.Join(f.dir, "ca.pem"))
	must(t, err)
	f.write("ca.pem", string(ca)+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: lab.Certificate().Raw})))

	f.daemon = &daemon{t: t, doors: map[string]net.Addr{}, log: new(logBuffer), audit: filepath.Join(f.dir, "audit")}
	for _, name := range []string{"hunter", "clerk"} {
		key := keyOf(name)
		f.write(name+".key", key)
		f.keys = append(f.keys, key, strings.TrimRight(base64.StdEncoding.EncodeToString([]byte("x:"+key)), "="))
	}
	file := f.write("tokenbroker.yaml", strings.NewReplacer("DIR", f.dir, "LAB", f.lab).Replace(`
ca_file: 'DIR/ca.pem'
log: {level: debug}
audit: {file: 'DIR/audit'}
listen: {ops: 'localhost:0', callers: `+forwardListeners+`}
`+oneIdentity+forwardRoutes+settings))
	cfg, err := config.Load(config.Options{Catalogue: catalogue(t), File: file})
	must(t, err)
	app, err := build(cfg, surroundings{catalogue: catalogue(t), logger: newLogger(f.log, cfg.Log), dial: f.dial})
	must(t, err)
	f.run(app, []string{"all", "reader", "tls", "hosts"})
	return f
}

func (f *forwarding) serveLab(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.atLab = append(f.atLab, r)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"@odata.nextLink":"https://`+f.lab+`/next?$skip=1%20&a=(b;c)"}`)
}

// dial notes whom the broker calls. All but the lab is in memory.
func (f *forwarding) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	f.mu.Lock()
	f.dialed[addr] = true
	f.mu.Unlock()
	if addr == f.lab {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	return f.network.DialContext(ctx, network, addr)
}

// callsOnly wants nobody else dialed.
func (f *forwarding) callsOnly(addrs ...string) {
	f.daemon.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for addr := range f.dialed {
		if !slices.Contains(addrs, addr) {
			f.daemon.t.Errorf("the broker called %s", addr)
		}
	}
}

// client is one of Go's, with the proxy that environment variables would set.
func (f *forwarding) client(proxy string) *http.Client {
	f.daemon.t.Helper()
	u, err := url.Parse(proxy)
	must(f.daemon.t, err)
	transport := &http.Transport{Proxy: http.ProxyURL(u)}
	if u.Scheme == "https" {
		transport.TLSClientConfig = &tls.Config{RootCAs: rootsOf(f.daemon.t, filepath.Join(f.dir, "listener.pem"))}
	}
	f.daemon.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (f *forwarding) get(client *http.Client, target string) (*http.Response, string) {
	f.daemon.t.Helper()
	r, err := http.NewRequestWithContext(f.daemon.t.Context(), http.MethodGet, target, nil)
	must(f.daemon.t, err)
	resp, err := client.Do(r)
	must(f.daemon.t, err)
	defer resp.Body.Close()
	return resp, text(f.daemon.t, resp)
}
