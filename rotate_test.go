//go:build unix

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tokenbroker/emulator"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// rotating are the settings of TestServeTakesWhatIsReplaced; %d is cache.size.
const rotating = `
authority: ENTRA
ca_file: 'DIR/ca.pem'
audit: {file: 'DIR/audit.jsonl'}
cache: {size: %d}
identities:
  default:
    tenant: 22222222-2222-2222-2222-222222222222
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: secret, file: 'DIR/secret/client-secret'}
routes:
  defender: {upstream: 'DEFENDER', rate: off}
`

// TestServeTakesWhatIsReplaced is the real binary, as it stands in a Pod: the
// kubelet replaces the secret, an operator the configuration, and both think of
// no restart. Meanwhile programs ask, and no request fails.
func TestServeTakesWhatIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "secret-0", honest)
	settings := func(size int) string {
		return fmt.Sprintf(strings.NewReplacer("DIR", w.dir, "ENTRA", w.entraURL, "DEFENDER", w.defenderURL).Replace(rotating), size)
	}
	volume, err := emulator.NewVolume(filepath.Join(w.dir, "secret"), map[string]string{"client-secret": "secret-0\n"})
	w.must(err)
	w.entra.SetFaults(entraemu.Faults{LifetimeS: 3}) // so that new ones are needed all the time
	w.write("tokenbroker.yaml", settings(100))
	p := start(t, nil, "serve", "--config", filepath.Join(w.dir, "tokenbroker.yaml"))
	reloads := func() int { return p.metric(t, "tokenbroker_config_reloads_total") }

	ended := p.keepAsking(t, "/token?route=defender", "/proxy/defender/api/machines?$top=1", "/proxy/defender/api/incidents?$top=1")
	const rotations = 3
	for n := 1; n <= rotations; n++ {
		old, next := "secret-"+strconv.Itoa(n-1), "secret-"+strconv.Itoa(n)
		w.must(w.entra.SetSecrets(entraemu.DefaultClient, secretOf(old), secretOf(next)))
		w.must(volume.Swap(map[string]string{"client-secret": next + "\n"}))
		w.await("the secret is read", func() bool { return strings.Count(p.stderr.String(), `"credential read again"`) == n })
		issued := w.entra.Stats().Issued
		w.await("tokens are got by it", func() bool { return w.entra.Stats().Issued >= issued+2 }) // what had begun before has ended
		w.must(w.entra.SetSecrets(entraemu.DefaultClient, secretOf(next)))

		w.write("tokenbroker.yaml.new", settings(100+n))
		w.must(os.Rename(filepath.Join(w.dir, "tokenbroker.yaml.new"), filepath.Join(w.dir, "tokenbroker.yaml")))
		w.await("the configuration is taken", func() bool { return reloads() == n })
	}

	// A configuration that is no good changes nothing; mended, it is taken.
	w.write("tokenbroker.yaml", "cash: {}\n")
	w.await("it is refused", func() bool { return p.metric(t, "tokenbroker_config_refusals_total") > 0 })
	w.write("tokenbroker.yaml", settings(200))
	w.await("the mended one is taken", func() bool { return reloads() == rotations+1 })

	audit := filepath.Join(w.dir, "audit.jsonl")
	w.must(os.Rename(audit, audit+".1"))
	w.must(p.cmd.Process.Signal(syscall.SIGHUP))
	w.await("all is read again", func() bool { return reloads() == rotations+2 })
	w.await("records go into a new file", func() bool {
		content, err := os.ReadFile(audit)
		return err == nil && strings.Contains(string(content), `"msg":"audit"`)
	})
	ended()
	if stats := w.entra.Stats(); len(stats.Refused) > 0 {
		t.Errorf("refused by AADSTS number: %v", stats.Refused)
	}
	if code, err := p.stop(); err != nil || code != 0 {
		t.Errorf("exit code %d, %v\n%s", code, err, p.stderr)
	}
}

// keepAsking lets eight programs ask for the paths in turn until ended is
// called. No answer may be other than 200.
func (p *process) keepAsking(t *testing.T, paths ...string) (ended func()) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	stop, all, sent := make(chan struct{}), new(sync.WaitGroup), new(atomic.Int64)
	for program := range 8 {
		all.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for n := program; ; n++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				sent.Add(1)
				resp, err := client.Get(p.vars["CALLERS"] + paths[n%len(paths)])
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %s, %v\n%s", paths[n%len(paths)], resp.Status, err, body)
					return
				}
			}
		})
	}
	return func() {
		close(stop)
		all.Wait()
		client.CloseIdleConnections()
		t.Logf("%d requests", sent.Load())
	}
}

// metric is a figure of the operators' listener.
func (p *process) metric(t *testing.T, name string) int {
	t.Helper()
	a := call{url: p.vars["OPS"] + "/metrics"}.do(t)
	for line := range strings.Lines(a.body) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("no %s in\n%s", name, a.body)
	return 0
}

// await waits for what must come soon.
func (w *world) await(what string, came func() bool) {
	w.t.Helper()
	tick, late := time.NewTicker(10*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !came() {
		select {
		case <-tick.C:
		case <-late:
			w.t.Fatalf("after %v still waiting: %s", patience, what)
		}
	}
}

func secretOf(value string) entraemu.Secret { return entraemu.Secret{Value: entra.NewSecret(value)} }
