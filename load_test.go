package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// TestManyCallersShareFewConnections counts the handshakes that 32 callers with
// 2,000 proxied requests make the upstream do. By HTTP/2 there is hardly more
// than one; the bound matters where the upstream speaks HTTP/1.1 alone.
func TestManyCallersShareFewConnections(t *testing.T) {
	t.Parallel()
	const callers, requests, most = 32, 2000, 64
	for name, debug := range map[string]string{"HTTP/2": "", "HTTP/1.1": "http2server=0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fakes := start(t, []string{"GODEBUG=" + debug}, "emulate")
			dir := fakes.cmd.Dir
			settings := `
authority: ` + fakes.vars["ENTRA"] + `
ca_file: ` + filepath.Join(dir, "ca.pem") + `
identities:
  default:
    tenant: ` + fakes.vars["TENANT"] + `
    client_id: ` + fakes.vars["CLIENT"] + `
    credential: {kind: secret, env: SECRET}
routes:
  defender: {upstream: "` + fakes.vars["DEFENDER"] + `", rate: off}
`
			file := filepath.Join(dir, "tokenbroker.yaml")
			if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
				t.Fatal(err)
			}
			p := start(t, []string{"SECRET=" + fakes.vars["CLIENT_SECRET"]}, "serve", "--config", file)

			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
			defer client.CloseIdleConnections()
			var all sync.WaitGroup
			var sent atomic.Int32
			for range callers {
				all.Go(func() {
					for sent.Add(1) <= requests {
						resp, err := client.Get(p.vars["CALLERS"] + "/proxy/defender/api/machines?$top=1")
						if err != nil {
							t.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
						if resp.StatusCode != http.StatusOK {
							t.Error(resp.Status)
							return
						}
					}
				})
			}
			all.Wait()

			stats := call{url: fakes.vars["DEFENDER"] + "/_emulator/stats", ca: filepath.Join(dir, "ca.pem")}.do(t)
			for _, count := range []struct {
				of          string
				least, most int
			}{{"requests.GET /api/machines", requests, requests}, {"handshakes", 1, most}} {
				text, err := jsonField([]byte(stats.body), count.of)
				if got, _ := strconv.Atoi(text); err != nil || got < count.least || got > count.most {
					t.Errorf("%s: %s (%v), want %d to %d", count.of, text, err, count.least, count.most)
				}
			}
		})
	}
}
