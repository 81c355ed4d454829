package entraemu

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"tokenbroker/entra"
)

// tokenExchange is the audience of a federated token unless its credential
// names another. See "Configure an app to trust an external identity provider",
// learn.microsoft.com/entra/workload-id/workload-identity-federation-create-trust.
const tokenExchange = "api://AzureADTokenExchange" //nolint:gosec // an audience, no credential

// Config is what the fake Entra knows. [New] keeps a copy of the lists; what
// they point to may be shared by several Servers.
type Config struct {
	Tenants    []Tenant
	Resources  []Resource
	Apps       []App
	Users      []User
	Issuers    []Issuer        // whose federated tokens can be checked
	Lifetime   time.Duration   // of a token; zero: 3599 s
	RefreshIn  time.Duration   // refresh_in of an answer; zero: not said, as for tokens of an hour
	SigningKey *rsa.PrivateKey // signs the tokens; nil: New makes one, which takes a moment
}

// Tenant is a directory.
type Tenant struct {
	ID        entra.Tenant   // a GUID
	Domains   []entra.Tenant // its verified domain names
	Resources []string       // names of the resource applications that it has; nil: all

	AdminsConsent bool // users may not consent to anything by themselves
}

// Resource is an application that tokens are for.
type Resource struct {
	Name      string   // as the portal shows it
	Audiences []string // application id and every URI that it is asked for by, without a trailing slash
	Scopes    []string // the delegated permissions that it has; nil: any
	V2        bool     // its tokens for users are of version 2, for the first of Audiences
}

// App is an app registration.
type App struct {
	ClientID     string
	Secrets      []Secret
	Certificates []*x509.Certificate
	Federated    []FederatedCredential
	Consents     []Consent    // one for every tenant that knows the app
	Home         entra.Tenant // a GUID: the only tenant that may consent to it; empty: any, it is multi-tenant
	Requires     Roles        // what it asks an administrator to consent to
	RedirectURIs []string     // where a browser is sent after that, the first one unless a link names another; platform Web

	Public             bool     // "Allow public client flows": device codes and passwords need no credential
	Delegates          Scopes   // what it asks users to consent to
	NativeRedirectURIs []string // platform Mobile and desktop applications; a port of http://localhost and http://127.0.0.1 is not looked at
	SPARedirectURIs    []string // platform Single-page application
}

// Secret is a client secret.
type Secret struct {
	Value   entra.Secret
	Expires time.Time // zero: never
}

// FederatedCredential trusts the tokens that an issuer makes for a subject.
type FederatedCredential struct {
	Issuer   string
	Subject  string
	Audience string // empty: api://AzureADTokenExchange
}

// Consent is an app's service principal in a tenant, with what an
// administrator granted to it.
type Consent struct {
	Tenant   entra.Tenant // a GUID
	Roles    Roles
	Scopes   Scopes // what users need not consent to any more
	Disabled bool   // the enterprise application is switched off there
	Withheld bool   // it is there, and nobody has consented to anything
}

// Roles are application permissions by the name of the [Resource].
type Roles map[string][]string

// Issuer is an external identity provider, such as a cluster, with the keys
// that it would publish.
type Issuer struct {
	URL  string
	Keys map[string]*rsa.PublicKey // by key id
}

// hasTenant reports whether a tenant of that id is configured.
func (c *Config) hasTenant(id entra.Tenant) bool {
	return slices.ContainsFunc(c.Tenants, func(t Tenant) bool { return t.ID == id })
}

// hasResource reports whether a resource of that name is configured.
func (c *Config) hasResource(name string) bool {
	return slices.ContainsFunc(c.Resources, func(r Resource) bool { return r.Name == name })
}

// goesBy reports whether the name is one of the tenant's.
func (t *Tenant) goesBy(name entra.Tenant) bool {
	return t.ID == name || slices.Contains(t.Domains, name)
}

// has reports whether the tenant has a resource application.
func (t *Tenant) has(resource string) bool {
	return t.Resources == nil || slices.Contains(t.Resources, resource)
}

// consent returns the app's service principal in a tenant, or nil.
func (a *App) consent(tenant *Tenant) *Consent {
	for i, consent := range a.Consents {
		if consent.Tenant == tenant.ID {
			return &a.Consents[i]
		}
	}
	return nil
}

func (c FederatedCredential) audience() string {
	if c.Audience == "" {
		return tokenExchange
	}
	return c.Audience
}

// fault names everything that makes the configuration contradict itself.
func (c *Config) fault() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for i, tenant := range c.Tenants {
		if !entra.IsGUID(string(tenant.ID)) {
			fault("tenants[%d]: id %s: want a GUID", i, entra.Quote(string(tenant.ID)))
		}
		for _, resource := range tenant.Resources {
			if !c.hasResource(resource) {
				fault("tenants[%d]: resource %s is not in resources", i, entra.Quote(resource))
			}
		}
	}
	for i, resource := range c.Resources {
		if resource.V2 && len(resource.Audiences) == 0 {
			fault("resources[%d]: %s: version 2 wants an application id", i, entra.Quote(resource.Name))
		}
	}
	for i, app := range c.Apps {
		if !entra.IsGUID(app.ClientID) {
			fault("apps[%d]: client id %s: want a GUID", i, entra.Quote(app.ClientID))
		}
		for _, credential := range app.Federated {
			if !slices.ContainsFunc(c.Issuers, func(issuer Issuer) bool { return issuer.URL == credential.Issuer }) {
				fault("apps[%d]: federated issuer %s is not in issuers", i, entra.Quote(credential.Issuer))
			}
		}
		for _, uri := range slices.Concat(app.RedirectURIs, app.NativeRedirectURIs, app.SPARedirectURIs) {
			if u, err := url.Parse(uri); err != nil || u.Scheme == "" || u.Fragment != "" {
				fault("apps[%d]: redirect URI %s: want an absolute URL", i, entra.Quote(uri))
			}
		}
		tenants := []entra.Tenant{app.Home}
		resources := slices.AppendSeq(slices.Collect(maps.Keys(app.Requires)), maps.Keys(app.Delegates))
		for _, consent := range app.Consents {
			tenants = append(tenants, consent.Tenant)
			resources = slices.AppendSeq(slices.AppendSeq(resources, maps.Keys(consent.Roles)), maps.Keys(consent.Scopes))
		}
		for _, tenant := range tenants {
			if tenant != "" && !c.hasTenant(tenant) {
				fault("apps[%d]: tenant %s is not in tenants", i, entra.Quote(string(tenant)))
			}
		}
		for _, resource := range resources {
			if !c.hasResource(resource) {
				fault("apps[%d]: resource %s is not in resources", i, entra.Quote(resource))
			}
		}
	}
	for i, user := range c.Users {
		if err := user.fault(c); err != nil {
			fault("users[%d]: %w", i, err)
		}
	}
	return errors.Join(faults...)
}
