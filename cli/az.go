package cli

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tokenbroker/broker"
	"tokenbroker/entra"
)

// calledAz reports whether the program goes by the name of the Azure CLI: by a
// link or a copy, so that what shells out to az gets its tokens from the broker,
// also over a Unix socket, which no SDK can dial.
func calledAz(name string) bool {
	return strings.TrimSuffix(strings.ToLower(filepath.Base(name)), ".exe") == "az"
}

// underAz is said wherever more is asked than SDKs do.
const underAz = "this is tokenbroker under the name az"

// newAz is the program under that name. It knows the commands that SDKs and
// Terraform's providers call for a token, in the Azure CLI's own shape, and
// refuses the rest. No text of its begins with "az:", for @azure/identity and
// Azure.Identity take "az:… not found" for a missing program.
func newAz(sys System) *cobra.Command {
	root := &cobra.Command{
		Use:   "az",
		Short: "tokenbroker under the name az: tokens of the running broker as the Azure CLI would print them",
		Long: "This is tokenbroker, called by the name az. It answers what SDKs and scripts ask the\n" +
			"Azure CLI for a token, from the running broker, and nothing else. Where the broker is\n" +
			"stands in TOKENBROKER_URL or TOKENBROKER_SOCKET, the caller key in TOKENBROKER_KEY_FILE.",
		Example: "  az account get-access-token --resource https://api.security.microsoft.com\n" +
			"  az account get-access-token --scope https://api.security.microsoft.com/.default --query accessToken -o tsv",
		Version:           versionText(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetVersionTemplate("tokenbroker {{.Version}} under the name az, which answers as azure-cli " + azVersion + "\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return wrongUsage("%w, since %s", err, underAz) })
	out := new(azOutput)
	out.flags(root)
	account := &cobra.Command{Use: "account", Short: "The token and the account"}
	account.AddCommand(newAzToken(sys, out), newAzAccount(sys, out))
	root.AddCommand(account, newAzVersion(sys, out), azElsewhere("login"), azElsewhere("logout"))
	refuseOthers(root)
	refuseOthers(account)
	return root
}

// refuseOthers has a group of commands say of one that it does not have, flags
// and all, what it is that has been called.
func refuseOthers(group *cobra.Command) {
	group.FParseErrWhitelist.UnknownFlags = true
	group.Args = cobra.ArbitraryArgs
	group.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return wrongUsage("%s %s: not here, since %s; it knows: az account get-access-token, az account show, az version",
			cmd.CommandPath(), field(args[0]), underAz)
	}
}

// azElsewhere is a command that the broker has under its own name.
func azElsewhere(name string) *cobra.Command {
	return &cobra.Command{
		Use: name, Hidden: true, Args: cobra.ArbitraryArgs, FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE: func(*cobra.Command, []string) error {
			return wrongUsage("az %[1]s: not here, since %[2]s; an application's identity needs none, and for one that is a user run: tokenbroker %[1]s IDENTITY", name, underAz)
		},
	}
}

func newAzToken(sys System, out *azOutput) *cobra.Command {
	cmd := &cobra.Command{Use: "get-access-token", Short: "A token from the running broker"}
	var want tokenWanted
	var scopes []string
	var kind, subscription string
	flags := cmd.Flags()
	flags.StringVar(&want.resource, "resource", "", "the resource, such as https://api.security.microsoft.com")
	flags.StringArrayVar(&scopes, "scope", nil, "the scopes, such as https://api.security.microsoft.com/.default")
	flags.StringVar(&kind, "resource-type", "", "a well-known resource of the public cloud: arm, ms-graph (default: arm, as of the Azure CLI)")
	flags.StringVarP(&want.tenant, "tenant", "t", "", "the tenant (default: the identity's)")
	flags.StringVarP(&subscription, "subscription", "s", "", "the id that az account show says, which is the tenant's")
	running := clientFlags(cmd, sys)
	cmd.MarkFlagsMutuallyExclusive("resource", "scope", "resource-type")
	cmd.MarkFlagsMutuallyExclusive("tenant", "subscription")
	cmd.Args = func(_ *cobra.Command, more []string) error {
		// The Azure CLI takes several scopes behind one --scope.
		if len(more) > 0 && len(scopes) == 0 {
			return wrongUsage("%s: not known here, since %s", entra.Quote(more[0]), underAz)
		}
		want.scope = strings.Join(append(scopes, more...), " ")
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := azPaths(running); err != nil {
			return err
		}
		if want.scope == "" && want.resource == "" {
			if want.resource = azResource(kind); want.resource == "" {
				return wrongUsage("--resource-type %s: not known here; say --resource", entra.Quote(kind))
			}
		}
		// To the Azure CLI a subscription means its tenant, and of an account
		// without one the tenant's id stands in its place.
		want.tenant = orElse(want.tenant, subscription)
		var answer tokenAnswer
		if err := running.post(cmd.Context(), "/token", want.form(), &answer); err != nil {
			return azFailure(err, subscription)
		}
		shape, err := answer.az()
		if err != nil {
			return err
		}
		return out.write(sys.Out, shape)
	}
	return cmd
}

// azResource is a well-known resource of the public cloud, of those that a
// broker may have tokens of; empty: none. Without a kind it is the Azure CLI's
// default.
func azResource(kind string) string {
	switch kind {
	case "", "arm":
		return "https://management.core.windows.net/"
	case "ms-graph":
		return "https://graph.microsoft.com/"
	}
	return ""
}

// azPaths refuses what would be looked for in the wrong place: SDKs run az in
// /bin or in the system's folder.
func azPaths(c *client) error {
	for name, path := range map[string]string{"--key-file or " + envKeyFile: c.keyFile, "--socket or " + envSocket: c.socket} {
		if path != "" && !filepath.IsAbs(path) {
			return wrongUsage("%s: %s: want an absolute path, since az is started in other folders", name, path)
		}
	}
	return nil
}

// azFailure puts before a failure that a sign-in cures the words by which SDKs
// know that this credential is not available, so that a chain of them goes on.
func azFailure(err error, subscription string) error {
	e := entra.AsError(err)
	switch {
	case e.Code == broker.LoginRequired:
		return &entra.Error{Kind: e.Kind, CorrelationID: e.CorrelationID, Err: entra.Errorf(e.Kind, "", "Please run 'az login', that is as follows: %w", err)}
	case subscription != "":
		return &entra.Error{Kind: e.Kind, CorrelationID: e.CorrelationID, Err: entra.Errorf(e.Kind, "", "%w (--subscription was taken for the tenant: a broker has no subscriptions)", err)}
	}
	return err
}
