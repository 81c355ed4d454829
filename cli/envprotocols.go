package cli

import (
	"slices"

	"tokenbroker/config"
	"tokenbroker/route"
)

// Notes that several protocols have.
const (
	noteOrder   = "DefaultAzureCredential takes AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH and AZURE_FEDERATED_TOKEN_FILE before this: leave them out."
	noteOthers  = "Not together with IMDS_ENDPOINT or IDENTITY_SERVER_THUMBPRINT: they stand for Azure Arc and Service Fabric."
	noteClient  = "AZURE_CLIENT_ID asks for that one identity: leave it out, unless the broker serves it."
	noteProd    = "Optional: AZURE_TOKEN_CREDENTIALS=prod keeps DefaultAzureCredential from the tools of developers."
	noteProxy   = "Where a proxy is set: NO_PROXY=127.0.0.1,localhost, since Python and JavaScript send even loopback through it."
	noteStart   = "SDKs read them once: restart the application when they change."
	noteTLS     = "SSL_CERT_FILE (Go) and REQUESTS_CA_BUNDLE (Python) stand in place of the system's roots, NODE_EXTRA_CA_CERTS adds to them."
	noteAnybody = "It carries no key: any process that reaches the listener can ask, in a Pod any container."
)

// envProtocols are the protocols, the default one first. What SDKs do with other
// variables was read in their sources, or seen.
func envProtocols() []envProtocol {
	const (
		first    = "DefaultAzureCredential takes it before a managed identity; unset it"
		loopback = "Python and JavaScript send even loopback through it; set NO_PROXY=127.0.0.1,localhost"
	)
	throughProxy := []envConflict{{"HTTP_PROXY", "", loopback}, {"http_proxy", "", loopback}}
	beforeIdentity := append([]envConflict{
		{"AZURE_CLIENT_SECRET", "", first},
		{"AZURE_CLIENT_CERTIFICATE_PATH", "", first},
		{"AZURE_USERNAME", "", first},
		{"AZURE_FEDERATED_TOKEN_FILE", "", first},
		{"AZURE_CLIENT_ID", "", "DefaultAzureCredential asks for that identity; unset it, unless the broker serves it"},
		{"AZURE_TOKEN_CREDENTIALS", "dev", "DefaultAzureCredential leaves managed identities out; set prod"},
		{"IMDS_ENDPOINT", "", "SDKs take this for Azure Arc; unset it"},
		{"IDENTITY_SERVER_THUMBPRINT", "", "SDKs take this for Service Fabric; unset it"},
	}, throughProxy...)
	afterAppService := append([]envConflict{{"IDENTITY_ENDPOINT", "", "SDKs take App Service before this; unset it"}}, beforeIdentity...)
	appService := func(c *config.Config) bool { return c.Protocols.AppService }
	oauth := func(c *config.Config) bool { return c.Protocols.OAuth }
	return []envProtocol{
		{
			name: "app-service", setting: "protocols.app_service", on: appService, proof: keyDemanded,
			variables: appServiceVariables,
			notes:     []string{noteOrder, noteOthers, noteClient, noteProd, noteProxy, noteStart},
			beaten:    beforeIdentity,
		},
		{
			name: "azure-ml", setting: "protocols.app_service", on: appService, proof: keyDemanded,
			variables: func(at envPlace) ([]envVariable, error) {
				return at.below("MSI_ENDPOINT", "/msi/token", envVariable{name: "MSI_SECRET", keyFile: at.keyFile})
			},
			notes:  []string{"For SDKs that know App Service of 2017 or Azure ML only; the others: --protocol app-service.", noteOrder, noteOthers, noteClient, noteProd, noteProxy, noteStart},
			beaten: afterAppService,
		},
		{
			name: "imds", setting: "protocols.imds", on: func(c *config.Config) bool { return c.Protocols.IMDS }, proof: keyless,
			variables: imdsVariables,
			notes: []string{
				"JavaScript, Python, .NET and Java read it; Go, Rust and C++ look at 169.254.169.254 alone: have the broker listen on 169.254.169.254:80 for them, and nothing is to be set.",
				noteAnybody, noteOrder, noteOthers, noteClient, noteProd, noteProxy, noteStart,
			},
			beaten: append([]envConflict{{"MSI_ENDPOINT", "", "SDKs take Cloud Shell or Azure ML before this; unset it"}}, afterAppService...),
		},
		{
			name: "cloud-shell", setting: "protocols.cloud_shell", on: func(c *config.Config) bool { return c.Protocols.CloudShell }, proof: keyless,
			variables: func(at envPlace) ([]envVariable, error) { return at.below("MSI_ENDPOINT", "/msi/token") },
			notes:     []string{"For old tools, such as az 2.45, go-autorest and msrestazure; the others: --protocol app-service.", noteAnybody, noteOrder, noteOthers, noteProd, noteProxy, noteStart},
			beaten:    append([]envConflict{{"MSI_SECRET", "", "SDKs take this for Azure ML; unset it"}}, afterAppService...),
		},
		{
			name: "sidecar", setting: "protocols.entra_sidecar", on: func(c *config.Config) bool { return c.Protocols.EntraSidecar.On }, proof: keyless,
			variables: func(at envPlace) ([]envVariable, error) { return at.below("SIDECAR_URL", "") },
			notes:     []string{"For clients of Microsoft's Entra sidecar, such as the Microsoft 365 Agents SDK; a service is a route of the broker.", noteAnybody, noteProxy, noteStart},
			beaten:    throughProxy,
		},
		{
			name: "oauth", setting: "protocols.oauth", on: oauth,
			variables: oauthVariables,
			notes: []string{
				"No SDK reads these names: they are what OAuth 2.0 clients and scripts have settings for. For version 1.0 with resource= the path is /oauth2/token.",
				"SDKs of Microsoft take no token endpoint over http: --protocol adfs.", noteProxy,
			},
			beaten: throughProxy,
		},
		{
			name: "adfs", setting: "protocols.oauth", on: oauth,
			variables: adfsVariables,
			notes:     []string{"For applications that want a client secret: EnvironmentCredential, DefaultAzureCredential, ClientSecretCredential.", noteProxy, noteStart},
			beaten: []envConflict{
				{"AZURE_TOKEN_CREDENTIALS", "dev", "DefaultAzureCredential leaves the client secret out; set prod"},
				{"HTTPS_PROXY", "", loopback},
				{"https_proxy", "", loopback},
			},
		},
		{
			name: "az", variables: azVariables,
			notes: []string{"For tokenbroker token, and for tokenbroker under the name az: ln -s \"$(command -v tokenbroker)\" DIR-IN-PATH/az"},
		},
	}
}

// below is a variable with the URL of a path, those that make the listener
// trusted, and more.
func (at envPlace) below(name, path string, more ...envVariable) ([]envVariable, error) {
	url, trust, err := at.url()
	return slices.Concat([]envVariable{{name: name, value: url + path}}, more, trust), err
}

// appServiceVariables are also those for tools that look at MSI_ENDPOINT alone,
// where they are served: SDKs prefer the others.
func appServiceVariables(at envPlace) ([]envVariable, error) {
	more := []envVariable{{name: "IDENTITY_HEADER", keyFile: at.keyFile}}
	if at.cfg.Protocols.CloudShell && (!asksProof(at.cfg) || at.admitsAnonymous()) {
		url, _, _ := at.url()
		more = append(more, envVariable{name: "MSI_ENDPOINT", value: url + "/msi/token"})
	}
	return at.below("IDENTITY_ENDPOINT", "/msi/token", more...)
}

func imdsVariables(at envPlace) ([]envVariable, error) {
	if at.atMetadata() {
		return nil, nil
	}
	return at.below("AZURE_POD_IDENTITY_AUTHORITY_HOST", "")
}

// oauthVariables name the identity that is used where none is named.
func oauthVariables(at envPlace) ([]envVariable, error) {
	identity := at.identity()
	if identity == nil || identity.Tenant == "" {
		return nil, wrongUsage("the path begins with a tenant, and the configuration says none for the default identity; set its tenant")
	}
	return at.below("TOKEN_URL", "/"+string(identity.Tenant)+"/oauth2/v2.0/token",
		envVariable{name: "CLIENT_ID", value: identity.Known.ClientID}, at.clientSecret("CLIENT_SECRET"))
}

// adfsVariables lead SDKs that want a client secret to the broker, by the name
// of a tenant that they look for on no server but their own.
func adfsVariables(at envPlace) ([]envVariable, error) {
	identity := at.identity()
	if identity == nil || identity.Known.ClientID == "" {
		return nil, wrongUsage("it names an identity by its client id, and the configuration says none for the default identity; set its client_id")
	}
	url, trust, err := at.secureURL()
	return append([]envVariable{
		{name: "AZURE_AUTHORITY_HOST", value: url},
		{name: "AZURE_TENANT_ID", value: "adfs"},
		{name: "AZURE_CLIENT_ID", value: identity.Known.ClientID},
		at.clientSecret("AZURE_CLIENT_SECRET"),
	}, trust...), err
}

// clientSecret is the caller key, or, where the broker asks for none, something
// for clients that insist on a secret.
func (at envPlace) clientSecret(name string) envVariable {
	if asksProof(at.cfg) && at.keyFile != "" {
		return envVariable{name: name, keyFile: at.keyFile}
	}
	return envVariable{name: name, value: "unused"}
}

// identity is the one that is used where none is named; nil: there is none.
func (at envPlace) identity() *route.Identity {
	for _, identity := range at.cfg.Table.Identities() {
		if id := at.cfg.Table.DefaultIdentity(); identity.ID == id && id != "" {
			return identity
		}
	}
	return nil
}

// azVariables are our own, where a socket goes first: only the owner of its file
// decides who comes in by it.
func azVariables(at envPlace) ([]envVariable, error) {
	var key []envVariable
	if asksProof(at.cfg) && at.keyFile != "" {
		key = []envVariable{{name: envKeyFile, value: at.keyFile}}
	}
	if at.socket != "" {
		return append([]envVariable{{name: envSocket, value: at.socket}}, key...), nil
	}
	if at.plain == nil {
		return nil, wrongUsage("no listener for it: it needs a Unix socket or a TCP listener without tls and route in listen.callers")
	}
	return at.below(envURL, "", key...)
}
