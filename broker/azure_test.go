package broker_test

import (
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	metadataemu "tokenbroker/emulator/metadata"
	vaultemu "tokenbroker/emulator/vault"
	"tokenbroker/entra"
)

const (
	vaultHost = "contoso.vault.azure.net"
	stored    = "defender" // the name of what is in the vault
	opaque    = "the-header-canary"
	appHost   = "appservice.internal"
	appURL    = "http://" + appHost + metadataemu.AppServicePath
)

// The identities of the machine. The second one reads the vault.
var (
	machine = metadataemu.Identity{System: true, ServicePrincipal: entraemu.ServicePrincipal{
		Tenant: tenant, ClientID: "44444444-4444-4444-4444-444444444441", ObjectID: "55555555-5555-5555-5555-555555555551",
	}}
	reader = metadataemu.Identity{ServicePrincipal: entraemu.ServicePrincipal{
		Tenant: tenant, ClientID: "44444444-4444-4444-4444-444444444442", ObjectID: "55555555-5555-5555-5555-555555555552",
		ResourceID: "/subscriptions/s/resourcegroups/soc/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reader",
	}}
)

// azure is a world with the fake Entra, a machine with its identities, and a
// vault.
type azure struct {
	*world
	t       *testing.T
	entra   *entraemu.Server
	machine *metadataemu.Server
	vault   *vaultemu.Server
}

func newAzure(t *testing.T, identities ...metadataemu.Identity) *azure {
	t.Helper()
	a := &azure{world: newWorld(t), t: t}
	a.entra = a.emulate(t)
	var err error
	a.machine, err = metadataemu.New(metadataemu.Config{Issue: a.entra.IssueFor, Identities: identities, Header: entra.NewSecret(opaque)})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{metadataemu.IMDSHost, appHost} {
		serve(t, a.listen(t, host), a.machine)
	}
	a.vault, err = vaultemu.New(vaultemu.Config{
		Verify: a.entra.Verify, Tenant: tenant,
		Policies: vaultemu.Policies{reader.ClientID: {vaultemu.GetSecret, vaultemu.GetCertificate, vaultemu.Sign}},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.serve(t, vaultHost, a.vault)
	return a
}

// managed is the source of an identity of the machine.
func (w *world) managed(t *testing.T, cfg broker.ManagedIdentityConfig) *broker.ManagedIdentity {
	t.Helper()
	cfg.Timeout, cfg.DialContext = timeout, w.network.DialContext
	m, err := broker.NewManagedIdentity(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// open is the vault as the tokens' identity sees it; nil: the machine's reader.
func (w *world) open(t *testing.T, host string, tokens entra.Source) *broker.Vault {
	t.Helper()
	if tokens == nil {
		tokens = w.managed(t, broker.ManagedIdentityConfig{ClientID: reader.ClientID})
	}
	v, err := broker.NewVault(broker.VaultConfig{
		URL: "https://" + host + "/", Resource: vaultemu.Resource, Tokens: tokens, Tenant: tenant,
		Roots: w.ca.Pool(), Timeout: timeout, DialContext: w.network.DialContext,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// secretIn and certificateIn are the sources of the world's app with what is
// stored in a vault.
func (w *world) secretIn(t *testing.T, v *broker.Vault, log *syncBuffer) *broker.Confidential {
	t.Helper()
	credential, err := broker.NewVaultSecret(v, stored, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return w.with(t, credential)
}

func (w *world) certificateIn(t *testing.T, v *broker.Vault, chain bool, log *syncBuffer) *broker.Confidential {
	t.Helper()
	credential, err := broker.NewVaultCertificate(v, stored, chain, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return w.with(t, credential)
}

// with is the source of the world's app with the credential.
func (w *world) with(t *testing.T, credential broker.Credential) *broker.Confidential {
	t.Helper()
	source, err := broker.NewConfidential(w.app(t), credential)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// store makes a version of the secret, which the app need not have.
func (a *azure) store(t *testing.T, value string) {
	t.Helper()
	if _, err := a.vault.SetSecret(stored, entra.NewSecret(value), vaultemu.Attributes{}); err != nil {
		t.Fatal(err)
	}
}

// install makes a version of the certificate with one of the keys, which the
// app need not trust.
func (a *azure) install(t *testing.T, key int) identity {
	t.Helper()
	own := newIdentity(t, key, 24*time.Hour)
	if _, err := a.vault.AddCertificate(stored, vaultemu.Certificate{Leaf: own.cert, Key: own.key, Exportable: true}); err != nil {
		t.Fatal(err)
	}
	return own
}

// trust makes certificates the app's only ones.
func (a *azure) trust(t *testing.T, identities ...identity) {
	t.Helper()
	var certs []*x509.Certificate
	for _, i := range identities {
		certs = append(certs, i.cert)
	}
	if err := a.entra.SetCertificates(client, certs...); err != nil {
		t.Fatal(err)
	}
}

// swallow is a host that takes no connection and refuses none.
func (w *world) swallow(t *testing.T, host string) {
	t.Helper()
	l := w.listen(t, host)
	t.Cleanup(func() { _ = l.Close() })
}

// everyone asks the source from so many goroutines at once.
func everyone(t *testing.T, source entra.Source, callers int, ask func(i int) entra.Request) {
	t.Helper()
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			if _, err := source.Token(t.Context(), ask(i)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// redirect answers with one.
func redirect(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "https://stranger.example/", http.StatusTemporaryRedirect)
}
