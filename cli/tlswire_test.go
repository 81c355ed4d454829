package cli

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"tokenbroker/config"
)

// What goes on behind a listener is the same with TLS, and with HTTP/2, where
// one connection has many requests at once: tokens, calls, bodies, refusals.
func TestCallsOverTLS(t *testing.T) {
	w := newWorld(t)
	file := w.write("tokenbroker.yaml", strings.ReplaceAll(`
ca_file: 'DIR/ca.pem'
identities: {default: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: secret, file: 'DIR/client-secret'}}}
limits: {request_body: 64KiB}
listen: {ops: 'localhost:0', callers: [{address: '127.0.0.1:0', tls: {ca_out: 'DIR/listener.pem'}}]}
`, "DIR", w.dir))
	cfg, err := config.Load(config.Options{Catalogue: catalogue(t), File: file})
	must(t, err)
	s := &daemon{t: t, doors: map[string]net.Addr{}, log: new(logBuffer)}
	app, err := build(cfg, surroundings{catalogue: catalogue(t), logger: newLogger(s.log, cfg.Log), dial: w.network.DialContext})
	must(t, err)
	s.run(app, nil)

	roots := rootsOf(t, filepath.Join(w.dir, "listener.pem"))
	for proto, client := range map[int]*http.Client{
		1: {Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}},
		2: {Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}},
	} {
		for _, tt := range []struct {
			method, path, body, header string
			status                     int
			want                       string
		}{
			{"GET", "/token?route=defender", "", "", 200, `"access_token":`},
			{"POST", "/token", "route=defender", "", 200, `"access_token":`},
			{"GET", "/proxy/defender/api/incidents", "", "", 200, `"value":`},
			{"GET", "/proxy/defender/api/incidents", "", "", 200, "https://" + s.doors["four"].String() + "/proxy/defender/"}, // its next page
			{"POST", "/proxy/defender/api/advancedhunting/run", `{"Query":"DeviceInfo | take 5"}`, "", 200, `"Results"`},
			{"POST", "/proxy/defender/api/advancedhunting/run", strings.Repeat("x", 80<<10), "", 413, "error"},
			{"POST", "/proxy/defender/api/advancedhunting/run", strings.Repeat("x", 60<<10), "https://evil.example", 403, "web page of another origin"},
			{"GET", "/healthz", "", "", 200, ""},
		} {
			r, err := http.NewRequestWithContext(t.Context(), tt.method, "https://"+s.doors["four"].String()+tt.path, bytes.NewReader([]byte(tt.body)))
			must(t, err)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if strings.HasPrefix(tt.body, "{") {
				r.Header.Set("Content-Type", "application/json")
			}
			if tt.header != "" {
				r.Header.Set("Origin", tt.header)
			}
			resp, err := client.Do(r)
			must(t, err)
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != tt.status || resp.ProtoMajor != proto || !strings.Contains(string(body), tt.want) {
				t.Errorf("HTTP/%d: %s %s: status %d by %s, %v, %.300s; want %d and %s", proto, tt.method, tt.path, resp.StatusCode, resp.Proto, err, body, tt.status, tt.want)
			}
		}
		client.CloseIdleConnections()
	}
	s.stop()
	if strings.Contains(s.log.String(), "handshake") {
		t.Error(s.log.String())
	}
}
