package metadataemu_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tokenbroker/emulator"
	entraemu "tokenbroker/emulator/entra"
	metadataemu "tokenbroker/emulator/metadata"
	"tokenbroker/entra"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mde        = "https://api.securitycenter.microsoft.com"
	vault      = "https://vault.azure.net"
	stranger   = "99999999-9999-9999-9999-999999999999"
	appHost    = "appservice.internal"
	imdsURL    = "http://" + metadataemu.IMDSHost + "/metadata/identity/oauth2/token"
	appURL     = "http://" + appHost + metadataemu.AppServicePath
	headerText = "the-header-of-this-app"
)

// A key takes long to make, and no test changes it.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// The identities of the machine.
var (
	system = metadataemu.Identity{System: true, ServicePrincipal: entraemu.ServicePrincipal{
		Tenant: entraemu.DefaultTenant, ClientID: "44444444-4444-4444-4444-444444444441", ObjectID: "55555555-5555-5555-5555-555555555551",
	}}
	hunter = user("hunter", "2")
	keeper = user("keeper", "3")
)

func user(name, digit string) metadataemu.Identity {
	return metadataemu.Identity{ServicePrincipal: entraemu.ServicePrincipal{
		Tenant: entraemu.DefaultTenant, ClientID: "44444444-4444-4444-4444-44444444444" + digit, ObjectID: "55555555-5555-5555-5555-55555555555" + digit,
		ResourceID: "/subscriptions/s/resourcegroups/soc/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name,
	}}
}

// world is a machine in memory, and the Entra that its tokens come from.
type world struct {
	*metadataemu.Server
	entra *entraemu.Server
	net   *emulator.Network
	http  *http.Client
}

// newWorld makes a machine with these identities, all of which Entra knows.
func newWorld(tb testing.TB, identities ...metadataemu.Identity) *world {
	tb.Helper()
	config := entraemu.Default()
	config.SigningKey = signingKey()
	config.Resources = append(config.Resources, entraemu.KeyVaultResource())
	for _, identity := range []metadataemu.Identity{system, hunter, keeper} {
		config.Apps = append(config.Apps, entraemu.App{
			ClientID: identity.ClientID,
			Consents: []entraemu.Consent{{Tenant: entraemu.DefaultTenant, Roles: entraemu.Roles{entraemu.MDE: {"Alert.Read.All"}}}},
		})
	}
	authority, err := entraemu.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	server, err := metadataemu.New(metadataemu.Config{Issue: authority.IssueFor, Identities: identities, Header: entra.NewSecret(headerText)})
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{Server: server, entra: authority, net: emulator.NewNetwork()}
	transport := &http.Transport{DialContext: w.net.DialContext}
	w.http = &http.Client{Transport: transport}
	httpServer := &http.Server{Handler: server}
	var served sync.WaitGroup
	for _, host := range []string{metadataemu.IMDSHost, appHost} {
		l, err := w.net.Listen(host)
		if err != nil {
			tb.Fatal(err)
		}
		served.Go(func() { serve(tb, httpServer, l) })
	}
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = httpServer.Close()
		served.Wait()
	})
	return w
}

func serve(tb testing.TB, server *http.Server, l net.Listener) {
	tb.Helper()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		tb.Errorf("serve: %v", err)
	}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// do makes a request with headers given as names and values.
func (w *world) do(ctx context.Context, tb testing.TB, method, uri, body string, header ...string) (answer, error) {
	tb.Helper()
	req, err := http.NewRequestWithContext(ctx, method, uri, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp, string(b)}, err
}

// get makes a GET request that must be answered.
func (w *world) get(tb testing.TB, uri string, header ...string) answer {
	tb.Helper()
	got, err := w.do(tb.Context(), tb, http.MethodGet, uri, "", header...)
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

// imds asks IMDS as documented, with more of a query.
func (w *world) imds(tb testing.TB, query string) answer {
	tb.Helper()
	return w.get(tb, imdsURL+"?api-version=2018-02-01&resource="+mde+query, "Metadata", "true")
}

// app asks App Service as documented, with more of a query.
func (w *world) app(tb testing.TB, query string) answer {
	tb.Helper()
	return w.get(tb, appURL+"?api-version=2019-08-01&resource="+mde+query, "X-IDENTITY-HEADER", headerText)
}

// claims verifies the token of an answer.
func (w *world) claims(tb testing.TB, a answer) entra.Claims {
	tb.Helper()
	var body struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.StatusCode != http.StatusOK {
		tb.Fatalf("got %s %s, want a token", a.Status, a.body)
	}
	claims, err := w.entra.Verify(body.Access)
	if err != nil {
		tb.Fatal(err)
	}
	return claims
}

// seconds is how long there is until a time of the answer's.
func seconds(t time.Time) int { return int(time.Until(t).Round(time.Second) / time.Second) }
