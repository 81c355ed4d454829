package cli

import (
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tokenbroker/config"
	"tokenbroker/defender"
	"tokenbroker/entra"
)

func newConsentURL(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "consent-url IDENTITY",
		Short: "Print the links by which an administrator consents to an identity's app in a tenant",
		Long: "consent-url prints two links for an administrator of a tenant, its own or a customer's:\n" +
			"by either of them they consent to all that the app is registered to ask for, and the\n" +
			"app gets into their tenant. One is that of the Defender APIs' pages for partners, for\n" +
			"the tenant of whoever opens it; the other is Entra's v2 form, for --tenant if it is\n" +
			"set. Both send the browser to a redirect URI of the app: the portal, as setup adds it.",
		Example: "  tokenbroker consent-url default\n" +
			"  tokenbroker consent-url partner --tenant customer.example -o json",
		Args: cobra.ExactArgs(1),
	}
	file := configFlag(cmd, sys)
	tenant := cmd.Flags().String("tenant", "", "the tenant, a GUID or a domain (default: that of whoever opens the link)")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		catalogue, err := defender.Load()
		if err != nil {
			return err
		}
		cfg, err := readConfig(sys, config.Options{Catalogue: catalogue, File: *file})
		if err != nil {
			return err
		}
		links, err := consentLinks(cfg, catalogue, args[0], *tenant)
		if err != nil {
			return err
		}
		if *output == "json" {
			return writeJSON(sys.Out, links)
		}
		return links.write(sys.Out)
	}
	return cmd
}

// consent are the links to consent to an identity's app.
type consent struct {
	Identity     string       `json:"identity"`
	ClientID     string       `json:"client_id"`
	Tenant       entra.Tenant `json:"tenant,omitempty"` // of AdminConsent; empty: whoever signs in
	Authorize    string       `json:"authorize"`
	AdminConsent string       `json:"adminconsent"`
}

func consentLinks(cfg *config.Config, catalogue *defender.Catalogue, name, tenant string) (*consent, error) {
	identity, ok := cfg.Identities[name]
	switch {
	case !ok:
		return nil, wrongUsage("identity %s: no such identity; there are: %s", entra.Quote(name), strings.Join(slices.Sorted(maps.Keys(cfg.Identities)), ", "))
	case identity.Credential.Kind == config.ManagedIdentity:
		return nil, wrongUsage("identity %s: a managed identity has no consent link: its permissions are assigned to it in its own tenant, as tokenbroker setup --managed-identity does it, and it cannot be used in another", name)
	}
	links := &consent{Identity: name, ClientID: identity.ClientID, Authorize: entra.AdminConsentURL(cfg.Authority, identity.ClientID)}
	if tenant != "" {
		var err error
		if links.Tenant, err = entra.ParseTenant(tenant); err != nil {
			return nil, err
		}
	}
	links.AdminConsent = entra.AdminConsentV2URL(cfg.Authority, links.Tenant, identity.ClientID, consentScope(catalogue, cfg.Cloud))
	return links, nil
}

// consentScope is that of Microsoft Graph: of all resources the one that stands
// in every tenant and every cloud.
func consentScope(catalogue *defender.Catalogue, cloud entra.Cloud) entra.Scope {
	for _, b := range catalogue.Builtin(cloud, "") {
		if b.Host.Graph != "" {
			return b.Host.Graph
		}
	}
	return ""
}

func (c *consent) write(w io.Writer) error {
	return table(w, [][]string{{"authorize", c.Authorize}, {"adminconsent", c.AdminConsent}})
}
