package cli

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"tokenbroker/emulator"
	entraemu "tokenbroker/emulator/entra"
	metadataemu "tokenbroker/emulator/metadata"
	vaultemu "tokenbroker/emulator/vault"
	"tokenbroker/entra"
)

const (
	vaultHost    = "contoso.vault.azure.net"
	vaultSecret  = "app-secret"
	vaultCert    = "app-certificate"
	entraTimeout = 10 * time.Second // limits.entra_timeout, unless it is set
)

var appKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// The identities of the machine that the broker runs on. The second one reads
// the vault, and so does the app by its workload identity.
var (
	machine = metadataemu.Identity{System: true, ServicePrincipal: entraemu.ServicePrincipal{
		Tenant: contoso, ClientID: "44444444-4444-4444-4444-444444444441", ObjectID: "55555555-5555-5555-5555-555555555551",
	}}
	reader = metadataemu.Identity{ServicePrincipal: entraemu.ServicePrincipal{
		Tenant: contoso, ClientID: "44444444-4444-4444-4444-444444444442", ObjectID: "55555555-5555-5555-5555-555555555552",
	}}
)

// bothAppsEverywhere makes two apps with one secret, and lets each into three
// tenants.
func bothAppsEverywhere(c *entraemu.Config) {
	secondApp(c)
	second := &c.Apps[len(c.Apps)-1]
	second.Consents = append(second.Consents, entraemu.Consent{Tenant: contoso, Roles: entraemu.AllRoles()})
}

// azure is a world in which the broker runs on a machine with identities, and
// can read a vault that holds the app's secret and its certificate.
type azure struct {
	*world
	ca      *emulator.CA // of the hosts that this adds
	machine *metadataemu.Server
	vault   *vaultemu.Server
	stop    map[string]func() // takes a host off the network
}

func newAzure(t *testing.T, edits ...func(*entraemu.Config)) *azure {
	t.Helper()
	cert, key := appCertificate(t)
	edits = append([]func(*entraemu.Config){bothAppsEverywhere, func(c *entraemu.Config) {
		c.Resources = append(c.Resources, entraemu.KeyVaultResource())
		c.Apps[0].Certificates = []*x509.Certificate{cert}
		for _, identity := range []metadataemu.Identity{machine, reader} {
			c.Apps = append(c.Apps, entraemu.App{ClientID: identity.ClientID, Consents: []entraemu.Consent{{Tenant: identity.Tenant, Roles: entraemu.AllRoles()}}})
		}
	}}, edits...)
	a := &azure{world: newWorld(t, edits...), stop: map[string]func(){}}
	var err error
	a.machine, err = metadataemu.New(metadataemu.Config{Issue: a.entra.IssueFor, Identities: []metadataemu.Identity{machine, reader}})
	must(t, err)
	policy := []vaultemu.Operation{vaultemu.GetSecret, vaultemu.GetCertificate, vaultemu.Sign}
	a.vault, err = vaultemu.New(vaultemu.Config{
		Verify: a.entra.Verify, Tenant: contoso,
		Policies: vaultemu.Policies{reader.ClientID: policy, entraemu.DefaultClient: policy},
	})
	must(t, err)
	_, err = a.vault.SetSecret(vaultSecret, entra.NewSecret(a.secret), vaultemu.Attributes{})
	must(t, err)
	_, err = a.vault.AddCertificate(vaultCert, vaultemu.Certificate{Leaf: cert, Key: key})
	must(t, err)

	a.ca, err = emulator.NewCA()
	must(t, err)
	known, err := os.ReadFile(filepath.Join(a.dir, "ca.pem"))
	must(t, err)
	a.write("ca.pem", string(known)+string(a.ca.PEM()))
	a.serve(vaultHost, a.vault)
	a.serveMachine()
	a.writeCertificate(cert, key)
	return a
}

// appCertificate is the app's, good for a year.
func appCertificate(t *testing.T) (*x509.Certificate, *rsa.PrivateKey) {
	t.Helper()
	key, err := appKey()
	must(t, err)
	cert, err := entraemu.NewClientCertificate(key, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	must(t, err)
	return cert, key
}

// writeCertificate writes the app's certificate as app.pem, and as app.pfx with
// a password in app.password.
func (a *azure) writeCertificate(cert *x509.Certificate, key *rsa.PrivateKey) {
	a.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(a.t, err)
	a.write("app.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))+
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	pfx, err := pkcs12.Modern.Encode(key, cert, nil, "of the pfx")
	must(a.t, err)
	a.write("app.pfx", string(pfx))
	a.write("app.password", "of the pfx\n")
}

// serve stands up a handler at a host, with TLS.
func (a *azure) serve(host string, handler http.Handler) {
	a.t.Helper()
	a.listen(host, handler, func(l net.Listener) net.Listener { return tls.NewListener(l, a.ca.ServerTLS(host)) })
}

// serveMachine stands up IMDS.
func (a *azure) serveMachine() {
	a.t.Helper()
	a.listen(metadataemu.IMDSHost, a.machine, func(l net.Listener) net.Listener { return l })
}

// listen serves until the host is stopped, or the test ends.
func (a *azure) listen(host string, handler http.Handler, wrap func(net.Listener) net.Listener) {
	a.t.Helper()
	l, err := a.network.Listen(host)
	must(a.t, err)
	srv := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), ReadHeaderTimeout: time.Minute}
	var ended sync.WaitGroup
	ended.Go(func() { _ = srv.Serve(wrap(l)) })
	a.stop[host] = func() { _ = srv.Close(); ended.Wait() }
	a.t.Cleanup(a.stop[host])
}

// swallow puts a host in another's place that neither takes connections nor
// refuses them.
func (a *azure) swallow(host string) {
	a.t.Helper()
	a.stop[host]()
	l, err := a.network.Listen(host)
	must(a.t, err)
	a.stop[host] = func() { _ = l.Close() }
	a.t.Cleanup(a.stop[host])
}

// registered is an app registration in the configuration, with a credential.
func registered(name, client, credential string) string {
	return fmt.Sprintf("  %s: {tenant: %s, client_id: %s, credential: %s}\n", name, contoso, client, credential)
}

// assigned is an identity of the machine in the configuration; an empty client is
// the system-assigned one.
func assigned(name, client string) string {
	if client != "" {
		client = ", client_id: " + client
	}
	return fmt.Sprintf("  %s: {tenant: %s, credential: {kind: managed-identity%s}}\n", name, contoso, client)
}

// vaulted is a credential in the vault, which is read with another one.
func vaulted(kind, name, access string) string {
	return fmt.Sprintf("{kind: %s, vault: https://%s, name: %s, credential: %s}", kind, vaultHost, name, access)
}

const (
	byReader   = "{kind: managed-identity, client_id: 44444444-4444-4444-4444-444444444442}"
	byWorkload = "{kind: workload-identity, token_file: 'DIR/federated-token'}"
	byFile     = "{kind: secret, file: 'DIR/client-secret'}"
)

// claims returns the claims of the token in an answer of /token, which Entra
// knows for its own.
func (a *azure) claims(body string) (entra.Claims, error) {
	var answer struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return entra.Claims{}, fmt.Errorf("%w: %.200s", err, body)
	}
	return a.entra.Verify(answer.Access)
}

// fault is what is wrong with a token, other than for whom it was asked; empty:
// nothing.
func fault(c *entra.Claims, client, tenant string, scope entra.Scope) string {
	got := fmt.Sprintf("client %s, tenant %s, audience %s", c.Client(), c.Tenant, c.Audience)
	if want := fmt.Sprintf("client %s, tenant %s, audience [%s]", client, tenant, scope.Audience()); got != want {
		return "got " + got + "; want " + want
	}
	return ""
}

// atOnce calls from so many goroutines at once, and waits.
func atOnce(callers int, call func(i int)) {
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() { call(i) })
	}
	all.Wait()
}

// problem is how the broker says no.
type problem struct {
	Kind   string
	Detail string
	AADSTS int
}

func readProblem(t *testing.T, resp *http.Response) problem {
	t.Helper()
	var p problem
	body := text(t, resp)
	if err := json.Unmarshal([]byte(body), &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s, %s: %.200s", resp.Status, resp.Header.Get("Content-Type"), body)
	}
	return p
}
