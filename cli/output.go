package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
)

// outputFlag adds -o with the formats that a command knows; the first is the
// default.
func outputFlag(cmd *cobra.Command, formats ...string) *string {
	output := cmd.Flags().StringP("output", "o", formats[0], "output format: "+strings.Join(formats, ", "))
	check := func(_ *cobra.Command, _ []string) error {
		if !slices.Contains(formats, *output) {
			return wrongUsage("-o %q: want %s", *output, strings.Join(formats, ", "))
		}
		return nil
	}
	cmd.Args = allOf(cmd.Args, check)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return output
}

func allOf(checks ...cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for _, check := range checks {
			if check == nil {
				continue
			}
			if err := check(cmd, args); err != nil {
				return err
			}
		}
		return nil
	}
}

// writeJSON writes v for a program to read.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table writes rows in columns, the first row being the heading.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// printable passes text on to a terminal without what would steer it: a token
// comes from a stranger.
type printable struct{ w io.Writer }

func (p *printable) Write(b []byte) (int, error) {
	clean := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, string(b))
	_, err := io.WriteString(p.w, clean)
	return len(b), err
}
