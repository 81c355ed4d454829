package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tokenbroker/config"
	"tokenbroker/defender"
)

func newEnv(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print what an application has to set to use this broker",
		Long: "env prints the environment variables by which an application that knows nothing of\n" +
			"the broker gets its tokens from it, as the configuration has it. Of a key it prints\n" +
			"where to read it, never the key.",
		Example: "  eval \"$(tokenbroker env --config tokenbroker.yaml)\"\n" +
			"  tokenbroker env --protocol imds -o k8s",
		Args: cobra.NoArgs,
	}
	protocols := envProtocols()
	names := make([]string, len(protocols))
	for i, p := range protocols {
		names[i] = p.name
	}
	name := cmd.Flags().String("protocol", names[0], "how the application asks: "+strings.Join(names, ", "))
	caller := cmd.Flags().String("caller", "", "the caller whose key the application gets (default: local, or the only one that has a key)")
	file := configFlag(cmd, sys)
	output := outputFlag(cmd, "shell", "dotenv", "k8s", "powershell", "json")
	_ = cmd.RegisterFlagCompletionFunc("protocol", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(*cobra.Command, []string) error {
		i := slices.Index(names, *name)
		if i < 0 {
			return wrongUsage("--protocol %q: want %s", *name, strings.Join(names, ", "))
		}
		catalogue, err := defender.Load()
		if err != nil {
			return err
		}
		cfg, err := config.Load(config.Options{Catalogue: catalogue, File: *file, Env: settingsOf(sys.Env)})
		if err != nil {
			return err
		}
		variables, err := protocols[i].set(cfg, *caller)
		if err != nil {
			return atPath("--protocol "+*name, err)
		}
		protocols[i].warn(sys)
		return writeEnv(sys.Out, *output, variables, protocols[i].notesOn(variables))
	}
	return cmd
}

// envVariable is a variable that an application has to set.
type envVariable struct {
	name, value string
	keyFile     string // not empty: the value is the first key in that file
}

// envProtocol is a way to get tokens that SDKs and tools choose by variables.
type envProtocol struct {
	name      string
	setting   string                    // that turns it on
	on        func(*config.Config) bool // nil: always
	proof     envProof
	variables func(envPlace) ([]envVariable, error)
	notes     []string      // what else to know
	beaten    []envConflict // by which variables
}

// envProof says whether a protocol carries a caller key.
type envProof int

const (
	keyPossible envProof = iota // where the broker asks for one
	keyDemanded                 // always
	keyless                     // never
)

// envConflict is a variable that wins over those of a protocol, or spoils them.
type envConflict struct {
	name   string
	value  string // with which it does; empty: any
	effect string
}

// set lists the variables, or says what keeps applications from using the
// protocol, and the setting that mends it.
func (p *envProtocol) set(cfg *config.Config, caller string) ([]envVariable, error) {
	at, err := newEnvPlace(cfg, caller)
	switch {
	case err != nil:
		return nil, err
	case !cfg.Tokens.HandOut:
		return nil, wrongUsage("the broker hands out no tokens; set tokens.hand_out: true")
	case p.on != nil && !p.on(cfg):
		return nil, wrongUsage("off in the configuration; set %s: true", p.setting)
	case p.proof == keyless && asksProof(cfg) && !at.admitsAnonymous():
		return nil, wrongUsage("it cannot carry a key, and the broker asks for one; add a caller named anonymous, with what it may have")
	case p.proof == keyDemanded && at.keyFile == "" && asksProof(cfg):
		return nil, wrongUsage("it demands a key, and no caller has one; set caller_key_file, or a caller's key_file")
	case p.proof == keyDemanded && at.keyFile == "":
		return nil, wrongUsage("it demands a key; set identity_header_file, where the broker writes one at its start, or caller_key_file")
	}
	return p.variables(at)
}

// notesOn are what else to know, with what it means to trust a certificate.
func (p *envProtocol) notesOn(variables []envVariable) []string {
	if slices.ContainsFunc(variables, func(v envVariable) bool { return v.name == trustInGo }) {
		return append([]string{noteTLS}, p.notes...)
	}
	return p.notes
}

// warn tells of variables that are set here and would win.
func (p *envProtocol) warn(sys System) {
	for _, c := range p.beaten {
		set := sys.Getenv(c.name)
		switch {
		case set == "" || c.value != "" && set != c.value:
		case isProxy(c.name) && skipsProxy(sys):
		default:
			fmt.Fprintf(&printable{sys.Err}, "warning: %s is set here: %s\n", c.name, c.effect)
		}
	}
}

func isProxy(name string) bool { return strings.HasSuffix(strings.ToUpper(name), "_PROXY") }

// skipsProxy reports whether loopback is reached without a proxy.
func skipsProxy(sys System) bool {
	for host := range strings.SplitSeq(orElse(sys.Getenv("NO_PROXY"), sys.Getenv("no_proxy")), ",") {
		if host = strings.TrimSpace(host); host == "*" || host == "127.0.0.1" {
			return true
		}
	}
	return false
}
