package clients

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what has to happen soon.
const patience = time.Minute

const (
	mde = "https://api.securitycenter.microsoft.com/.default"
	xdr = "https://api.security.microsoft.com/.default"
)

// binary is the broker, as its users have it.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(asClient) != "" {
		os.Exit(goProgram(os.Args[1], os.Args[2], strings.Join(os.Args[3:], "")))
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "clients")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "tokenbroker")
		build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".")
		build.Dir, build.Stdout, build.Stderr = filepath.Join("..", ".."), os.Stderr, os.Stderr
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "go build:", err)
			return 1
		}
		return m.Run()
	}())
}

// fakes is the emulator, running.
type fakes struct {
	Entra, Defender string
	CA              string `json:"ca_file"`
	Tenant          string
	ClientID        string `json:"client_id"`
	Secret          string `json:"client_secret"`
}

// broker is the real binary before the emulator.
type broker struct {
	t      *testing.T
	dir    string
	fakes  fakes
	url    string // of the plain listener
	secure string // of the TLS listener
	ca     string // the file with its CA
	socket string
	ops    string // the other listener
}

// keyed is a broker whose callers prove themselves, and that admits who cannot
// where a protocol has no place for a key.
const keyed = `
default_route: mde
callers:
  - {name: app, key_file: DIR/key, routes: ['*']}
  - {name: anonymous, routes: [mde]}
protocols: {imds: true, cloud_shell: true}
`

// open is a broker that everybody may call.
const open = `
identity_header_file: DIR/identity-header
protocols: {imds: true, cloud_shell: true}
`

const key = "an-application's-key-0123456789-abcdefghijklmnop"

// start runs emulator and broker, the latter with the settings.
func start(t *testing.T, settings string) *broker {
	t.Helper()
	return startWith(t, nil, settings, "")
}

// startWith is start with flags for the emulator, and a setting for the routes.
func startWith(t *testing.T, flags []string, settings, route string) *broker {
	t.Helper()
	b := &broker{t: t, dir: t.TempDir()}
	b.run(&b.fakes, "{", append([]string{"emulate", "-o", "json", "--entra", "127.0.0.1:0", "--defender", "127.0.0.1:0", "--ca-out", b.path("emulator.pem")}, flags...)...)
	b.write("secret", b.fakes.Secret)
	b.write("key", key)
	b.ca, b.socket = b.path("broker.pem"), b.path("callers.sock")
	config := strings.NewReplacer("DIR", b.dir, "ENTRA", b.fakes.Entra, "DEFENDER", b.fakes.Defender, "TENANT", b.fakes.Tenant, "CLIENT", b.fakes.ClientID, "ROUTE", route).Replace(`
listen:
  callers: ["127.0.0.1:0", {address: "127.0.0.1:0", tls: {ca_out: DIR/broker.pem}}, "unix:DIR/callers.sock"]
  ops: "127.0.0.1:0"
authority: ENTRA
ca_file: DIR/emulator.pem
identities:
  default: {tenant: TENANT, client_id: CLIENT, credential: {kind: secret, file: DIR/secret}}
routes:
  defender: {upstream: DEFENDER}
  mde: {upstream: DEFENDER, ROUTE}
` + settings)
	b.write("config.yaml", config)
	var said struct {
		Callers []string
		Ops     string
	}
	b.run(&said, `"msg":"serving"`, "serve", "--config", b.path("config.yaml"))
	if len(said.Callers) != 3 {
		t.Fatalf("listeners: %q", said.Callers)
	}
	b.url, b.secure = "http://"+said.Callers[0], "https://"+said.Callers[1]
	b.ops = "http://" + said.Ops
	return b
}

func (b *broker) path(name string) string { return filepath.Join(b.dir, name) }

func (b *broker) write(name, content string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *broker) read(name string) string {
	b.t.Helper()
	content, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

// run starts the binary and decodes into said the first line of its output that
// has mark in it.
func (b *broker) run(said any, mark string, args ...string) {
	b.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = []string{"HOME=" + b.dir, "PATH=" + os.Getenv("PATH")}
	out, in, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	_ = in.Close()
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := make(chan string, 1)
	var heard strings.Builder
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			if strings.Contains(scanner.Text(), mark) {
				lines <- scanner.Text()
				_, _ = io.Copy(io.Discard, out) // or it would stand still
				return
			}
			fmt.Fprintln(&heard, scanner.Text())
		}
	}()
	select {
	case line, ok := <-lines:
		if !ok {
			b.t.Fatalf("tokenbroker %q ended:\n%s", args, &heard)
		}
		if err := json.Unmarshal([]byte(line), said); err != nil {
			b.t.Fatalf("%s: %v", line, err)
		}
	case <-time.After(patience):
		b.t.Fatalf("tokenbroker %q says nothing", args)
	}
}

// requests returns how many token requests Entra has had.
func (b *broker) requests() int {
	b.t.Helper()
	resp, err := b.client().Get(b.fakes.Entra + "/_emulator/stats")
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var stats struct{ Tokens int }
	if err := json.NewDecoder(resp.Body).Decode(&stats); err != nil {
		b.t.Fatal(err)
	}
	return stats.Tokens
}

// client trusts the emulator.
func (b *broker) client() *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(b.read("emulator.pem")))
	return &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
}

// check looks at a token that a client got: that it is the application's, for
// the resource of the scope, and good at the API. The expiry is the client's
// idea of it; 0: it has none.
func (b *broker) check(token, scope string, expires int64) {
	b.t.Helper()
	claims := b.claims(token)
	if want := strings.TrimSuffix(scope, "/.default"); claims.Audience != want || claims.App != b.fakes.ClientID || claims.Tenant != b.fakes.Tenant {
		b.t.Errorf("aud %s, appid %s, tid %s; want %s, %s, %s", claims.Audience, claims.App, claims.Tenant, want, b.fakes.ClientID, b.fakes.Tenant)
	}
	if off := expires - claims.Expires; expires != 0 && (off < -2 || off > 2) {
		b.t.Errorf("the client thinks that it expires at %d, and it does at %d", expires, claims.Expires)
	}
	path := map[string]string{mde: "/api/machines", xdr: "/api/incidents"}[scope]
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.fakes.Defender+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := b.client().Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b.t.Errorf("GET %s with it: %s", path, resp.Status)
	}
}

// claims is what is looked at in a token.
type claims struct {
	Audience string `json:"aud"`
	App      string `json:"appid"`
	Tenant   string `json:"tid"`
	Expires  int64  `json:"exp"`
}

func (b *broker) claims(token string) (said claims) {
	b.t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		b.t.Fatalf("not a JWT: %d parts", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &said)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return said
}

// got is what a script prints.
type got struct {
	Token, Error string
	Expires      int64
}

// script runs a client in another language, with the variables of env alone.
func (b *broker) script(env []string, name string, args ...string) got {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append([]string{"HOME=" + b.dir, "PATH=" + os.Getenv("PATH")}, env...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	var said got
	if json.Unmarshal(out, &said) != nil {
		b.t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, &complaints)
	}
	return said
}
