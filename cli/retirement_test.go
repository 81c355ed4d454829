package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tokenbroker/config"
)

// configured is the broker of a configuration, which asks nobody anything.
func configured(t *testing.T, routes string) *app {
	t.Helper()
	dir := t.TempDir()
	secret, file := filepath.Join(dir, "client-secret"), filepath.Join(dir, "tokenbroker.yaml")
	text := "identities: {default: {tenant: " + contoso + ", client_id: " + theApp + ", credential: {kind: secret, file: '" + secret + "'}}}\n" + routes
	for name, content := range map[string]string{secret: "secret", file: text} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(config.Options{Catalogue: catalogue(t), File: file})
	if err != nil {
		t.Fatal(err)
	}
	a, err := build(cfg, surroundings{catalogue: catalogue(t), logger: newLogger(t.Output(), cfg.Log)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.close(t.Context()) })
	return a
}

// What check says of what ends: of each route only what it lets through, of the
// routes that the configuration names, and of what is not settled once.
func TestCheckSaysWhatEnds(t *testing.T) {
	const (
		hunting   = "POST /api/advancedhunting/run, POST /api/advancedqueries/run"
		graph     = "; Graph has POST /v1.0/security/runHuntingQuery (ThreatHunting.Read.All): "
		callGraph = graph + "call it by route graph\n"
		addGraph  = graph + "add a route that lets it through (routes: {graph: {}}), and call it there\n"
		unsettled = "\nnot settled: Microsoft's notice MC1220762, by its wording, also ends on 2027-02-01, in 72 days: "
		narrow    = ". The documentation speaks of hunting alone. "
		see       = " of them have a counterpart in Graph: see tokenbroker endpoints\n"
	)
	soon := time.Date(2026, 11, 21, 23, 59, 0, 0, time.FixedZone("", -3600)) // the 22nd, in UTC
	for _, tt := range []struct {
		name, routes string
		now          time.Time
		want         string
	}{
		{
			"everything", "routes: {defender: {}}", soon.Add(-time.Hour),
			"\nends on 2027-02-01, in 72 days: " + hunting + " by route defender" + callGraph + unsettled + "113 more endpoints by defender" + narrow + "6" + see,
		},
		{"nothing named: the default route", "", soon, "\nends on 2027-02-01, in 71 days: " + hunting + " by route defender" + callGraph},
		{
			"its own API of one host", "routes: {mde: {access: read-only}}", soon.Add(-time.Hour),
			"\nends on 2027-02-01, in 72 days: POST /api/advancedqueries/run by route mde" + addGraph + unsettled + "81 more endpoints by mde" + narrow + "2" + see,
		},
		{
			"of two routes the sum", "routes: {a: {upstream: 'https://api.security.microsoft.com', allow: [{path: /api/alerts}, {path: /api/machines}]}, b: {upstream: 'https://api.security.microsoft.com', allow: [{path: /api/alerts}]}}", soon.Add(-time.Hour),
			unsettled + "2 more endpoints by a, b" + narrow + "1" + see,
		},
		{"denied", "routes: {defender: {deny: [{path: '/api/**'}]}}", soon, ""},
		{"another's API with the same paths", "routes: {ours: {upstream: 'https://api.example', scope: 'api://ours/.default'}}\ndefault_route: ours", soon, ""},
		{"Graph", "routes: {graph: {}}\ndefault_route: graph", soon, ""},
		{
			"the day has come", "routes: {defender: {allow: [{path: /api/advancedhunting/run}]}, graph: {}}", time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC),
			"\nends on 2027-02-01: POST /api/advancedhunting/run by route defender" + callGraph,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			configured(t, tt.routes).writeEndings(&b, tt.now)
			if got := b.String(); got != tt.want && (tt.routes != "" || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("got:  %s\nwant: %s", got, tt.want)
			}
		})
	}
}
