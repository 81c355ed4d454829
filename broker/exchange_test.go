package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/broker"
	"tokenbroker/entra"
)

func TestExchangeAsksTheTokenEndpointOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		authority := w.authority(t, grant(bearer, 3599))
		tok, err := w.confidential(t).Token(t.Context(), ask())
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Access.Reveal(); got != bearer {
			t.Errorf("got token %q, want %q", got, bearer)
		}
		if got, want := tok.ExpiresOn, time.Now().Add(3599*time.Second); !got.Equal(want) || tok.Scope != scope {
			t.Errorf("got it until %v for %s, want until %v for %s", got, tok.Scope, want, scope)
		}
		if len(authority.requests()) != 1 {
			t.Fatalf("the authority was asked %d times, want once", len(authority.requests()))
		}
		r := authority.requests()[0]
		if got, want := r.Method+" "+r.URL.String(), "POST /"+string(tenant)+"/oauth2/v2.0/token"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		got := map[string]string{}
		for _, field := range []string{"grant_type", "client_id", "client_secret", "claims"} {
			got[field] = r.PostForm.Get(field)
		}
		want := map[string]string{"grant_type": "client_credentials", "client_id": client, "client_secret": secret, "claims": ""}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Error(diff)
		}
		if got := r.PostForm.Get("scope"); !strings.HasPrefix(got, string(scope)) {
			t.Errorf("got scope %q, want %q", got, scope)
		}
		if id := r.Header.Get("Client-Request-Id"); !entra.IsGUID(id) {
			t.Errorf("got client-request-id %q, want a GUID", id)
		}
	})
}

// Remembering is the cache's work: what MSAL held would be answered again when
// a new token is wanted, and would never be let go.
func TestEveryCallIsAnExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		issued := 0
		authority := w.authority(t, func(rw http.ResponseWriter, r *http.Request) {
			issued++
			grant(fmt.Sprintf("token-%d", issued), 3599)(rw, r)
		})
		source := w.confidential(t)
		for n := 1; n <= 3; n++ {
			tok, err := source.Token(t.Context(), ask())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := tok.Access.Reveal(), fmt.Sprintf("token-%d", n); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if got := len(authority.requests()); got != 3 {
			t.Errorf("the authority was asked %d times, want 3", got)
		}
		ids := map[string]bool{}
		for _, r := range authority.requests() {
			ids[r.Header.Get("Client-Request-Id")] = true
		}
		if len(ids) != 3 {
			t.Errorf("got ids %v, want one for each exchange", ids)
		}
	})
}

func TestExchangesRunSideBySide(t *testing.T) {
	path := secretFile(t, secret)
	synctest.Test(t, func(t *testing.T) {
		const callers = 16
		w := newWorld(t)
		authority := w.authority(t, func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			grant(r.Header.Get("Client-Request-Id"), 3599)(rw, r)
		})
		file, err := broker.OpenSecretFile(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		source, err := broker.NewConfidential(w.app(t), file)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		tokens := make(chan string, callers)
		for range callers {
			go func() {
				tok, err := source.Token(t.Context(), ask())
				if err != nil {
					t.Error(err)
				}
				tokens <- tok.Access.Reveal()
			}()
		}
		distinct := map[string]bool{}
		for range callers {
			distinct[<-tokens] = true
		}
		if got := len(authority.requests()); got != callers || len(distinct) != callers {
			t.Errorf("got %d tokens by %d requests, want %d by as many", len(distinct), got, callers)
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("they took %v, want the second that one takes", got)
		}
	})
}

func TestExchangeOfShortAndRefreshableTokens(t *testing.T) {
	for _, tc := range []struct {
		name, answer     string
		expires, refresh time.Duration
	}{
		{"seconds", `{"access_token":"t","token_type":"Bearer","expires_in":3}`, 3 * time.Second, 0},
		{"refresh_in", `{"access_token":"t","token_type":"Bearer","expires_in":86399,"refresh_in":43199}`, 86399 * time.Second, 43199 * time.Second},
		{"numbers as strings", `{"access_token":"t","token_type":"Bearer","expires_in":"3599"}`, 3599 * time.Second, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.authority(t, answer(http.StatusOK, tc.answer))
				tok, err := w.confidential(t).Token(t.Context(), ask())
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Until(tok.ExpiresOn); got != tc.expires {
					t.Errorf("it expires in %v, want %v", got, tc.expires)
				}
				if tc.refresh == 0 && !tok.RefreshOn.IsZero() || tc.refresh != 0 && time.Until(tok.RefreshOn) != tc.refresh {
					t.Errorf("it is refreshed on %v, want in %v", tok.RefreshOn, tc.refresh)
				}
			})
		})
	}
}

func TestExchangeInAnotherTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		authority := w.authority(t, grant(bearer, 3599))
		source := w.confidential(t)
		for _, of := range []entra.Tenant{"customer.onmicrosoft.com", ""} {
			req := ask()
			req.Tenant = of
			if _, err := source.Token(t.Context(), req); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, r := range authority.requests() {
			got = append(got, r.URL.Path)
		}
		want := []string{"/customer.onmicrosoft.com/oauth2/v2.0/token", "/" + string(tenant) + "/oauth2/v2.0/token"}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Error(diff)
		}
	})
}

func TestExchangePassesClaimsAndRequestIDOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		authority := w.authority(t, grant(bearer, 3599))
		source := w.confidential(t)
		const claims = `{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}`
		const id = "0a1b2c3d-0000-4000-8000-0123456789ab"
		req := ask()
		req.Claims = claims
		ctx := entra.WithTrail(t.Context(), &entra.Trail{RequestID: id})
		if _, err := source.Token(ctx, req); err != nil {
			t.Fatal(err)
		}
		r := authority.requests()[0]
		if got := r.PostForm.Get("claims"); got != claims {
			t.Errorf("got claims %q, want %q", got, claims)
		}
		if got := r.Header.Get("Client-Request-Id"); got != id {
			t.Errorf("got client-request-id %q, want the trail's %q", got, id)
		}
	})
}

func TestExchangeRefusesWithoutAsking(t *testing.T) {
	w := newWorld(t)
	authority := w.authority(t, grant(bearer, 3599))
	source := w.confidential(t)
	for _, tc := range []struct {
		name string
		edit func(*entra.Request)
		says string
	}{
		{"a single permission", func(r *entra.Request) { r.Scope = "https://api.example/Alert.Read" }, "ask for https://api.example/.default"},
		{"several permissions", func(r *entra.Request) { r.Scope = "https://api.example/A https://api.example/B" }, "ask for https://api.example/.default"},
		{"all and one more", func(r *entra.Request) { r.Scope = "https://api.example/.default https://api.example/.default" }, "ask for https://api.example/.default"},
		{"no scope", func(r *entra.Request) { r.Scope = "" }, "ask for https://host/.default"},
		{"a user", func(r *entra.Request) { r.Assertion = entra.NewSecret("user-canary") }, "leave the user's assertion out"},
		{"a path for a tenant", func(r *entra.Request) { r.Tenant = "../common" }, "want a GUID or a domain name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := ask()
			tc.edit(&req)
			_, err := source.Token(t.Context(), req)
			wantError(t, err, entra.Invalid, tc.says)
		})
	}
	if got := len(authority.requests()); got != 0 {
		t.Errorf("the authority was asked %d times, want never", got)
	}
}

// The region would move the exchange to another host.
func TestForcedRegionIsIgnored(t *testing.T) {
	for _, region := range []string{"westeurope", "TryAutoDetect"} {
		t.Setenv("MSAL_FORCE_REGION", region)
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			authority := w.authority(t, grant(bearer, 3599))
			if _, err := w.confidential(t).Token(t.Context(), ask()); err != nil {
				t.Error(err)
			}
			if got := len(authority.requests()); got != 1 {
				t.Errorf("the authority was asked %d times, want once", got)
			}
		})
	}
}

func TestCallerThatLeavesCancelsTheExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.authority(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		leaves(t, w.confidential(t), time.Second)
	})
}

// leaves asks the source for a token, and does not wait longer than that.
func leaves(t *testing.T, source entra.Source, after time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(after, cancel).Stop()
	_, err := source.Token(ctx, ask())
	wantError(t, err, entra.Canceled, "canceled")
}
