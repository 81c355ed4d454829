package broker

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"

	"tokenbroker/entra"
)

// ManagedIdentityConfig says which managed identity of the machine is meant.
type ManagedIdentityConfig struct {
	// At most one of these names a user-assigned identity; none: the
	// system-assigned one.
	ClientID, ObjectID, ResourceID string

	Tenant  entra.Tenant  // its own; empty: not known to us
	Timeout time.Duration // of an exchange, whatever is tried how often; zero: 10 s

	// DialContext replaces the network; nil: TCP.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// ManagedIdentity is the source of an identity that Azure gives to the place
// the broker runs at: a virtual machine or a node (IMDS), App Service, Azure
// Arc, Service Fabric, Azure ML. Which of them it is MSAL reads from the
// process's environment: IDENTITY_ENDPOINT, IDENTITY_HEADER and the like.
//
// The place is on the machine or at a link-local address, so that no proxy is
// ever used. It remembers its tokens for a day, and gives the same again
// whatever a claims challenge wants.
type ManagedIdentity struct {
	id      managedidentity.ID
	name    string // for messages
	tenant  entra.Tenant
	source  managedidentity.Source
	timeout time.Duration
	http    *http.Client
}

// NewManagedIdentity makes the source. It asks nobody anything yet.
func NewManagedIdentity(cfg ManagedIdentityConfig) (*ManagedIdentity, error) {
	m := &ManagedIdentity{
		id: managedidentity.SystemAssigned(), name: "the system-assigned managed identity",
		tenant: cfg.Tenant, timeout: cmp.Or(cfg.Timeout, defaultTimeout),
	}
	named := 0
	for _, by := range []struct {
		what, value string
		id          managedidentity.ID
	}{
		{"client_id", cfg.ClientID, managedidentity.UserAssignedClientID(cfg.ClientID)},
		{"object_id", cfg.ObjectID, managedidentity.UserAssignedObjectID(cfg.ObjectID)},
		{"resource_id", cfg.ResourceID, managedidentity.UserAssignedResourceID(cfg.ResourceID)},
	} {
		if by.value != "" {
			m.id, m.name = by.id, "the managed identity with "+by.what+" "+by.value
			named++
		}
	}
	if named > 1 {
		return nil, entra.Errorf(entra.Invalid, opManaged, "managed identity: client_id, object_id and resource_id: want one of them at most")
	}
	network := ClientConfig{Timeout: m.timeout, DialContext: cfg.DialContext}
	transport := network.transport("the managed identity endpoint")
	transport.Proxy = nil
	transport.DisableKeepAlives = true // it is needed for a moment once in hours
	m.http = newClient(transport, m.timeout)

	var err error
	if m.source, err = managedidentity.GetSource(); err == nil {
		_, err = managedidentity.New(m.id, managedidentity.WithHTTPClient(m.http))
	}
	if err != nil {
		return nil, entra.Errorf(entra.Misconfigured, opManaged,
			"%s: %s, where the broker runs, does not offer it: use the one that it has, and check %s", m.name, m.source, m.endpoint())
	}
	return m, nil
}

// Token gets a token from where the broker runs. MSAL tries up to three times,
// a second apart.
//
// The claims pass MSAL's memory by, which is the process's and not bounded by
// time; they are not sent.
func (m *ManagedIdentity) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	if err := asItself(&req); err != nil {
		return entra.Token{}, err
	}
	if req.Tenant != "" && req.Tenant != m.tenant {
		return entra.Token{}, entra.Errorf(entra.Invalid, opManaged,
			"tenant %s: %s has tokens of its own tenant only: leave tenant out", entra.Quote(string(req.Tenant)), m.name)
	}
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	asked := &inquiry{bounded: bounded{m.http}}
	client, err := managedidentity.New(m.id, managedidentity.WithHTTPClient(asked))
	if err != nil {
		return entra.Token{}, entra.Errorf(entra.Internal, opManaged, "MSAL makes no client of %s", m.name)
	}
	result, err := client.AcquireToken(ctx, req.Scope.Audience(), managedidentity.WithClaims("{}"))
	if err != nil {
		return entra.Token{}, m.classify(ctx, &req, asked, err)
	}
	tok, err := entra.NewToken(result.AccessToken, req.Scope, result.ExpiresOn, result.Metadata.RefreshOn)
	if err != nil {
		return entra.Token{}, err
	}
	return tok, m.check(&tok)
}

// check refuses a token that is not what the configuration says.
func (m *ManagedIdentity) check(tok *entra.Token) error {
	if !tok.ValidFor(time.Now(), 0) {
		return entra.Errorf(entra.Unavailable, opManaged, "%s: the token that came has expired already: is the clock of this machine right?", m.name)
	}
	jwt, err := tok.JWT()
	if err == nil && entra.IsGUID(string(m.tenant)) && jwt.Claims.Tenant != "" && !strings.EqualFold(jwt.Claims.Tenant, string(m.tenant)) {
		return entra.Errorf(entra.Misconfigured, opManaged, "%s is of tenant %s: correct the identity's tenant, or leave it out", m.name, entra.Quote(jwt.Claims.Tenant))
	}
	return nil
}

// inquiry is the HTTP client of one exchange. Of an answer that is no token it
// keeps what is needed, and MSAL, whose error would repeat it, gets none.
type inquiry struct {
	bounded
	status     int // of the last answer; zero: there was none
	said       refusal
	retryAfter time.Duration
}

// Do sends the request.
func (i *inquiry) Do(req *http.Request) (*http.Response, error) {
	i.status = 0
	resp, err := i.bounded.Do(req)
	if err != nil {
		return nil, err
	}
	i.status = resp.StatusCode
	if resp.StatusCode != http.StatusOK {
		i.said, i.retryAfter = readRefusal(resp.Body), retryAfter(resp.Header.Get("Retry-After"))
		_ = resp.Body.Close()
		resp.Body = http.NoBody
	}
	return resp, nil
}

// ConfigureClient implements [managedidentity.ClientConfigurer]: on Service
// Fabric MSAL pins the endpoint's certificate.
func (i *inquiry) ConfigureClient(augment func(*http.Client) (*http.Client, error)) error {
	client, err := augment(i.Client)
	if err == nil {
		i.Client = client
	}
	return err
}

// endpoint names where tokens come from.
func (m *ManagedIdentity) endpoint() string {
	switch m.source {
	case managedidentity.AzureArc:
		return "Azure Arc's agent"
	case managedidentity.AzureML, managedidentity.CloudShell:
		return "MSI_ENDPOINT"
	case managedidentity.AppService, managedidentity.ServiceFabric:
		return "IDENTITY_ENDPOINT"
	}
	return "169.254.169.254"
}
