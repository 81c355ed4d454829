package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"tokenbroker/config"
	"tokenbroker/defender"
	"tokenbroker/entra"
)

func newHealthcheck(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Exit 0 when the broker is ready, for images without a shell",
		Args:  cobra.NoArgs,
	}
	url := cmd.Flags().String("url", "", "the ops listener (default: listen.ops of the configuration)")
	file := configFlag(cmd, sys)
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		target := *url
		if target == "" {
			ops, err := opsAddress(sys, *file)
			if err != nil {
				return err
			}
			target = "http://" + ops
		}
		if err := checkURL(target, false); err != nil {
			return err
		}
		client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, target+"/readyz", nil)
		if err != nil {
			return wrongUsage("--url %q: %w", target, err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return entra.Errorf(entra.Unavailable, "", "healthcheck: %w", err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		if resp.StatusCode != http.StatusOK {
			return entra.Errorf(entra.Unavailable, "", "healthcheck: %s answered %s: %s", target, resp.Status, body)
		}
		if *output == "json" {
			return writeJSON(sys.Out, map[string]string{"status": "ready"})
		}
		_, err = fmt.Fprintln(sys.Out, "ready")
		return err
	}
	return cmd
}

// opsAddress is where this machine's broker has its ops listener. What else the
// configuration says does not matter, not even whether it is right.
func opsAddress(sys System, file string) (string, error) {
	catalogue, err := defender.Load()
	if err != nil {
		return "", err
	}
	cfg, err := config.Load(config.Options{Catalogue: catalogue, File: file, Env: settingsOf(sys.Env)})
	if cfg == nil {
		return "", err
	}
	ops := cfg.Listen.Ops
	if addr, err := netip.ParseAddr(ops.Host); ops.Host == "" || err == nil && addr.IsUnspecified() {
		ops.Host = "localhost"
	}
	return ops.String(), nil
}
