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
	"golang.org/x/term"
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

// table writes rows, the first one being the heading: in columns for a person
// at a terminal, else with a tab between the fields, as cut and awk read them.
func table(w io.Writer, rows [][]string) error {
	if !isTerminal(w) {
		for _, row := range rows {
			if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
				return err
			}
		}
		return nil
	}
	tw := tabwriter.NewWriter(&printable{w}, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// isTerminal reports whether a person reads what is written.
func isTerminal(file any) bool {
	f, ok := file.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// printable passes text on to a terminal without what would steer it: a token
// comes from a stranger.
type printable struct{ w io.Writer }

func (p *printable) Write(b []byte) (int, error) {
	_, err := io.WriteString(p.w, strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return visible(r)
	}, string(b)))
	return len(b), err
}

// field is a stranger's text as a part of one line of ours: without the line
// breaks by which it could write lines of its own.
func field(s string) string { return strings.Map(visible, s) }

func visible(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}
