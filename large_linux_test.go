package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestLargeAnswerLeavesTheProcessSmall passes a page of 200 MiB with a link to
// the next one through the real binary: its resident memory hardly grows, and
// the link leads through it.
func TestLargeAnswerLeavesTheProcessSmall(t *testing.T) {
	t.Parallel()
	const size = 200 << 20
	most := 16 << 20
	if raced() {
		most *= 8 // the race detector's shadow of what is used
	}
	fakes := start(t, nil, "emulate")
	dir := fakes.cmd.Dir
	settings := `
authority: ` + fakes.vars["ENTRA"] + `
ca_file: ` + filepath.Join(dir, "ca.pem") + `
identities:
  default: {tenant: ` + fakes.vars["TENANT"] + `, client_id: ` + fakes.vars["CLIENT"] + `, credential: {kind: secret, env: SECRET}}
routes:
  mde: {upstream: "` + fakes.vars["DEFENDER"] + `"}
`
	file := filepath.Join(dir, "tokenbroker.yaml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, []string{"SECRET=" + fakes.vars["CLIENT_SECRET"]}, "serve", "--config", file)
	put(t, filepath.Join(dir, "ca.pem"), fakes.vars["DEFENDER"]+"/_emulator/faults", `{"stream": {"bytes": `+strconv.Itoa(size)+`, "pages": 2, "path": "/api/machines"}}`)

	target := p.vars["CALLERS"] + "/proxy/mde/api/machines"
	through(t, p.vars["CALLERS"]+"/proxy/mde/api/alerts?$top=1") // what the first call of all takes
	before := resident(t, p.vars["OPS"])
	got, tail := through(t, target)
	after := resident(t, p.vars["OPS"])
	if got < size {
		t.Errorf("%d bytes, want %d", got, size)
	}
	if !strings.Contains(tail, `"@odata.nextLink":"`+p.vars["CALLERS"]+"/proxy/mde/") {
		t.Errorf("no link through the broker at the end: %s", tail)
	}
	t.Logf("resident: %d KiB before, %d KiB after", before>>10, after>>10)
	if after-before > most {
		t.Errorf("resident memory grew by %d KiB, want %d at most", (after-before)>>10, most>>10)
	}
}

// raced reports whether the broker is built with the race detector, as the test is.
func raced() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// through reads an answer to its end, and returns its length and its last bytes.
func through(t *testing.T, target string) (length int, tail string) {
	t.Helper()
	resp, err := http.Get(target) //nolint:forbidigo // of this machine, and it follows nothing
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	buffer := make([]byte, 64<<10)
	var last []byte
	for {
		n, err := resp.Body.Read(buffer)
		length += n
		last = append(last, buffer[:n]...)
		last = last[max(0, len(last)-512):]
		if err == io.EOF {
			return length, string(last)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// resident returns the memory of a broker, in bytes.
func resident(t *testing.T, ops string) int {
	t.Helper()
	resp, err := http.Get(ops + "/metrics") //nolint:forbidigo // of this machine, and it follows nothing
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "process_resident_memory_bytes "); ok {
			bytes, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(bytes)
		}
	}
	t.Fatal("no process_resident_memory_bytes in /metrics")
	return 0
}

// put sends JSON to an emulator.
func put(t *testing.T, ca, target, body string) {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, target, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
}
