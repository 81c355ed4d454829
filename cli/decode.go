package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// maxDecode bounds what decode reads, in bytes.
const maxDecode = 1 << 20

func newDecode(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "decode [-]",
		Short: "Show what is in a token and which Defender endpoints it opens; nothing leaves the machine",
		Long: "decode reads a token from standard input and shows its header, its claims, whose\n" +
			"it is and for whom, its times in words, the Defender endpoints that it opens and\n" +
			"the permissions that it lacks for the others; with --config also which of the routes\n" +
			"there. It checks no signature and sends nothing anywhere.",
		Example: "  tokenbroker token --route defender -o token | tokenbroker decode\n" +
			"  tokenbroker decode --config tokenbroker.yaml <token",
		Args: cobra.MaximumNArgs(1),
	}
	file := cmd.Flags().String("config", "", "a configuration, of which it says what routes the token is good for")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		raw, err := tokenText(sys, args)
		if err != nil {
			return err
		}
		jwt, err := parseToken(raw)
		if err != nil {
			return err
		}
		catalogue, err := defender.Load()
		if err != nil {
			return err
		}
		report := inspect(catalogue, jwt, time.Now())
		if *file != "" {
			if report.Routes, err = inspectRoutes(sys, catalogue, *file, &jwt.Claims); err != nil {
				return err
			}
		}
		if *output == "json" {
			return writeJSON(sys.Out, report)
		}
		return report.write(sys.Out)
	}
	return cmd
}

// parseToken takes a JWT to pieces. What only has as many parts as one, such as
// a refresh token of Entra's, is opaque too.
func parseToken(raw string) (entra.JWT, error) {
	jwt, err := entra.ParseJWT(raw)
	if parts := strings.Split(raw, "."); err != nil && len(parts) == 3 && !strings.HasPrefix(parts[0], jwtBegins) {
		return jwt, entra.Errorf(entra.Invalid, "", "token: opaque, as a refresh token or a code is (it does not begin as a JWT does, with %s): only its issuer can read it", jwtBegins)
	}
	return jwt, err
}

// jwtBegins is how base64url has the begin of a JSON object with a name in it.
const jwtBegins = "ey"

// tokenText reads the token, wherever it was put.
func tokenText(sys System, args []string) (string, error) {
	if len(args) == 1 && args[0] != "-" {
		fmt.Fprintln(sys.Err, "tokenbroker: warning: a token on the command line stays in the shell's history and in the process list; use standard input")
		return trimToken(args[0]), nil
	}
	if isTerminal(sys.In) {
		fmt.Fprintln(sys.Err, "paste the token, then Enter and Ctrl-D:")
	}
	content, err := io.ReadAll(io.LimitReader(sys.In, maxDecode))
	if err != nil {
		return "", entra.Errorf(entra.Invalid, "", "standard input: %w", err)
	}
	if len(content) == 0 {
		return "", wrongUsage("decode: nothing on standard input; pipe the token in")
	}
	return trimToken(string(content)), nil
}

// trimToken takes what people have at hand: the token, an Authorization
// header, or a whole token answer.
func trimToken(s string) string {
	s = strings.TrimSpace(s)
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal([]byte(s), &answer) == nil && answer.AccessToken != "" {
		return answer.AccessToken
	}
	for _, prefix := range []string{"authorization:", "bearer "} {
		if len(s) > len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
			s = strings.TrimSpace(s[len(prefix):])
		}
	}
	return s
}
