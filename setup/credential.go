package setup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/entra"
)

// Credential is how an application proves itself: a [Secret], a [Certificate],
// a [Federated] token, a [ManagedIdentity], or the [User] who signs in.
type Credential interface {
	// check returns what is wrong with it, and what does not fit it.
	check(want *Want) []error
	// config returns the credential's lines of the broker's configuration.
	config() []line
}

// Secret is a client secret, which the script has Entra make and puts into a
// file.
type Secret struct {
	Days int    // until it expires
	File string // where the script writes it and the broker reads it
}

// maxDays is the longest that the portal offers: 24 months.
const maxDays = 730

func (s Secret) check(w *Want) []error {
	var faults []error
	if s.Days < 1 || s.Days > maxDays {
		faults = append(faults, fmt.Errorf("secret: %d days: want 1 to %d", s.Days, maxDays))
	}
	if w.Now.IsZero() {
		faults = append(faults, errors.New("secret: the time from which its days count is missing"))
	}
	return append(faults, checkPath("secret file", s.File))
}

func (s Secret) config() []line {
	return []line{{text: "kind: secret"}, {text: "file: " + yamlQuote(s.File)}}
}

// Federated is a token of another issuer that Entra takes for the application's
// own: no secret is kept anywhere.
type Federated struct {
	Issuer    string // the token's iss, byte by byte
	Subject   string // the token's sub
	Audience  string // the token's aud; empty: api://AzureADTokenExchange
	TokenFile string // where the broker finds the token; empty: where AKS puts it
}

const (
	exchangeAudience = "api://AzureADTokenExchange"
	aksTokenFile     = "/var/run/secrets/azure/tokens/azure-identity-token" //nolint:gosec // G101: a path, no credential
	githubIssuer     = "https://token.actions.githubusercontent.com"
)

// AKS is the token of a Kubernetes service account of a cluster whose OIDC
// issuer is switched on.
func AKS(issuer, namespace, serviceAccount string) Federated {
	return Federated{Issuer: issuer, Subject: "system:serviceaccount:" + namespace + ":" + serviceAccount}
}

// GitHub is the token of a workflow in a repository, owner/name. What the
// workflow runs for is branch:NAME, tag:NAME, environment:NAME or pull_request.
func GitHub(repository, runsFor, tokenFile string) (Federated, error) {
	owner, name, ok := strings.Cut(repository, "/")
	if !ok || owner == "" || name == "" || strings.ContainsAny(repository, ": ") || strings.Contains(name, "/") {
		return Federated{}, entra.Errorf(entra.Invalid, opPlan, "repository %s: want owner/name", entra.Quote(repository))
	}
	kind, what, named := strings.Cut(runsFor, ":")
	prefixes := map[string]string{"branch": "ref:refs/heads/", "tag": "ref:refs/tags/", "environment": "environment:"}
	claim := prefixes[kind] + what
	switch {
	case runsFor == "pull_request":
		claim = runsFor
	case !named || what == "" || prefixes[kind] == "" || strings.Contains(what, ":"):
		return Federated{}, entra.Errorf(entra.Invalid, opPlan, "workflow %s: want branch:NAME, tag:NAME, environment:NAME or pull_request", entra.Quote(runsFor))
	}
	return Federated{Issuer: githubIssuer, Subject: "repo:" + repository + ":" + claim, TokenFile: tokenFile}, nil
}

func (f Federated) check(*Want) []error {
	isHTTPS := func(u *url.URL) bool { return u.Scheme == "https" }
	faults := []error{
		checkURL("issuer", f.Issuer, isHTTPS, "the token's iss, as https://host/path"),
		checkText("subject", f.Subject),
		checkText("audience", f.audience()),
		checkPath("token file", f.tokenFile()),
	}
	if strings.HasSuffix(f.Subject, ":") || strings.Contains(f.Subject, "::") {
		faults = append(faults, fmt.Errorf("subject: %s: a part of it is missing", entra.Quote(f.Subject)))
	}
	return faults
}

func (f Federated) config() []line {
	return []line{{text: "kind: workload-identity"}, {text: "token_file: " + yamlQuote(f.tokenFile())}}
}

func (f Federated) audience() string {
	if f.Audience == "" {
		return exchangeAudience
	}
	return f.Audience
}

func (f Federated) tokenFile() string {
	if f.TokenFile == "" {
		return aksTokenFile
	}
	return f.TokenFile
}

// ManagedIdentity is the identity of a machine or service in Azure. It exists
// already: the script only gives it roles, for which the portal has no button.
type ManagedIdentity struct {
	ObjectID       string // of its service principal
	SystemAssigned bool   // it belongs to one machine or service, and needs no name there
}

func (m ManagedIdentity) check(w *Want) []error {
	var faults []error
	if !entra.IsGUID(m.ObjectID) {
		faults = append(faults, fmt.Errorf("managed identity: %s: want the object (principal) id, a GUID", entra.Quote(m.ObjectID)))
	}
	if w.Name != "" {
		faults = append(faults, errors.New("name: a managed identity has its own; leave it off"))
	}
	if w.MultiTenant {
		faults = append(faults, errors.New("tenants: a managed identity is of one tenant; customers' tenants need an app registration"))
	}
	return faults
}

func (m ManagedIdentity) config() []line {
	lines := []line{{text: "kind: managed-identity"}}
	if !m.SystemAssigned {
		lines = append(lines, line{text: "client_id: ", id: clientID})
	}
	return lines
}

// User is delegated use: somebody signs in, and the application acts for them.
type User struct {
	Flow        Flow
	RedirectURI string // empty: http://localhost for a browser, none for a device code
}

// Flow is how a user signs in.
type Flow string

// The ways in which a user signs in.
const (
	Browser    Flow = "browser"     // on the machine of the broker
	DeviceCode Flow = "device-code" // with a code, on any other
)

func (u User) check(*Want) []error {
	var faults []error
	if !slices.Contains([]Flow{Browser, DeviceCode}, u.Flow) {
		faults = append(faults, fmt.Errorf("sign-in: %s: want %s or %s", entra.Quote(string(u.Flow)), Browser, DeviceCode))
	}
	if u.redirectURI() != "" {
		isRedirect := func(r *url.URL) bool {
			ip := net.ParseIP(r.Hostname())
			return r.Scheme == "https" || r.Scheme == "http" && (r.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
		}
		faults = append(faults, checkURL("redirect URI", u.redirectURI(), isRedirect, "https, or http of this machine such as http://localhost"))
	}
	return faults
}

func (u User) config() []line {
	lines := []line{{text: "kind: " + string(u.Flow)}}
	if u.redirectURI() != "" {
		lines = append(lines, line{text: "redirect_uri: " + yamlQuote(u.redirectURI())})
	}
	return lines
}

func (u User) redirectURI() string {
	if u.RedirectURI == "" && u.Flow == Browser {
		return "http://localhost"
	}
	return u.RedirectURI
}

// view names the credential by what it says, so that another issuer or subject
// does not take its place.
func (f Federated) view(quote func(string) quoted) *federatedView {
	sum := sha256.Sum256([]byte(f.Issuer + "\n" + f.Subject))
	name := "tokenbroker-" + hex.EncodeToString(sum[:6])
	return &federatedView{
		Name: name, Issuer: quote(f.Issuer), Subject: quote(f.Subject), Audience: quote(f.audience()),
		Object: quote(jsonText(struct {
			Name      string   `json:"name"`
			Issuer    string   `json:"issuer"`
			Subject   string   `json:"subject"`
			Audiences []string `json:"audiences"`
		}{name, f.Issuer, f.Subject, []string{f.audience()}})),
	}
}
