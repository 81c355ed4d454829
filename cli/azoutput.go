package cli

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// azOutput is how an answer of az is written.
type azOutput struct {
	format, query string
}

// flags adds those that every command of the Azure CLI has. Those that are about
// its log change nothing here.
func (o *azOutput) flags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVarP(&o.format, "output", "o", "json", "output format: json, jsonc, tsv, none")
	flags.StringVar(&o.query, "query", "", "the member to show, as accessToken or user.name; other JMESPath is not known here")
	for _, name := range []string{"only-show-errors", "verbose", "debug"} {
		flags.Bool(name, false, "changes nothing")
	}
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return o.check() }
}

// check refuses what nobody here can write, before a token is asked for.
func (o *azOutput) check() error {
	if !slices.Contains([]string{"json", "jsonc", "tsv", "none"}, o.format) {
		return wrongUsage("-o %q: want json, jsonc, tsv or none, since %s", o.format, underAz)
	}
	member := regexp.MustCompile(`^(\w+|"[\w-]+")(\.(\w+|"[\w-]+"))*$`)
	if o.query != "" && !member.MatchString(o.query) {
		return wrongUsage("--query %q: want the name of a member, as accessToken, since %s", o.query, underAz)
	}
	return nil
}

// write writes an answer, or the member that is asked for.
func (o *azOutput) write(w io.Writer, answer map[string]any) error {
	value, err := o.pick(answer)
	if err != nil || o.format == "none" {
		return err
	}
	if o.format != "tsv" {
		return writeJSON(w, value)
	}
	if _, ok := value.(map[string]any); ok {
		return wrongUsage("-o tsv: want --query with one of: %s", memberNames(value.(map[string]any)))
	}
	_, err = fmt.Fprintln(w, value)
	return err
}

// pick follows the names of the query, of which a JMESPath may have some in
// quotation marks.
func (o *azOutput) pick(answer map[string]any) (any, error) {
	var value any = answer
	if o.query == "" {
		return value, nil
	}
	for name := range strings.SplitSeq(o.query, ".") {
		members, _ := value.(map[string]any)
		next, ok := members[strings.Trim(name, `"`)]
		if !ok {
			return nil, wrongUsage("--query %q: no such member; there are: %s", o.query, memberNames(answer))
		}
		value = next
	}
	return value, nil
}

func memberNames(members map[string]any) string {
	return strings.Join(slices.Sorted(maps.Keys(members)), ", ")
}
