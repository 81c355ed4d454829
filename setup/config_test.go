package setup_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"tokenbroker/entra"
	"tokenbroker/setup"
)

func TestConfig(t *testing.T) {
	incidents := endpoints(t, "GET /api/incidents")
	for _, tt := range []struct {
		name string
		want setup.Want
		text string
	}{
		{
			"a secret, and customers",
			setup.Want{Endpoints: incidents, Tenants: []entra.Tenant{"one.example"}, Credential: setup.Secret{Days: 1, File: `C:\x "y"`}},
			`cloud: public
identities:
  default:
    tenant: ` + tenantID + `
    client_id: ` + clientID + `
    tenants:
      - one.example
    credential:
      kind: secret
      file: "C:\\x \"y\""
routes:
  defender: {}
`,
		},
		{
			"a certificate, where MDE has a host of its own",
			setup.Want{
				Endpoints: endpoints(t, "GET /api/machines", "GET /v1.0/security/incidents"), Cloud: entra.GCC,
				Credential: setup.Certificate{PEM: certificate(t, "certificate.pem"), File: "tls.crt"},
			},
			`cloud: gcc
identities:
  default:
    tenant: ` + tenantID + `
    client_id: ` + clientID + `
    credential:
      kind: certificate
      file: "tls.crt"
routes:
  mde: {}
  graph: {}
`,
		},
		{
			"AKS",
			setup.Want{Endpoints: incidents, Credential: setup.AKS("https://issuer.example/", "a", "b")},
			`cloud: public
identities:
  default:
    tenant: ` + tenantID + `
    client_id: ` + clientID + `
    credential:
      kind: workload-identity
      token_file: "/var/run/secrets/azure/tokens/azure-identity-token"
routes:
  defender: {}
`,
		},
		{
			"a system-assigned identity",
			setup.Want{Endpoints: incidents, Credential: setup.ManagedIdentity{ObjectID: objectID, SystemAssigned: true}},
			`cloud: public
identities:
  default:
    tenant: ` + tenantID + `
    credential:
      kind: managed-identity
routes:
  defender: {}
`,
		},
		{
			"a user-assigned identity",
			setup.Want{Endpoints: incidents, Credential: setup.ManagedIdentity{ObjectID: objectID}},
			`cloud: public
identities:
  default:
    tenant: ` + tenantID + `
    credential:
      kind: managed-identity
      client_id: ` + clientID + `
routes:
  defender: {}
`,
		},
		{
			"a host of every tenant's own has no route",
			setup.Want{Endpoints: endpoints(t, "GET /api/v1/alerts/"), Credential: setup.User{Flow: setup.DeviceCode}},
			`cloud: public
identities:
  default:
    tenant: ` + tenantID + `
    client_id: ` + clientID + `
    credential:
      kind: device-code
`,
		},
		{
			"a browser",
			setup.Want{Endpoints: incidents, Credential: setup.User{Flow: setup.Browser}},
			`cloud: public
identities:
  default:
    tenant: ` + tenantID + `
    client_id: ` + clientID + `
    credential:
      kind: browser
      redirect_uri: "http://localhost"
routes:
  defender: {}
`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan(t, tt.want)
			want := "# The broker's configuration for this app registration. Prove it with:\n#   " + p.Check() + "\n" + tt.text
			if diff := cmp.Diff(want, p.Config(tenantID, clientID)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigHoldsAnyPathAsItIs(t *testing.T) {
	wants := anyWant(t)
	rapid.Check(t, func(t *rapid.T) {
		want := wants.Draw(t, "want")
		p, err := setup.New(catalogueOf(t), want)
		if err != nil {
			t.Fatal(err)
		}
		got := credentialOf(t, p.Config(tenantID, clientID))
		for key, want := range pathsOf(want.Credential) {
			if got[key] != want {
				t.Errorf("%s: got %q, want %q", key, got[key], want)
			}
		}
	})
}

// pathsOf lists what the configuration has to hold of what was given.
func pathsOf(c setup.Credential) map[string]string {
	switch c := c.(type) {
	case setup.Secret:
		return map[string]string{"kind": "secret", "file": c.File}
	case setup.Certificate:
		return map[string]string{"kind": "certificate", "file": c.File, "key_file": c.KeyFile}
	case setup.Federated:
		return map[string]string{"kind": "workload-identity", "token_file": c.TokenFile}
	default:
		return nil
	}
}

// credentialOf reads a configuration, and its identity's credential.
func credentialOf(t interface{ Fatalf(string, ...any) }, text string) map[string]string {
	var file struct {
		Cloud      string
		Identities map[string]struct {
			Tenant     string
			ClientID   string `yaml:"client_id"`
			Tenants    []string
			Credential map[string]string
		}
		Routes map[string]struct{}
	}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if tenant := file.Identities["default"].Tenant; tenant != tenantID {
		t.Fatalf("tenant: got %q in\n%s", tenant, text)
	}
	return file.Identities["default"].Credential
}
