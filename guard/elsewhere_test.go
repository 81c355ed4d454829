package guard_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// A key of elsewhere admits nobody and is asked of nobody, but it is a secret.
func TestKeysOfElsewhereAreKeptAndProveNobody(t *testing.T) {
	g := guard.New(guard.Config{Elsewhere: keys(keyA)})
	if !g.Open() {
		t.Error("callers need a proof")
	}
	for _, headers := range []http.Header{nil, {"X-Broker-Key": {keyA}}, {"X-Broker-Key": {keyB}}} {
		if got := verdict(g, request(t, headers), guard.HeaderKeys); got != admitted {
			t.Errorf("%v: got %q, want %q", headers, got, admitted)
		}
	}
	for name, place := range map[string]func(*http.Request){
		"path":   func(r *http.Request) { r.URL.Path = "/x/" + keyA },
		"query":  func(r *http.Request) { r.URL.RawQuery = "x=" + keyA },
		"cookie": func(r *http.Request) { r.Header = http.Header{"Cookie": {"x=" + keyA}} },
	} {
		r := request(t, nil)
		place(r)
		if got, want := verdict(g, r, guard.HeaderKeys), "denied guard.place"; got != want {
			t.Errorf("in the %s: got %q, want %q", name, got, want)
		}
	}
	if !g.HoldsKey("/x/" + keyA) {
		t.Error("it is not known in a path")
	}
	failure := &entra.Error{Kind: entra.Invalid, Err: errors.New("odd: " + keyA)}
	r := request(t, nil)
	if text := guard.RedactError(g.WithRedaction(r.Context()), failure).Err.Error() + g.Redact("x"+keyA); strings.Contains(text, keyA) {
		t.Errorf("written down: %s", text)
	}
}

func TestOpenGuard(t *testing.T) {
	for _, cfg := range []guard.Config{{Keys: keys(keyA)}, {Anonymous: true}, {Keys: keys(keyA), Elsewhere: keys(keyB)}} {
		if guard.New(cfg).Open() {
			t.Errorf("%+v: callers need no proof", cfg)
		}
	}
	g := guard.New(guard.Config{Keys: keys(keyA), Elsewhere: keys(keyB)})
	if got, want := verdict(g, request(t, http.Header{"X-Broker-Key": {keyB}}), guard.HeaderKeys), "unadmitted guard.key"; got != want {
		t.Errorf("a key of elsewhere: got %q, want %q", got, want)
	}
}
