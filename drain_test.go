//go:build !windows

package main

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDrainLetsCallsEnd ends a broker by SIGTERM while its upstream has not yet
// begun to answer a call: probes see the drain, nobody new comes in, the call
// gets its answer, and the exit code is 0.
func TestDrainLetsCallsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "s3cr3t", honest)
	let, begun := make(chan struct{}), make(chan struct{})
	slow := w.listen(w.ca, http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-let
		_, _ = out.Write([]byte("late"))
	}))
	w.write("tokenbroker.yaml", `
authority: `+w.entraURL+`
ca_file: `+filepath.Join(w.dir, "ca.pem")+`
identities:
  default:
    tenant: 22222222-2222-2222-2222-222222222222
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: secret, file: `+filepath.Join(w.dir, "client-secret")+`}
routes:
  slow: {upstream: "`+slow+`", scope: https://api.security.microsoft.com/.default}
`)
	p := start(t, nil, "serve", "--config", filepath.Join(w.dir, "tokenbroker.yaml"))

	answers := make(chan string, 1)
	go func() {
		a, err := call{url: p.vars["CALLERS"] + "/proxy/slow/x"}.send(t.Context())
		if err != nil {
			a = &answer{body: err.Error()}
		}
		answers <- a.body
	}()
	select {
	case <-begun:
	case <-time.After(patience):
		t.Fatal("the call does not reach its upstream")
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	draining := func() bool {
		a, err := call{url: p.vars["OPS"] + "/readyz"}.send(ctx)
		return err == nil && a.status == http.StatusServiceUnavailable && strings.Contains(a.body, "draining")
	}
	refused := func() bool {
		_, err := call{url: p.vars["CALLERS"] + "/healthz"}.send(ctx)
		return err != nil
	}
	for !draining() || !refused() {
		if ctx.Err() != nil {
			t.Fatal("no drain begins")
		}
	}

	close(let)
	if got := <-answers; got != "late" {
		t.Errorf("the call in flight: %s", got)
	}
	if code, err := p.stop(); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}
