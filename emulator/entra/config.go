package entraemu

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
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
}

// Resource is an application that tokens are for.
type Resource struct {
	Name      string   // as the portal shows it
	Audiences []string // application id and every URI that it is asked for by, without a trailing slash
}

// App is an app registration.
type App struct {
	ClientID     string
	Secrets      []Secret
	Certificates []*x509.Certificate
	Federated    []FederatedCredential
	Consents     []Consent // one for every tenant that knows the app
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
	Tenant entra.Tenant // a GUID
	Roles  Roles
}

// Roles are application permissions by the name of the [Resource].
type Roles map[string][]string

// Issuer is an external identity provider, such as a cluster, with the keys
// that it would publish.
type Issuer struct {
	URL  string
	Keys map[string]*rsa.PublicKey // by key id
}

// goesBy reports whether the name is one of the tenant's.
func (t *Tenant) goesBy(name entra.Tenant) bool {
	return t.ID == name || slices.Contains(t.Domains, name)
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
	known := func(resource string) bool {
		return slices.ContainsFunc(c.Resources, func(r Resource) bool { return r.Name == resource })
	}

	for i, tenant := range c.Tenants {
		if !entra.IsGUID(string(tenant.ID)) {
			fault("tenants[%d]: id %s: want a GUID", i, entra.Quote(string(tenant.ID)))
		}
		for _, resource := range tenant.Resources {
			if !known(resource) {
				fault("tenants[%d]: resource %s is not in resources", i, entra.Quote(resource))
			}
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
		for _, consent := range app.Consents {
			if !slices.ContainsFunc(c.Tenants, func(t Tenant) bool { return t.ID == consent.Tenant }) {
				fault("apps[%d]: tenant %s is not in tenants", i, entra.Quote(string(consent.Tenant)))
			}
			for resource := range consent.Roles {
				if !known(resource) {
					fault("apps[%d]: resource %s is not in resources", i, entra.Quote(resource))
				}
			}
		}
	}
	return errors.Join(faults...)
}
