package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	metadataemu "tokenbroker/emulator/metadata"
	vaultemu "tokenbroker/emulator/vault"
	"tokenbroker/entra"
)

func TestFaultsOfVaults(t *testing.T) {
	const what, of = "secret defender", " of vault contoso.vault.azure.net: "
	challenge := func(s string) func(*azure) {
		return func(a *azure) { a.vault.SetFaults(vaultemu.Faults{Challenge: s}) }
	}
	faults := func(f vaultemu.Faults) func(*azure) {
		return func(a *azure) { a.vault.SetFaults(f) }
	}
	for name, tc := range map[string]struct {
		setUp func(*azure)
		kind  entra.Kind
		says  string
		took  time.Duration
		retry time.Duration
	}{
		"not there":         {func(a *azure) { _ = a.vault.Delete(vaultemu.Secrets, stored) }, entra.Misconfigured, "it is not there: check its name and the vault's", 0, 0},
		"disabled":          {func(a *azure) { _ = a.vault.SetEnabled(vaultemu.Secrets, stored, "", false) }, entra.Misconfigured, "its newest version is disabled", 0, 0},
		"no permission":     {func(a *azure) { a.vault.SetPolicy(reader.ClientID) }, entra.Misconfigured, "the identity that reads it may not: give it the role Key Vault Secrets User on the vault", 0, 0},
		"a firewall of its": {faults(vaultemu.Faults{Status: 403, Inner: "ForbiddenByFirewall"}), entra.Misconfigured, "the vault's firewall keeps the broker out", 0, 0},
		"no such API":       {faults(vaultemu.Faults{Status: 400}), entra.Misconfigured, "the vault refuses the request (status 400)", 0, 0},
		"revoked":           {faults(vaultemu.Faults{Status: 401}), entra.Misconfigured, "the vault takes no token of the identity that reads it", 0, 0},
		"throttling":        {faults(vaultemu.Faults{Status: 429, RetryAfterS: 5}), entra.Throttled, "the vault is asked too often", 0, 5 * time.Second},
		"broken":            {faults(vaultemu.Faults{Status: 500}), entra.Unavailable, "the vault fails (status 500)", 0, 0},
		"hanging":           {faults(vaultemu.Faults{Hang: true}), entra.Unavailable, "the vault did not answer in time: check the network and HTTPS_PROXY, or raise limits.entra_timeout", timeout / 2, 0},
		"redirecting":       {faults(vaultemu.Faults{Redirect: "https://stranger.example/"}), entra.Unavailable, "the vault answered with a redirect (status 307), which is never followed", 0, 0},
		"garbage":           {faults(vaultemu.Faults{Body: "garbage"}), entra.Unavailable, "the vault answered with something else: is a proxy in between?", 0, 0},
		"truncated":         {faults(vaultemu.Faults{Body: "truncated"}), entra.Unavailable, "the vault answered with something else", 0, 0},
		"truncated refusal": {faults(vaultemu.Faults{Body: "truncated", Status: 403}), entra.Misconfigured, "may not: give it the role", 0, 0},
		"a hotel's page":    {faults(vaultemu.Faults{Body: "html"}), entra.Unavailable, "the vault answered with something else", 0, 0},
		"empty":             {faults(vaultemu.Faults{Body: "empty"}), entra.Unavailable, "the vault answered without a secret", 0, 0},
		"down":              {func(a *azure) { a.network.SetDown(vaultHost, true) }, entra.Unavailable, "contoso.vault.azure.net cannot be reached (connection refused): check the network", 0, 0},
		"two lines":         {func(a *azure) { a.store(a.t, "canary\ncanary") }, entra.Misconfigured, "has several lines: want the credential alone", 0, 0},
		"a certificate":     {func(a *azure) { a.install(a.t, 0) }, entra.Misconfigured, "it is a certificate with its key: use kind key-vault-certificate", 0, 0},

		"who reads it is not there": {func(a *azure) { a.machine.SetFaults(metadataemu.Faults{Hang: true}) }, entra.Unavailable, "the managed identity with client_id " + reader.ClientID + ": no managed identity endpoint answers at 169.254.169.254", timeout * 2 / 5, 0},
		"a token of Graph":          {challenge(`Bearer authorization="https://login.example/` + string(tenant) + `", resource="https://graph.microsoft.com"`), entra.Unavailable, "something else", 0, 0},
		"a token of azure.net":      {challenge(`Bearer authorization="https://login.example/` + string(tenant) + `", resource="https://azure.net"`), entra.Misconfigured, `it asks for a token for "https://azure.net/.default", and gets none but for https://vault.azure.net/.default`, 0, 0},
		"a token of another tenant": {challenge(`Bearer authorization="https://login.example/33333333-3333-3333-3333-333333333333", resource="https://vault.azure.net"`), entra.Misconfigured, `it is of tenant "33333333-3333-3333-3333-333333333333", and who reads it of tenant ` + string(tenant), 0, 0},
		"no address":                {challenge(`Bearer authorization="canary", resource="https://vault.azure.net"`), entra.Misconfigured, "the vault takes no token", 0, 0},
		"no address, hidden":        {challenge(`authBearer orization="canary", resource="https://vault.azure.net"`), entra.Misconfigured, "the vault takes no token", 0, 0},
		"an address without tenant": {challenge(`Bearer authorization="https://login.example", resource="https://vault.azure.net"`), entra.Misconfigured, "the vault takes no token", 0, 0},
		"another scheme":            {challenge(`Basic realm="canary"`), entra.Unavailable, "something else", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAzure(t, machine, reader)
				a.store(t, secret)
				tc.setUp(a)
				start := time.Now()
				_, err := a.secretIn(t, a.open(t, vaultHost, nil), new(syncBuffer)).Token(t.Context(), ask())
				e := wantError(t, err, tc.kind, what+of)
				if !strings.Contains(e.Message(), tc.says) || strings.Contains(e.Error(), vaultemu.GarbageSecret) {
					t.Errorf("got %s, want it with %s", e.Message(), tc.says)
				}
				if took := time.Since(start); took != tc.took || e.RetryAfter != tc.retry {
					t.Errorf("it took %v with Retry-After %v, want %v and %v", took, e.RetryAfter, tc.took, tc.retry)
				}
				if got := a.entra.Stats().Tokens; got != 0 {
					t.Errorf("Entra was asked %d times, want never", got)
				}
			})
		})
	}
}

func TestFaultsOfCertificatesInVaults(t *testing.T) {
	const certificate, key = "certificate defender of vault contoso.vault.azure.net: ", "key defender of vault contoso.vault.azure.net: "
	faults := func(f vaultemu.Faults) func(*azure) {
		return func(a *azure) { a.vault.SetFaults(f) }
	}
	for name, tc := range map[string]struct {
		setUp func(*azure)
		kind  entra.Kind
		says  string
		took  time.Duration
	}{
		"not there":          {func(a *azure) { _ = a.vault.Delete(vaultemu.Certificates, stored) }, entra.Misconfigured, certificate + "it is not there", 0},
		"disabled":           {func(a *azure) { _ = a.vault.SetEnabled(vaultemu.Certificates, stored, "", false) }, entra.Misconfigured, certificate + "its newest version is disabled", 0},
		"key disabled":       {func(a *azure) { _ = a.vault.SetEnabled(vaultemu.Keys, stored, "", false) }, entra.Misconfigured, key + "its newest version is disabled", 0},
		"may not be read":    {func(a *azure) { a.vault.SetPolicy(reader.ClientID, vaultemu.Sign) }, entra.Misconfigured, certificate + "the identity that reads it may not: give it the role Key Vault Reader", 0},
		"may not sign":       {func(a *azure) { a.vault.SetPolicy(reader.ClientID, vaultemu.GetCertificate) }, entra.Misconfigured, key + "the identity that reads it may not: give it the role Key Vault Crypto User", 0},
		"hanging":            {faults(vaultemu.Faults{Operation: vaultemu.GetCertificate, Hang: true}), entra.Unavailable, certificate + "the vault did not answer in time", timeout / 2},
		"hanging, signing":   {faults(vaultemu.Faults{Operation: vaultemu.Sign, Hang: true}), entra.Unavailable, key + "the vault did not answer in time", timeout / 2},
		"throttling":         {faults(vaultemu.Faults{Operation: vaultemu.GetCertificate, Status: 429}), entra.Throttled, certificate + "the vault is asked too often", 0},
		"throttled, signing": {faults(vaultemu.Faults{Operation: vaultemu.Sign, Status: 429}), entra.Throttled, key + "the vault is asked too often", 0},
		"garbage":            {faults(vaultemu.Faults{Body: "garbage"}), entra.Unavailable, certificate + "the vault answered with something else", 0},
		"empty":              {faults(vaultemu.Faults{Body: "empty"}), entra.Unavailable, certificate + "the vault answered without a certificate", 0},
		"no signature":       {faults(vaultemu.Faults{Operation: vaultemu.Sign, Body: "empty"}), entra.Unavailable, key + "the vault answered without a signature of the certificate's key", 0},
		"down":               {func(a *azure) { a.network.SetDown(vaultHost, true) }, entra.Unavailable, certificate + "contoso.vault.azure.net cannot be reached", 0},
		"out of its time": {func(a *azure) {
			a.install(a.t, 1)
			time.Sleep(25 * time.Hour)
		}, entra.Misconfigured, "certificate defender of vault contoso.vault.azure.net: expired at 2000-01-02T00:00:00Z: make a new one, upload it to the app, and make it the newest version", 0},
		"key expired": {func(a *azure) {
			own := newIdentity(a.t, 1, 24*time.Hour)
			if _, err := a.vault.AddCertificate(stored, vaultemu.Certificate{Leaf: own.cert, Key: own.key, Attributes: vaultemu.Attributes{Expires: time.Now()}}); err != nil {
				a.t.Fatal(err)
			}
		}, entra.Misconfigured, key + "it is out of its time", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAzure(t, machine, reader)
				a.trust(t, a.install(t, 0))
				tc.setUp(a)
				start := time.Now()
				_, err := a.certificateIn(t, a.open(t, vaultHost, nil), false, new(syncBuffer)).Token(t.Context(), ask())
				wantError(t, err, tc.kind, tc.says)
				if took := time.Since(start); took != tc.took {
					t.Errorf("it took %v, want %v", took, tc.took)
				}
			})
		})
	}
}

func TestVaultsThatAreNone(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := entraemu.NewClientCertificate(ec, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		answer http.Handler
		kind   entra.Kind
		says   string
	}{
		"more than an answer": {tooMuch, entra.Unavailable, "the vault answered with more than that"},
		"no certificate":      {answer(http.StatusOK, `{"kid":"https://x/keys/x/1","cer":"YQ=="}`), entra.Unavailable, "the vault answered without a certificate"},
		"an EC key":           {answer(http.StatusOK, fmt.Sprintf(`{"kid":"https://x/keys/x/1","cer":%q}`, base64.StdEncoding.EncodeToString(cert.Raw))), entra.Misconfigured, "its key is no RSA key"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAzure(t, machine, reader)
				a.serve(t, "other.vault.azure.net", tc.answer)
				_, err := a.certificateIn(t, a.open(t, "other.vault.azure.net", nil), false, new(syncBuffer)).Token(t.Context(), ask())
				wantError(t, err, tc.kind, "certificate defender of vault other.vault.azure.net: "+tc.says)
			})
		})
	}
}

func TestVaultElsewhereGetsNoOtherToken(t *testing.T) {
	for resource, says := range map[string]string{
		vaultemu.Resource:                      "",
		"https://management.azure.com":         "and gets none but for https://vault.azure.net/.default",
		"https://vault.azure.net.evil.example": "and gets none but for https://vault.azure.net/.default",
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAzure(t, machine, reader)
			vault, err := vaultemu.New(vaultemu.Config{Verify: a.entra.Verify, Tenant: tenant, Resource: resource, Policies: vaultemu.Policies{reader.ClientID: {vaultemu.GetSecret}}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := vault.SetSecret(stored, entra.NewSecret(secret), vaultemu.Attributes{}); err != nil {
				t.Fatal(err)
			}
			a.serve(t, "vault.internal", vault)
			_, err = a.secretIn(t, a.open(t, "vault.internal", nil), new(syncBuffer)).Token(t.Context(), ask())
			if says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, entra.Misconfigured, says)
		})
	}
}

func TestVaultsAndNamesAreChecked(t *testing.T) {
	w := newWorld(t)
	for _, url := range []string{"", "contoso", "http://contoso.vault.azure.net", "https://u:canary@contoso.vault.azure.net", "https://contoso.vault.azure.net/secrets/canary", "https://contoso.vault.azure.net?canary"} {
		_, err := broker.NewVault(broker.VaultConfig{URL: url, Resource: vaultemu.Resource})
		wantError(t, err, entra.Invalid, "vault: want https://NAME.vault.azure.net")
	}
	_, err := broker.NewVault(broker.VaultConfig{URL: "https://contoso.vault.azure.net", Resource: "vault"})
	wantError(t, err, entra.Invalid, "want https://host")
	v := w.open(t, vaultHost, nil)
	for _, name := range []string{"", "a/b", "a?b", strings.Repeat("a", 128)} {
		_, err := broker.NewVaultSecret(v, name, slog.New(slog.DiscardHandler))
		wantError(t, err, entra.Invalid, "want letters, digits and hyphens")
		_, err = broker.NewVaultCertificate(v, name, false, slog.New(slog.DiscardHandler))
		wantError(t, err, entra.Invalid, "want letters, digits and hyphens")
	}
}
