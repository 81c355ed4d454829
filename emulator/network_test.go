package emulator_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tokenbroker/emulator"
	"tokenbroker/entra"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a network with its authority and a client that trusts it.
type world struct {
	network *emulator.Network
	ca      *emulator.CA
	client  *http.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ca, err := emulator.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	network := emulator.NewNetwork()
	transport := &http.Transport{
		DialContext:       network.DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &world{network, ca, &http.Client{Transport: transport}}
}

// serve stands up the handler at the host until the test ends.
func (w *world) serve(t *testing.T, host string, handler http.HandlerFunc) {
	t.Helper()
	l, err := w.network.Listen(host)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: w.ca.ServerTLS(host)}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve %s: %v", host, err)
		}
	})
}

func (w *world) get(t *testing.T, url string) (string, error) {
	t.Helper()
	resp, err := w.client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.Proto + " " + string(body), err
}

func TestNetworkCarriesTLSBetweenRealHostNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve(t, "login.microsoftonline.com", func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, r.Host) })
		w.serve(t, "api.security.microsoft.com", func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, r.Host) })
		for _, host := range []string{"login.microsoftonline.com", "API.security.microsoft.com", "api.security.microsoft.com:8443"} {
			got, err := w.get(t, "https://"+host+"/")
			if want := "HTTP/2.0 " + host; err != nil || got != want {
				t.Errorf("GET %s: got %q, %v, want %q", host, got, err, want)
			}
		}
	})
}

func TestNetworkCarriesMoreThanItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
		w.serve(t, "echo.example", func(rw http.ResponseWriter, r *http.Request) { _, _ = io.Copy(rw, r.Body) })
		for _, h2 := range []bool{true, false} {
			w.client.Transport.(*http.Transport).ForceAttemptHTTP2 = h2
			resp, err := w.client.Post("https://echo.example/", "", bytes.NewReader(big))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || !bytes.Equal(got, big) {
				t.Errorf("h2 %t: got %d bytes, %v, want the %d sent", h2, len(got), err, len(big))
			}
		}
	})
}

// Time stands still in a bubble while anybody waits on something outside it;
// that a day passes at once shows that our connections do not.
func TestTimePassesWhileConnectionsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve(t, "slow.example", func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(24 * time.Hour)
			_, _ = io.WriteString(rw, "done")
		})
		start := time.Now()
		if got, err := w.get(t, "https://slow.example/"); err != nil || got != "HTTP/2.0 done" {
			t.Errorf("got %q, %v", got, err)
		}
		if got := time.Since(start); got != 24*time.Hour {
			t.Errorf("the call took %v, want a day", got)
		}
	})
}

func TestUnknownHostFailsAsAName(t *testing.T) {
	w := newWorld(t)
	_, err := w.get(t, "https://nowhere.example/")
	dns, ok := errors.AsType[*net.DNSError](err)
	if !ok || !dns.IsNotFound || dns.Name != "nowhere.example" {
		t.Errorf("got %v, want a DNS error for nowhere.example", err)
	}
	if _, err := w.network.DialContext(t.Context(), "tcp", "no-port"); err == nil {
		t.Error("an address without a port: got no error")
	}
}

func TestHostThatIsDownRefusesAndCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve(t, "api.example", func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hang" {
				<-r.Context().Done()
			}
		})
		w.serve(t, "other.example", func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) })

		inFlight, spared := make(chan error, 1), make(chan error, 1)
		go func() { _, err := w.get(t, "https://api.example/hang"); inFlight <- err }()
		go func() { _, err := w.get(t, "https://other.example/"); spared <- err }()
		synctest.Wait()
		w.network.SetDown("API.example", true)
		if err := <-inFlight; err == nil {
			t.Error("the call in flight: got no error, want it cut")
		}
		if _, err := w.get(t, "https://api.example/"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("down: got %v, want connection refused", err)
		}
		if err := <-spared; err != nil {
			t.Errorf("a call in flight to another host: got %v", err)
		}
		w.network.SetDown("api.example", false)
		if _, err := w.get(t, "https://api.example/"); err != nil {
			t.Errorf("up again: got %v", err)
		}
	})
}

func TestListenerClosing(t *testing.T) {
	w := newWorld(t)
	l, err := w.network.Listen("Host.example")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.Addr().Network()+" "+l.Addr().String(), "memory host.example:443"; got != want {
		t.Errorf("address: got %q, want %q", got, want)
	}
	if _, err := w.network.Listen("host.EXAMPLE"); entra.KindOf(err) != entra.Invalid {
		t.Errorf("listen twice: got %v, want it refused", err)
	}

	// A client that nobody accepts: it waits until it or the listener gives up.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.network.DialContext(ctx, "tcp", "host.example:443"); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		network := emulator.NewNetwork()
		l, err := network.Listen("host.example")
		if err != nil {
			t.Fatal(err)
		}
		dialed := make(chan error, 1)
		go func() {
			_, err := network.DialContext(t.Context(), "tcp", "host.example:443")
			dialed <- err
		}()
		synctest.Wait()
		_ = l.Close()
		if err := <-dialed; !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the listener closes while a client waits: got %v, want connection refused", err)
		}
	})

	for range 2 { // the second time changes nothing
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: got %v", err)
	}
	if again, err := w.network.Listen("host.example"); err != nil {
		t.Errorf("the name is not free again: %v", err)
	} else {
		_ = again.Close()
	}
}

// pair is a client's and a server's end of one connection.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	network := emulator.NewNetwork()
	l, err := network.Listen("host.example")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	client, err = network.DialContext(t.Context(), "tcp", "host.example:443")
	if err != nil {
		t.Fatal(err)
	}
	return client, <-accepted
}

func TestConnDeadlines(t *testing.T) {
	full := make([]byte, 1<<20) // more than a connection holds
	for name, wait := range map[string]func(net.Conn) error{
		"read":  func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"write": func(c net.Conn) error { _, err := c.Write(full); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, _ := pair(t)
				start := time.Now()
				_ = client.SetDeadline(start.Add(time.Minute))
				if err := wait(client); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
					t.Errorf("got %v after %v, want the deadline after a minute", err, time.Since(start))
				}
				// A deadline set while somebody waits counts too, and a later one replaces it.
				_ = client.SetDeadline(time.Time{})
				failed := make(chan error, 1)
				go func() { failed <- wait(client) }()
				synctest.Wait()
				_ = client.SetDeadline(time.Now().Add(time.Hour))
				_ = client.SetDeadline(time.Now().Add(-time.Second))
				if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
					t.Errorf("a deadline in the past: got %v after %v", err, time.Since(start))
				}
			})
		})
	}
}

func TestConnClosing(t *testing.T) {
	client, server := pair(t)
	if got, want := client.RemoteAddr().String(), server.LocalAddr().String(); got != want {
		t.Errorf("remote address: got %q, want %q", got, want)
	}
	if got, want := server.RemoteAddr().String(), client.LocalAddr().String(); got != want {
		t.Errorf("client's address: got %q, want %q", got, want)
	}
	if _, err := client.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	if got, err := io.ReadAll(server); err != nil || string(got) != "last words" {
		t.Errorf("what was sent before the close: got %q, %v", got, err)
	}
	if _, err := server.Write([]byte("too late")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write to nobody: got %v", err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: got %v", err)
	}
	if err := client.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("deadline after close: got %v", err)
	}
}

func TestCertificates(t *testing.T) {
	ca, err := emulator.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := emulator.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		hosts  []string
		client *tls.Config
		want   string
	}{
		{"name", []string{"localhost", "a.example"}, &tls.Config{ServerName: "a.example", RootCAs: ca.Pool()}, ""},
		{"address", []string{"127.0.0.1", "::1"}, &tls.Config{ServerName: "::1", RootCAs: ca.Pool()}, ""},
		{"another name", []string{"a.example"}, &tls.Config{ServerName: "b.example", RootCAs: ca.Pool()}, "not b.example"},
		{"another authority", []string{"a.example"}, &tls.Config{ServerName: "a.example", RootCAs: stranger.Pool()}, "unknown authority"},
		{"old TLS", []string{"a.example"}, &tls.Config{ServerName: "a.example", RootCAs: ca.Pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "protocol version"},
		{"impossible name", []string{"ü.example"}, &tls.Config{ServerName: "a.example", RootCAs: ca.Pool()}, "internal error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, server := pair(t)
			served := make(chan struct{})
			go func() {
				defer close(served)
				_ = tls.Server(server, ca.ServerTLS(tc.hosts...)).Handshake()
			}()
			err := tls.Client(client, tc.client).Handshake()
			_ = client.Close()
			<-served
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestWriteFileReplacesInOneStep(t *testing.T) {
	ca, err := emulator.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.pem")
	for range 2 { // an older file is replaced
		if err := ca.WriteFile(file); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, ca.PEM()) {
			t.Errorf("got %q, %v, want the certificate", got, err)
		}
	}
	taken := filepath.Join(dir, "taken")
	if err := os.Mkdir(taken, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := ca.WriteFile(taken); entra.KindOf(err) != entra.Invalid {
		t.Errorf("a folder as the file: got %v", err)
	}
	if err := ca.WriteFile(filepath.Join(dir, "missing", "ca.pem")); entra.KindOf(err) != entra.Invalid {
		t.Errorf("no such folder: got %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("got %v, want ca.pem and the folder: nothing half written", entries)
	}
}
