package guard_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

const (
	keyA = "key-a-0123456789abcdef"
	keyB = "key-b-0123456789abcdef"
	keyC = "key-c-0123456789abcdef"
)

// keys makes a keyring whose keys prove the local caller.
func keys(values ...string) *guard.Keyring {
	return guard.NewKeyring(map[string][]entra.Secret{guard.Local: secrets(values...)})
}

// named makes a keyring of callers with a key each.
func named(callersAndKeys ...string) *guard.Keyring {
	all := map[string][]entra.Secret{}
	for pair := range slices.Chunk(callersAndKeys, 2) {
		all[pair[0]] = append(all[pair[0]], entra.NewSecret(pair[1]))
	}
	return guard.NewKeyring(all)
}

func secrets(values ...string) []entra.Secret {
	var secrets []entra.Secret
	for _, v := range values {
		secrets = append(secrets, entra.NewSecret(v))
	}
	return secrets
}

// verdict is what a guard said: how the caller was admitted, or where and as
// what it was refused.
func verdict(g *guard.Guard, r *http.Request, keysOf guard.KeysOf) string {
	who, err := g.Admit(r, keysOf)
	if err != nil {
		e := entra.AsError(err)
		return e.Kind.String() + " " + e.Op
	}
	return who.Name + " " + who.Via
}

// request is one from this machine, which every check but the last lets pass.
func request(tb testing.TB, headers http.Header) *http.Request {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodGet, "http://localhost/", nil)
	r.RemoteAddr, r.Header = "127.0.0.1:4", headers
	return r
}

// door is a real listener with a guard behind it, which answers with verdicts.
type door struct{ net.Listener }

func open(t *testing.T, network, address string, cfg guard.Config) door {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	g := guard.New(cfg)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Verdict", verdict(g, r, keysAt(r.URL.Path)))
		}),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return guard.WithPeer(ctx, guard.PeerOf(c)) },
	}
	done := make(chan error)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return door{l}
}

// keyless is the path of a protocol that cannot carry a key.
const keyless = "/keyless"

func keysAt(path string) guard.KeysOf {
	if path == keyless {
		return nil
	}
	return guard.HeaderKeys
}

// knock sends a request as it stands, each line without its end, and returns
// the verdict; or the status, where net/http refused the request itself.
func (d door) knock(t *testing.T, lines ...string) string {
	t.Helper()
	conn, err := net.Dial(d.Addr().Network(), d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(lines[0], " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return strconv.Itoa(res.StatusCode)
	}
	return res.Header.Get("Verdict")
}

// get is knock with a GET that has a Host and nothing else, plus headers.
func (d door) get(t *testing.T, host string, headers ...string) string {
	t.Helper()
	return d.knock(t, slices.Concat([]string{"GET / HTTP/1.1", "Host: " + host}, headers)...)
}

const admitted = "local peer"
