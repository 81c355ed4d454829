package setup_test

import (
	"testing"

	"tokenbroker/entra"
	"tokenbroker/setup"
)

// Whatever somebody gives as a name, a path or a subject: it is refused, or
// stands in every script as one value, byte by byte, and nothing else moves.
func FuzzWhatIsGivenStaysAValue(f *testing.F) {
	for _, s := range []string{
		"tokenbroker", "O'Brien", `a"b`, "$(id)", "`id`", "${x}", "%{ if x }", `\`, `\'`, "a\nb", "'; rm -rf /; '", "\u2019", "\u20d1", "\U0001f511",
		"@file", "--help", "#", "$${a}", "%%{a}", "a\x00b", "a\xffb", "'@", "e\u0301", "$", "\"$(x)\"", "a: b", "- a", "\u202e",
	} {
		f.Add(s)
	}
	c, wanted := catalogue(f), endpoints(f, "GET /api/incidents")
	f.Fuzz(func(t *testing.T, s string) {
		for _, want := range []setup.Want{
			{Name: s, Credential: setup.Secret{Days: 1, File: s}, Endpoints: wanted, Now: now},
			{Credential: setup.Federated{Issuer: "https://issuer.example/", Subject: s, Audience: s, TokenFile: s}, Endpoints: wanted},
			{Credential: setup.User{Flow: setup.Browser, RedirectURI: s}, Endpoints: wanted},
			{Credential: setup.AKS(s, "a", "b"), Endpoints: wanted},
			{Credential: setup.ManagedIdentity{ObjectID: s}, Endpoints: wanted},
			{Permissions: []setup.Permission{{API: "GRAPH", Name: s}}, Credential: setup.User{Flow: setup.DeviceCode}},
		} {
			p, err := setup.New(c, want)
			if err != nil {
				if entra.KindOf(err) != entra.Invalid {
					t.Errorf("got error %v, want an invalid one", err)
				}
				continue
			}
			checkAz(t, script(t, p, setup.Az), &want, p)
			checkPowerShell(t, script(t, p, setup.PowerShell), &want, p)
			checkTerraform(t, script(t, p, setup.Terraform), &want, p)
			got := credentialOf(t, p.Config(tenantID, clientID))
			for key, want := range pathsOf(want.Credential) {
				if got[key] != want && want != "" {
					t.Errorf("%s: got %q, want %q", key, got[key], want)
				}
			}
		}
	})
}
