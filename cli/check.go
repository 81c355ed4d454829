package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokenbroker/config"
	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
)

func newCheck(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration; with --live also get a token for every route",
		Args:  cobra.NoArgs,
	}
	file := configFlag(cmd, sys)
	live := cmd.Flags().Bool("live", false, "get a token for every route and say what it opens")
	output := outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		app, err := load(sys, *file, io.Discard)
		if err != nil && *output == "json" {
			return errors.Join(writeJSON(sys.Out, map[string]any{"faults": strings.Split(faults(err), "\n")}), exitError(exitUsage))
		}
		if err != nil {
			return err
		}
		defer app.close(cmd.Context())
		verdicts := app.verdicts(cmd.Context(), *live)
		if *output == "json" {
			err = writeJSON(sys.Out, map[string]any{"routes": verdicts, "callers": app.grants(), "retiring": app.endings(time.Now()), "warnings": app.warnings()})
		} else {
			err = app.writeCheck(sys.Out, verdicts)
		}
		if err == nil && app.failed(verdicts) {
			return exitError(exitFailed)
		}
		return err
	}
	return cmd
}

// verdict is what check says of one route and one of its scopes.
type verdict struct {
	Route       string       `json:"route"`
	Upstream    string       `json:"upstream"`
	Identity    string       `json:"identity"`
	Tenant      entra.Tenant `json:"tenant"`
	Scope       entra.Scope  `json:"scope"`
	Bridge      string       `json:"bridge,omitempty"` // over which hunting goes to the upstream
	Access      string       `json:"access"`
	HandsOut    bool         `json:"hands_out"` // whether /token gives this scope's token to any caller
	Optional    bool         `json:"optional"`
	Audience    string       `json:"aud,omitempty"`
	Permissions []string     `json:"permissions,omitempty"` // roles or scp
	Issued      *time.Time   `json:"iat,omitempty"`
	Expires     *time.Time   `json:"exp,omitempty"`
	OK          *bool        `json:"ok,omitempty"` // absent where nothing was asked of Entra
	Verdict     string       `json:"verdict"`
	Advice      []string     `json:"advice,omitempty"` // what to know or to do
}

func (a *app) verdicts(ctx context.Context, live bool) []verdict {
	entraClock := &clock{next: a.entra.Transport}
	if live {
		a.entra.Transport = entraClock
	}
	grants := a.grants()
	var all []verdict
	for _, r := range a.table.Routes() {
		tenants := []entra.Tenant{""} // the identity's own
		if identity, err := a.table.Identity(r.Identity); err == nil && live {
			tenants = identity.All()
		}
		for _, leg := range a.legs(r) {
			for _, tenant := range tenants {
				v := verdict{
					Route: r.Name, Upstream: leg.route.Upstream.String(), Identity: r.Identity, Scope: leg.scope, Bridge: leg.bridge.String(),
					Access: accessText(r), Optional: r.Optional, Verdict: leg.verdict, Advice: leg.advice,
				}
				granted, err := a.table.ResolveToken(route.Ask{Scope: leg.scope, Identity: r.Identity, Tenant: string(tenant)})
				if err != nil {
					v.fail(err)
				} else {
					v.Tenant = granted.Request.Tenant
					v.HandsOut = slices.ContainsFunc(grants, func(g grant) bool { return g.Route == r.Name && g.Scope == leg.scope && g.HandedOut })
					switch identity, _ := a.table.Identity(r.Identity); {
					case identity.OnBehalfOf:
						v.Verdict = "valid; its tokens are for users, each by their own X-User-Assertion, so none can be asked for here"
					case !a.describeUser(ctx, &v, granted.Request.Identity):
					case live:
						a.live(ctx, &v, &leg, granted.Request, entraClock)
					}
				}
				all = append(all, v)
			}
		}
	}
	return all
}

// live gets the token and says what it is good for.
func (a *app) live(ctx context.Context, v *verdict, l *leg, req entra.Request, entraClock *clock) {
	identity := a.cfg.Identities[l.route.Identity]
	f := &finding{
		catalogue: a.catalogue, route: l.route, scope: req.Scope, lets: l.lets,
		authority: a.cfg.Authority, tenant: req.Tenant, client: identity.ClientID, managed: identity.Credential.Kind == config.ManagedIdentity,
	}
	if expires, ok := a.expires[l.route.Identity]; ok {
		f.expires = expires()
	}
	tok, err := a.source.Token(ctx, req)
	if err != nil {
		f.failure = entra.AsError(err)
	} else {
		v.Expires = new(tok.ExpiresOn.UTC())
		if jwt, err := tok.JWT(); err == nil {
			f.claims = &jwt.Claims
			v.Issued = new(jwt.Claims.IssuedAt.Time())
			v.Audience, v.Permissions = strings.Join(jwt.Claims.Audience, " "), jwt.Claims.Permissions()
		}
	}
	f.skew, f.now = entraClock.ahead(), time.Now()
	c := advise(f)
	v.OK, v.Verdict, v.Advice = new(c.ok), c.verdict, slices.Concat(c.steps, l.advice)
}

// lets reports whether the route lets calls of an endpoint through.
func (a *app) lets(r *route.Route, e *defender.Endpoint) bool {
	call, err := a.table.Resolve(target(r, e))
	if err == nil {
		_, err = call.Permitted()
	}
	return err == nil
}

func (v *verdict) fail(err error) {
	e := entra.AsError(err)
	v.OK, v.Verdict = new(false), e.Message()+aside(e)
}

func accessText(r *route.Route) string {
	text := r.Access.String()
	if len(r.Allow) > 0 {
		text += ", allow"
	}
	if len(r.Deny) > 0 {
		text += ", deny"
	}
	return text
}

// failed reports whether a route does not work that the configuration names,
// or that is the default one. Any other built-in one is a note.
func (a *app) failed(verdicts []verdict) bool {
	for _, v := range verdicts {
		if v.OK != nil && !*v.OK && (!v.Optional || v.Route == a.cfg.DefaultRoute) {
			return true
		}
	}
	return false
}

func (a *app) writeCheck(w io.Writer, verdicts []verdict) error {
	rows := [][]string{{"ROUTE", "SCOPE", "IDENTITY", "ACCESS", "HANDED OUT", "AUDIENCE", "EXPIRES", "TENANT", "VERDICT"}}
	permissions := [][]string{}
	for _, v := range verdicts {
		name := v.Route
		if v.Optional {
			name += " (built in)"
		}
		if v.Bridge != "" {
			name += " (bridge)"
		}
		rows = append(rows, []string{
			name, string(v.Scope), v.Identity, v.Access, yesNo(v.HandsOut), orElse(field(v.Audience), "-"), expiryText(v.Expires), orElse(string(v.Tenant), "-"), v.Verdict,
		})
		line := []string{v.Identity, string(v.Scope), field(strings.Join(v.Permissions, " "))}
		if len(v.Permissions) > 0 && !slices.ContainsFunc(permissions, func(l []string) bool { return slices.Equal(l, line) }) {
			permissions = append(permissions, line)
		}
	}
	if err := table(w, rows); err != nil {
		return err
	}
	for _, line := range permissions {
		fmt.Fprintf(w, "\n%s has for %s\n%s\n", line[0], line[1], line[2])
	}
	for _, v := range verdicts {
		for i, step := range v.Advice {
			if i == 0 {
				fmt.Fprintf(w, "\n%s for %s in %s\n", v.Route, v.Scope, v.Tenant)
			}
			fmt.Fprintf(w, "- %s\n", step)
		}
	}
	fmt.Fprintln(w)
	if err := writeGrants(w, a.grants()); err != nil {
		return err
	}
	a.writeEndings(w, time.Now())
	for _, warning := range a.warnings() {
		fmt.Fprintf(w, "\nwarning: %s\n", warning)
	}
	return nil
}

// warnings are those of the configuration, and of rules that do nothing.
func (a *app) warnings() []string {
	return slices.Concat(a.cfg.Warnings, a.table.Idle())
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func expiryText(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return relative(time.Until(*t))
}
