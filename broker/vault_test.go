package broker_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	vaultemu "tokenbroker/emulator/vault"
	"tokenbroker/entra"
)

// Exchanges for several tokens at once share what they read.
func TestExchangesShareAReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t, machine, reader)
		a.trust(t, a.install(t, 0))
		a.vault.SetFaults(vaultemu.Faults{Operation: vaultemu.GetCertificate, DelayMS: 1000})
		source := a.certificateIn(t, a.open(t, vaultHost, nil), false, new(syncBuffer))
		start := time.Now()
		everyone(t, source, 16, func(i int) entra.Request {
			req := ask()
			req.Tenant = []entra.Tenant{entraemu.DefaultTenant, entraemu.OtherTenant}[i%2]
			return req
		})
		if got := a.vault.Stats().Served; got[vaultemu.GetCertificate] != 1 || got[vaultemu.Sign] != 16 {
			t.Errorf("the vault served %v, want one reading and a signature for each exchange", got)
		}
		if got := a.machine.Stats().Issued[reader.ClientID]; got != 1 {
			t.Errorf("%d tokens for the vault, want 1", got)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v, want the second of one reading", took)
		}
	})
}

func TestVaultIsReadWithAWorkloadIdentity(t *testing.T) {
	path := secretFile(t, "")
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t)
		writeFile(t, path, projected(t, subject, "", time.Hour))
		a.vault.SetPolicy(client, vaultemu.GetSecret)
		a.store(t, secret)
		if _, err := a.secretIn(t, a.open(t, vaultHost, a.federated(t, path)), new(syncBuffer)).Token(t.Context(), ask()); err != nil {
			t.Error(err)
		}
	})
}

func TestTokenForTheVaultIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t, machine, reader)
		a.store(t, secret)
		source := a.secretIn(t, a.open(t, vaultHost, nil), new(syncBuffer))
		for range 5 {
			if _, err := source.Token(t.Context(), ask()); err != nil {
				t.Error(err)
			}
			time.Sleep(8 * time.Hour)
		}
		if got := a.machine.Stats().Issued[reader.ClientID]; got != 3 {
			t.Errorf("%d tokens for the vault in 32 hours, want 3: one lives a day, and is renewed after half of it", got)
		}
	})
}

// The certificate goes along alone: its issuers stand in a secret, with the
// key, which is never read.
func TestCertificateOfAVaultIsSentWhereAskedFor(t *testing.T) {
	for _, send := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := newAzure(t, machine, reader)
			own := a.install(t, 0)
			const other = "other.example"
			authority := &recorder{answer: grant(bearer, 3600)}
			a.serve(t, other, authority)
			app := a.app(t)
			app.Authority = "https://" + other
			app.HTTP = broker.NewClient(broker.ClientConfig{Authority: app.Authority, Roots: a.ca.Pool(), DialContext: a.network.DialContext})
			t.Cleanup(app.HTTP.CloseIdleConnections)
			credential, err := broker.NewVaultCertificate(a.open(t, vaultHost, nil), stored, send, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			source, err := broker.NewConfidential(app, credential)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := source.Token(t.Context(), ask()); err != nil {
					t.Fatal(err)
				}
			}
			ids := map[string]bool{}
			for _, r := range authority.requests() {
				assertion, err := entra.ParseJWT(r.FormValue("client_assertion"))
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.Contains(string(assertion.Header), `"x5c":["`+base64.StdEncoding.EncodeToString(own.cert.Raw)+`"]`); got != send {
					t.Errorf("send %t: got header %s", send, assertion.Header)
				}
				ids[string(assertion.Payload)] = true
			}
			if got := a.vault.Stats(); got.Requests[vaultemu.GetSecret] != 0 || len(ids) != 2 {
				t.Errorf("%d readings of the key, %d different assertions; want none and 2", got.Requests[vaultemu.GetSecret], len(ids))
			}
		})
	}
}

func TestCallerThatLeavesCancelsTheVault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t, machine, reader)
		a.store(t, secret)
		a.vault.SetFaults(vaultemu.Faults{DelayMS: 2000})
		source := a.secretIn(t, a.open(t, vaultHost, nil), new(syncBuffer))
		leaves(t, source, time.Second)
		if _, err := source.Token(t.Context(), ask()); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// Who waits for another's reading is not held to that other's patience.
func TestReadingOutlivesWhoBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t, machine, reader)
		a.store(t, secret)
		a.vault.SetFaults(vaultemu.Faults{DelayMS: 3000})
		source := a.secretIn(t, a.open(t, vaultHost, nil), new(syncBuffer))
		var group sync.WaitGroup
		defer group.Wait()
		group.Go(func() { leaves(t, source, time.Second) }) // begins
		synctest.Wait()
		group.Go(func() { // waits, and begins anew
			if _, err := source.Token(t.Context(), ask()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		time.Sleep(1500 * time.Millisecond)
		group.Go(func() { leaves(t, source, 500*time.Millisecond) }) // waits, and leaves
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := source.Token(ctx, ask())
			wantError(t, err, entra.Unavailable, "secret defender of vault contoso.vault.azure.net: not there in time")
		})
		group.Wait()
		if got := a.vault.Stats().Served[vaultemu.GetSecret]; got != 1 {
			t.Errorf("%d readings, want one: the other was called off", got)
		}
	})
}

func TestVaultsPrintNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAzure(t, machine, reader)
		a.store(t, secret)
		v := a.open(t, vaultHost, nil)
		var log bytes.Buffer
		credential, err := broker.NewVaultSecret(v, stored, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		source := a.with(t, credential)
		if _, err := source.Token(t.Context(), ask()); err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{credential, source, v, a.managed(t, broker.ManagedIdentityConfig{})} {
			fmt.Fprintf(&log, "%v %+v %#v %s %q", v, v, v, v, v)
			slog.New(slog.NewTextHandler(&log, nil)).Info("source", "v", v)
			slog.New(slog.NewJSONHandler(&log, nil)).Info("source", "v", v)
		}
		if strings.Contains(log.String(), "canary") || strings.Contains(log.String(), "eyJ") {
			t.Errorf("a secret shows: %s", log.String())
		}
	})
}
