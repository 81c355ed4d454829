package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tokenbroker/config"
	"tokenbroker/entra"
	"tokenbroker/setup"
)

// runSetup runs the command as the program would.
func runSetup(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newSetup(System{Out: &out})
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

func TestSetupFindsWhatIsWanted(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tokenbroker.yaml")
	must(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600))
	must(t, os.WriteFile(file, []byte(`
identities:
  default:
    tenant: contoso.example
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: secret, file: secret}
routes:
  defender:
    allow: [{methods: [GET], path: /api/incidents/**}, {path: "/api/machines/*/isolate"}]
    deny: [{path: "/api/incidents/*"}]
  graph: {access: read-only, allow: [{path: /v1.0/security/alerts_v2/**}]}
`), 0o600))
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"an endpoint", []string{"--endpoint", "GET /api/incidents"}, "Incident.Read.All"},
		{"as the catalogue spells it", []string{"--endpoint", "PATCH /api/incidents/{id}"}, "Incident.ReadWrite.All"},
		{"as a call of it", []string{"--endpoint", "GET /api/alerts/1/files"}, "File.Read.All"},
		{"a name, not what its placeholder would match", []string{"--endpoint", "GET /api/machines/{id}"}, "Machine.Read.All"},
		{"a pattern", []string{"--endpoint", "* /api/alerts/*/**"}, "Alert.ReadWrite.All File.Read.All Ip.Read.All Machine.Read.All Url.Read.All User.Read.All"},
		{"a function", []string{"--endpoint", "GET /api/machines/findbyip(*)"}, "Machine.Read.All"},
		{"a route's reads", []string{"--route", "graph"}, "AttackSimulation.Read.All SecurityAlert.Read.All SecurityEvents.Read.All SecurityIdentitiesHealth.Read.All SecurityIncident.Read.All ThreatHunting.Read.All ThreatIntelligence.Read.All"},
		{"a route's every call", []string{"--route", "graph:full"}, "AttackSimulation.Read.All SecurityAlert.ReadWrite.All SecurityEvents.ReadWrite.All SecurityIdentitiesHealth.ReadWrite.All SecurityIncident.ReadWrite.All ThreatHunting.Read.All ThreatIntelligence.Read.All"},
		{"a role", []string{"--role", "Ti.ReadWrite.All"}, "Ti.ReadWrite.All"},
		{"a configuration", []string{"--config", file}, "Incident.Read.All Machine.Isolate SecurityAlert.Read.All"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := runSetup(t, append(tt.args, "--secret-file", "client-secret")...)
			must(t, err)
			var held []string
			for line := range strings.Lines(text) {
				if _, call, ok := strings.Cut(line, "$(permission "); ok {
					held = append(held, strings.TrimSuffix(strings.Fields(call)[1], ")"))
				}
			}
			if got := strings.Join(held, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestSetupOfEachCredentialAndFormat(t *testing.T) {
	public := filepath.Join(t.TempDir(), "public.pem")
	pem, err := os.ReadFile("../setup/testdata/certificate.pem")
	must(t, err)
	must(t, os.WriteFile(public, pem, 0o600))
	for _, credential := range [][]string{
		{"--secret-file", "client-secret", "--days", "30"},
		{"--certificate", public, "--key-file", "tls.key"},
		{"--certificate", public, "--certificate-file", "tls.crt"},
		{"--issuer", "https://issuer.example/", "--aks", "soc/hunter"},
		{"--github", "contoso/soc", "--workflow", "branch:main", "--token-file", "token"},
		{"--issuer", "https://issuer.example/", "--subject", "x", "--audience", "y"},
		{"--managed-identity", "11111111-1111-1111-1111-111111111111", "--system-assigned"},
		{"--sign-in", "browser", "--redirect-uri", "http://localhost:8400"},
	} {
		for _, f := range setup.Formats() {
			args := append([]string{"--endpoint", "GET /api/incidents", "--cloud", "gcchigh", "--tenant", "contoso.example", "-o", string(f)}, credential...)
			if text, err := runSetup(t, args...); err != nil || !strings.Contains(text, "tokenbroker setup: ") {
				t.Errorf("%q: got %q (%v)", args, text, err)
			}
		}
	}
}

func TestSetupRefuses(t *testing.T) {
	secret := []string{"--secret-file", "f"}
	incidents := []string{"--endpoint", "GET /api/incidents"}
	for _, tt := range []struct {
		name string
		args [][]string
		want string
	}{
		{"nothing wanted", [][]string{secret}, "at least one of the flags"},
		{"no credential", [][]string{incidents}, "at least one of the flags"},
		{"two credentials", [][]string{incidents, secret, {"--sign-in", "browser"}}, "none of the others can be"},
		{"a flag that does nothing", [][]string{incidents, secret, {"--issuer", "https://issuer.example"}}, "--issuer: belongs to --aks or --subject"},
		{"no such endpoint", [][]string{{"--endpoint", "GET /api/nothing"}, secret}, "the catalogue has none"},
		{"no method", [][]string{{"--endpoint", "/api/incidents"}, secret}, "want a method and a path"},
		{"a bad pattern", [][]string{{"--endpoint", "GET /api/**/x"}, secret}, "want a method and a path"},
		{"no such route", [][]string{{"--route", "mail"}, secret}, "want a built-in route of the cloud public"},
		{"a route of another cloud", [][]string{{"--route", "defender", "--cloud", "china"}, secret}, "of the cloud china"},
		{"no such access", [][]string{{"--route", "graph:some"}, secret}, "alone or with :full"},
		{"no such role", [][]string{{"--role", "Mail.Read"}, secret}, "say whose it is"},
		{"no such cloud", [][]string{incidents, secret, {"--cloud", "moon"}}, `cloud "moon"`},
		{"no tenant", [][]string{incidents, secret, {"--tenant", "common"}}, `tenant "common"`},
		{"no customer", [][]string{incidents, secret, {"--customer", "common"}}, `tenant "common"`},
		{"no such file", [][]string{incidents, {"--certificate", "/nowhere/x.pem"}}, "/nowhere/x.pem"},
		{"no such configuration", [][]string{{"--config", "/nowhere/x.yaml"}, secret}, "/nowhere/x.yaml"},
		{"a service account without its namespace", [][]string{incidents, {"--aks", "hunter"}}, "want NAMESPACE/NAME"},
		{"a repository without a workflow", [][]string{incidents, {"--github", "a/b"}}, "want branch:NAME"},
		{"a workflow without a file", [][]string{incidents, {"--github", "a/b", "--workflow", "pull_request"}}, "also wants --token-file"},
		{"what the plan refuses", [][]string{incidents, secret, {"--name", "@x"}}, "as the name of a file"},
		{"an unknown format", [][]string{incidents, secret, {"-o", "bicep"}}, `-o "bicep"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var args []string
			for _, some := range tt.args {
				args = append(args, some...)
			}
			if text, err := runSetup(t, args...); err == nil || !strings.Contains(err.Error(), tt.want) || text != "" {
				t.Errorf("got %q, error %v, want one with %q", text, err, tt.want)
			}
		})
	}
}

// What setup writes, the broker takes.
func TestTheBrokerTakesTheConfigurationOfSetup(t *testing.T) {
	dir := t.TempDir()
	pem, err := os.ReadFile("../setup/testdata/certificate.pem")
	must(t, err)
	for name, credential := range map[string]setup.Credential{
		"secret":            setup.Secret{Days: 1, File: filepath.Join(dir, "client secret")},
		"certificate":       setup.Certificate{PEM: pem, File: "tls.crt", KeyFile: "tls.key"},
		"workload identity": setup.AKS("https://issuer.example/", "soc", "hunter"),
	} {
		for _, cloud := range entra.Clouds() {
			want := setup.Want{Cloud: cloud, Tenants: []entra.Tenant{"customer.example"}, Credential: credential, Now: time.Now()}
			want.Endpoints, err = routedEndpoints(catalogue(t), cloud, []string{"graph"})
			must(t, err)
			plan, err := setup.New(catalogue(t), want)
			must(t, err)
			file := filepath.Join(dir, "tokenbroker.yaml")
			must(t, os.WriteFile(file, []byte(plan.Config("contoso.example", "11111111-1111-1111-1111-111111111111")), 0o600))
			if _, err := config.Load(config.Options{Catalogue: catalogue(t), File: file}); err != nil {
				t.Errorf("%s, %s: %v", name, cloud, err)
			}
		}
	}
}
