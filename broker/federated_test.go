package broker_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// projected is a token of the cluster.
func projected(t *testing.T, subject, audience string, lifetime time.Duration) string {
	t.Helper()
	trusted, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	token, err := trusted.Token(subject, audience, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// federated is the source of the world's app with a token file.
func (w *world) federated(t *testing.T, path string) *broker.Confidential {
	t.Helper()
	return newFederated(t, w.app(t), path)
}

func newFederated(t *testing.T, app broker.App, path string) *broker.Confidential {
	t.Helper()
	file, err := broker.OpenTokenFile(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	source, err := broker.NewConfidential(app, file)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestProjectedTokenIsReadAtEveryExchange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.emulate(t)
		writeFile(t, path, projected(t, subject, "", time.Hour))
		source := w.federated(t, path)
		for range 4 {
			if _, err := source.Token(t.Context(), ask()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(48 * time.Minute) // of the bubble's clock: when a kubelet renews it
			writeFile(t, path, projected(t, subject, "", time.Hour)+"\n")
		}
	})
}

func TestExpiredProjectedTokenIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		writeFile(t, path, projected(t, subject, "", time.Hour))
		source := w.federated(t, path)

		// Within the grace Entra decides, whose clock may be another.
		time.Sleep(time.Hour + 5*time.Minute)
		_, err := source.Token(t.Context(), ask())
		if e := wantError(t, err, entra.Misconfigured, "is it renewed"); e.AADSTS != 700024 {
			t.Errorf("got AADSTS%d, want Entra's 700024", e.AADSTS)
		}

		time.Sleep(time.Second)
		_, err = source.Token(t.Context(), ask())
		wantError(t, err, entra.Misconfigured, "workload identity token "+path+": expired at 2000-01-01T01:00:00Z: is the projected volume mounted with subPath")
		if got := emulated.Stats().Tokens; got != 1 {
			t.Errorf("Entra was asked %d times, want once", got)
		}
	})
}

func TestUntrustedProjectedTokenIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	stranger, err := entraemu.NewFederatedIssuer("https://stranger.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		token func() (string, error)
		says  string
	}{
		"issuer": {
			func() (string, error) { return stranger.Token(subject, "", time.Hour) },
			`has the issuer of workload identity token ` + path + ` (issuer "https://stranger.example"`,
		},
		"subject": {
			func() (string, error) { return projected(t, "system:serviceaccount:soc:other", "", time.Hour), nil },
			`subject "system:serviceaccount:soc:other"`,
		},
		"audience": {
			func() (string, error) { return projected(t, subject, "https://kubernetes.default.svc", time.Hour), nil },
			`audience "https://kubernetes.default.svc"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.emulate(t)
				token, err := tc.token()
				if err != nil {
					t.Fatal(err)
				}
				writeFile(t, path, token)
				_, err = w.federated(t, path).Token(t.Context(), ask())
				wantError(t, err, entra.Misconfigured, tc.says)
			})
		})
	}
}

func TestTokenFileHasToHoldAToken(t *testing.T) {
	path := secretFile(t, "")
	for name, tc := range map[string]struct{ content, says string }{
		"empty":     {"", "file " + path + ": is empty"},
		"a secret":  {"canary", "workload identity token " + path + ": token: opaque"},
		"no JSON":   {"canary.canary.canary", "is not base64url of JSON: name the file of a projected service account token"},
		"too large": {strings.Repeat("a", 65<<10), "is larger than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, path, tc.content)
			_, err := broker.OpenTokenFile(path, slog.New(slog.DiscardHandler))
			wantError(t, err, entra.Misconfigured, tc.says)
		})
	}
}

func TestBrokenTokenFileIsNamedWhenItsTokenHasExpired(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.emulate(t)
		writeFile(t, path, projected(t, subject, "", time.Hour))
		source := w.federated(t, path)
		writeFile(t, path, "canary")
		if _, err := source.Token(t.Context(), ask()); err != nil {
			t.Errorf("got %v, want the token of before used", err)
		}
		time.Sleep(time.Hour + 6*time.Minute)
		_, err := source.Token(t.Context(), ask())
		wantError(t, err, entra.Misconfigured, "workload identity token "+path+": token: opaque")
	})
}

func TestRotatedIssuerKeyNeedsANewToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	rotated, err := entraemu.NewFederatedIssuer(issuer)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		writeFile(t, path, projected(t, subject, "", time.Hour))
		source := w.federated(t, path)
		if err := emulated.SetIssuerKeys(issuer, rotated.Issuer().Keys); err != nil {
			t.Fatal(err)
		}
		_, err := source.Token(t.Context(), ask())
		wantError(t, err, entra.Misconfigured, "Entra refuses the signature of workload identity token "+path+
			` (issuer "`+issuer+`", subject "`+subject+`", audience "api://AzureADTokenExchange") for app `+client+": is its issuer's discovery document the current one?")
		token, err := rotated.Token(subject, "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, token)
		if _, err := source.Token(t.Context(), ask()); err != nil {
			t.Error(err)
		}
	})
}
