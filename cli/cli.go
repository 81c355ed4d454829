// Package cli is the command line: one file a command. Its wire.go is the one
// place where the packages of the broker meet.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tokenbroker/entra"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

// System is what a program has from its surroundings. Tests bring their own.
type System struct {
	Name string   // that the program was called by; empty: tokenbroker
	Args []string // without the name
	Env  []string // KEY=VALUE
	In   io.Reader
	Out  io.Writer
	Err  io.Writer
}

// Getenv returns a variable, the last one of its name; empty where unset.
func (s System) Getenv(name string) string {
	value := ""
	for _, entry := range s.Env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// Main runs one command until it is done or ctx ends, and returns its exit
// code: 0 done, 1 failed, 2 wrong usage or configuration.
func Main(ctx context.Context, sys System) int {
	root := newRoot(sys)
	if calledAz(sys.Name) {
		root = newAz(sys)
	}
	root.SetArgs(sys.Args)
	root.SetIn(sys.In)
	root.SetOut(sys.Out)
	root.SetErr(sys.Err)
	ran := false
	noteRuns(root, &ran)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if silent, ok := errors.AsType[exitError](err); ok {
		return int(silent)
	}
	fmt.Fprintln(&printable{sys.Err}, "tokenbroker: "+faults(err))
	if !ran || entra.KindOf(err) == entra.Invalid {
		return exitUsage
	}
	return exitFailed
}

// noteRuns notes when a command runs. What fails before is its use: a flag, a
// group of flags, an argument. (cobra looks at the groups after PreRun.)
func noteRuns(group *cobra.Command, ran *bool) {
	for _, c := range group.Commands() {
		if run := c.RunE; run != nil {
			c.RunE = func(cmd *cobra.Command, args []string) error {
				*ran = true
				return run(cmd, args)
			}
		}
		noteRuns(c, ran)
	}
}

// exitError ends a command that has already said what there is to say.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// faults is the text of an error for a terminal, each of several faults on a
// line of its own. Who sits there may read the cause of an internal error too.
func faults(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		lines := make([]string, 0, 4)
		for _, one := range joined.Unwrap() {
			lines = append(lines, faults(one))
		}
		return strings.Join(lines, "\n")
	}
	if e, ok := err.(*entra.Error); ok && e.Err != nil { //nolint:errorlint // the outermost one, not a wrapped one
		return e.Err.Error() + aside(e)
	}
	return err.Error()
}

// aside is what support asks for, behind a failure's text.
func aside(e *entra.Error) string {
	if e.CorrelationID == "" {
		return ""
	}
	return " [correlation id " + e.CorrelationID + "]"
}

func newRoot(sys System) *cobra.Command {
	root := &cobra.Command{
		Use:   "tokenbroker",
		Short: "Microsoft Entra tokens for local programs, which hold no secret",
		Long: "tokenbroker gets Microsoft Entra tokens, keeps them, and hands them to local\n" +
			"callers or proxies calls to the Microsoft Defender APIs with the token added.\n\n" +
			"Try it without an account: tokenbroker demo",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		newServe(sys), newDemo(sys), newEmulate(sys), newCheck(sys), newToken(sys), newLogin(sys), newLogout(sys), newWhoami(sys), newDecode(sys), newConsentURL(sys),
		newEndpoints(sys), newSetup(sys), newEnv(sys), newKey(sys), newHealthcheck(sys), newVersion(sys),
	)
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		// cobra's own shows its help for a shell that it does not know.
		completion.RunE = func(*cobra.Command, []string) error {
			return wrongUsage("completion: want bash, zsh, fish or powershell")
		}
	}
	return root
}

// wrongUsage is a failure of how a command was called.
func wrongUsage(format string, args ...any) error {
	return entra.Errorf(entra.Invalid, "", format, args...)
}
