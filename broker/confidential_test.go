package broker_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"tokenbroker/broker"
	"tokenbroker/entra"
)

func TestSourcesWantAWholeApp(t *testing.T) {
	w := newWorld(t)
	env, err := broker.NewSecretEnv("AZURE_CLIENT_SECRET", entra.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		edit func(*broker.App)
		kind entra.Kind
		says string
	}{
		{"plain http", func(a *broker.App) { a.Authority = "http://login.example" }, entra.Invalid, "want https"},
		{"tenant alias", func(a *broker.App) { a.Tenant = "common" }, entra.Invalid, "want a GUID or a domain name"},
		{"client by name", func(a *broker.App) { a.ClientID = "my-app" }, entra.Invalid, "want the application (client) id"},
		{"no client", func(a *broker.App) { a.HTTP = nil }, entra.Internal, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			app := w.app(t)
			tc.edit(&app)
			_, err := broker.NewConfidential(app, env)
			wantError(t, err, tc.kind, tc.says)
		})
	}
}

// A source ends up in somebody's struct, and that in a log.
func TestSourcesPrintNoSecret(t *testing.T) {
	app := newWorld(t).app(t)
	file, err := broker.OpenSecretFile(secretFile(t, secret), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	source, err := broker.NewConfidential(app, file)
	if err != nil {
		t.Fatal(err)
	}
	own := newIdentity(t, 0, time.Hour)
	token := projected(t, subject, "", time.Hour)
	cert, err := openCertificate(t, t.TempDir(), own.certPEM(), own.keyPEM(), "canary", new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	certified, err := broker.NewConfidential(app, cert)
	if err != nil {
		t.Fatal(err)
	}
	federated, err := broker.OpenTokenFile(secretFile(t, token), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, v := range []any{source, file, newConfidential(t, app), certified, cert, federated} {
		fmt.Fprintf(&log, "%v %+v %#v %s %q", v, v, v, v, v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("source", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("source", "v", v)
	}
	for _, secret := range []string{"canary", token, own.key.D.String(), own.key.Primes[0].String(), fmt.Sprint(own.key.D.Bits())} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("a secret shows: %s", log.String())
		}
	}
}

func TestSourceWithoutASecretIsMisconfigured(t *testing.T) {
	source, err := broker.NewConfidential(newWorld(t).app(t), new(broker.SecretEnv))
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Token(t.Context(), ask())
	wantError(t, err, entra.Misconfigured, "holds no secret")
}
