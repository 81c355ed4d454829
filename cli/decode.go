package cli

import (
	"bytes"
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
		Long: "decode reads a token from standard input and shows its header, its claims, its\n" +
			"times in words and the endpoints that it opens. It checks no signature and\n" +
			"sends nothing anywhere.",
		Example: "  tokenbroker token --route defender -o token | tokenbroker decode",
		Args:    cobra.MaximumNArgs(1),
	}
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		raw, err := tokenText(sys, args)
		if err != nil {
			return err
		}
		jwt, err := entra.ParseJWT(raw)
		if err != nil {
			return err
		}
		catalogue, err := defender.Load()
		if err != nil {
			return err
		}
		report := inspect(catalogue, jwt, time.Now())
		if *output == "json" {
			return writeJSON(sys.Out, report)
		}
		return report.write(sys.Out)
	}
	return cmd
}

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

// report is what decode says of a token.
type report struct {
	Header      json.RawMessage `json:"header"`
	Claims      json.RawMessage `json:"claims"`
	Audience    entra.Audience  `json:"audience"`
	API         string          `json:"api"` // in words; empty: not one that the catalogue knows
	Kind        string          `json:"kind"`
	Permissions []string        `json:"permissions"`
	Times       []string        `json:"times"`
	Opens       []string        `json:"opens"`
	Advice      []string        `json:"advice,omitempty"`
}

func inspect(catalogue *defender.Catalogue, jwt entra.JWT, now time.Time) *report {
	c := jwt.Claims
	r := &report{
		Header: jwt.Header, Claims: jwt.Payload, Audience: c.Audience,
		Kind: "application (roles)", Permissions: c.Permissions(), Times: times(&c, now),
		Opens: []string{},
	}
	if c.Delegated() {
		r.Kind = "delegated (scp)"
	}
	for _, e := range catalogue.Endpoints() {
		if !catalogue.Opens(c.Audience, e.API) {
			continue
		}
		r.API = string(e.API)
		if len(defender.Missing(&e, &c)) == 0 {
			r.Opens = append(r.Opens, e.String())
		}
	}
	r.Advice = advice(&c, r, now)
	return r
}

// advice names what is likely wrong with a token.
func advice(c *entra.Claims, r *report, now time.Time) []string {
	var lines []string
	if exp := c.Expires.Time(); !exp.IsZero() && !now.Before(exp) {
		lines = append(lines, "it has expired")
	}
	if nbf := c.NotBefore.Time(); now.Add(time.Minute).Before(nbf) {
		lines = append(lines, "it is not valid yet: is this machine's clock right?")
	}
	switch {
	case r.API == "":
		lines = append(lines, "its audience is no Defender API that the catalogue knows")
	case len(r.Permissions) == 0:
		lines = append(lines, "it has no permissions: add them to the app registration under this API, then grant admin consent")
	case len(r.Opens) == 0:
		lines = append(lines, "its permissions open no endpoint of this API")
	}
	return lines
}

func times(c *entra.Claims, now time.Time) []string {
	var lines []string
	for _, t := range []struct {
		name string
		at   entra.Epoch
	}{{"issued", c.IssuedAt}, {"valid from", c.NotBefore}, {"expires", c.Expires}} {
		if t.at != 0 {
			lines = append(lines, fmt.Sprintf("%s %s (%s)", t.name, t.at.Time().Format(time.RFC3339), relative(t.at.Time().Sub(now))))
		}
	}
	return lines
}

func relative(d time.Duration) string {
	if d < 0 {
		return (-d).Round(time.Second).String() + " ago"
	}
	return "in " + d.Round(time.Second).String()
}

func (r *report) write(w io.Writer) error {
	w = &printable{w}
	var header, claims bytes.Buffer
	_ = json.Compact(&header, r.Header) // both are JSON, ParseJWT has seen to it
	_ = json.Indent(&claims, r.Claims, "", "  ")
	fmt.Fprintf(w, "header       %s\nclaims       %s\n\n", field(header.String()), claims.String())
	line := func(name, value string) { fmt.Fprintf(w, "%-12s %s\n", name, field(value)) }
	line("audience", strings.Join(r.Audience, ", "))
	line("api", orElse(r.API, "unknown"))
	line("kind", r.Kind)
	line("permissions", orElse(strings.Join(r.Permissions, " "), "none"))
	for _, t := range r.Times {
		line("time", t)
	}
	for _, endpoint := range r.Opens {
		line("opens", endpoint)
	}
	for _, note := range r.Advice {
		line("note", note)
	}
	return nil
}
