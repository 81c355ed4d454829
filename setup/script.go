package setup

import (
	"embed"
	"fmt"
	"strings"
	"text/template"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// Format is what a script is written for.
type Format string

// The formats.
const (
	Az         Format = "az"         // a POSIX shell script that calls az
	PowerShell Format = "powershell" // a script that calls the module Microsoft.Graph
	Terraform  Format = "terraform"  // a configuration for the provider azuread
)

// Formats lists every format.
func Formats() []Format { return []Format{Az, PowerShell, Terraform} }

// ParseFormat accepts a format's name.
func ParseFormat(s string) (Format, error) {
	for _, f := range Formats() {
		if string(f) == s {
			return f, nil
		}
	}
	return "", entra.Errorf(entra.Invalid, opPlan, "format %s: want az, powershell or terraform", entra.Quote(s))
}

// FileName is what the script of a format is called in what it says of itself.
func (f Format) FileName() string {
	switch f {
	case PowerShell:
		return "register.ps1"
	case Terraform:
		return "register.tf"
	default:
		return "register.sh"
	}
}

//go:embed az.sh.tmpl powershell.ps1.tmpl terraform.tf.tmpl
var templates embed.FS

// language is how a format writes down what is given.
type language struct {
	template string
	quote    func(string) string
	ids      map[id]string                  // the expressions of the ids that only the script learns
	join     func(text, expr string) string // text, quoted, and after it an expression
}

func (f Format) language() language {
	switch f {
	case PowerShell:
		return language{
			"powershell.ps1.tmpl", psQuote,
			map[id]string{tenantID: "$tenantId", clientID: "$clientId"},
			func(text, expr string) string { return "(" + text + " + " + expr + ")" },
		}
	case Terraform:
		return language{
			"terraform.tf.tmpl", hclQuote,
			map[id]string{tenantID: "${local.tenant_id}", clientID: "${local.client_id}"},
			func(text, expr string) string { return strings.TrimSuffix(text, `"`) + expr + `"` },
		}
	default:
		return language{
			"az.sh.tmpl", shQuote,
			map[id]string{tenantID: `"$tenant_id"`, clientID: `"$client_id"`},
			func(text, expr string) string { return text + expr },
		}
	}
}

// quoted is what a user has given, as an expression of the script's language.
// A template never sees it in another form.
type quoted string

// view is what the templates see.
type view struct {
	Header   []string
	Cloud    entra.Cloud
	Graph    string
	AzCloud  string
	Mg       string
	Azuread  string
	Portal   string
	Login    entra.Authority
	Grantors string

	Tenant      entra.Tenant // empty: whoever runs it is signed in to it
	TenantGUID  bool
	Name        quoted
	Filter      quoted // of Graph, for the applications of the name
	Audience    string
	MultiTenant bool
	Tenants     []entra.Tenant
	APIs        []apiView
	Delegated   bool
	Kind        string // of the permissions, in requiredResourceAccess

	Secret      *secretView
	Certificate *certificateView
	Federated   *federatedView
	Managed     *managedView
	User        *userView

	Config []quoted
}

type apiView struct {
	Var, AppID, Title string
	Permissions       []permissionView
}

type permissionView struct{ Var, Name string }

type secretView struct {
	File  quoted
	Until string
}

type certificateView struct {
	PEM, DER quoted
	Until    string
}

type federatedView struct {
	Name                              string
	Issuer, Subject, Audience, Object quoted // Object: all of it, in Graph's JSON
}

type managedView struct{ ObjectID string }

type userView struct {
	RedirectURI quoted // empty: none
	Public      bool   // whether public client flows have to be allowed
}

// Script writes the plan as a script, which ends with the configuration: az and
// PowerShell on their standard output, Terraform as an output.
func (p *Plan) Script(f Format) (string, error) {
	lang := f.language()
	t, err := template.ParseFS(templates, lang.template)
	if err != nil {
		return "", entra.Errorf(entra.Internal, "setup.script", "%s: %w", lang.template, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, p.view(f, lang)); err != nil {
		return "", entra.Errorf(entra.Internal, "setup.script", "%s: %w", lang.template, err)
	}
	return b.String(), nil
}

func (p *Plan) view(f Format, lang language) view {
	quote := func(s string) quoted { return quoted(lang.quote(s)) }
	w := p.want
	v := view{
		Header: p.header(f),
		Cloud:  w.Cloud, Graph: p.cloud.graph, AzCloud: p.cloud.az, Mg: p.cloud.mg, Azuread: p.cloud.azuread, Portal: p.cloud.portal,
		Login: w.Cloud.Authority(), Grantors: p.grantors(),
		Tenant: w.Tenant, TenantGUID: entra.IsGUID(string(w.Tenant)),
		Name:        quote(w.Name),
		Filter:      quote("displayName eq '" + strings.ReplaceAll(w.Name, "'", "''") + "'"),
		Audience:    map[bool]string{false: "AzureADMyOrg", true: "AzureADMultipleOrgs"}[w.MultiTenant],
		MultiTenant: w.MultiTenant, Tenants: w.Tenants,
		Delegated: p.delegated(), Kind: map[bool]string{false: "Role", true: "Scope"}[p.delegated()],
	}
	for _, n := range p.apis {
		r := resourceOf(n.API)
		api := apiView{Var: strings.ToLower(string(n.API)), AppID: r.appID, Title: r.title}
		for i, h := range n.held {
			api.Permissions = append(api.Permissions, permissionView{fmt.Sprintf("%s_%d", api.Var, i+1), h.Name})
		}
		v.APIs = append(v.APIs, api)
	}
	switch c := w.Credential.(type) {
	case Secret:
		v.Secret = &secretView{quote(c.File), rfc3339(w.Now.AddDate(0, 0, c.Days))}
	case Certificate:
		v.Certificate = c.view(quote)
	case Federated:
		v.Federated = c.view(quote)
	case ManagedIdentity:
		v.Managed = &managedView{strings.ToLower(c.ObjectID)}
	case User:
		v.User = &userView{Public: c.Flow == DeviceCode}
		if c.redirectURI() != "" {
			v.User.RedirectURI = quote(c.redirectURI())
		}
	}
	for _, l := range p.config(f) {
		text := lang.quote(l.text)
		if l.id != none {
			text = lang.join(text, lang.ids[l.id])
		}
		v.Config = append(v.Config, quoted(text))
	}
	return v
}

// grantors names who may grant what is needed, in the words of "Grant
// tenant-wide admin consent to an application",
// https://learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent.
func (p *Plan) grantors() string {
	for _, n := range p.apis {
		if n.API == defender.Graph && !p.delegated() {
			return "a Privileged Role Administrator"
		}
	}
	return "a Cloud Application Administrator or an Application Administrator"
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
