package cli

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"tokenbroker/entra"
)

// azVersion is the azure-cli that the answers are those of: the first with
// expires_on.
const azVersion = "2.54.0"

// newAzVersion tells which azure-cli this answers as. That is not what it is,
// and the member tokenbroker says so; but hashicorp/go-azure-sdk gives up unless
// azure-cli is from 2.0.81 and below 3, and means by it just what is meant here:
// which answers to expect. Without it Terraform's providers could not use az.
func newAzVersion(sys System, out *azOutput) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "The versions of the broker and of the Azure CLI that it answers as", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return out.write(sys.Out, map[string]any{
				"azure-cli": azVersion, "azure-cli-core": azVersion, "extensions": map[string]any{}, "tokenbroker": versionText(),
			})
		},
	}
}

// newAzAccount shows whose tokens there are, by the claims of one of them. The
// Azure CLI shows an account without subscriptions so, with the tenant's id for
// a subscription's. hashicorp/go-azure-sdk reads id, tenantId and user, and gives
// up without. Which cloud it is the broker does not tell, so there is no
// environmentName.
func newAzAccount(sys System, out *azOutput) *cobra.Command {
	cmd := &cobra.Command{Use: "show", Short: "The tenant and the application, or the user, of the broker's first route", Args: cobra.NoArgs}
	subscription := cmd.Flags().StringP("subscription", "s", "", "the tenant's id, and no other")
	running := clientFlags(cmd, sys)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := azPaths(running); err != nil {
			return err
		}
		var said struct{ Routes []azRoute }
		if err := running.ask(cmd.Context(), http.MethodGet, "/routes", nil, &said); err != nil {
			return err
		}
		if len(said.Routes) == 0 {
			return entra.Errorf(entra.Denied, "", "%s: no route is open to this caller", running.where())
		}
		var claims azClaims
		if err := running.ask(cmd.Context(), http.MethodGet, "/claims", url.Values{"route": {firstRoute(said.Routes)}}, &claims); err != nil {
			return azFailure(err, "")
		}
		if *subscription != "" && !strings.EqualFold(*subscription, claims.Tenant) {
			return wrongUsage("--subscription %s: a broker has no subscriptions; leave it out", entra.Quote(*subscription))
		}
		return out.write(sys.Out, map[string]any{
			"id": claims.Tenant, "isDefault": true, "name": "N/A(tenant level account)", "state": "Enabled", "tenantId": claims.Tenant, "user": claims.user(),
		})
	}
	return cmd
}

// azRoute is a route as /routes shows it.
type azRoute struct {
	Name     string
	Optional bool
}

// firstRoute is the first that the configuration names, or else the first.
func firstRoute(routes []azRoute) string {
	for _, r := range routes {
		if !r.Optional {
			return r.Name
		}
	}
	return routes[0].Name
}

// azClaims are those of the broker's own token.
type azClaims struct {
	entra.Claims
	PreferredUsername string `json:"preferred_username"` // of a user in v2, where v1 has upn
}

func (c *azClaims) user() map[string]any {
	if c.Delegated() {
		return map[string]any{"name": orElse(c.User, c.PreferredUsername), "type": "user"}
	}
	return map[string]any{"name": c.Client(), "type": "servicePrincipal"}
}
