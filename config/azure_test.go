package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
)

// azure are the variables that AKS sets.
var azure = []string{
	"AZURE_TENANT_ID=" + tenant, "AZURE_CLIENT_ID=" + client, "AZURE_FEDERATED_TOKEN_FILE=/var/run/token",
}

func TestIdentityFromEnvironment(t *testing.T) {
	const secret = "AZURE_CLIENT_SECRET=s3cr3t~value\n"
	tests := []struct {
		name, yaml    string
		env           []string
		want          Credential
		wantAuthority entra.Authority
	}{
		{"workload identity, no file", "", azure, Credential{Kind: WorkloadIdentity, TokenFile: "/var/run/token"}, "https://login.microsoftonline.com"},
		{"a file without identities", "cache: {size: 5}", azure, Credential{Kind: WorkloadIdentity, TokenFile: "/var/run/token"}, "https://login.microsoftonline.com"},
		{"client secret", "", append(azure[:2:2], secret), Credential{Kind: ClientSecret, Env: "AZURE_CLIENT_SECRET", Secret: entra.NewSecret("s3cr3t~value")}, "https://login.microsoftonline.com"},
		{"certificate", "", append(azure[:2:2], "AZURE_CLIENT_CERTIFICATE_PATH=/c.pem"), Credential{Kind: Certificate, File: "/c.pem"}, "https://login.microsoftonline.com"},
		{
			"certificate with a password and its chain", "",
			append(azure[:2:2], "AZURE_CLIENT_CERTIFICATE_PATH=/c.pfx", "AZURE_CLIENT_CERTIFICATE_PASSWORD=pass word\n", "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=True"),
			Credential{Kind: Certificate, File: "/c.pfx", SendChain: true, Password: entra.NewSecret("pass word")},
			"https://login.microsoftonline.com",
		},
		{"chain in digits", "", append(azure[:2:2], "AZURE_CLIENT_CERTIFICATE_PATH=/c", "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=1"), Credential{Kind: Certificate, File: "/c", SendChain: true}, "https://login.microsoftonline.com"},
		{"no chain", "", append(azure[:2:2], "AZURE_CLIENT_CERTIFICATE_PATH=/c", "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=0"), Credential{Kind: Certificate, File: "/c"}, "https://login.microsoftonline.com"},
		{"empty counts as not set", "", append(azure[:3:3], "AZURE_CLIENT_SECRET="), Credential{Kind: WorkloadIdentity, TokenFile: "/var/run/token"}, "https://login.microsoftonline.com"},
		{"authority", "", append(azure[:3:3], "AZURE_AUTHORITY_HOST=https://login.microsoftonline.us/"), Credential{Kind: WorkloadIdentity, TokenFile: "/var/run/token"}, "https://login.microsoftonline.us"},
		{"authority of the file is meant", "authority: https://a.example", append(azure[:3:3], "AZURE_AUTHORITY_HOST=https://b.example/"), Credential{Kind: WorkloadIdentity, TokenFile: "/var/run/token"}, "https://a.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good(t, tt.yaml, tt.env...)
			id := c.Identities["default"]
			if diff := cmp.Diff(id, Identity{Tenant: tenant, ClientID: client, Credential: tt.want}, sameSecret); diff != "" {
				t.Error(diff)
			}
			if c.Authority != tt.wantAuthority {
				t.Errorf("authority %s, want %s", c.Authority, tt.wantAuthority)
			}
			if got := c.Table.Identities()[0].ID; got != id.ID(tt.wantAuthority) {
				t.Errorf("the table's identity is %s", got)
			}
		})
	}
}

// TestManagedIdentityFromEnvironment: it is what is meant where no credential is
// named.
func TestManagedIdentityFromEnvironment(t *testing.T) {
	const upper = "ABCDEF00-0000-4000-8000-00000000000A"
	for _, tt := range []struct {
		name string
		env  []string
		want Identity
	}{
		{"nothing", nil, Identity{Credential: Credential{Kind: ManagedIdentity}}},
		{"a tenant", azure[:1], Identity{Tenant: tenant, Credential: Credential{Kind: ManagedIdentity}}},
		{"a client id", []string{"AZURE_CLIENT_ID=" + upper}, Identity{Credential: Credential{Kind: ManagedIdentity, ClientID: strings.ToLower(upper)}}},
		{"both", azure[:2], Identity{Tenant: tenant, Credential: Credential{Kind: ManagedIdentity, ClientID: client}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good(t, "caller_key_file: /k", tt.env...)
			if diff := cmp.Diff(c.Identities, map[string]Identity{"default": tt.want}, sameSecret); diff != "" {
				t.Error(diff)
			}
			wantNotes := []string{"no identities in a file and none of AZURE_FEDERATED_TOKEN_FILE, AZURE_CLIENT_CERTIFICATE_PATH, AZURE_CLIENT_SECRET is set: " +
				"the identity default is the managed identity of where the broker runs, the one of AZURE_CLIENT_ID where that is set"}
			if diff := cmp.Diff(c.Notes, wantNotes); diff != "" {
				t.Error(diff)
			}
			if len(c.Warnings) > 0 {
				t.Errorf("warnings %q, want none", c.Warnings)
			}
		})
	}
}

// TestVariableNamedByAnIdentityIsNotIgnored: nor is it said to be.
func TestVariableNamedByAnIdentityIsNotIgnored(t *testing.T) {
	c := good(t, "caller_key_file: /k\nidentities: {default: {tenant: contoso.com, client_id: "+client+", credential: {kind: secret, env: AZURE_CLIENT_SECRET}}}",
		"AZURE_CLIENT_SECRET=s3cr3t")
	if got := c.Identities["default"].Credential.Secret.Reveal(); got != "s3cr3t" || len(c.Warnings) > 0 {
		t.Errorf("secret %q, warnings %q", got, c.Warnings)
	}
}

// TestVariablesOfACertificateAlone: a password in the wrong place is told.
func TestVariablesOfACertificateAlone(t *testing.T) {
	c := good(t, "caller_key_file: /k", append(azure[:3:3], "AZURE_CLIENT_CERTIFICATE_PASSWORD=p", "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=1")...)
	want := []string{
		"AZURE_CLIENT_CERTIFICATE_PASSWORD has no effect without AZURE_CLIENT_CERTIFICATE_PATH",
		"AZURE_CLIENT_SEND_CERTIFICATE_CHAIN has no effect without AZURE_CLIENT_CERTIFICATE_PATH",
	}
	if diff := cmp.Diff(c.Warnings, want); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsOfTheEnvironment(t *testing.T) {
	tests := []struct {
		name, yaml string
		env        []string
		want       string
	}{
		{
			"managed identity by no GUID", "",
			[]string{"AZURE_CLIENT_ID=x"},
			`AZURE_CLIENT_ID: identities.default.credential.client_id: "x": want the client id of the managed identity, a GUID`,
		},
		{"client id missing", "", []string{azure[0], azure[2]}, "AZURE_CLIENT_ID: identities.default.client_id: missing; want the application (client) id, a GUID"},
		{
			"malformed", "",
			[]string{"AZURE_TENANT_ID=common", "AZURE_CLIENT_ID=x", azure[2], "AZURE_AUTHORITY_HOST=http://login.microsoftonline.com"},
			`AZURE_TENANT_ID: identities.default.tenant: tenant "common": want a GUID or a domain name such as contoso.onmicrosoft.com` + "\n" +
				`AZURE_AUTHORITY_HOST: authority: authority "http://login.microsoftonline.com": want https, a token request carries the credential` + "\n" +
				`AZURE_CLIENT_ID: identities.default.client_id: "x": want the application (client) id, a GUID`,
		},
		{
			"two credentials", "", append(azure[:3:3], "AZURE_CLIENT_SECRET=canary"),
			"AZURE_CLIENT_SECRET: identities.default.credential: set beside AZURE_FEDERATED_TOKEN_FILE; unset all but one, or say in identities which one is meant",
		},
		{
			"three credentials", "", append(azure[:3:3], "AZURE_CLIENT_SECRET=canary", "AZURE_CLIENT_CERTIFICATE_PATH=/c.pem"),
			"AZURE_CLIENT_SECRET: identities.default.credential: set beside AZURE_FEDERATED_TOKEN_FILE and AZURE_CLIENT_CERTIFICATE_PATH; unset all but one, or say in identities which one is meant",
		},
		{
			"certificate", "", append(azure[:2:2], "AZURE_CLIENT_CERTIFICATE_PATH=/c\n.pem", "AZURE_CLIENT_CERTIFICATE_PASSWORD=can\nary", "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=yes"),
			"AZURE_CLIENT_CERTIFICATE_PATH: identities.default.credential.file: has a line break or another control character in it\n" +
				"AZURE_CLIENT_CERTIFICATE_PASSWORD: identities.default.credential.password_file: the variable's value has a line break or another control character in it\n" +
				`AZURE_CLIENT_SEND_CERTIFICATE_CHAIN: identities.default.credential.send_chain: "yes": want true or 1, false or 0`,
		},
		{
			"secret with a line break", "", append(azure[:2:2], "AZURE_CLIENT_SECRET=can\nary"),
			"AZURE_CLIENT_SECRET: identities.default.credential.env: the variable's value has a line break or another control character in it",
		},
		{
			"token file with a line break", "", append(azure[:2:2], "AZURE_FEDERATED_TOKEN_FILE=/a\n/b"),
			"AZURE_FEDERATED_TOKEN_FILE: identities.default.credential.token_file: has a line break or another control character in it",
		},
		{"no identity in the file", "identities: {}", azure, "config.yaml:1: identities: none; name one, or remove the key and set AZURE_TENANT_ID"},
		{"identities of another shape", "identities: []", azure, "config.yaml:1: identities: want a mapping"},
		{
			"a variable's value", "", append(azure[:3:3], "TOKENBROKER_CACHE_SIZE=0", "TOKENBROKER_LISTEN_CALLERS=localhost:1,0.0.0.0:2"),
			"TOKENBROKER_CACHE_SIZE: cache.size: out of bounds; want 1 to 1000000\n" +
				"TOKENBROKER_LISTEN_CALLERS: listen.callers[1]: 0.0.0.0:2: reachable from beyond this machine; listen on localhost, or set both caller_key_file and listen.unsafe_non_loopback: true",
		},
		{
			"elements of a variable over the file's", "listen: {callers: [localhost:1, localhost:2]}",
			append(azure[:3:3], "TOKENBROKER_LISTEN_CALLERS=localhost:3,localhost:3"),
			`TOKENBROKER_LISTEN_CALLERS: listen.callers[1]: localhost:3: listen.callers[0] listens there already`,
		},
		{
			"a variable over the file", "listen: {callers: [localhost:1, localhost:2]}", append(azure[:3:3], "TOKENBROKER_LISTEN_CALLERS=localhost:1,localhost"),
			`TOKENBROKER_LISTEN_CALLERS: listen.callers: address "localhost": want host:port, as in localhost:5178, or unix:/path`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := try(t, tt.yaml, tt.env...)
			if got := text(err); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}
