package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tokenbroker/entra"
)

func newEmulate(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "emulate",
		Short: "Run the fake Entra and the fake Defender alone, for your own tests",
		Example: "  tokenbroker emulate --ca-out ca.pem -o json\n" +
			"  curl --cacert ca.pem https://127.0.0.1:5181/_emulator/stats",
		Args: cobra.NoArgs,
	}
	var cfg emulatorConfig
	flags := cmd.Flags()
	flags.StringVar(&cfg.entraAddr, "entra", "127.0.0.1:5181", "where the fake Entra listens")
	flags.StringVar(&cfg.defenderAddr, "defender", "127.0.0.1:5182", "where the fake Defender listens")
	flags.BoolVar(&cfg.limits, "limits", false, "enforce the documented ceilings of calls per minute and hour")
	flags.IntVar(&cfg.machines, "machines", 0, "how many devices there are, from 300 on")
	flags.IntVar(&cfg.pageSize, "page-size", 0, "rows on a page, where an API has pages of its own choice")
	caOut := flags.String("ca-out", "", "write the certificate authority's certificate to this file")
	secretFile := flags.String("secret-file", "", "the client secret to expect (default: a random one, printed)")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *secretFile != "" {
			content, err := readSmall(*secretFile)
			if err != nil {
				return atPath("--secret-file", err)
			}
			if cfg.secret = entra.NewSecret(strings.TrimSpace(string(content))); cfg.secret.IsZero() {
				return wrongUsage("--secret-file: %s is empty", *secretFile)
			}
		}
		return emulate(cmd.Context(), sys, cfg, *caOut, *output)
	}
	return cmd
}

// emulate runs the emulator until ctx ends.
func emulate(ctx context.Context, sys System, cfg emulatorConfig, caOut, output string) error {
	fake, err := startEmulator(ctx, cfg)
	if err != nil {
		return err
	}
	defer fake.close()
	if caOut != "" {
		if err := fake.ca.WriteFile(caOut); err != nil {
			return err
		}
	}
	secret := ""
	if cfg.secret.IsZero() {
		secret = fake.secret.Reveal() // good for nothing but this emulator
	}
	users := map[string]string{} // and their passwords, no more than the secret is
	for _, u := range fake.users {
		users[u.UPN] = u.Password.Reveal()
	}
	first := fake.users[0].UPN
	if output == "json" {
		line, err := json.Marshal(map[string]any{
			"entra": fake.entra.url, "defender": fake.defender.url, "ca_file": caOut,
			"tenant": fake.tenant, "client_id": fake.clientID, "client_secret": secret,
			"user": first, "password": users[first], "users": users,
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(sys.Out, string(line))
	} else {
		rows := [][]string{
			{"entra", fake.entra.url},
			{"defender", fake.defender.url},
			{"ca file", orElse(caOut, "not written, see --ca-out")},
			{"tenant", fake.tenant},
			{"client id", fake.clientID},
			{"client secret", orElse(secret, "the one of --secret-file")},
			{"a user", first},
			{"their password", users[first]},
			{"stats and faults", fake.entra.url + "/_emulator/stats, /_emulator/faults (the same at defender)"},
		}
		if err := table(sys.Out, rows); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}
