package cli

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"tokenbroker/entra"
)

func newHealthcheck(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Exit 0 when the broker is ready, for images without a shell",
		Args:  cobra.NoArgs,
	}
	url := cmd.Flags().String("url", "", "the ops listener (default http://localhost:5179, or TOKENBROKER_LISTEN_OPS)")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		target := *url
		if target == "" {
			target = opsURL(sys)
		}
		if err := checkURL(target); err != nil {
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

// opsURL is where this container's broker has its ops listener.
func opsURL(sys System) string {
	address := sys.Getenv("TOKENBROKER_LISTEN_OPS")
	switch {
	case address == "":
		address = "localhost:5179"
	case address[0] == ':':
		address = "localhost" + address
	}
	return "http://" + address
}
