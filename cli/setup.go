package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokenbroker/config"
	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
	"tokenbroker/setup"
)

func newSetup(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Write a script that makes the app registration, to read and run, and the configuration that fits",
		Long: "setup writes a script that makes the app registration, or gives a managed identity its\n" +
			"roles: the least permissions for the endpoints wanted, the credential, the grants. Run, the\n" +
			"script writes the configuration that fits. setup itself runs nothing and asks nobody.",
		Example: "  tokenbroker setup --endpoint 'GET /api/incidents' --secret-file client-secret >register.sh\n" +
			"  tokenbroker setup --route defender --issuer https://… --aks security/tokenbroker -o terraform\n" +
			"  tokenbroker setup --config tokenbroker.yaml --managed-identity OBJECT_ID -o powershell",
		Args: cobra.NoArgs,
	}
	wanted, credential := wantedFlags(cmd), credentialFlags(cmd)
	output := outputFlag(cmd, string(setup.Az), string(setup.PowerShell), string(setup.Terraform))
	cmd.RunE = func(*cobra.Command, []string) error {
		catalogue, err := defender.Load()
		if err != nil {
			return err
		}
		want, err := wanted.read(sys, catalogue)
		if err != nil {
			return err
		}
		if want.Credential, err = credential.read(); err != nil {
			return err
		}
		plan, err := setup.New(catalogue, want)
		if err != nil {
			return err
		}
		format, err := setup.ParseFormat(*output)
		if err != nil {
			return err
		}
		text, err := plan.Script(format)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(sys.Out, text)
		return err
	}
	return cmd
}

// setupWanted are the flags that say what an app registration is wanted for.
type setupWanted struct {
	name, tenant, cloud, config         string
	endpoints, roles, routes, customers []string
	multiTenant                         bool
}

func wantedFlags(cmd *cobra.Command) *setupWanted {
	w := new(setupWanted)
	f := cmd.Flags()
	f.StringArrayVar(&w.endpoints, "endpoint", nil, "a call that has to be possible, as in 'GET /api/incidents' or '* /api/alerts/**'; may be repeated")
	f.StringArrayVar(&w.routes, "route", nil, "a built-in route whose reads have to be possible; NAME:full: all of its calls, actions on machines among them; may be repeated")
	f.StringArrayVar(&w.roles, "role", nil, "a permission beyond, as in Incident.Read.All or GRAPH/User.Read.All; may be repeated")
	f.StringVar(&w.config, "config", "", "a configuration, whose routes have to be possible")
	cmd.MarkFlagsOneRequired("endpoint", "route", "role", "config")
	f.StringVar(&w.name, "name", "", "the display name of the application (default tokenbroker)")
	f.StringVar(&w.tenant, "tenant", "", "the tenant, a GUID or a domain (default the one that the script's user is signed in to)")
	f.StringVar(&w.cloud, "cloud", "", "public, gcc, gcchigh, dod or china (default that of --config, or public)")
	f.BoolVar(&w.multiTenant, "multi-tenant", false, "customers' tenants may use the application, after their consent")
	f.StringArrayVar(&w.customers, "customer", nil, "a customer's tenant that is known; implies --multi-tenant; may be repeated")
	return w
}

func (w *setupWanted) read(sys System, catalogue *defender.Catalogue) (setup.Want, error) {
	want := setup.Want{Name: w.name, MultiTenant: w.multiTenant, Now: time.Now()}
	var cfg *config.Config
	var err error
	if w.config != "" {
		if cfg, err = readConfig(sys, config.Options{Catalogue: catalogue, File: w.config}); err != nil {
			return want, err
		}
		want.Cloud, want.Scopes = cfg.Cloud, cfg.Tokens.Scopes
		want.Endpoints = configuredEndpoints(catalogue, cfg.Table)
	}
	if w.cloud != "" || want.Cloud == "" {
		if want.Cloud, err = entra.ParseCloud(w.cloud); err != nil {
			return want, err
		}
	}
	if w.tenant != "" {
		if want.Tenant, err = entra.ParseTenant(w.tenant); err != nil {
			return want, err
		}
	}
	for _, customer := range w.customers {
		tenant, err := entra.ParseTenant(customer)
		if err != nil {
			return want, err
		}
		want.Tenants = append(want.Tenants, tenant)
	}
	for _, role := range w.roles {
		permission, err := setup.ParsePermission(catalogue, role)
		if err != nil {
			return want, err
		}
		want.Permissions = append(want.Permissions, permission)
	}
	for _, read := range []func() ([]defender.Endpoint, error){
		func() ([]defender.Endpoint, error) { return namedEndpoints(catalogue, w.endpoints) },
		func() ([]defender.Endpoint, error) { return routedEndpoints(catalogue, want.Cloud, w.routes) },
	} {
		found, err := read()
		if err != nil {
			return want, err
		}
		want.Endpoints = append(want.Endpoints, found...)
	}
	return want, nil
}

// namedEndpoints finds what METHOD PATTERN names; each name has to find one.
func namedEndpoints(catalogue *defender.Catalogue, names []string) ([]defender.Endpoint, error) {
	var found []defender.Endpoint
	for _, name := range names {
		method, path, ok := strings.Cut(name, " ")
		pattern, err := route.ParsePattern(placeholder.ReplaceAllString(path, "*"))
		if !ok || err != nil || !strings.HasPrefix(path, "/") {
			return nil, wrongUsage("--endpoint %s: want a method and a path, as in 'GET /api/incidents' or '* /api/alerts/**'", entra.Quote(name))
		}
		before := len(found)
		for _, e := range catalogue.Endpoints() {
			sample, err := route.ParsePath(sampleOf(&e))
			exact := strings.EqualFold(e.Path, path)
			if (method == "*" || method == e.Method) && (exact || err == nil && pattern.Match(sample) && !namedOtherwise(catalogue, path)) {
				found = append(found, e)
			}
		}
		if len(found) == before {
			return nil, wrongUsage("--endpoint %s: the catalogue has none; its names: tokenbroker endpoints", entra.Quote(name))
		}
	}
	return found, nil
}

// namedOtherwise reports whether the catalogue has the path word for word: then
// it means that and nothing that its placeholders would match.
func namedOtherwise(catalogue *defender.Catalogue, path string) bool {
	return slices.ContainsFunc(catalogue.Endpoints(), func(e defender.Endpoint) bool { return strings.EqualFold(e.Path, path) })
}

// routedEndpoints finds what built-in routes reach: NAME its reads, NAME:full
// all of it.
func routedEndpoints(catalogue *defender.Catalogue, cloud entra.Cloud, names []string) ([]defender.Endpoint, error) {
	var found []defender.Endpoint
	routes := catalogue.Builtin(cloud, "")
	for _, name := range names {
		name, access, _ := strings.Cut(name, ":")
		i := slices.IndexFunc(routes, func(b defender.Builtin) bool { return b.Name == name })
		if i < 0 || access != "" && access != route.Full.String() && access != route.ReadOnly.String() {
			return nil, wrongUsage("--route %s: want a built-in route of the cloud %s, alone or with :full", entra.Quote(name), cloud)
		}
		for _, e := range catalogue.Endpoints() {
			if routes[i].Host.Scope(e.API) != "" && (access == route.Full.String() || e.Effect == defender.Read) {
				found = append(found, e)
			}
		}
	}
	return found, nil
}

// configuredEndpoints finds what the routes of a configuration let through;
// not the built-in ones that it does not name.
func configuredEndpoints(catalogue *defender.Catalogue, table *route.Table) []defender.Endpoint {
	var found []defender.Endpoint
	for _, e := range catalogue.Endpoints() {
		open := func(r *route.Route) bool {
			if r.Optional {
				return false
			}
			call, err := table.Resolve(route.Target{Route: r.Name, Method: e.Method, Path: sampleOf(&e)})
			if err != nil || call.Endpoint == nil || call.Endpoint.String() != e.String() {
				return false
			}
			_, err = call.Permitted()
			return err == nil
		}
		if slices.ContainsFunc(table.Routes(), open) {
			found = append(found, e)
		}
	}
	return found
}

// placeholder stands for what a caller fills in.
var placeholder = regexp.MustCompile(`\{[A-Za-z]+\}`)

// sampleOf is a call of the endpoint.
func sampleOf(e *defender.Endpoint) string { return placeholder.ReplaceAllString(e.Path, "1") }
