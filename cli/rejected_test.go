package cli

import (
	"encoding/base64"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/entra"
)

// refuser is an upstream that refuses tokens: all that came with the first so
// many calls, once these have all arrived.
type refuser struct {
	status int
	header string // a challenge
	crowd  int

	mu      sync.Mutex
	arrived int
	all     chan struct{}   // closed when the crowd is there
	refused map[string]bool // by the header that they came in
}

func newRefuser(status, crowd int, challenge string) *refuser {
	return &refuser{status: status, crowd: crowd, header: challenge, all: make(chan struct{}), refused: map[string]bool{}}
}

func (r *refuser) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	token := req.Header.Get("Authorization")
	r.mu.Lock()
	r.arrived++
	if r.arrived <= r.crowd {
		r.refused[token] = true
	}
	if r.arrived == r.crowd {
		close(r.all)
	}
	no := r.refused[token]
	r.mu.Unlock()
	if no {
		<-r.all
		w.Header().Set("WWW-Authenticate", r.header)
		w.WriteHeader(r.status)
		_, _ = io.WriteString(w, `{"error":{"code":"Unauthorized"}}`)
	}
}

// TestRefusedTokenIsReplacedOnce: an upstream that refuses a token refuses it to
// everybody, and one exchange mends it for all of them.
func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	const crowd = 64
	claims := base64.StdEncoding.EncodeToString([]byte(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`))
	for _, tc := range []struct {
		name, challenge string
	}{
		{"without a challenge", "Bearer"},
		{"with one", `Basic realm="x", Bearer realm="", error="insufficient_claims", claims="` + claims + `"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAzure(t)
				r := newRefuser(http.StatusUnauthorized, crowd, tc.challenge)
				a.serve("refusing.example", r)
				b := a.start(partner() + "routes: {refusing: {upstream: https://refusing.example, scope: " + string(entra.Scope(mdeScope)) + "}}\n")
				if got := b.get("/token?route=refusing"); got.StatusCode != http.StatusOK {
					t.Fatalf("got %d %s", got.StatusCode, text(t, got))
				}
				time.Sleep(2 * time.Minute) // a token younger than a minute is not replaced
				before := a.entra.Stats().Given["client_credentials"]
				var callers sync.WaitGroup
				for range crowd {
					callers.Go(func() {
						if got := b.get("/proxy/refusing/api/machines"); got.StatusCode != http.StatusOK {
							t.Errorf("got %d %s", got.StatusCode, text(t, got))
						}
					})
				}
				callers.Wait()
				if got := a.entra.Stats().Given["client_credentials"] - before; got != 1 || r.arrived != 2*crowd {
					t.Errorf("%d exchanges and %d calls, want 1 and %d", got, r.arrived, 2*crowd)
				}
			})
		})
	}
}

// TestMissingRoleCausesOneExchangeAMinute: consent that was just granted takes
// effect, and who has none does not drive Entra.
func TestMissingRoleCausesOneExchangeAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t)
		refusals := 0
		a.serve("refusing.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			refusals++
			w.WriteHeader(http.StatusForbidden)
		}))
		b := a.start(partner() + "routes: {refusing: {upstream: https://refusing.example, scope: " + graphDefault + "}}\n")
		text(t, b.get("/token?route=refusing"))
		exchanges := func() int { return a.entra.Stats().Given["client_credentials"] }
		for minute := range 3 {
			time.Sleep(61 * time.Second)
			before := exchanges()
			for range 20 {
				if got := b.get("/proxy/refusing/api/machines"); got.StatusCode != http.StatusForbidden || got.Header.Get("X-Token-Broker-Hint") == "" {
					t.Errorf("got %d %v", got.StatusCode, got.Header)
				}
			}
			if got := exchanges() - before; got != 1 {
				t.Errorf("minute %d: %d exchanges for 20 refusals, want 1", minute, got)
			}
		}
		if refusals != 60 {
			t.Errorf("%d calls for 60: a token without the role was tried", refusals)
		}
	})
}
