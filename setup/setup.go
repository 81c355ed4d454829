// Package setup writes down how an app registration for the broker is made: as
// a script for az, for PowerShell or for Terraform, and as the configuration
// that fits. It runs nothing and asks nobody.
//
// [New] turns what is wanted into a [Plan], with the least permissions that
// open the wanted endpoints; [Plan.Script] writes it in one of the formats. The
// scripts are meant to be read before they are run: what a user has given
// stands quoted at their top, everything below refers to it by name.
package setup

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

const opPlan = "setup.plan"

// Want is what an app registration is wanted for.
type Want struct {
	// Name is the display name of the application. Empty: tokenbroker. A
	// managed identity has its own.
	Name string

	// Tenant is the tenant that the application is made in. Empty: the one that
	// whoever runs the script is signed in to.
	Tenant entra.Tenant

	// Cloud is the tenant's cloud. Empty: [entra.Public].
	Cloud entra.Cloud

	// Endpoints are the calls that have to be possible.
	Endpoints []defender.Endpoint

	// Scopes are the tokens that have to be possible. A scope that ends in
	// /.default names a resource application and no permission: something else
	// that is wanted has to.
	Scopes []entra.Scope

	// Permissions are held beyond those that the endpoints need.
	Permissions []Permission

	// Credential is how the application proves itself.
	Credential Credential

	// MultiTenant lets the application be used in customers' tenants, after
	// their consent. Tenants are those that are known, and imply it.
	MultiTenant bool
	Tenants     []entra.Tenant

	// Now is the time from which a secret's days are counted.
	Now time.Time
}

// Plan is an app registration that can be made. [New] has checked it.
type Plan struct {
	want      Want
	cloud     cloud
	apis      []need // what is needed, by resource application
	catalogue *defender.Catalogue
}

// New checks what is wanted, and finds the permissions it takes. It reports
// everything that is wrong at once.
func New(catalogue *defender.Catalogue, want Want) (*Plan, error) {
	if want.Cloud == "" {
		want.Cloud = entra.Public
	}
	if len(want.Tenants) > 0 {
		want.MultiTenant = true
	}
	if want.Credential == nil {
		return nil, entra.Errorf(entra.Invalid, opPlan, "credential: missing; want a secret, a certificate, a federated token, a managed identity, or a user's sign-in")
	}
	faults := want.Credential.check(&want)
	if want.Name == "" {
		want.Name = "tokenbroker"
	}
	faults = append(faults, checkName(want.Name))

	p := &Plan{want: want, cloud: cloudOf(want.Cloud), catalogue: catalogue}
	given, named, wrong := fromScopes(catalogue, want.Scopes, p.delegated())
	faults = append(faults, wrong...)
	given = append(given, want.Permissions...)
	for _, g := range given {
		faults = append(faults, g.check())
	}
	if p.delegated() {
		for _, e := range want.Endpoints {
			if len(e.Delegated) == 0 {
				faults = append(faults, fmt.Errorf("endpoints: %s: no user's token opens it; it wants an application of its own", &e))
			}
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, entra.Errorf(entra.Invalid, opPlan, "%w", err)
	}

	p.apis = byAPI(least(want.Endpoints, given, p.delegated()))
	if err := errors.Join(p.checkAPIs(named)...); err != nil {
		return nil, entra.Errorf(entra.Invalid, opPlan, "%w", err)
	}
	return p, nil
}

// Permissions lists what the application will hold, by resource application
// and name.
func (p *Plan) Permissions() []Permission {
	var all []Permission
	for _, api := range p.apis {
		for _, h := range api.held {
			all = append(all, h.Permission)
		}
	}
	return all
}

// delegated reports whether the application acts for a signed-in user: then
// its permissions are delegated ones.
func (p *Plan) delegated() bool {
	_, user := p.want.Credential.(User)
	return user
}

// checkAPIs checks that each resource application stands in the cloud, and
// that each that a scope names has a permission.
func (p *Plan) checkAPIs(named []defender.API) []error {
	var faults []error
	for _, api := range p.apis {
		inCloud := func(h defender.Host) bool { return slices.Contains(h.Clouds, p.want.Cloud) && h.Scope(api.API) != "" }
		if !slices.ContainsFunc(p.catalogue.Hosts(), inCloud) {
			faults = append(faults, fmt.Errorf("cloud: %s has no host of the API %s", p.want.Cloud, api.API))
		}
	}
	for _, api := range named {
		if !slices.ContainsFunc(p.apis, func(n need) bool { return n.API == api }) {
			faults = append(faults, fmt.Errorf("scopes: a scope of %s is wanted, and none of its permissions; name an endpoint or a role of it", titleOf(api)))
		}
	}
	if len(p.apis) == 0 && len(faults) == 0 {
		faults = append(faults, errors.New("endpoints: nothing is wanted; name an endpoint, a route or a role"))
	}
	return faults
}

// maxText bounds what a user gives, in bytes.
const maxText = 600

// checkName takes any name that Entra takes, but for what az would read as an
// option.
func checkName(name string) error {
	if err := checkText("name", name); err != nil {
		return err
	}
	if utf8.RuneCountInString(name) > 120 {
		return errors.New("name: longer than 120 characters")
	}
	if strings.HasPrefix(name, "-") || strings.TrimSpace(name) != name {
		return fmt.Errorf("name: %s: begins with -, or has a space around it", entra.Quote(name))
	}
	return nil
}

// checkText refuses what cannot be seen in a script that is to be read: control
// characters and line breaks of every kind, and marks that turn the direction of
// writing and make code look like text. No quotes keep az from reading files.
func checkText(field, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s: missing", field)
	case len(s) > maxText:
		return fmt.Errorf("%s: longer than %d bytes", field, maxText)
	case !utf8.ValidString(s), strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%s: %s: has a character that cannot be seen", field, entra.Quote(s))
	case strings.HasPrefix(s, "@"), strings.Contains(s, "=@"):
		return fmt.Errorf("%s: %s: az reads what follows @ at the beginning or =@ as the name of a file to take the value from", field, entra.Quote(s))
	}
	return nil
}

// checkPath checks a path that a script writes to or the broker reads from.
func checkPath(field, path string) error {
	if strings.HasPrefix(path, "-") {
		return fmt.Errorf("%s: %s: begins with -; put ./ before it", field, entra.Quote(path))
	}
	return checkText(field, path)
}

// checkURL checks an address that Entra compares byte by byte.
func checkURL(field, s string, fits func(*url.URL) bool, want string) error {
	if err := checkText(field, s); err != nil {
		return err
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Contains(s, " ") || !fits(u) {
		return fmt.Errorf("%s: %s: want %s", field, entra.Quote(s), want)
	}
	return nil
}
