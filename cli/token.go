package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"tokenbroker/broker"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/route"
)

func newToken(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token (--scope S | --route R [--path P])",
		Short: "Get a token, from the running broker or with --direct without one",
		Example: "  tokenbroker token --route defender --path /api/machines -o header\n" +
			"  tokenbroker token --scope https://api.security.microsoft.com/.default --direct",
		Args: cobra.NoArgs,
	}
	var want tokenWanted
	flags := cmd.Flags()
	flags.StringVar(&want.scope, "scope", "", "the scope, such as https://api.security.microsoft.com/.default")
	flags.StringVar(&want.route, "route", "", "the route whose token it is")
	flags.StringVar(&want.path, "path", "", "with --route: the path to call, where the audience depends on it")
	flags.StringVar(&want.identity, "identity", "", "the identity (default: the route's)")
	flags.StringVar(&want.tenant, "tenant", "", "the tenant (default: the identity's)")
	flags.BoolVar(&want.fresh, "fresh", false, "a new token, at most once a minute")
	direct := flags.Bool("direct", false, "get it from Entra here and now, with the credential of the configuration")
	file := configFlag(cmd, sys)
	running := clientFlags(cmd, sys)
	output := outputFlag(cmd, "json", "token", "header", "az", "exec-credential")
	cmd.MarkFlagsOneRequired("scope", "route")
	cmd.MarkFlagsMutuallyExclusive("scope", "route")
	cmd.MarkFlagsMutuallyExclusive("scope", "path")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var answer tokenAnswer
		var err error
		if *direct {
			answer, err = want.direct(cmd.Context(), sys, *file)
		} else {
			err = running.post(cmd.Context(), "/token", want.form(), &answer)
		}
		if err != nil {
			return err
		}
		return answer.write(sys, *output)
	}
	return cmd
}

// tokenWanted is what the flags ask for.
type tokenWanted struct {
	scope, resource, route, path, identity, tenant string
	fresh                                          bool
}

func (t tokenWanted) form() url.Values {
	form := url.Values{}
	for name, value := range map[string]string{
		"scope": t.scope, "resource": t.resource, "route": t.route, "path": t.path, "identity": t.identity, "tenant": t.tenant,
	} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if t.fresh {
		form.Set("fresh", "true")
	}
	return form
}

// direct builds the broker of the configuration for one token. It is always a
// fresh one.
func (t tokenWanted) direct(ctx context.Context, sys System, file string) (tokenAnswer, error) {
	app, err := load(sys, file, io.Discard)
	if err != nil {
		return tokenAnswer{}, err
	}
	defer app.close(ctx)
	ask := route.Ask{Route: t.route, Path: t.path, Identity: t.identity, Tenant: t.tenant}
	if t.scope != "" {
		if ask.Scope, err = entra.ParseScope(t.scope); err != nil {
			return tokenAnswer{}, err
		}
	}
	grant, err := app.table.ResolveToken(ask)
	if err != nil {
		return tokenAnswer{}, err
	}
	// Who has the configuration and its credentials is no caller with a name,
	// and is held to what the routes let through.
	policy := guard.NewPolicy(guard.PolicyConfig{Table: app.table, HandOut: app.cfg.Tokens.HandOut, Scopes: app.cfg.Tokens.Scopes})
	who := guard.Principal{Name: guard.Local, Via: "direct"}
	tok, err := broker.New(app.source, policy).Token(guard.WithPrincipal(ctx, who), grant.Request)
	if err != nil {
		return tokenAnswer{}, err
	}
	return tokenAnswer{
		AccessToken: tok.Access, TokenType: "Bearer", ExpiresIn: int64(time.Until(tok.ExpiresOn).Seconds()),
		ExpiresOn: tok.ExpiresOn.Unix(), Scope: tok.Scope, Tenant: grant.Request.Tenant, Identity: grant.Identity,
		OtherScopes: grant.Other,
	}, nil
}

// tokenAnswer is the broker's answer to /token.
type tokenAnswer struct {
	AccessToken entra.Secret  `json:"access_token"`
	TokenType   string        `json:"token_type"`
	ExpiresIn   int64         `json:"expires_in"`
	ExpiresOn   int64         `json:"expires_on"`
	Scope       entra.Scope   `json:"scope"`
	Tenant      entra.Tenant  `json:"tenant"`
	Identity    string        `json:"identity"`
	OtherScopes []entra.Scope `json:"other_scopes,omitempty"`
}

// write shows the token in the shape of the program that will read it.
func (a *tokenAnswer) write(sys System, format string) error {
	if format == "az" {
		shape, err := a.az()
		if err != nil {
			return err
		}
		return writeJSON(sys.Out, shape)
	}
	access, err := a.bearer()
	if err != nil {
		return err
	}
	switch format {
	case "token":
		_, err := fmt.Fprintln(sys.Out, access)
		return err
	case "header":
		_, err := fmt.Fprintln(sys.Out, "Authorization: Bearer "+access)
		return err
	case "exec-credential":
		apiVersion, err := execAPIVersion(sys.Getenv(envExecInfo))
		if err != nil {
			return err
		}
		return writeJSON(sys.Out, map[string]any{
			"apiVersion": apiVersion, "kind": execKind,
			"status": map[string]string{"token": access, "expirationTimestamp": a.expires().UTC().Format(time.RFC3339)},
		})
	}
	return writeJSON(sys.Out, struct {
		AccessToken string `json:"access_token"` // in front of the sealed one of the same name
		*tokenAnswer
	}{access, a})
}

// bearer is the token, if the answer holds one.
func (a *tokenAnswer) bearer() (string, error) {
	access := a.AccessToken.Reveal()
	if _, err := entra.NewToken(access, a.Scope, a.expires(), time.Time{}); err != nil {
		return "", entra.Errorf(entra.Upstream, "", "the broker's answer holds no bearer token")
	}
	return access, nil
}

func (a *tokenAnswer) expires() time.Time { return time.Unix(a.ExpiresOn, 0) }

// az is the answer of `az account get-access-token`; expiresOn is local time,
// as there, and a subscription is what a broker has none of.
func (a *tokenAnswer) az() (map[string]any, error) {
	access, err := a.bearer()
	return map[string]any{
		"accessToken": access, "expiresOn": a.expires().Local().Format("2006-01-02 15:04:05.000000"),
		"expires_on": a.ExpiresOn, "subscription": "", "tenant": a.Tenant, "tokenType": "Bearer",
	}, err
}

// What a credential plugin of Kubernetes is told, and answers with: "client-go
// credential plugins", kubernetes.io/docs/reference/access-authn-authz/authentication.
const (
	envExecInfo = "KUBERNETES_EXEC_INFO"
	execGroup   = "client.authentication.k8s.io/"
	execKind    = "ExecCredential"
)

// execAPIVersion is the version to answer in. The client refuses any but that
// of its kubeconfig, and says in the variable which that is; without one, the
// newest. That nobody sits there (spec.interactive) makes no difference: nothing
// is ever asked.
func execAPIVersion(info string) (string, error) {
	if info == "" {
		return execGroup + "v1", nil
	}
	var asked struct{ APIVersion, Kind string }
	err := json.Unmarshal([]byte(info), &asked)
	if err != nil || asked.Kind != execKind || asked.APIVersion != execGroup+"v1" && asked.APIVersion != execGroup+"v1beta1" {
		return "", wrongUsage("%s: want an %s of %sv1 or v1beta1, as kubectl from 1.20 on sets it; write one of the two as apiVersion into the kubeconfig", envExecInfo, execKind, execGroup)
	}
	return asked.APIVersion, nil
}
