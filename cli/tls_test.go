package cli

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/config"
)

const ofTLS = "listen: {ops: '127.0.0.1:0', callers: [{address: 'localhost:0', tls: {ca_out: 'DIR/ca.pem'}}, '127.0.0.1:0', {address: '127.0.0.1:0', route: mde, tls: {ca_out: 'DIR/ca.pem'}}]}\n"

// rootsOf are the certificates of a file.
func rootsOf(t *testing.T, path string) *x509.CertPool {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		t.Fatalf("%s holds no certificate: %q", path, content)
	}
	return pool
}

func TestMadeCertificateIsTrustedByItsAuthority(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	must(t, os.WriteFile(ca, []byte("of a broker before"), 0o600))
	b := stand(t, dir, ofTLS)
	roots := rootsOf(t, ca)
	for i, address := range b.at.Callers {
		host, _, err := net.SplitHostPort(address)
		must(t, err)
		last := len(b.at.Callers) - 1
		if i == last-1 {
			continue // without TLS
		}
		hosts, path := []string{"localhost", "127.0.0.1"}, "/routes"
		if host == "::1" {
			hosts = []string{"[::1]"}
		}
		want := http.StatusOK
		if i == last {
			path, want = "/odd", http.StatusBadGateway // the route's upstream, for which there is no token
		}
		for _, name := range hosts {
			resp, err := b.get(i, name, path, roots)
			must(t, err)
			if want == http.StatusOK && resp.StatusCode != want || want != http.StatusOK && resp.Header.Get("X-Token-Broker-Error") == "" {
				t.Errorf("%s as %s: status %d, header %v", address, name, resp.StatusCode, resp.Header)
			}
			if resp.ProtoMajor != 2 || resp.TLS.Version < tls.VersionTLS12 {
				t.Errorf("%s: %s by TLS %x", address, resp.Proto, resp.TLS.Version)
			}
		}
	}
	if info, err := os.Stat(ca); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o644 {
		t.Errorf("the authority's file has mode %v, %v; want it readable", info.Mode(), err)
	}
	if content, _ := os.ReadFile(ca); strings.Contains(string(content), "PRIVATE") || strings.Count(string(content), "BEGIN") != 1 {
		t.Errorf("the authority's file holds more than its certificate: %s", content)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".tokenbroker-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	b.stop() // and all is written
	if name, status := b.principal("/routes"); name != "local" || status != http.StatusOK {
		t.Errorf("logged %q, %d", name, status)
	}
}

// What the guard asks does not depend on TLS, and knows its scheme.
func TestGuardStandsBehindTLS(t *testing.T) {
	dir := t.TempDir()
	b := stand(t, dir, ofTLS)
	roots := rootsOf(t, filepath.Join(dir, "ca.pem"))
	port := b.at.Callers[0][strings.LastIndexByte(b.at.Callers[0], ':'):]
	for _, tt := range []struct {
		header, value string
		want          int
	}{
		{"Origin", "https://localhost" + port, http.StatusOK},
		{"Origin", "http://localhost" + port, http.StatusForbidden},
		{"X-Forwarded-For", "127.0.0.1", http.StatusForbidden},
		{"Sec-Fetch-Site", "cross-site", http.StatusForbidden},
	} {
		resp, err := b.get(0, "localhost", "/routes", roots, tt.header, tt.value)
		must(t, err)
		if resp.StatusCode != tt.want {
			t.Errorf("%s: %s: status %d, want %d", tt.header, tt.value, resp.StatusCode, tt.want)
		}
	}
}

func TestPlainRequestToTLSIsTold(t *testing.T) {
	b := stand(t, t.TempDir(), ofTLS)
	conn, err := net.Dial("tcp", b.at.Callers[0])
	must(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /token HTTP/1.1\r\nHost: localhost\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer resp.Body.Close()
	if body := text(t, resp); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "HTTPS server") {
		t.Errorf("status %d, %q", resp.StatusCode, body)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	dir := t.TempDir()
	b := stand(t, dir, ofTLS)
	conn, err := tls.Dial("tcp", b.at.Callers[0], &tls.Config{RootCAs: rootsOf(t, filepath.Join(dir, "ca.pem")), ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is spoken")
	}
}

// Each start has an authority of its own: the one of before opens nothing.
func TestRestartMakesAnotherAuthority(t *testing.T) {
	dir := t.TempDir()
	first := stand(t, dir, ofTLS)
	before := rootsOf(t, filepath.Join(dir, "ca.pem"))
	first.stop()
	second := stand(t, dir, ofTLS)
	if _, err := second.get(0, "localhost", "/routes", before); err == nil {
		t.Error("the authority of before certifies the new listener")
	} else if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); !unknown {
		t.Error(err)
	}
	if _, err := second.get(0, "localhost", "/routes", rootsOf(t, filepath.Join(dir, "ca.pem"))); err != nil {
		t.Error(err)
	}
}

// A second broker that cannot have the address leaves what the first has
// written: its programs go by it.
func TestBrokerWithoutAnAddressWritesNothing(t *testing.T) {
	dir := t.TempDir()
	b := stand(t, dir, "identity_header_file: 'DIR/header'\n"+ofTLS)
	before := map[string]string{}
	for _, name := range []string{"ca.pem", "header"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		before[name] = string(content)
	}
	must(t, os.Remove(filepath.Join(dir, "header"))) // so that the second would make one
	b.configure("identity_header_file: 'DIR/header'\nlisten: {ops: '127.0.0.1:0', callers: [{address: '127.0.0.1:0', tls: {ca_out: 'DIR/ca.pem'}}, '" + b.at.Callers[0] + "']}\n")
	second, err := load(System{Err: io.Discard}, b.file, io.Discard)
	must(t, err)
	if err := second.serve(t.Context(), new(logWriter), nil, nil); err == nil || !strings.Contains(err.Error(), "taken by another program") {
		t.Errorf("got %v", err)
	}
	if content, _ := os.ReadFile(filepath.Join(dir, "ca.pem")); string(content) != before["ca.pem"] {
		t.Error("the authority is another one")
	}
	if _, err := os.Stat(filepath.Join(dir, "header")); err == nil {
		t.Error("a key was written")
	}
}

// certified is a certificate with its key as two PEM files.
func certified(t *testing.T, n names) (cert, key string, leaf *x509.Certificate) {
	t.Helper()
	made, err := newAuthority(n)
	must(t, err)
	pair, err := made.certificate(nil)
	must(t, err)
	der, err := x509.MarshalECPrivateKey(pair.PrivateKey.(*ecdsa.PrivateKey))
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Leaf.Raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), pair.Leaf
}

func TestCertificateFileIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	at := config.TLS{On: true, CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	n := namesOf(&config.Config{})
	cert1, key1, leaf1 := certified(t, n)
	cert2, key2, leaf2 := certified(t, n)
	put := func(cert, key string) {
		must(t, os.WriteFile(at.CertFile, []byte(cert), 0o600))
		must(t, os.WriteFile(at.KeyFile, []byte(key), 0o600))
	}
	var log logBuffer
	put(cert1, key1)
	file, err := openCertificateFile(at, newLogger(&log, config.Log{Format: config.LogJSON}).Logger)
	must(t, err)
	for _, step := range []struct {
		name, cert, key string
		want            *x509.Certificate
		changed         bool
		warnings        int // so far
	}{
		{"nothing new", cert1, key1, leaf1, false, 0},
		{"half of the next", cert2, key1, leaf1, false, 1},
		{"still half", cert2, key1, leaf1, false, 1},
		{"the next", cert2, key2, leaf2, true, 1},
		{"without a key", cert1, "", leaf2, false, 2},
		{"no PEM", "x", key2, leaf2, false, 3},
		{"mended", cert2, key2, leaf2, false, 3},
		{"in one file", cert1 + key1, cert1 + key1, leaf1, true, 3},
		{"with another after it", cert1 + cert2, key1, leaf1, true, 3},
		{"the same again", cert1 + cert2, key1, leaf1, false, 3},
	} {
		put(step.cert, step.key)
		if got := file.Reload(); got != step.changed {
			t.Errorf("%s: changed %v", step.name, got)
		}
		pair, err := file.certificate(nil)
		if err != nil || !pair.Leaf.Equal(step.want) {
			t.Errorf("%s: another certificate is shown, %v", step.name, err)
		}
		if got := strings.Count(log.String(), `"WARN"`); got != step.warnings {
			t.Errorf("%s: %d warnings, want %d: %s", step.name, got, step.warnings, log.String())
		}
	}
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error("a key is in the log")
	}
}

// A certificate that callers refuse is shown all the same, and warned of: at the
// start, and when it is replaced by such a one.
func TestCertificateOutOfItsTimeIsWarnedOf(t *testing.T) {
	dir := t.TempDir()
	day := 24 * time.Hour
	for name, tt := range map[string]struct {
		from, to time.Duration
		warnings int
	}{"good": {-day, day, 0}, "over": {-2 * day, -day, 1}, "to come": {day, 2 * day, 1}} {
		template := &x509.Certificate{NotBefore: time.Now().Add(tt.from), NotAfter: time.Now().Add(tt.to)}
		cert, key, err := certify(template, template, nil)
		must(t, err)
		der, err := x509.MarshalECPrivateKey(key)
		must(t, err)
		at := filepath.Join(dir, "both")
		must(t, os.WriteFile(at, append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...), 0o600))
		var log logBuffer
		file, err := openCertificateFile(config.TLS{CertFile: at, KeyFile: at}, newLogger(&log, config.Log{Format: config.LogJSON}).Logger)
		must(t, err)
		file.Reload()
		if got := strings.Count(log.String(), "callers refuse it"); got != tt.warnings {
			t.Errorf("%s: %d warnings, want %d: %s", name, got, tt.warnings, log.String())
		}
	}
}

// The files are watched: who connects after they were replaced sees the new
// certificate, also after the configuration was read again meanwhile.
func TestReplacedCertificateIsShown(t *testing.T) {
	dir := t.TempDir()
	put := func() *x509.CertPool {
		t.Helper()
		cert, key, leaf := certified(t, namesOf(&config.Config{}))
		must(t, os.WriteFile(filepath.Join(dir, "tls.key"), []byte(key), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "tls.crt"), []byte(cert), 0o600))
		pool := x509.NewCertPool()
		pool.AddCert(leaf)
		return pool
	}
	const settings = "listen: {ops: '127.0.0.1:0', callers: [{address: '127.0.0.1:0', tls: {cert_file: 'DIR/tls.crt', key_file: 'DIR/tls.key'}}]}\n"
	roots := put()
	b := stand(t, dir, settings)
	for _, more := range []string{"", "cache: {size: 7}\n"} {
		if more != "" {
			b.reconfigure(settings + more)
		}
		if _, err := b.get(0, "localhost", "/routes", roots); err != nil {
			t.Fatal(err)
		}
		roots = put()
		must(t, eventually("the new certificate is shown", func() bool {
			_, err := b.get(0, "localhost", "/routes", roots)
			return err == nil
		}))
	}
}

// Settings of a listener are those of the start.
func TestTLSChangesWithARestart(t *testing.T) {
	dir := t.TempDir()
	b := stand(t, dir, ofTLS)
	roots := rootsOf(t, filepath.Join(dir, "ca.pem"))
	b.reconfigure("listen: {ops: '127.0.0.1:0', callers: [{address: 'localhost:0', tls: {ca_out: 'DIR/other.pem'}}]}\nidentity_header_file: 'DIR/header'\n")
	if resp, err := b.get(0, "localhost", "/routes", roots); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("got %v, %v", resp, err)
	}
	b.reconfigure("listen: {ops: '127.0.0.1:0', callers: [{address: 'localhost:0', tls: {}}]}\nidentity_header_file: 'DIR/header'\n")
	b.stop()
	if got := strings.Count(b.logs.String(), `"settings":["listen","identity_header_file"]`); got != 2 { // it stays true
		t.Errorf("the restart is spoken of %d times, want 2", got)
	}
	for _, name := range []string{"other.pem", "header"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

func TestFilesOfACertificateThatAreNone(t *testing.T) {
	dir := t.TempDir()
	n := namesOf(&config.Config{})
	cert, key, _ := certified(t, n)
	_, other, _ := certified(t, n)
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	cert, key, other = write("cert", cert), write("key", key), write("other", other)
	for _, tt := range []struct {
		cert, key string
		want      []string
	}{
		{cert, other, []string{"private key does not match", "want the certificate and its own private key"}},
		{key, key, []string{"failed to find certificate PEM data"}},
		{cert, cert, []string{"want the certificate and its own private key"}},
		{cert, filepath.Join(dir, "none"), []string{"none: no such file"}},
		{dir, key, []string{"not a regular file"}},
	} {
		_, err := openCertificateFile(config.TLS{CertFile: tt.cert, KeyFile: tt.key}, silent)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s with %s: got %v, want %q", tt.cert, tt.key, err, want)
			}
		}
	}
}

// All that is wrong with the files of listeners is said at once, with its
// setting.
func TestFaultsOfListenersAreToldTogether(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "client-secret"), []byte("s"), 0o600))
	file := filepath.Join(dir, configFile)
	must(t, os.WriteFile(file, []byte(strings.ReplaceAll(nowhere+`
identity_header_file: DIR/no/header
listen:
  callers:
    - {address: 'localhost:0', tls: {ca_out: DIR/gone/ca.pem}}
    - {address: 'localhost:0', tls: {cert_file: DIR/tls.crt, key_file: DIR/client-secret}}
`, "DIR", dir)), 0o600))
	_, err := load(System{Err: io.Discard}, file, io.Discard)
	if err == nil {
		t.Fatal("it is taken")
	}
	var got []string
	for line := range strings.Lines(strings.ReplaceAll(faults(err)+"\n", dir, "DIR")) {
		got = append(got, strings.TrimSpace(line))
	}
	want := []string{
		"identity_header_file: DIR/no/header: there is no folder DIR/no; make it, or mount a volume there",
		"listen.callers[0].tls.ca_out: DIR/gone/ca.pem: there is no folder DIR/gone; make it, or mount a volume there",
		"listen.callers[1].tls: DIR/tls.crt: no such file or directory",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
