package clients

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// language is how the programs of one language are run.
type language struct {
	name    string
	command []string
	env     []string
	trust   string // the variable that names a file with further certificate authorities
}

var (
	golang = language{"go", []string{os.Args[0]}, []string{asClient + "=1"}, "SSL_CERT_FILE"}
	node   = language{"node", []string{"node", "scripts/client.mjs"}, nil, "NODE_EXTRA_CA_CERTS"}
	python = language{"python", []string{"/usr/bin/python3", "scripts/client.py"}, nil, "REQUESTS_CA_BUNDLE"}
)

// get runs a program of the language that asks for a token.
func (l language) get(b *broker, env []string, client, scope, clientID string) got {
	b.t.Helper()
	args := append(slices.Clone(l.command[1:]), client, scope)
	if clientID != "" {
		args = append(args, clientID)
	}
	return b.script(append(slices.Clone(l.env), env...), l.command[0], args...)
}

// The variables of an application, by protocol.
var environments = map[string]func(b *broker, l language) []string{
	"app service": func(b *broker, _ language) []string {
		return []string{"IDENTITY_ENDPOINT=" + b.url + "/msi/token", "IDENTITY_HEADER=" + key}
	},
	"app service of 2017": func(b *broker, _ language) []string {
		return []string{"MSI_ENDPOINT=" + b.url + "/msi/token", "MSI_SECRET=" + key}
	},
	"app service, as it is advised": func(b *broker, _ language) []string {
		return []string{
			"IDENTITY_ENDPOINT=" + b.url + "/msi/token", "IDENTITY_HEADER=" + key, "MSI_ENDPOINT=" + b.url + "/msi/token",
			"AZURE_TOKEN_CREDENTIALS=prod", "NO_PROXY=127.0.0.1,localhost", "HTTP_PROXY=http://127.0.0.1:9", "http_proxy=http://127.0.0.1:9", "no_proxy=127.0.0.1,localhost",
		}
	},
	"cloud shell": func(b *broker, _ language) []string { return []string{"MSI_ENDPOINT=" + b.url + "/msi/token"} },
	"imds":        func(b *broker, _ language) []string { return []string{"AZURE_POD_IDENTITY_AUTHORITY_HOST=" + b.url} },
	"sidecar":     func(b *broker, _ language) []string { return []string{"SIDECAR_URL=" + b.url} },
	"adfs": func(b *broker, l language) []string {
		return []string{
			"AZURE_AUTHORITY_HOST=" + strings.Replace(b.secure, "127.0.0.1", "localhost", 1), "AZURE_TENANT_ID=adfs",
			"AZURE_CLIENT_ID=" + b.fakes.ClientID, "AZURE_CLIENT_SECRET=" + key, l.trust + "=" + b.ca,
		}
	},
	"oauth v2": func(b *broker, _ language) []string {
		return []string{"TOKEN_URL=" + b.url + "/" + b.fakes.Tenant + "/oauth2/v2.0/token", "AZURE_CLIENT_SECRET=" + key}
	},
	"oauth v1": func(b *broker, _ language) []string {
		return []string{"TOKEN_URL=" + b.url + "/" + b.fakes.Tenant + "/oauth2/token", "AZURE_CLIENT_SECRET=" + key}
	},
	"az by socket": func(b *broker, _ language) []string {
		return []string{"PATH=" + b.az() + ":" + os.Getenv("PATH"), "TOKENBROKER_SOCKET=" + b.socket, "TOKENBROKER_KEY_FILE=" + b.path("key")}
	},
	"az by address": func(b *broker, _ language) []string {
		return []string{"PATH=" + b.az() + ":" + os.Getenv("PATH"), "TOKENBROKER_URL=" + b.url, "TOKENBROKER_KEY_FILE=" + b.path("key")}
	},
}

// az makes a folder in which the broker is called az.
func (b *broker) az() string {
	b.t.Helper()
	dir := b.t.TempDir()
	if err := os.Symlink(binary, dir+"/az"); err != nil {
		b.t.Fatal(err)
	}
	return dir
}

// warm is how many tokens a broker gets at its start: one for each scope of the
// routes that its configuration names.
const warm = 2

// Every SDK gets its token by the variables alone, and all of them the same one.
func TestSDKs(t *testing.T) {
	b := start(t, keyed)
	for _, tt := range []struct {
		environment string
		language    language
		clients     []string
		clientID    bool
	}{
		{"app service", golang, []string{"ManagedIdentityCredential", "DefaultAzureCredential", "ManagedIdentityApplication"}, false},
		{"app service", node, []string{"ManagedIdentityCredential", "DefaultAzureCredential", "ManagedIdentityApplication"}, false},
		{"app service", python, []string{"ManagedIdentityCredential", "DefaultAzureCredential"}, false},
		{"app service", golang, []string{"ManagedIdentityCredential", "ManagedIdentityApplication"}, true},
		{"app service", node, []string{"ManagedIdentityCredential", "ManagedIdentityApplication"}, true},
		{"app service", python, []string{"ManagedIdentityCredential"}, true},
		{"app service, as it is advised", golang, []string{"DefaultAzureCredential"}, false},
		{"app service, as it is advised", node, []string{"DefaultAzureCredential"}, false},
		{"app service, as it is advised", python, []string{"DefaultAzureCredential"}, false},
		{"app service of 2017", golang, []string{"ManagedIdentityCredential", "ManagedIdentityApplication"}, false},
		{"app service of 2017", node, []string{"ManagedIdentityCredential", "ManagedIdentityApplication"}, false},
		{"app service of 2017", python, []string{"ManagedIdentityCredential"}, false},
		{"cloud shell", golang, []string{"ManagedIdentityCredential", "ManagedIdentityApplication"}, false},
		{"cloud shell", node, []string{"ManagedIdentityCredential", "ManagedIdentityApplication"}, false},
		{"cloud shell", python, []string{"ManagedIdentityCredential"}, false},
		{"imds", node, []string{"ManagedIdentityCredential", "DefaultAzureCredential", "ManagedIdentityApplication"}, false},
		{"imds", python, []string{"ManagedIdentityCredential", "DefaultAzureCredential"}, false},
		{"sidecar", node, []string{"SidecarAuthProvider"}, false},
		{"adfs", golang, []string{"EnvironmentCredential", "DefaultAzureCredential"}, false},
		{"adfs", node, []string{"EnvironmentCredential", "DefaultAzureCredential"}, false},
		{"adfs", python, []string{"EnvironmentCredential", "DefaultAzureCredential"}, false},
		{"adfs", python, []string{"msal"}, true},
		{"oauth v2", golang, []string{"clientcredentials", "clientcredentials-basic"}, true},
		{"oauth v2", python, []string{"requests-oauthlib"}, true},
		{"oauth v1", python, []string{"documented"}, true},
		{"az by socket", golang, []string{"AzureCliCredential"}, false},
		{"az by socket", node, []string{"AzureCliCredential"}, false},
		{"az by socket", python, []string{"AzureCliCredential"}, false},
		{"az by address", golang, []string{"AzureCliCredential"}, false},
	} {
		for _, client := range tt.clients {
			name := strings.Join([]string{tt.environment, tt.language.name, client}, "/")
			clientID := ""
			if tt.clientID {
				clientID = b.fakes.ClientID
				name += " by client id"
			}
			t.Run(name, func(t *testing.T) {
				b := b.in(t)
				said := tt.language.get(b, environments[tt.environment](b, tt.language), client, mde, clientID)
				if said.Error != "" {
					t.Fatal(said.Error)
				}
				b.check(said.Token, mde, said.Expires)
			})
		}
	}
	if got := b.requests(); got != warm {
		t.Errorf("%d token requests to Entra for all of them, want the %d of the start", got, warm)
	}
}

// in is the broker for a part of the test.
func (b *broker) in(t *testing.T) *broker {
	t.Helper()
	part := *b
	part.t = t
	return &part
}
