package setup_test

import (
	"bytes"
	"strings"
	"testing"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/setup"
)

func TestNewRefuses(t *testing.T) {
	good := func() setup.Want {
		return setup.Want{Endpoints: endpoints(t, "GET /api/incidents"), Credential: setup.Secret{Days: 30, File: "client-secret"}, Now: now}
	}
	pem := certificate(t, "certificate.pem")
	cert := func(pem []byte) setup.Credential {
		return setup.Certificate{PEM: pem, File: "tls.crt", KeyFile: "tls.key"}
	}
	for _, tt := range []struct {
		name   string
		change func(*setup.Want)
		want   string
	}{
		{"no credential", func(w *setup.Want) { w.Credential = nil }, "credential: missing"},
		{"a line break in the name", func(w *setup.Want) { w.Name = "a\nb" }, "cannot be seen"},
		{"a name that az would read a file for", func(w *setup.Want) { w.Name = "@/etc/passwd" }, "as the name of a file"},
		{"a name that az would read a file for, in the middle", func(w *setup.Want) { w.Name = "a=@/etc/passwd" }, "as the name of a file"},
		{"a redirect that az would read a file for", func(w *setup.Want) {
			w.Credential = setup.User{Flow: setup.Browser, RedirectURI: "https://broker.example/=@/etc/passwd"}
		}, "as the name of a file"},
		{"a name like an option", func(w *setup.Want) { w.Name = "--help" }, "begins with -"},
		{"a space at the end", func(w *setup.Want) { w.Name = "a " }, "space around it"},
		{"a name that turns the direction of writing", func(w *setup.Want) { w.Name = "a\u202eb" }, "cannot be seen"},
		{"a line break of Unicode", func(w *setup.Want) { w.Name = "a\u2028b" }, "cannot be seen"},
		{"no UTF-8", func(w *setup.Want) { w.Name = "a\xff" }, "cannot be seen"},
		{"a long name", func(w *setup.Want) { w.Name = strings.Repeat("a", 121) }, "longer than 120"},
		{"a very long name", func(w *setup.Want) { w.Name = strings.Repeat("a", 601) }, "longer than 600"},

		{"nothing wanted", func(w *setup.Want) { w.Endpoints = nil }, "nothing is wanted"},
		{"an API that the cloud lacks", func(w *setup.Want) { w.Cloud = entra.China }, "china has no host of the API XDR"},
		{"a scope without a permission", func(w *setup.Want) { w.Scopes = []entra.Scope{"https://graph.microsoft.com/.default"} }, "a scope of Microsoft Graph is wanted"},
		{"a scope of something else", func(w *setup.Want) { w.Scopes = []entra.Scope{"https://vault.azure.net/.default"} }, "not of a Defender API"},
		{"a user's scope", func(w *setup.Want) { w.Scopes = []entra.Scope{"https://graph.microsoft.com/User.Read"} }, "an application gets /.default"},
		{"a role that is none", func(w *setup.Want) { w.Permissions = []setup.Permission{{API: defender.XDR, Name: "a b"}} }, "want the name of a permission"},
		{"a role of nothing", func(w *setup.Want) { w.Permissions = []setup.Permission{{API: "TEAMS", Name: "Mail.Read"}} }, "want the name of a permission"},
		{
			"an endpoint that no user's token opens",
			func(w *setup.Want) {
				w.Endpoints = endpoints(t, "DELETE /api/indicators/1")
				w.Credential = setup.User{Flow: setup.Browser}
			},
			"no user's token opens it",
		},

		{"a secret for ever", func(w *setup.Want) { w.Credential = setup.Secret{Days: 731, File: "f"} }, "731 days"},
		{"a secret without a file", func(w *setup.Want) { w.Credential = setup.Secret{Days: 1} }, "secret file: missing"},
		{"a file like an option", func(w *setup.Want) { w.Credential = setup.Secret{Days: 1, File: "-f"} }, "put ./ before it"},
		{"a private key", func(w *setup.Want) { w.Credential = cert([]byte("-----BEGIN PRIVATE KEY-----")) }, "has a private key in it"},
		{"no certificate", func(w *setup.Want) { w.Credential = cert([]byte("hello")) }, "want one in PEM"},
		{"a chain", func(w *setup.Want) { w.Credential = cert(bytes.Repeat(pem, 2)) }, "more than one"},
		{"a damaged certificate", func(w *setup.Want) {
			w.Credential = cert([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
		}, "damaged"},
		{"an EC certificate", func(w *setup.Want) { w.Credential = cert(certificate(t, "ec.pem")) }, "its key is ECDSA; Entra takes RSA"},
		{"an expired certificate", func(w *setup.Want) { w.Credential = cert(pem); w.Now = now.AddDate(100, 0, 0) }, "expired on"},
		{"a certificate without a file", func(w *setup.Want) { w.Credential = setup.Certificate{PEM: pem} }, "certificate file: missing"},
		{"a plain issuer", func(w *setup.Want) { w.Credential = setup.AKS("http://issuer.example", "a", "b") }, "issuer: "},
		{"an issuer with a query", func(w *setup.Want) { w.Credential = setup.AKS("https://issuer.example?a", "a", "b") }, "issuer: "},
		{"no issuer", func(w *setup.Want) { w.Credential = setup.AKS("", "a", "b") }, "issuer: missing"},
		{"no namespace", func(w *setup.Want) { w.Credential = setup.AKS("https://issuer.example", "", "b") }, "a part of it is missing"},
		{"no service account", func(w *setup.Want) { w.Credential = setup.AKS("https://issuer.example", "a", "") }, "a part of it is missing"},
		{"no object id", func(w *setup.Want) { w.Credential = setup.ManagedIdentity{ObjectID: "x"} }, "want the object (principal) id"},
		{"a managed identity with a name", func(w *setup.Want) { w.Credential = setup.ManagedIdentity{ObjectID: objectID}; w.Name = "a" }, "has its own"},
		{"a managed identity for partners", func(w *setup.Want) { w.Credential = setup.ManagedIdentity{ObjectID: objectID}; w.MultiTenant = true }, "is of one tenant"},
		{"an unknown sign-in", func(w *setup.Want) { w.Credential = setup.User{Flow: "telepathy"} }, "want browser or device-code"},
		{"a redirect elsewhere in plain text", func(w *setup.Want) {
			w.Credential = setup.User{Flow: setup.Browser, RedirectURI: "http://broker.example"}
		}, "redirect URI: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := good()
			tt.change(&want)
			_, err := setup.New(catalogue(t), want)
			if tt.want == "" {
				if err != nil {
					t.Errorf("got error %v, want none", err)
				}
				return
			}
			if entra.KindOf(err) != entra.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want an invalid one with %q", err, tt.want)
			}
		})
	}
}

func TestNewReportsEverythingAtOnce(t *testing.T) {
	_, err := setup.New(catalogue(t), setup.Want{Name: "-", Credential: setup.Secret{}, Scopes: []entra.Scope{"https://vault.azure.net/.default"}})
	for _, want := range []string{"name: ", "secret: 0 days", "the time from which its days count", "secret file: ", "scopes: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
}

func TestGitHubSubjects(t *testing.T) {
	for _, tt := range []struct{ runsFor, want string }{
		{"branch:main", "repo:contoso/soc:ref:refs/heads/main"},
		{"branch:feature/x", "repo:contoso/soc:ref:refs/heads/feature/x"},
		{"tag:v1", "repo:contoso/soc:ref:refs/tags/v1"},
		{"environment:production", "repo:contoso/soc:environment:production"},
		{"pull_request", "repo:contoso/soc:pull_request"},
		{"branch:", ""},
		{"branch", ""},
		{"", ""},
		{"main", ""},
		{"job:x", ""},
		{"environment:a:b", ""},
	} {
		f, err := setup.GitHub("contoso/soc", tt.runsFor, "token")
		if (err != nil) != (tt.want == "") || f.Subject != tt.want {
			t.Errorf("%q: got %q (%v), want %q", tt.runsFor, f.Subject, err, tt.want)
		}
	}
	for _, repository := range []string{"", "contoso", "contoso/", "/soc", "a/b/c", "contoso/soc:x", "contoso/s oc"} {
		if _, err := setup.GitHub(repository, "pull_request", "token"); err == nil {
			t.Errorf("repository %q is taken", repository)
		}
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range setup.Formats() {
		if got, err := setup.ParseFormat(string(f)); got != f || err != nil {
			t.Errorf("got %q (%v), want %q", got, err, f)
		}
	}
	if _, err := setup.ParseFormat("bicep"); err == nil {
		t.Error("bicep is taken")
	}
}

func TestScriptsCallACloudByItsNames(t *testing.T) {
	for cloud, want := range map[entra.Cloud][3]string{
		entra.Public:  {"GRAPH='https://graph.microsoft.com'", "-Environment Global ", `environment = "global"`},
		entra.GCC:     {"GRAPH='https://graph.microsoft.com'", "-Environment Global ", `environment = "global"`},
		entra.GCCHigh: {"GRAPH='https://graph.microsoft.us'", "-Environment USGov ", `environment = "usgovernmentl4"`},
		entra.DoD:     {"GRAPH='https://dod-graph.microsoft.us'", "-Environment USGovDoD ", `environment = "usgovernmentl5"`},
		entra.China:   {"GRAPH='https://microsoftgraph.chinacloudapi.cn'", "-Environment China ", `environment = "china"`},
	} {
		p := plan(t, setup.Want{Cloud: cloud, Endpoints: endpoints(t, "GET /v1.0/security/incidents"), Credential: setup.Secret{Days: 1, File: "f"}})
		for i, f := range setup.Formats() {
			if text := script(t, p, f); !strings.Contains(text, want[i]) || !strings.Contains(text, string(cloud.Authority())) {
				t.Errorf("%s: %s does not say %q and %s", cloud, f, want[i], cloud.Authority())
			}
		}
	}
}
