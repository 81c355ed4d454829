package protocol_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	msalerrors "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"
)

// surround makes the environment that MSAL finds in a pod: these variables, and
// none of the others by which it looks for managed identities.
func surround(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, name := range []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET", "DEFAULT_IDENTITY_CLIENT_ID"} {
		t.Setenv(name, variables[name])
	}
}

// viaAppService and the others are the variables that lead to a broker at url.
func viaAppService(url string) map[string]string {
	return map[string]string{"IDENTITY_ENDPOINT": url + "/msi/token", "IDENTITY_HEADER": identityKey}
}

func viaAzureML(url string) map[string]string {
	return map[string]string{"MSI_ENDPOINT": url + "/msi/token", "MSI_SECRET": identityKey}
}

func viaCloudShell(url string) map[string]string {
	return map[string]string{"MSI_ENDPOINT": url + "/msi/token"}
}

// viaIMDS are no variables at all: libraries in Go know the address alone.
func viaIMDS(string) map[string]string { return nil }

// boundTo is a client whose every connection ends at the server, as in a pod
// where the broker has bound 169.254.169.254.
func boundTo(s *httptest.Server) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}}}
}

// MSAL, unmodified: it sends one request for a token, and for a refusal no more,
// whose text reaches the program.
func TestMSALGetsManagedIdentityTokens(t *testing.T) {
	wrongKey := func(url string) map[string]string {
		return map[string]string{"IDENTITY_ENDPOINT": url + "/msi/token", "IDENTITY_HEADER": "wrong"}
	}
	defaultClient := func(id string) func(string) map[string]string {
		return func(url string) map[string]string {
			env := viaAzureML(url)
			env["DEFAULT_IDENTITY_CLIENT_ID"] = id
			return env
		}
	}
	system := managedidentity.SystemAssigned()
	for name, tt := range map[string]struct {
		via      func(url string) map[string]string
		id       managedidentity.ID
		resource string
		identity string // that the token is of; empty: refused
		status   int
		says     string
	}{
		"app service":              {viaAppService, system, "https://api.example", "id-1", 0, ""},
		"app service, scope":       {viaAppService, system, "https://api.example/.default", "id-1", 0, ""},
		"app service, two slashes": {viaAppService, system, "https://api.example//.default", "id-1", 0, ""},
		"app service, GUID":        {viaAppService, system, appResource, "id-1", 0, ""},
		"app service, client":      {viaAppService, managedidentity.UserAssignedClientID(appClient), "https://api.example", "id-1", 0, ""},
		"app service, object":      {viaAppService, managedidentity.UserAssignedObjectID(objectID), "https://managed.example", "id-2", 0, ""},
		"app service, resource":    {viaAppService, managedidentity.UserAssignedResourceID(resourceID), "https://managed.example", "id-2", 0, ""},
		"app service, stranger":    {viaAppService, managedidentity.UserAssignedClientID(objectID), "https://api.example", "", 400, "no identity of the configuration is known by it"},
		"app service, no audience": {viaAppService, system, "https://other.example", "", 400, "want one of: https://api.example"},
		"app service, a scope":     {viaAppService, system, "https://api.example/User.Read", "", 400, "want one of: https://api.example"},
		"app service, restricted":  {viaAppService, system, "https://shut.example", "", 403, "call through /proxy/shut/"},
		"app service, users":       {viaAppService, system, "https://people.example", "", 400, "acts on behalf of users alone"},
		"app service, wrong key":   {wrongKey, system, "https://api.example", "", 401, "not one of those configured"},
		"azure ml":                 {viaAzureML, system, "https://api.example", "id-1", 0, ""}, // clientid is there, and empty
		"azure ml, client":         {viaAzureML, managedidentity.UserAssignedClientID(appClient), "https://api.example", "id-1", 0, ""},
		"azure ml, default client": {defaultClient(appClient), system, "https://api.example", "id-1", 0, ""},
		"azure ml, stranger":       {defaultClient(objectID), system, "https://api.example", "", 400, "no identity of the configuration is known by it"},
		"cloud shell":              {viaCloudShell, system, "https://api.example", "id-1", 0, ""},
		"cloud shell, no audience": {viaCloudShell, system, "https://other.example", "", 400, "want one of: https://api.example"},
		"imds":                     {viaIMDS, system, "https://api.example", "id-1", 0, ""},
		"imds, client":             {viaIMDS, managedidentity.UserAssignedClientID(appClient), "https://api.example", "id-1", 0, ""},
		"imds, object":             {viaIMDS, managedidentity.UserAssignedObjectID(objectID), "https://managed.example", "id-2", 0, ""},
		"imds, resource":           {viaIMDS, managedidentity.UserAssignedResourceID(resourceID), "https://managed.example", "id-2", 0, ""},
		"imds, restricted":         {viaIMDS, system, "https://shut.example", "", 400, "call through /proxy/shut/"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newIdentities(t, nil)
			server := httptest.NewServer(s)
			defer server.Close()
			surround(t, tt.via(server.URL))
			client, err := managedidentity.New(tt.id, managedidentity.WithHTTPClient(boundTo(server)))
			if err != nil {
				t.Fatal(err)
			}
			// With claims it passes its memory by, which all of the process shares.
			result, err := client.AcquireToken(t.Context(), tt.resource, managedidentity.WithClaims("{}"))
			if len(s.requests) != 1 {
				t.Errorf("got requests %q, want one", s.requests)
			}
			if tt.identity != "" {
				if err != nil || len(s.asked) != 1 || string(s.asked[0].Identity) != tt.identity || result.AccessToken != identityToken(s.asked[0]) {
					t.Errorf("got %q: %v; the source was asked %+v", result.AccessToken, err, s.asked)
				}
				return
			}
			refused, ok := errors.AsType[msalerrors.CallErr](err)
			if !ok || refused.Resp.StatusCode != tt.status || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %d %q", err, tt.status, tt.says)
			}
		})
	}
}
