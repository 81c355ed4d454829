package entraemu_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
)

const openIDPath = "/" + tenant + "/v2.0/.well-known/openid-configuration"

func TestFaultsThatAnswer(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		name        string
		faults      entraemu.Faults
		status      int
		header      string // name=value
		body        string
		absent      string // a header that must not be there
		description int    // the AADSTS number; 0: no error of Entra's
	}{
		{"429", entraemu.Faults{Status: 429, RetryAfterS: 7}, 429, "Retry-After=7", "AADSTS90055", "", 90055},
		{"429 without a time", entraemu.Faults{Status: 429}, 429, "", "", "Retry-After", 90055},
		{"500", entraemu.Faults{Status: 500}, 500, "", "temporarily_unavailable", "", 90033},
		{"503 with a time", entraemu.Faults{Status: 503, RetryAfterS: 3}, 503, "Retry-After=3", "", "", 90033},
		{"redirect", entraemu.Faults{Redirect: "http://elsewhere.example/x"}, 307, "Location=http://elsewhere.example/x", "", "", 0},
		{"garbage", entraemu.Faults{Body: "garbage"}, 200, "", entraemu.GarbageToken, "", 0},
		{"truncated", entraemu.Faults{Body: "truncated"}, 200, "Content-Type=application/json; charset=utf-8", `"access_token":"` + entraemu.GarbageToken, "", 0},
		{"no expiry", entraemu.Faults{Body: "no_expiry"}, 200, "", entraemu.GarbageToken + `"}`, "", 0},
		{"a captive portal", entraemu.Faults{Body: "html"}, 200, "Content-Type=text/html; charset=utf-8", "<title>", "", 0},
		{"an error page", entraemu.Faults{Body: "html", Status: 502}, 502, "Content-Type=text/html; charset=utf-8", "<title>", "", 0},
		{"nothing", entraemu.Faults{Body: "empty"}, 200, "Content-Length=0", "", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, endpoint := range []string{"", entraemu.TokenEndpoint, entraemu.DiscoveryEndpoint} {
				tc.faults.Endpoint = endpoint
				w.SetFaults(tc.faults)
				hit, spared := w.post(t, "oauth2/v2.0/token", w.bySecret()), w.get(t, openIDPath)
				if endpoint == entraemu.DiscoveryEndpoint {
					hit, spared = spared, hit
				}
				if spared.StatusCode != http.StatusOK || strings.Contains(spared.body, entraemu.GarbageToken) {
					t.Errorf("endpoint %q: the other endpoint got %s", endpoint, spared.Status)
				}
				if hit.StatusCode != tc.status || !strings.Contains(hit.body, tc.body) {
					t.Errorf("endpoint %q: got %s %q, want %d %q", endpoint, hit.Status, hit.body, tc.status, tc.body)
				}
				if name, value, _ := strings.Cut(tc.header, "="); hit.Header.Get(name) != value {
					t.Errorf("header: got %v, want %s", hit.Header, tc.header)
				}
				if hit.Header.Get(tc.absent) != "" {
					t.Errorf("header: got %v, want no %s", hit.Header, tc.absent)
				}
				if tc.description != 0 {
					if e := parseError(t, hit.body); e.Codes[0] != tc.description {
						t.Errorf("got %+v, want %d", e, tc.description)
					}
				}
			}
		})
	}
}

func TestFaultEndsAfterItsTimes(t *testing.T) {
	w := newWorld(t)
	w.SetFaults(entraemu.Faults{Status: 500, Times: 2})
	var got []int
	for range 4 {
		got = append(got, w.post(t, "oauth2/v2.0/token", w.bySecret()).StatusCode)
	}
	if got[0] != 500 || got[1] != 500 || got[2] != 200 || got[3] != 200 {
		t.Errorf("got %v, want two failures", got)
	}
	if got := w.Faults(); got != (entraemu.Faults{}) {
		t.Errorf("left: %+v", got)
	}
}

func TestFaultsOfTheRightAnswer(t *testing.T) {
	w := newWorld(t)
	w.SetFaults(entraemu.Faults{LifetimeS: 90, RefreshInS: 30})
	token, claims := w.token(t, w.bySecret())
	if got := int(time.Until(claims.Expires.Time()).Round(10 * time.Second).Seconds()); token.ExpiresIn != 90 || token.RefreshIn != 30 || got != 90 {
		t.Errorf("got %+v, expiry in %d s, want 90 and 30", token, got)
	}
	w.SetFaults(entraemu.Faults{Endpoint: entraemu.DiscoveryEndpoint, TokenEndpoint: "https://evil.example/token"})
	if got := w.get(t, openIDPath); !strings.Contains(got.body, `"token_endpoint":"https://evil.example/token"`) {
		t.Errorf("got %s, want the foreign endpoint", got.body)
	}
	w.SetFaults(entraemu.Faults{})
	if got := w.get(t, openIDPath); strings.Contains(got.body, "evil") {
		t.Errorf("got %s after the faults were cleared", got.body)
	}
}

func TestSlowAnswerIsRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.SetFaults(entraemu.Faults{DelayMS: 1500})
		start := time.Now()
		w.token(t, w.bySecret())
		if got := time.Since(start); got != 1500*time.Millisecond {
			t.Errorf("took %v, want 1.5s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.do(ctx, t, http.MethodPost, "/"+tenant+"/oauth2/v2.0/token", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that leaves before: got %v", err)
		}
		if w.SetFaults(entraemu.Faults{}); w.Stats().Refused[900144] != 0 {
			t.Error("an answer was made though nobody waited")
		}
	})
}

func TestHangLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.SetFaults(entraemu.Faults{Hang: true})

		// Until the client leaves.
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := w.do(ctx, t, http.MethodPost, "/"+tenant+"/oauth2/v2.0/token", w.bySecret().Encode()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}

		// Until the faults change, and the emulator's own paths never hang.
		answers := make(chan answer, 1)
		go func() { answers <- w.post(t, "oauth2/v2.0/token", w.bySecret()) }()
		time.Sleep(time.Hour)
		select {
		case got := <-answers:
			t.Fatalf("did not hang: %s", got.Status)
		default:
		}
		if _, err := w.do(t.Context(), t, http.MethodDelete, "/_emulator/faults", ""); err != nil {
			t.Fatal(err)
		}
		if got := <-answers; got.StatusCode != http.StatusOK {
			t.Errorf("let go: got %s %s, want a token", got.Status, got.body)
		}
	})
}

func TestFaultsOverHTTP(t *testing.T) {
	w := newWorld(t)
	faults := func(method, body string) answer {
		t.Helper()
		got, err := w.do(t.Context(), t, method, "/_emulator/faults", body)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	full := entraemu.Faults{
		Endpoint: "discovery", Times: 3, DelayMS: 1, Hang: true, Redirect: "https://x.example", Status: 503, RetryAfterS: 2,
		Body: "html", TokenEndpoint: "https://y.example", LifetimeS: 60, RefreshInS: 30,
	}
	text, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{http.MethodPut, http.MethodPost} {
		if got := faults(method, string(text)); got.StatusCode != http.StatusOK || w.Faults() != full {
			t.Errorf("%s: got %s, faults %+v", method, got.Status, w.Faults())
		}
		var shown entraemu.Faults
		if err := json.Unmarshal([]byte(faults(http.MethodGet, "").body), &shown); err != nil || shown != full {
			t.Errorf("shown: %+v, %v", shown, err)
		}
		if got := faults(http.MethodDelete, ""); got.StatusCode != http.StatusOK || w.Faults() != (entraemu.Faults{}) {
			t.Errorf("DELETE: got %s, faults %+v", got.Status, w.Faults())
		}
	}
	for body, want := range map[string]string{
		`{"hnag":true}`:            "unknown field",
		`{"endpoint":"tokens"}`:    "endpoint",
		`{"status":200}`:           "status",
		`{"status":600}`:           "status",
		`{"body":"rubbish"}`:       "body",
		`{"times":-1}`:             "negative",
		`{"redirect":"http://%"}`:  "redirect",
		``:                         "EOF",
		strings.Repeat(" ", 1<<17): "large",
	} {
		if got := faults(http.MethodPut, body); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.body, want) {
			t.Errorf("%.40s: got %s %q, want %q", body, got.Status, got.body, want)
		}
	}
	if w.Faults() != (entraemu.Faults{}) {
		t.Errorf("a refused setting took effect: %+v", w.Faults())
	}
	if got, err := w.http.Get("https://" + host + "/elsewhere"); err != nil || got.StatusCode != http.StatusNotFound {
		t.Errorf("another path: got %v, %v", got, err)
	} else {
		_, _ = io.Copy(io.Discard, got.Body)
		_ = got.Body.Close()
	}
}
