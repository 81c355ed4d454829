package guard_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
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
)

// keys makes the Keys of a [guard.Config].
func keys(values ...string) func() []entra.Secret {
	var secrets []entra.Secret
	for _, v := range values {
		secrets = append(secrets, entra.NewSecret(v))
	}
	return func() []entra.Secret { return secrets }
}

// verdict is what a guard said: how the caller was admitted, or where and as
// what it was refused.
func verdict(g *guard.Guard, r *http.Request) string {
	who, err := g.Admit(r, guard.HeaderKeys)
	if err != nil {
		e := entra.AsError(err)
		return e.Kind.String() + " " + e.Op
	}
	return who.Name + " " + who.Via
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
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Verdict", verdict(g, r))
	})}
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
