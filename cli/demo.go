package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tokenbroker/config"
	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/guard"
)

func newDemo(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try everything without an account: a fake Entra, a fake Defender and the broker in one process",
		Args:  cobra.NoArgs,
	}
	var d demo
	cmd.Flags().StringVar(&d.callers, "callers", "localhost:5178", "where the broker listens for callers")
	cmd.Flags().StringVar(&d.ops, "ops", "localhost:5179", "where it listens for operators")
	cmd.Flags().StringVar(&d.key, "key", "", "a caller key to ask for; a toy, real keys come from files")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		d.json = *output == "json"
		if strings.HasPrefix(d.callers, "unix:") {
			return wrongUsage("--callers %s: want host:port, so that the printed lines can be pasted", d.callers)
		}
		return d.run(cmd.Context(), sys)
	}
	return cmd
}

// demo is the broker in front of the emulator.
type demo struct {
	callers, ops, key string
	json              bool
}

func (d demo) run(ctx context.Context, sys System) error {
	dir, err := os.MkdirTemp("", "tokenbroker-demo-")
	if err != nil {
		return entra.Errorf(entra.Internal, "demo", "no temporary directory: %w", err)
	}
	defer os.RemoveAll(dir)
	// Short pages, so that an answer fits a screen and has a next page.
	fake, err := startEmulator(ctx, emulatorConfig{entraAddr: "127.0.0.1:0", defenderAddr: "127.0.0.1:0", limits: true, pageSize: 10})
	if err != nil {
		return err
	}
	defer fake.close()
	file, err := d.configure(dir, fake)
	if err != nil {
		return err
	}
	catalogue, err := defender.Load()
	if err != nil {
		return err
	}
	// The environment is not passed on: the demo is the same on every machine.
	cfg, err := config.Load(config.Options{Catalogue: catalogue, File: file})
	if err != nil {
		return err
	}
	log := newLogWriter(sys.Err)
	defer log.Close()
	around := surroundings{catalogue: catalogue, logger: newLogger(log, cfg.Log)}
	if d.key != "" { // a toy, which a key file would refuse
		around.keys = guard.NewKeyring(map[string][]entra.Secret{guard.Local: {entra.NewSecret(d.key)}})
	}
	app, err := build(cfg, around)
	if err != nil {
		return err
	}
	return app.serve(ctx, log, nil, func(at addresses) { _ = d.announce(sys, at, fake, filepath.Join(dir, "ca.pem")) })
}

// configure writes what a user would: a configuration and the files that it
// names.
func (d demo) configure(dir string, fake *fakes) (string, error) {
	write := func(name, content string) (string, error) {
		path := filepath.Join(dir, name)
		return path, os.WriteFile(path, []byte(content), 0o600)
	}
	ca, caErr := write("ca.pem", string(fake.ca.PEM()))
	secret, secretErr := write("client-secret", fake.secret.Reveal()+"\n")
	settings := map[string]any{
		"listen":    map[string]any{"callers": []string{d.callers}, "ops": d.ops},
		"authority": fake.entra.url,
		"ca_file":   ca,
		"identities": map[string]any{"default": map[string]any{
			"tenant": fake.tenant, "client_id": fake.clientID,
			"credential": map[string]any{"kind": "secret", "file": secret},
		}},
		"routes": map[string]any{
			"defender":   map[string]any{"upstream": fake.defender.url},
			"mde":        map[string]any{"upstream": fake.defender.url},
			"mde-legacy": map[string]any{"upstream": fake.defender.url},
			"graph":      map[string]any{"upstream": fake.defender.url},
		},
		"log": map[string]any{"format": "text"},
	}
	content, err := json.MarshalIndent(settings, "", "  ") // JSON is YAML
	if err != nil {
		return "", err
	}
	file, fileErr := write("tokenbroker.yaml", string(content))
	return file, errors.Join(caErr, secretErr, fileErr)
}

// announce says what to try, once it can be tried.
func (d demo) announce(sys System, at addresses, fake *fakes, caFile string) error {
	callers, ops := "http://"+asLocalhost(at.Callers[0], d.callers), "http://"+asLocalhost(at.Ops, d.ops)
	if d.json {
		line, err := json.Marshal(map[string]any{
			"callers": callers, "ops": ops, "key": d.key, "tenant": fake.tenant, "client_id": fake.clientID,
			"emulator": map[string]string{"entra": fake.entra.url, "defender": fake.defender.url, "ca_file": caFile},
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(sys.Out, string(line))
		return err
	}
	header := ""
	if d.key != "" {
		header = " -H 'X-Broker-Key: " + strings.ReplaceAll(d.key, "'", `'\''`) + "'"
	}
	_, err := fmt.Fprintf(sys.Out, `tokenbroker demo: a fake Entra, a fake Defender and the broker, in this process.
No account, no secret: paste a line into another terminal.

  incidents   curl -s%[3]s '%[1]s/proxy/defender/api/incidents'
  machines    curl -s%[3]s '%[1]s/proxy/defender/api/machines?$top=3'
  hunting     curl -s%[3]s '%[1]s/proxy/defender/api/advancedhunting/run' -d '{"Query":"DeviceInfo | take 5"}'
  a token     curl -s%[3]s '%[1]s/token?route=defender'

The two APIs behind /proxy/defender need tokens of different audiences; the
broker picks them by path. The next page of a list is its "@odata.nextLink".

  broker      %[1]s   ops %[2]s/readyz
  emulator    entra %[4]s   defender %[5]s
              (its certificate authority: %[6]s)
  tenant      %[7]s
  client      %[8]s

Ctrl-C ends it.
`, callers, ops, header, fake.entra.url, fake.defender.url, caFile, fake.tenant, fake.clientID)
	return err
}

// asLocalhost writes an address by the name that was asked for.
func asLocalhost(address, asked string) string {
	if _, port, err := net.SplitHostPort(address); err == nil && strings.HasPrefix(asked, "localhost:") {
		return net.JoinHostPort("localhost", port)
	}
	return address
}
