package broker_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
	vaultemu "tokenbroker/emulator/vault"
	"tokenbroker/entra"
)

func TestNewVersionOfASecretIsUsed(t *testing.T) {
	var log syncBuffer
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t, machine, reader)
		a.store(t, secret)
		source := a.secretIn(t, a.open(t, vaultHost, nil), &log)
		exchange := func() error {
			_, err := source.Token(t.Context(), ask())
			return err
		}
		rotate := func(next string, both bool) {
			values := []entraemu.Secret{{Value: entra.NewSecret(next)}}
			if both {
				values = append(values, entraemu.Secret{Value: entra.NewSecret(secret)})
			}
			if err := a.entra.SetSecrets(client, values...); err != nil {
				t.Fatal(err)
			}
			a.store(t, next)
		}
		if err := exchange(); err != nil {
			t.Fatal(err)
		}
		rotate("second-canary", true) // both are good: the new one is noticed within a minute
		time.Sleep(time.Minute)
		if err := exchange(); err != nil {
			t.Error(err)
		}
		if got := a.vault.Stats().Served[vaultemu.GetSecret]; got != 2 {
			t.Errorf("%d readings, want 2", got)
		}
		rotate("third-canary", false) // the one at hand is refused: the new one is taken at once
		if err := exchange(); err != nil {
			t.Error(err)
		}
		if got := strings.Count(log.String(), "level=INFO msg=\"credential read again\" what=\"secret defender of vault contoso.vault.azure.net\" version="); got != 2 || strings.Contains(log.String(), "canary") {
			t.Errorf("logged %q, want 2 lines on versions and no secret", log.String())
		}

		if err := a.entra.SetSecrets(client, entraemu.Secret{Value: entra.NewSecret("fourth-canary")}); err != nil {
			t.Fatal(err)
		}
		before := a.entra.Stats().Tokens
		e := wantError(t, exchange(), entra.Misconfigured, "put the secret's value, not its id, into secret defender of vault contoso.vault.azure.net")
		if e.AADSTS != 7000215 || a.entra.Stats().Tokens != before+1 {
			t.Errorf("AADSTS%d after %d tries, want 7000215 after one: there is no newer version", e.AADSTS, a.entra.Stats().Tokens-before)
		}
	})
}

func TestNewVersionOfACertificateIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t, machine, reader)
		first := a.install(t, 0)
		a.trust(t, first)
		source := a.certificateIn(t, a.open(t, vaultHost, nil), false, new(syncBuffer))
		exchange := func() error {
			_, err := source.Token(t.Context(), ask())
			return err
		}
		if err := exchange(); err != nil {
			t.Fatal(err)
		}
		second := a.install(t, 1)
		if err := exchange(); err != nil { // the version of before signs on
			t.Error(err)
		}
		a.trust(t, second)
		if err := exchange(); err != nil { // at once
			t.Error(err)
		}
		a.trust(t, first, a.install(t, 2))
		time.Sleep(time.Minute)
		if err := exchange(); err != nil { // within a minute
			t.Error(err)
		}
		a.trust(t, first)
		e := wantError(t, exchange(), entra.Misconfigured, "Entra refuses the signature of certificate defender of vault contoso.vault.azure.net (SHA-1 thumbprint ")
		if want := "for app " + client + ": upload it there, under Certificates & secrets: a vault that renews a certificate does not"; !strings.Contains(e.Message(), want) {
			t.Errorf("got %s, want it with %s", e.Message(), want)
		}
	})
}

// While the vault is away the last secret goes on.
func TestVaultThatIsAwayIsDoneWithout(t *testing.T) {
	for name, faults := range map[string]vaultemu.Faults{
		"hanging": {Hang: true}, "throttling": {Status: 429, RetryAfterS: 60}, "broken": {Status: 503},
		"garbage": {Body: "garbage"}, "empty": {Body: "empty"}, "behind a firewall": {Status: 403, Inner: "ForbiddenByFirewall"}, "revoked": {Status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			var log syncBuffer
			synctest.Test(t, func(t *testing.T) {
				a := newAzure(t, machine, reader)
				a.store(t, secret)
				source := a.secretIn(t, a.open(t, vaultHost, nil), &log)
				exchange := func() error {
					_, err := source.Token(t.Context(), ask())
					return err
				}
				if err := exchange(); err != nil {
					t.Fatal(err)
				}
				a.vault.SetFaults(faults)
				for range 3 {
					time.Sleep(time.Hour)
					start := time.Now()
					if err := exchange(); err != nil {
						t.Errorf("with the vault away: %v", err)
					}
					if took := time.Since(start); took > timeout/2 {
						t.Errorf("it took %v", took)
					}
				}
				asked := a.vault.Stats().Requests[vaultemu.GetSecret]
				if err := exchange(); err != nil || a.vault.Stats().Requests[vaultemu.GetSecret] != asked {
					t.Errorf("got %v, and the vault was asked again at once", err)
				}
				a.vault.SetFaults(vaultemu.Faults{})
				time.Sleep(time.Minute)
				if err := exchange(); err != nil {
					t.Error(err)
				}
				if warned, again := strings.Count(log.String(), "level=WARN msg=\"credential not read again, the one of before stays in use\""), strings.Count(log.String(), "read again\" what"); warned != 1 || again != 1 {
					t.Errorf("logged %q, want one warning and that it is well again", log.String())
				}

				for range 2 { // what the vault takes away is not used any more
					if err := a.vault.SetEnabled(vaultemu.Secrets, stored, "", false); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
					wantError(t, exchange(), entra.Misconfigured, "secret defender of vault contoso.vault.azure.net: its newest version is disabled: enable it, or add one")
					if err := a.vault.SetEnabled(vaultemu.Secrets, stored, "", true); err != nil {
						t.Fatal(err)
					}
					if err := exchange(); err != nil {
						t.Errorf("enabled again: %v", err)
					}
				}
			})
		})
	}
}
