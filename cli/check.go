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
			err = writeJSON(sys.Out, map[string]any{"routes": verdicts, "callers": app.grants(), "warnings": app.warnings()})
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
	Access      string       `json:"access"`
	HandsOut    bool         `json:"hands_out"` // whether /token gives this scope's token to any caller
	Optional    bool         `json:"optional"`
	Audience    string       `json:"aud,omitempty"`
	Permissions []string     `json:"permissions,omitempty"` // roles or scp
	Expires     *time.Time   `json:"exp,omitempty"`
	OK          *bool        `json:"ok,omitempty"` // absent where nothing was asked of Entra
	Verdict     string       `json:"verdict"`
}

func (a *app) verdicts(ctx context.Context, live bool) []verdict {
	var all []verdict
	for _, r := range a.table.Routes() {
		for _, scope := range r.Scopes() {
			v := verdict{
				Route: r.Name, Upstream: r.Upstream.String(), Identity: r.Identity, Scope: scope,
				Access: accessText(r), Optional: r.Optional, Verdict: "valid",
			}
			granted, err := a.table.ResolveToken(route.Ask{Scope: scope, Identity: r.Identity})
			if err != nil {
				v.fail(err)
			} else {
				v.Tenant = granted.Request.Tenant
				v.HandsOut = slices.ContainsFunc(a.grants(), func(g grant) bool { return g.Route == r.Name && g.Scope == scope && g.HandedOut })
				if live {
					a.live(ctx, &v, r, granted.Request)
				}
			}
			all = append(all, v)
		}
	}
	return all
}

// live gets the token and says what it is good for.
func (a *app) live(ctx context.Context, v *verdict, r *route.Route, req entra.Request) {
	tok, err := a.cache.Token(ctx, req)
	if err != nil {
		v.fail(err)
		return
	}
	v.OK = new(true)
	v.Expires = new(tok.ExpiresOn.UTC())
	jwt, err := tok.JWT()
	if err != nil {
		v.Verdict = "a token came back, but it is opaque"
		return
	}
	v.Audience, v.Permissions = strings.Join(jwt.Claims.Audience, " "), jwt.Claims.Permissions()
	opened, through, total := 0, 0, 0
	asked := entra.Audience{req.Scope.Audience()}
	for _, e := range a.catalogue.Endpoints() {
		if !a.catalogue.Opens(asked, e.API) {
			continue
		}
		total++
		if len(defender.Missing(&e, &jwt.Claims)) == 0 {
			opened++
			if call, err := a.table.Resolve(target(r, &e)); err == nil {
				if _, err := call.Permitted(); err == nil {
					through++
				}
			}
		}
	}
	switch {
	case total == 0:
		v.Verdict = "works; the catalogue knows no endpoint of this upstream"
	case len(v.Permissions) == 0:
		v.OK = new(false)
		v.Verdict = "the token has no permissions: add them to the app registration under this API, grant admin consent, and try again"
	case opened == 0:
		v.OK = new(false)
		v.Verdict = "its permissions open none of the endpoints of this API; see tokenbroker endpoints"
	case r.Restricted():
		v.Verdict = fmt.Sprintf("works; the token opens %d of %d endpoints, the route lets %d through", opened, total, through)
	default:
		v.Verdict = fmt.Sprintf("works; opens %d of %d endpoints", opened, total)
	}
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
	rows := [][]string{{"ROUTE", "SCOPE", "IDENTITY", "ACCESS", "HANDED OUT", "AUDIENCE", "EXPIRES", "VERDICT"}}
	permissions := [][]string{}
	for _, v := range verdicts {
		name := v.Route
		if v.Optional {
			name += " (built in)"
		}
		rows = append(rows, []string{
			name, string(v.Scope), v.Identity, v.Access, yesNo(v.HandsOut), orElse(field(v.Audience), "-"), expiryText(v.Expires), v.Verdict,
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
	fmt.Fprintln(w)
	if err := writeGrants(w, a.grants()); err != nil {
		return err
	}
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
