package vaultemu_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	vaultemu "tokenbroker/emulator/vault"
)

func TestFaultsThatAnswer(t *testing.T) {
	w := newWorld(t)
	w.set(t, "app", secretOf, vaultemu.Attributes{})
	token := w.token(t, tenant, vaultemu.Resource)
	get := func() answer { return w.do(t, token, http.MethodGet, "/secrets/app"+version, "") }
	for _, tc := range []struct {
		name   string
		faults vaultemu.Faults
		retry  string
		want   refused
	}{
		{"401", vaultemu.Faults{Status: 401}, "", refused{401, "Unauthorized", ""}},
		{"firewall", vaultemu.Faults{Status: 403, Inner: "ForbiddenByFirewall"}, "", refused{403, "Forbidden", "ForbiddenByFirewall"}},
		{"policy", vaultemu.Faults{Status: 403, Inner: "ForbiddenByPolicy"}, "", refused{403, "Forbidden", "ForbiddenByPolicy"}},
		{"429", vaultemu.Faults{Status: 429, RetryAfterS: 7}, "7", refused{429, "Throttled", ""}},
		{"500", vaultemu.Faults{Status: 500}, "", refused{500, "InternalServerError", ""}},
		{"503", vaultemu.Faults{Status: 503, RetryAfterS: 2}, "2", refused{503, "ServiceUnavailable", ""}},
	} {
		tc.faults.Times = 2
		w.SetFaults(tc.faults)
		for range 2 {
			got := get()
			equal(t, tc.name, got.refusal(t), tc.want)
			if got.Header.Get("Retry-After") != tc.retry || (got.Header.Get("WWW-Authenticate") != "") != (tc.want.status == 401) {
				t.Errorf("%s: got %v", tc.name, got.Header)
			}
		}
		if got := get(); got.StatusCode != http.StatusOK || w.Faults() != (vaultemu.Faults{}) {
			t.Errorf("%s: afterwards got %s, faults %+v", tc.name, got.Status, w.Faults())
		}
	}
	if got := w.Stats().Faulted; got != 12 {
		t.Errorf("got %d requests that met a fault, want 12", got)
	}
}

// A fault waits for a request that it is for: whom we do not know, and who
// wants something else, does not use it up.
func TestFaultsAreForSome(t *testing.T) {
	w := newWorld(t)
	w.set(t, "app", secretOf, vaultemu.Attributes{})
	w.install(t, "login", vaultemu.Certificate{})
	token := w.token(t, tenant, vaultemu.Resource)
	w.SetFaults(vaultemu.Faults{Operation: vaultemu.Sign, Status: 500, Times: 1})
	for _, tc := range []struct {
		token, method, path, body string
		want                      int
	}{
		{"", http.MethodPost, "/keys/login/sign", signBody, 401},
		{token, http.MethodGet, "/secrets/app", "", 200},
		{token, http.MethodPost, "/keys/login/sign", signBody, 500},
		{token, http.MethodPost, "/keys/login/sign", signBody, 200},
	} {
		if got := w.do(t, tc.token, tc.method, tc.path+version, tc.body); got.StatusCode != tc.want {
			t.Errorf("%s: got %s, want %d", tc.path, got.Status, tc.want)
		}
	}
}

func TestSlowAndHangingAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.install(t, "login", vaultemu.Certificate{})
		token := w.token(t, tenant, vaultemu.Resource)
		sign := func(ctx context.Context) (answer, error) {
			return w.call(ctx, t, token, http.MethodPost, "/keys/login/sign"+version, signBody)
		}
		leave := func(after time.Duration) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			if _, err := sign(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the deadline", err)
			}
		}
		w.SetFaults(vaultemu.Faults{DelayMS: 1500})
		start := time.Now()
		if got, err := sign(t.Context()); err != nil || got.StatusCode != http.StatusOK || time.Since(start) != 1500*time.Millisecond {
			t.Errorf("got %v %v after %v, want a signature after 1.5s", got, err, time.Since(start))
		}
		leave(time.Second)
		w.SetFaults(vaultemu.Faults{Hang: true})
		leave(20 * time.Minute)
		synctest.Wait()
		if got := w.Stats().Served[vaultemu.Sign]; got != 1 {
			t.Errorf("%d signatures though nobody waited", got)
		}
		done := make(chan int, 1)
		go func() {
			got, _ := sign(t.Context())
			done <- got.StatusCode
		}()
		time.Sleep(20 * time.Minute)
		select {
		case got := <-done:
			t.Fatalf("did not hang: %d", got)
		default:
		}
		w.SetFaults(vaultemu.Faults{})
		if got := <-done; got != http.StatusOK {
			t.Errorf("let go: got %d", got)
		}
	})
}

func TestFaultsAndStatsOverHTTP(t *testing.T) {
	w := newWorld(t)
	call := func(method, path, body string) answer {
		t.Helper()
		return w.do(t, "", method, "/_emulator/"+path, body)
	}
	full := vaultemu.Faults{
		Operation: vaultemu.GetKey, Times: 3, DelayMS: 1, Hang: true, Redirect: "https://x.example", Status: 503, Inner: "X", RetryAfterS: 2,
		Body: "html", Challenge: "Basic",
	}
	text, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{http.MethodPut, http.MethodPost} {
		if got := call(method, "faults", string(text)); got.StatusCode != http.StatusOK || w.Faults() != full {
			t.Errorf("%s: got %s, faults %+v", method, got.Status, w.Faults())
		}
		var shown vaultemu.Faults
		if err := json.Unmarshal([]byte(call(http.MethodGet, "faults", "").body), &shown); err != nil || shown != full {
			t.Errorf("shown: %+v, %v", shown, err)
		}
		if call(http.MethodDelete, "faults", ""); w.Faults() != (vaultemu.Faults{}) {
			t.Errorf("DELETE: faults %+v", w.Faults())
		}
	}
	for body, want := range map[string]string{
		`{"hnag":true}`: "unknown field", `{"operation":"x"}`: "operation", `{"status":200}`: "status", `{"body":"rubbish"}`: "body", `{"times":-1}`: "negative",
		``: "EOF", strings.Repeat(" ", 1<<17): "large",
	} {
		// Without a connection: net/http lingers half a second on one whose body was too large.
		got := httptest.NewRecorder()
		w.ServeHTTP(got, httptest.NewRequest(http.MethodPut, "/_emulator/faults", strings.NewReader(body)))
		if got.Code != http.StatusBadRequest || !strings.Contains(got.Body.String(), want) {
			t.Errorf("%.40s: got %d %q, want %q", body, got.Code, got.Body, want)
		}
	}
	w.do(t, "", http.MethodGet, "/secrets/app"+version, "")
	var stats vaultemu.Stats
	if err := json.Unmarshal([]byte(call(http.MethodGet, "stats", "").body), &stats); err != nil || stats.Requests[vaultemu.GetSecret] != 1 || stats.Refused["Unauthorized"] != 1 {
		t.Errorf("stats: %+v, %v", stats, err)
	}
}
