package entraemu_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	entraemu "tokenbroker/emulator/entra"
)

func TestUserRealm(t *testing.T) {
	const mex = "https://sts.contoso.example/adfs/services/trust/mex"
	w := newWorld(t)
	w.edit(t, bob, func(u *entraemu.User) { u.Federation = mex })
	managed := map[string]string{
		"ver": "1.0", "account_type": "Managed", "domain_name": "contoso.example",
		"cloud_instance_name": "microsoftonline.com", "cloud_audience_urn": "urn:federation:MicrosoftOnline",
	}
	with := func(pairs ...string) map[string]string {
		made := map[string]string{}
		for name, value := range managed {
			made[name] = value
		}
		for i := 0; i < len(pairs); i += 2 {
			made[pairs[i]] = pairs[i+1]
			if pairs[i+1] == "" {
				delete(made, pairs[i])
			}
		}
		return made
	}
	federated := with("account_type", "Federated", "federation_protocol", "WSTrust", "federation_metadata_url", mex, "federation_active_auth_url", mex)
	for path, want := range map[string]map[string]string{
		"/common/UserRealm/" + alice + "?api-version=1.0":               managed,
		"/common/userrealm/" + alice + "?api-version=1.0":               managed,
		"/common/userrealm?api-version=1.0&user=nobody@contoso.example": managed,
		"/common/UserRealm/" + bob + "?api-version=1.0":                 federated,
		"/common/userrealm?api-version=1.0&user=" + bob:                 federated,
		"/common/UserRealm/somebody@unknown.example?api-version=1.0":    with("account_type", "Unknown", "domain_name", ""),
		"/common/UserRealm/nonsense?api-version=1.0":                    with("account_type", "Unknown", "domain_name", ""),
	} {
		var got map[string]string
		if err := json.Unmarshal([]byte(w.get(t, path).body), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", path, diff)
		}
	}
}

func TestFaultsOfTheUsersEndpoints(t *testing.T) {
	w := newWorld(t)
	for endpoint, ask := range map[string]func() answer{
		entraemu.RealmEndpoint:      func() answer { return w.get(t, "/common/UserRealm/"+alice) },
		entraemu.SignInEndpoint:     func() answer { return w.get(t, "/common/oauth2/deviceauth") },
		entraemu.DeviceCodeEndpoint: func() answer { return w.post(t, devicePath, form(nil, "client_id", client, "scope", alertScope)) },
		entraemu.TokenEndpoint:      func() answer { return w.post(t, tokenPath, w.byPassword(t, alice)) },
	} {
		w.SetFaults(entraemu.Faults{Endpoint: endpoint, Status: http.StatusServiceUnavailable, RetryAfterS: 7, Times: 1})
		if got := ask(); got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") != "7" {
			t.Errorf("%s: got %s", endpoint, got.Status)
		}
		if got := ask(); got.StatusCode != http.StatusOK {
			t.Errorf("%s: got %s afterwards", endpoint, got.Status)
		}
	}
	w.SetFaults(entraemu.Faults{LifetimeS: 90})
	if token, _ := w.userToken(t, tokenPath, w.byPassword(t, alice)); token.ExpiresIn != 90 {
		t.Errorf("got %d, want 90", token.ExpiresIn)
	}
}
