package metadataemu_test

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

	entraemu "tokenbroker/emulator/entra"
	metadataemu "tokenbroker/emulator/metadata"
	"tokenbroker/entra"
)

const adminURL = "http://" + appHost + "/_emulator/"

func TestFaultsThatAnswer(t *testing.T) {
	w := newWorld(t, system)
	for _, tc := range []struct {
		name   string
		faults metadataemu.Faults
		status int
		retry  string
		imds   string
		app    string
	}{
		{"404", metadataemu.Faults{Status: 404}, 404, "", `"error":"not_found"`, `"statusCode":404`},
		{"410", metadataemu.Faults{Status: 410}, 410, "", `"error":"gone"`, `"statusCode":410`},
		{"429", metadataemu.Faults{Status: 429, RetryAfterS: 7}, 429, "7", `"error":"too_many_requests"`, `"statusCode":429`},
		{"500", metadataemu.Faults{Status: 500}, 500, "", `"error":"unknown"`, `"statusCode":500`},
		{"garbage", metadataemu.Faults{Body: "garbage"}, 200, "", entraemu.GarbageToken, entraemu.GarbageToken},
		{"no expiry", metadataemu.Faults{Body: "no_expiry"}, 200, "", entraemu.GarbageToken, entraemu.GarbageToken},
		{"html", metadataemu.Faults{Body: "html", Status: 502}, 502, "", "<!DOCTYPE html>", "<!DOCTYPE html>"},
		{"empty", metadataemu.Faults{Body: "empty"}, 200, "", "", ""},
	} {
		tc.faults.Times = 2
		w.SetFaults(tc.faults)
		for got, want := range map[answer]string{w.imds(t, ""): tc.imds, w.app(t, ""): tc.app} {
			if got.StatusCode != tc.status || got.Header.Get("Retry-After") != tc.retry || !strings.Contains(got.body, want) {
				t.Errorf("%s: got %s %v %s, want %d, %s", tc.name, got.Status, got.Header, got.body, tc.status, want)
			}
		}
		if got := w.imds(t, ""); got.StatusCode != http.StatusOK || w.Faults() != (metadataemu.Faults{}) {
			t.Errorf("%s: afterwards got %s, faults %+v", tc.name, got.Status, w.Faults())
		}
	}
	if got := w.Stats().Faulted; got != 16 {
		t.Errorf("got %d requests that met a fault, want 16", got)
	}
}

func TestLifetimeOfATokenCanBeSet(t *testing.T) {
	w := newWorld(t, system)
	w.SetFaults(metadataemu.Faults{LifetimeS: 90})
	if claims := w.claims(t, w.imds(t, "")); seconds(claims.Expires.Time()) < 88 || seconds(claims.Expires.Time()) > 90 {
		t.Errorf("expires in %d s, want 90", seconds(claims.Expires.Time()))
	}
}

func TestSlowAndHangingAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, system)
		w.SetFaults(metadataemu.Faults{DelayMS: 1500})
		start := time.Now()
		w.claims(t, w.imds(t, ""))
		if got := time.Since(start); got != 1500*time.Millisecond {
			t.Errorf("took %v, want 1.5s", got)
		}
		leave := func(after time.Duration) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			if _, err := w.do(ctx, t, http.MethodGet, imdsURL, ""); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the deadline", err)
			}
		}
		leave(time.Second)
		w.SetFaults(metadataemu.Faults{Hang: true})
		leave(time.Hour)

		answers := make(chan answer, 1)
		go func() { answers <- w.imds(t, "") }()
		time.Sleep(time.Hour)
		select {
		case got := <-answers:
			t.Fatalf("did not hang: %s", got.Status)
		default:
		}
		if _, err := w.do(t.Context(), t, http.MethodDelete, adminURL+"faults", ""); err != nil {
			t.Fatal(err)
		}
		w.claims(t, <-answers)
	})
}

func TestFaultsAndStatsOverHTTP(t *testing.T) {
	w := newWorld(t, system)
	call := func(method, path, body string) answer {
		t.Helper()
		got, err := w.do(t.Context(), t, method, adminURL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	full := metadataemu.Faults{Times: 3, DelayMS: 1, Hang: true, Status: 503, RetryAfterS: 2, Body: "html", LifetimeS: 60}
	text, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{http.MethodPut, http.MethodPost} {
		if got := call(method, "faults", string(text)); got.StatusCode != http.StatusOK || w.Faults() != full {
			t.Errorf("%s: got %s, faults %+v", method, got.Status, w.Faults())
		}
		var shown metadataemu.Faults
		if err := json.Unmarshal([]byte(call(http.MethodGet, "faults", "").body), &shown); err != nil || shown != full {
			t.Errorf("shown: %+v, %v", shown, err)
		}
		if call(http.MethodDelete, "faults", ""); w.Faults() != (metadataemu.Faults{}) {
			t.Errorf("DELETE: faults %+v", w.Faults())
		}
	}
	for body, want := range map[string]string{
		`{"hnag":true}`: "unknown field", `{"status":200}`: "status", `{"body":"rubbish"}`: "body", `{"times":-1}`: "negative", ``: "EOF", strings.Repeat(" ", 1<<17): "large",
	} {
		// Without a connection: net/http lingers half a second on one whose body was too large.
		got := httptest.NewRecorder()
		w.ServeHTTP(got, httptest.NewRequest(http.MethodPut, "/_emulator/faults", strings.NewReader(body)))
		if got.Code != http.StatusBadRequest || !strings.Contains(got.Body.String(), want) {
			t.Errorf("%.40s: got %d %q, want %q", body, got.Code, got.Body, want)
		}
	}
	w.imds(t, "")
	var stats metadataemu.Stats
	if err := json.Unmarshal([]byte(call(http.MethodGet, "stats", "").body), &stats); err != nil || stats.Requests["imds"] != 1 || stats.Issued[system.ClientID] != 1 {
		t.Errorf("stats: %+v, %v", stats, err)
	}
}

func TestNewRefusesWhatCannotBe(t *testing.T) {
	issue := func(entraemu.ServicePrincipal, string, time.Duration) (entraemu.IssuedToken, error) {
		return entraemu.IssuedToken{}, errors.New("no Entra")
	}
	for want, config := range map[string]metadataemu.Config{
		"issue: required":         {},
		"identities[1]":           {Issue: issue, Identities: []metadataemu.Identity{system, {}}},
		"2 are system-assigned":   {Issue: issue, Identities: []metadataemu.Identity{system, system}},
		"identities[0]: client i": {Issue: issue, Identities: []metadataemu.Identity{{ServicePrincipal: entraemu.ServicePrincipal{ClientID: system.ClientID}}}},
	} {
		if _, err := metadataemu.New(config); entra.KindOf(err) != entra.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// What cannot be got from Entra is the machine's trouble, not the caller's.
func TestEntraAway(t *testing.T) {
	server, err := metadataemu.New(metadataemu.Config{Identities: []metadataemu.Identity{system}, Issue: func(entraemu.ServicePrincipal, string, time.Duration) (entraemu.IssuedToken, error) {
		return entraemu.IssuedToken{}, errors.New("no Entra")
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.Server = server
	l, err := w.net.Listen("other.internal")
	if err != nil {
		t.Fatal(err)
	}
	httpServer := &http.Server{Handler: server}
	done := make(chan struct{})
	go func() { defer close(done); serve(t, httpServer, l) }()
	t.Cleanup(func() { _ = httpServer.Close(); <-done })
	got := w.get(t, "http://other.internal/metadata/identity/oauth2/token?api-version=2018-02-01&resource="+mde, "Metadata", "true")
	if got.StatusCode != http.StatusInternalServerError || !strings.Contains(got.body, `"error":"unknown"`) {
		t.Errorf("got %s %s, want 500", got.Status, got.body)
	}
	// Without a secret of its own a machine is no App Service.
	got = w.get(t, "http://other.internal/msi/token?api-version=2019-08-01&resource="+mde, "X-IDENTITY-HEADER", "")
	if got.StatusCode != http.StatusUnauthorized {
		t.Errorf("no App Service: got %s %s, want 401", got.Status, got.body)
	}
}
