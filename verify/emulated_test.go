package verify_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// The emulator's tokens, which are those of the real one, verify against what
// it publishes over TLS, before its signing key changes and after.
func TestEmulatedEntra(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := entraemu.Default()
		config.SigningKey = goodKey()
		before, err := entraemu.New(config)
		if err != nil {
			t.Fatal(err)
		}
		config.SigningKey = strangerKey()
		after, err := entraemu.New(config)
		if err != nil {
			t.Fatal(err)
		}
		issue := func(s *entraemu.Server, tenant entra.Tenant) string {
			issued, err := s.IssueFor(entraemu.ServicePrincipal{Tenant: tenant, ClientID: entraemu.DefaultClient, ObjectID: stranger}, xdr, 0)
			if err != nil {
				t.Fatal(err)
			}
			return issued.Access
		}
		w := newWorld(t)
		var current atomic.Pointer[entraemu.Server]
		current.Store(before)
		w.answer = func(rw http.ResponseWriter, r *http.Request) { current.Load().ServeHTTP(rw, r) }
		w.config.Tenants = []entra.Tenant{entraemu.DefaultTenant, "fabrikam.example"}
		v := w.verifier()

		w.want(t, v, issue(before, entraemu.DefaultTenant), "ok", 1)
		w.want(t, v, issue(before, entraemu.OtherTenant), "ok", 1)
		w.want(t, v, issue(after, entraemu.DefaultTenant), "signature", 0)

		current.Store(after) // the key is rolled over
		time.Sleep(time.Minute)
		w.want(t, v, issue(before, entraemu.DefaultTenant), "ok", 0)
		w.want(t, v, issue(after, entraemu.DefaultTenant), "ok", 1)
		w.want(t, v, issue(before, entraemu.DefaultTenant), "signature", 0)

		w.config.Audiences = []string{client}
		w.want(t, w.verifier(), issue(after, entraemu.DefaultTenant), "audience", 0)
	})
}
