package broker

import (
	"cmp"
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"tokenbroker/entra"
)

const (
	opVault = "broker.vault"

	// versionFresh is how long a version of a secret or a certificate is taken
	// for the newest one.
	versionFresh = time.Minute

	// certificatesAPI is the api-version of the one request that is ours.
	certificatesAPI = "7.5"
)

// VaultConfig says where an Azure Key Vault is, and who reads it.
type VaultConfig struct {
	URL      string         // https://NAME.vault.azure.net; an emulator's may be any https host
	Resource string         // whom tokens for the cloud's vaults are for, such as https://vault.azure.net
	Tokens   entra.Source   // the identity that reads: a [ManagedIdentity], or a [Confidential]
	Tenant   entra.Tenant   // its tenant, where that is known
	Roots    *x509.CertPool // whose certificates to trust; nil: the system's
	Timeout  time.Duration  // of an exchange, of which one request to the vault may take half; zero: 10 s

	// DialContext replaces the network, and with it the environment's proxy.
	// Nil: TCP, through HTTPS_PROXY unless NO_PROXY names the vault.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Vault is an Azure Key Vault as one identity sees it. It keeps no connection.
//
// A token leaves for the vault's host alone, over TLS 1.2 or later, and is
// always for the cloud's vaults and of the identity's own tenant, whatever the
// vault's challenge asks for. Whoever could serve the host would get a token
// that is good at the identity's other vaults: so for a host below the
// resource's, where the real ones are, the SDK checks too that the challenge
// fits it, and other hosts are for emulators.
type Vault struct {
	url, host    string
	timeout      time.Duration // of one request
	tokens       *vaultTokens
	secrets      *azsecrets.Client
	keys         *azkeys.Client
	certificates *azcore.Client
}

// NewVault makes the vault's clients. It asks nobody anything yet.
func NewVault(cfg VaultConfig) (*Vault, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, entra.Errorf(entra.Invalid, opVault, "vault: want https://NAME.vault.azure.net")
	}
	scope, err := entra.ParseResource(cfg.Resource)
	if err != nil {
		return nil, err
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	host := strings.ToLower(u.Host)
	v := &Vault{url: "https://" + host, host: host, timeout: cfg.Timeout / 2}
	v.tokens = newVaultTokens(cfg, scope)

	network := ClientConfig{Roots: cfg.Roots, Timeout: cfg.Timeout, DialContext: cfg.DialContext}
	transport := network.transport("the vault")
	transport.DisableKeepAlives = true // it is needed for a moment once an hour
	options := azcore.ClientOptions{
		Transport: vaultClient{bounded{newClient(transport, cfg.Timeout)}},
		Retry:     policy.RetryOptions{MaxRetries: -1}, // the cache decides when to try again
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}
	elsewhere := !strings.HasSuffix(host, "."+strings.TrimPrefix(scope.Audience(), "https://"))
	v.secrets, err = azsecrets.NewClient(v.url, v.tokens, &azsecrets.ClientOptions{ClientOptions: options, DisableChallengeResourceVerification: elsewhere})
	if err == nil {
		v.keys, err = azkeys.NewClient(v.url, v.tokens, &azkeys.ClientOptions{ClientOptions: options, DisableChallengeResourceVerification: elsewhere})
	}
	if err == nil {
		v.certificates, err = azcore.NewClient("tokenbroker", "v1", runtime.PipelineOptions{
			PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(v.tokens, []string{string(scope)}, nil)},
		}, &options)
	}
	if err != nil {
		return nil, entra.Errorf(entra.Internal, opVault, "the Azure SDK makes no client of vault %s", v.host)
	}
	return v, nil
}

// certificate is what a vault says of a certificate. There is a package of the
// SDK for it, but this is all that it would be used for. The key and the chain
// are in a secret of the same name, which is never read.
type certificate struct {
	Key        string `json:"kid"`
	DER        []byte `json:"cer"`
	Attributes struct {
		Enabled *bool `json:"enabled"`
	} `json:"attributes"`
}

// certificate reads the newest version of a certificate.
func (v *Vault) certificate(ctx context.Context, name string) (c certificate, err error) {
	req, err := runtime.NewRequest(ctx, http.MethodGet, runtime.JoinPaths(v.url, "certificates", name))
	if err != nil {
		return c, err
	}
	req.Raw().URL.RawQuery = url.Values{"api-version": {certificatesAPI}}.Encode()
	req.Raw().Header.Set("Accept", "application/json")
	resp, err := v.certificates.Pipeline().Do(req)
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	if !runtime.HasStatusCode(resp, http.StatusOK) {
		return c, runtime.NewResponseError(resp)
	}
	return c, runtime.UnmarshalAsJSON(resp, &c)
}

// limit gives one request to the vault its time.
func (v *Vault) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, v.timeout)
}

// vaultClient is the transport of the SDK.
type vaultClient struct{ bounded }

// Do sends the request. The SDK takes the fourth part of a challenge's address
// for the tenant, and panics if there are fewer: such a challenge is none.
func (c vaultClient) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.bounded.Do(req)
	if err != nil {
		return nil, err
	}
	const header = "WWW-Authenticate"
	for part := range strings.FieldsSeq(strings.ReplaceAll(resp.Header.Get(header), "Bearer ", "")) {
		if uri, ok := strings.CutPrefix(part, "authorization="); ok && strings.Count(uri, "/") < 3 {
			resp.Header.Del(header)
		}
	}
	return resp, nil
}

// vaultTokens gives the SDK its tokens.
type vaultTokens struct {
	scope  entra.Scope
	tenant entra.Tenant
	memo   memo[entra.Token]
}

func newVaultTokens(cfg VaultConfig, scope entra.Scope) *vaultTokens {
	// Less than a request may take, or its lateness would pass for the vault's.
	timeout := cfg.Timeout * 2 / 5
	return &vaultTokens{scope: scope, tenant: cfg.Tenant, memo: memo[entra.Token]{
		what: "token for the vault", logger: slog.New(slog.DiscardHandler),
		fetch: func(ctx context.Context) (kept[entra.Token], error) {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			tok, err := cfg.Tokens.Token(ctx, entra.Request{Scope: scope})
			if err != nil {
				return kept[entra.Token]{}, err
			}
			fresh := tok.RefreshOn
			if fresh.IsZero() {
				fresh = tok.ExpiresOn.Add(-expiryGrace)
			}
			return kept[entra.Token]{value: tok, fresh: fresh, good: tok.ExpiresOn}, nil
		},
	}}
}

// GetToken implements [azcore.TokenCredential]. What a challenge asks for
// changes nothing but whether there is a token at all.
func (t *vaultTokens) GetToken(ctx context.Context, asked policy.TokenRequestOptions) (azcore.AccessToken, error) {
	for _, scope := range asked.Scopes {
		if scope != string(t.scope) {
			return azcore.AccessToken{}, entra.Errorf(entra.Misconfigured, opVault,
				"it asks for a token for %s, and gets none but for %s: check the vault's address and cloud", entra.Quote(scope), t.scope)
		}
	}
	if asked.TenantID != "" && entra.IsGUID(string(t.tenant)) && !strings.EqualFold(asked.TenantID, string(t.tenant)) {
		return azcore.AccessToken{}, entra.Errorf(entra.Misconfigured, opVault,
			"it is of tenant %s, and who reads it of tenant %s: name an identity of the vault's tenant", entra.Quote(asked.TenantID), t.tenant)
	}
	tok, err := t.memo.get(ctx)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return azcore.AccessToken{Token: tok.Access.Reveal(), ExpiresOn: tok.ExpiresOn, RefreshOn: tok.RefreshOn}, nil
}
