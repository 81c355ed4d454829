package cli

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
	metadataemu "tokenbroker/emulator/metadata"
	vaultemu "tokenbroker/emulator/vault"
)

func TestColdCallersMakeOneExchangeWithEachKindOfCredential(t *testing.T) {
	const client, kind = entraemu.DefaultClient, "hunter"
	secretRead := map[vaultemu.Operation]int{vaultemu.GetSecret: 1}
	signed := map[vaultemu.Operation]int{vaultemu.GetCertificate: 1, vaultemu.Sign: 1}
	for name, tc := range map[string]struct {
		identity string
		client   string
		tokens   int // requests to Entra's token endpoint, for the vault's token too
		machine  int // tokens of the machine's
		vault    map[vaultemu.Operation]int
		proof    string // appidacr: 1 is a secret, 2 an assertion or the platform
	}{
		"secret":             {registered(kind, client, byFile), client, 1, 0, nil, "1"},
		"certificate as PEM": {registered(kind, client, "{kind: certificate, file: 'DIR/app.pem'}"), client, 1, 0, nil, "2"},
		"certificate as PFX": {registered(kind, client, "{kind: certificate, file: 'DIR/app.pfx', password_file: 'DIR/app.password'}"), client, 1, 0, nil, "2"},
		"workload identity":  {registered(kind, client, byWorkload), client, 1, 0, nil, "2"},
		"system-assigned":    {assigned(kind, ""), machine.ClientID, 0, 1, nil, "2"},
		"user-assigned":      {assigned(kind, reader.ClientID), reader.ClientID, 0, 1, nil, "2"},

		"secret in a vault, by managed identity":       {registered(kind, client, vaulted("key-vault-secret", vaultSecret, byReader)), client, 1, 1, secretRead, "1"},
		"secret in a vault, by workload identity":      {registered(kind, client, vaulted("key-vault-secret", vaultSecret, byWorkload)), client, 2, 0, secretRead, "1"},
		"certificate in a vault, by managed identity":  {registered(kind, client, vaulted("key-vault-certificate", vaultCert, byReader)), client, 1, 1, signed, "2"},
		"certificate in a vault, by workload identity": {registered(kind, client, vaulted("key-vault-certificate", vaultCert, byWorkload)), client, 2, 0, signed, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAzure(t)
				b := a.start("identities:\n" + tc.identity)
				delay := int(tokenDelay.Milliseconds()) // so that all have come before the first answer
				a.entra.SetFaults(entraemu.Faults{DelayMS: delay})
				a.machine.SetFaults(metadataemu.Faults{DelayMS: delay})
				a.vault.SetFaults(vaultemu.Faults{DelayMS: delay})
				atOnce(256, func(int) {
					body := text(t, b.get("/token?scope="+url.QueryEscape(xdrScope)))
					claims, err := a.claims(body)
					if err != nil {
						t.Error(err)
					} else if wrong := fault(&claims, tc.client, contoso, xdrScope); wrong != "" {
						t.Error(wrong)
					}
				})
				if got := a.entra.Stats().Tokens; got != tc.tokens {
					t.Errorf("%d requests to Entra, want %d", got, tc.tokens)
				}
				served := a.machine.Stats()
				if got := served.Issued[machine.ClientID] + served.Issued[reader.ClientID]; got != tc.machine {
					t.Errorf("%d tokens of the machine, want %d", got, tc.machine)
				}
				for _, operation := range []vaultemu.Operation{vaultemu.GetSecret, vaultemu.GetCertificate, vaultemu.GetKey, vaultemu.Sign} {
					if got := a.vault.Stats().Served[operation]; got != tc.vault[operation] {
						t.Errorf("the vault did %s %d times, want %d", operation, got, tc.vault[operation])
					}
				}
				if claims := text(t, b.get("/claims?scope="+url.QueryEscape(xdrScope))); !strings.Contains(claims, `"appidacr":"`+tc.proof+`"`) {
					t.Errorf("the app proved itself otherwise than by %s: %s", tc.proof, claims)
				}
			})
		})
	}
}

// vaultKinds are the kinds of credential in a vault, each with what it is called
// in messages.
var vaultKinds = []struct {
	credential, object string
	collection         vaultemu.Collection
}{
	{vaulted("key-vault-secret", vaultSecret, byReader), "secret " + vaultSecret + " of vault " + vaultHost, vaultemu.Secrets},
	{vaulted("key-vault-certificate", vaultCert, byReader), "certificate " + vaultCert + " of vault " + vaultHost, vaultemu.Certificates},
}

func TestVaultInTroubleTroublesNobodyElse(t *testing.T) {
	faults := func(f vaultemu.Faults) func(*azure, vaultemu.Collection) {
		return func(a *azure, _ vaultemu.Collection) { a.vault.SetFaults(f) }
	}
	enable := func(enabled bool) func(*azure, vaultemu.Collection) {
		return func(a *azure, c vaultemu.Collection) {
			must(a.t, a.vault.SetEnabled(c, map[vaultemu.Collection]string{vaultemu.Secrets: vaultSecret, vaultemu.Certificates: vaultCert}[c], "", enabled))
		}
	}
	for name, tc := range map[string]struct {
		trouble, mend func(*azure, vaultemu.Collection)
		status        int
		kind, says    string
	}{
		"refuses":   {faults(vaultemu.Faults{Status: 403}), faults(vaultemu.Faults{}), 500, "misconfigured", "the identity that reads it may not: give it the role Key Vault "},
		"throttles": {faults(vaultemu.Faults{Status: 429, RetryAfterS: 20}), faults(vaultemu.Faults{}), 503, "throttled", "the vault is asked too often: wait"},
		"hangs":     {faults(vaultemu.Faults{Hang: true}), faults(vaultemu.Faults{}), 503, "unavailable", "the vault did not answer in time"},
		"disabled":  {enable(false), enable(true), 500, "misconfigured", "its newest version is disabled: enable it, or add one"},
		"garbage":   {faults(vaultemu.Faults{Body: "garbage"}), faults(vaultemu.Faults{}), 503, "unavailable", "the vault answered with something else: is a proxy in between?"},
	} {
		for _, kind := range vaultKinds {
			t.Run(name+", "+string(kind.collection), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := newAzure(t)
					inTrouble(t, a, registered("troubled", entraemu.DefaultClient, kind.credential), trouble{
						begin: func() { tc.trouble(a, kind.collection) }, end: func() { tc.mend(a, kind.collection) },
						status: tc.status, kind: tc.kind, says: []string{kind.object + ": ", tc.says},
					})
				})
			})
		}
	}
}

func TestMachineInTroubleTroublesNobodyElse(t *testing.T) {
	const nobody = "no managed identity endpoint answers at " + metadataemu.IMDSHost
	for name, tc := range map[string]struct {
		trouble, mend func(*azure)
	}{
		"refuses connections": {
			func(a *azure) { a.network.SetDown(metadataemu.IMDSHost, true) },
			func(a *azure) { a.network.SetDown(metadataemu.IMDSHost, false) },
		},
		"takes no connections": {
			func(a *azure) { a.swallow(metadataemu.IMDSHost) },
			func(a *azure) { a.stop[metadataemu.IMDSHost](); a.serveMachine() },
		},
		"is not there": {
			func(a *azure) { a.stop[metadataemu.IMDSHost]() },
			func(a *azure) { a.serveMachine() },
		},
		"does not answer": {
			func(a *azure) { a.machine.SetFaults(metadataemu.Faults{Hang: true}) },
			func(a *azure) { a.machine.SetFaults(metadataemu.Faults{}) },
		},
	} {
		for _, row := range []struct{ name, identity, object string }{
			{"system-assigned", assigned("troubled", ""), "the system-assigned managed identity: "},
			{"user-assigned", assigned("troubled", reader.ClientID), "the managed identity with client_id " + reader.ClientID + ": "},
			{"of a secret", registered("troubled", entraemu.DefaultClient, vaultKinds[0].credential), vaultKinds[0].object + ": "},
			{"of a certificate", registered("troubled", entraemu.DefaultClient, vaultKinds[1].credential), vaultKinds[1].object + ": "},
		} {
			t.Run(name+", "+row.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := newAzure(t)
					inTrouble(t, a, row.identity, trouble{
						begin: func() { tc.trouble(a) }, end: func() { tc.mend(a) },
						status: http.StatusServiceUnavailable, kind: "unavailable", says: []string{row.object, nobody},
					})
				})
			})
		}
	}
}

func TestTokensOfACertificateOutliveTheVault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t)
		b := a.start("identities:\n" + registered("default", entraemu.DefaultClient, vaultKinds[1].credential))
		ask := func() *http.Response { return b.get("/token?route=defender") }
		if resp := ask(); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, text(t, resp))
		}
		a.network.SetDown(vaultHost, true)
		time.Sleep(58 * time.Minute) // the token's last minutes
		answeredAtOnce(t, ask)
		time.Sleep(time.Hour)
		down := trouble{status: http.StatusServiceUnavailable, kind: "unavailable", says: []string{"key " + vaultCert + " of vault " + vaultHost + ": " + vaultHost + " cannot be reached"}}
		down.check(t, ask)
	})
}

// trouble is what befalls one identity, and how its callers are to hear of it.
type trouble struct {
	begin, end func()
	status     int
	kind       string
	says       []string
}

// inTrouble holds a broker of two identities to what it owes to the callers of
// both while one of them, named troubled, is in trouble: from the beginning, and
// again when it holds a token.
func inTrouble(t *testing.T, a *azure, troubled string, tr trouble) {
	t.Helper()
	b := a.start("identities:\n" + troubled + registered("sound", secondClient, byFile) + `
routes:
  troubled: {upstream: https://api.security.microsoft.com, identity: troubled}
  sound: {upstream: https://api.security.microsoft.com, identity: sound}
`)
	ask := func(route, path string) *http.Response { return b.get("/token?route=" + route + "&path=" + path) }
	const incidents, machines = "/api/incidents", "/api/machines" // of two scopes

	tr.begin()
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() { tr.check(t, func() *http.Response { return ask("troubled", incidents) }) })
	}
	synctest.Wait()
	atOnce(16, func(i int) {
		answeredAtOnce(t, func() *http.Response { return ask("sound", []string{incidents, machines}[i%2]) })
	})
	callers.Wait()

	tr.end()
	time.Sleep(5 * time.Minute)
	if resp := ask("troubled", incidents); resp.StatusCode != http.StatusOK {
		t.Fatalf("afterwards: %s %s", resp.Status, text(t, resp))
	}
	tr.begin()
	for range 3 {
		time.Sleep(15 * time.Minute)
		answeredAtOnce(t, func() *http.Response { return ask("troubled", incidents) })
		answeredAtOnce(t, func() *http.Response { return ask("sound", incidents) })
	}
}

// check asks, and holds the refusal to its shape, its text and its time.
func (tr *trouble) check(t *testing.T, ask func() *http.Response) {
	t.Helper()
	start := time.Now()
	resp := ask()
	if took := time.Since(start); took > entraTimeout {
		t.Errorf("it took %v, more than limits.entra_timeout", took)
	}
	p := readProblem(t, resp)
	if resp.StatusCode != tr.status || p.Kind != tr.kind {
		t.Errorf("%s, kind %s; want %d, %s: %s", resp.Status, p.Kind, tr.status, tr.kind, p.Detail)
	}
	for _, part := range tr.says {
		if !strings.Contains(p.Detail, part) {
			t.Errorf("got %q, want it with %q", p.Detail, part)
		}
	}
	for _, raw := range []string{vaultemu.GarbageSecret, "innererror", `{"`} {
		if strings.Contains(p.Detail, raw) {
			t.Errorf("the answer of the vault shows: %s", p.Detail)
		}
	}
}

// answeredAtOnce asks, and no time may pass.
func answeredAtOnce(t *testing.T, ask func() *http.Response) {
	t.Helper()
	start := time.Now()
	if resp := ask(); resp.StatusCode != http.StatusOK {
		t.Errorf("%s %s", resp.Status, text(t, resp))
	}
	if took := time.Since(start); took != 0 {
		t.Errorf("it took %v", took)
	}
}
