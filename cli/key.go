package cli

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"
)

func newKey(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Caller keys, by which the broker knows its callers",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return wrongUsage("key: want key new") },
	}
	fresh := &cobra.Command{
		Use:   "new",
		Short: "Print a new caller key, for caller_key_file",
		Example: "  umask 077 && tokenbroker key new > caller-key\n" +
			"  curl -H \"X-Broker-Key: $(cat caller-key)\" http://localhost:5178/routes",
		Args: cobra.NoArgs,
	}
	output := outputFlag(fresh, "text", "json")
	fresh.RunE = func(*cobra.Command, []string) error {
		if *output == "json" {
			return writeJSON(sys.Out, map[string]string{"key": newKeyText()})
		}
		_, err := fmt.Fprintln(sys.Out, newKeyText())
		return err
	}
	cmd.AddCommand(fresh)
	return cmd
}

const (
	keyPrefix = "tbk_" // by which secret scanners and people know a key
	keyBytes  = 32
)

// newKeyText is 256 random bits behind the prefix.
func newKeyText() string {
	bits := make([]byte, keyBytes)
	_, _ = rand.Read(bits) // never fails, as its documentation says
	return keyPrefix + base64.RawURLEncoding.EncodeToString(bits)
}
