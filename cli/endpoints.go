package cli

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

func newEndpoints(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "endpoints",
		Short: "List the Defender endpoints that the broker knows: permissions, limits, read or write",
		Long: "List the Defender endpoints that the broker knows: permissions, limits, read or write,\n" +
			"and what becomes of them.\n\n" +
			"PER MINUTE and PER HOUR are what the documentation allows an application in a tenant;\n" +
			"45+ stands for 45 or more, by the size of the tenant. RETIRES is the day on which an\n" +
			"endpoint ends: in parentheses where Microsoft's notice " + defender.RetirementNotice + " says so of the whole\n" +
			"API, and the documentation does not. IN GRAPH is the endpoint that does the same there.\n\n" +
			"Graph's endpoints are those of /beta too.",
		Example: "  tokenbroker endpoints --role Machine.Isolate\n" +
			"  tokenbroker endpoints --route graph -o json",
		Args: cobra.NoArgs,
	}
	routeName := cmd.Flags().String("route", "", "only those that this built-in route reaches: defender, mde, mde-legacy, graph")
	role := cmd.Flags().String("role", "", "only those that this permission opens, of an application or delegated")
	output := outputFlag(cmd, "table", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		catalogue, err := defender.Load()
		if err != nil {
			return err
		}
		reached, err := reachedBy(catalogue, *routeName)
		if err != nil {
			return err
		}
		var found []defender.Endpoint
		for _, e := range catalogue.Endpoints() {
			if reached(&e) && (*role == "" || opens(&e, *role)) {
				found = append(found, e)
			}
		}
		if len(found) == 0 {
			return entra.Errorf(entra.NotFound, "", "no endpoint of this choice is opened by %q; permissions are spelled as in `tokenbroker endpoints`", *role)
		}
		if *output == "json" {
			views := make([]endpointView, len(found))
			for i := range found {
				views[i] = viewOf(&found[i])
			}
			return writeJSON(sys.Out, views)
		}
		return table(sys.Out, endpointRows(found))
	}
	return cmd
}

// endpointView is an endpoint as -o json shows it.
type endpointView struct {
	API         defender.API `json:"api"`
	Method      string       `json:"method"`
	Path        string       `json:"path"`
	Application []string     `json:"application_permissions"`
	Delegated   []string     `json:"delegated_permissions"`
	PerMinute   int          `json:"per_minute,omitempty"`
	PerHour     int          `json:"per_hour,omitempty"`
	AtLeast     int          `json:"per_minute_at_least,omitempty"`
	Budget      string       `json:"budget"` // the same where endpoints share their ceilings
	Effect      string       `json:"effect"`
	Retires     string       `json:"retires,omitempty"`
	Settled     *bool        `json:"retires_settled,omitempty"` // beside retires alone
	Counterpart string       `json:"counterpart,omitempty"`
	Source      string       `json:"source"`
}

func viewOf(e *defender.Endpoint) endpointView {
	v := endpointView{
		API: e.API, Method: e.Method, Path: e.Path, Application: e.App, Delegated: e.Delegated,
		PerMinute: e.PerMinute, PerHour: e.PerHour, AtLeast: e.AtLeast, Budget: e.Budget(), Effect: e.Effect.String(),
		Counterpart: e.Counterpart, Source: e.Source,
	}
	if on, settled := e.Retirement(); !on.IsZero() {
		v.Retires, v.Settled = on.Format(time.DateOnly), &settled
	}
	return v
}

func endpointRows(found []defender.Endpoint) [][]string {
	rows := [][]string{{"API", "METHOD", "PATH", "EFFECT", "PER MINUTE", "PER HOUR", "RETIRES", "IN GRAPH", "APPLICATION PERMISSIONS"}}
	for _, e := range found {
		perMinute := ceiling(e.PerMinute)
		if e.AtLeast > 0 {
			perMinute = ceiling(e.AtLeast) + "+"
		}
		rows = append(rows, []string{
			string(e.API), e.Method, e.Path, e.Effect.String(), perMinute, ceiling(e.PerHour), retires(&e),
			cmp.Or(e.Counterpart, "-"), strings.Join(e.App, " "),
		})
	}
	return rows
}

// retires is the day on which an endpoint ends, in parentheses unless settled.
func retires(e *defender.Endpoint) string {
	on, settled := e.Retirement()
	switch day := on.Format(time.DateOnly); {
	case on.IsZero():
		return "-"
	case settled:
		return day
	default:
		return "(" + day + ")"
	}
}

func ceiling(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func opens(e *defender.Endpoint, role string) bool {
	same := func(p string) bool { return defender.SamePermission(p, role) }
	return slices.ContainsFunc(e.App, same) || slices.ContainsFunc(e.Delegated, same)
}

// reachedBy tells which endpoints a built-in route of the public cloud reaches.
func reachedBy(catalogue *defender.Catalogue, name string) (func(*defender.Endpoint) bool, error) {
	if name == "" {
		return func(*defender.Endpoint) bool { return true }, nil
	}
	var names []string
	for _, b := range catalogue.Builtin(entra.Public, "") {
		names = append(names, b.Name)
		if b.Name != name {
			continue
		}
		host := b.Host
		return func(e *defender.Endpoint) bool {
			switch e.API {
			case defender.XDR:
				return host.XDR != ""
			case defender.MDE:
				return host.MDE != ""
			case defender.Graph:
				return host.Graph != ""
			}
			return false
		}, nil
	}
	return nil, wrongUsage("--route %q: want %s", name, strings.Join(names, ", "))
}
