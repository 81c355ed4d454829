package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"tokenbroker/entra"
	"tokenbroker/setup"
)

// setupCredential are the flags that say how the application proves itself.
type setupCredential struct {
	secretFile                                                  string
	days                                                        int
	certificate, certificateFile, keyFile                       string
	issuer, subject, aks, github, workflow, audience, tokenFile string
	managedIdentity                                             string
	systemAssigned                                              bool
	signIn, redirectURI                                         string
}

func credentialFlags(cmd *cobra.Command) *setupCredential {
	c := new(setupCredential)
	f := cmd.Flags()
	f.StringVar(&c.secretFile, "secret-file", "", "a client secret, which the script writes to this file")
	f.IntVar(&c.days, "days", 180, "the days until the client secret expires")
	f.StringVar(&c.certificate, "certificate", "", "a certificate: its public part, PEM; it is written into the script")
	f.StringVar(&c.certificateFile, "certificate-file", "", "where the broker finds the certificate (default that of --certificate)")
	f.StringVar(&c.keyFile, "key-file", "", "where the broker finds the certificate's private key (default in the certificate's file)")
	f.StringVar(&c.aks, "aks", "", "tokens of a Kubernetes service account, NAMESPACE/NAME; with --issuer")
	f.StringVar(&c.github, "github", "", "tokens of the workflows of a repository, OWNER/NAME; with --workflow and --token-file")
	f.StringVar(&c.workflow, "workflow", "", "what the workflow runs for: branch:NAME, tag:NAME, environment:NAME or pull_request")
	f.StringVar(&c.subject, "subject", "", "tokens with this sub; with --issuer")
	f.StringVar(&c.issuer, "issuer", "", "the iss of the tokens, byte by byte")
	f.StringVar(&c.audience, "audience", "", "the aud of the tokens (default api://AzureADTokenExchange)")
	f.StringVar(&c.tokenFile, "token-file", "", "where the broker finds the token (default where AKS puts it)")
	f.StringVar(&c.managedIdentity, "managed-identity", "", "a managed identity, by the object (principal) id of its service principal")
	f.BoolVar(&c.systemAssigned, "system-assigned", false, "the managed identity is its machine's own")
	f.StringVar(&c.signIn, "sign-in", "", "a user's sign-in: browser or device-code")
	f.StringVar(&c.redirectURI, "redirect-uri", "", "where the sign-in returns to (default http://localhost for a browser)")
	kinds := []string{"secret-file", "certificate", "aks", "github", "subject", "managed-identity", "sign-in"}
	cmd.MarkFlagsOneRequired(kinds...)
	cmd.MarkFlagsMutuallyExclusive(kinds...)
	goWith(cmd, map[string][]string{
		"days": {"secret-file"}, "certificate-file": {"certificate"}, "key-file": {"certificate"}, "workflow": {"github"},
		"issuer": {"aks", "subject"}, "audience": {"aks", "github", "subject"}, "token-file": {"aks", "github", "subject"},
		"system-assigned": {"managed-identity"}, "redirect-uri": {"sign-in"},
	})
	return c
}

// goWith refuses a flag without the one that it belongs to: it would do nothing.
func goWith(cmd *cobra.Command, owners map[string][]string) {
	cmd.Args = allOf(cmd.Args, func(cmd *cobra.Command, _ []string) error {
		for flag, any := range owners {
			if !cmd.Flags().Changed(flag) {
				continue
			}
			found := false
			for _, owner := range any {
				found = found || cmd.Flags().Changed(owner)
			}
			if !found {
				return wrongUsage("--%s: belongs to --%s", flag, strings.Join(any, " or --"))
			}
		}
		return nil
	})
}

func (c *setupCredential) read() (setup.Credential, error) {
	switch {
	case c.secretFile != "":
		return setup.Secret{Days: c.days, File: c.secretFile}, nil
	case c.certificate != "":
		pem, err := readSmall(c.certificate)
		file := c.certificateFile
		if file == "" {
			file = c.certificate
		}
		return setup.Certificate{PEM: pem, File: file, KeyFile: c.keyFile}, err
	case c.managedIdentity != "":
		return setup.ManagedIdentity{ObjectID: c.managedIdentity, SystemAssigned: c.systemAssigned}, nil
	case c.signIn != "":
		return setup.User{Flow: setup.Flow(c.signIn), RedirectURI: c.redirectURI}, nil
	}
	federated := setup.Federated{Issuer: c.issuer, Subject: c.subject}
	if c.aks != "" {
		namespace, account, ok := strings.Cut(c.aks, "/")
		if !ok {
			return nil, wrongUsage("--aks %s: want NAMESPACE/NAME of the service account", entra.Quote(c.aks))
		}
		federated = setup.AKS(c.issuer, namespace, account)
	}
	if c.github != "" {
		var err error
		if federated, err = setup.GitHub(c.github, c.workflow, c.tokenFile); err != nil {
			return nil, err
		}
		if c.tokenFile == "" {
			return nil, wrongUsage("--github: also wants --token-file, where the workflow puts its token for the broker")
		}
	}
	federated.Audience, federated.TokenFile = c.audience, c.tokenFile
	return federated, nil
}
