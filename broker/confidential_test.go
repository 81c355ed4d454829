package broker_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

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
			_, err = broker.NewFederated(app, new(broker.TokenFile))
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
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("sources", "a", source, "b", newConfidential(t, app), "c", file)
	for _, v := range []any{source, file, newConfidential(t, app)} {
		fmt.Fprintf(&log, "%v %+v %#v %s %q", v, v, v, v, v)
	}
	if strings.Contains(log.String(), "canary") {
		t.Errorf("the secret shows: %s", log.String())
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
