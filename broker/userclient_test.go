package broker_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"tokenbroker/broker"
	"tokenbroker/entra"
)

func TestUserClientReachesItsEndpointsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		authority := w.authority(t, answer(http.StatusOK, "{}"))
		app := w.userApp(t)
		for name, tc := range map[string]struct {
			method, url string
			inside      bool
		}{
			"no exchange":         {http.MethodPost, "https://" + host + "/" + string(tenant) + "/oauth2/v2.0/token", false},
			"another host":        {http.MethodPost, "https://stranger.example/" + string(tenant) + "/oauth2/v2.0/token", true},
			"another tenant":      {http.MethodPost, "https://" + host + "/" + string(fabrikam) + "/oauth2/v2.0/devicecode", true},
			"somebody's realm":    {http.MethodGet, "https://" + host + "/common/UserRealm/" + alice, true},
			"the authorize page":  {http.MethodGet, "https://" + host + "/" + string(tenant) + "/oauth2/v2.0/authorize", true},
			"a get of the device": {http.MethodGet, "https://" + host + "/" + string(tenant) + "/oauth2/v2.0/devicecode", true},
		} {
			ctx := t.Context()
			if tc.inside {
				ctx = broker.InExchange(ctx, tenant)
			}
			req, err := http.NewRequestWithContext(ctx, tc.method, tc.url, strings.NewReader("refresh-canary"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := app.HTTP.Do(req)
			if err == nil {
				_ = resp.Body.Close()
				t.Errorf("%s: sent", name)
				continue
			}
			if e := wantError(t, entra.AsError(err), entra.Internal, ""); !strings.Contains(e.Error(), "nothing was sent") {
				t.Errorf("%s: got %v", name, e)
			}
		}
		if got := len(authority.requests()); got != 0 {
			t.Errorf("the authority was asked %d times", got)
		}
	})
}

// MSAL makes the device endpoint by writing devicecode in the place of every
// "token" in the URL.
func TestDeviceCodeOfATenantNamedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		handler, _ := device(deviceCode, answer(http.StatusOK, userAnswer))
		authority := w.authority(t, handler)
		u := w.user(t, newDrawer(), func(cfg *broker.UserConfig) { cfg.App.Tenant = "tokens.example" })
		if _, err := u.Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) {}); err != nil {
			t.Fatal(err)
		}
		if got, want := authority.requests()[0].URL.Path, "/tokens.example/oauth2/v2.0/devicecode"; got != want {
			t.Errorf("asked at %s, want %s", got, want)
		}
	})
}

func TestUserClientBoundsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve(t, host, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(rw, strings.NewReader(strings.Repeat("x", 2<<20)))
		}))
		_, err := w.user(t, newDrawer()).Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) {})
		wantError(t, err, entra.Unavailable, "more than a token")
	})
}

func TestUserClientFollowsNoRedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve(t, host, http.RedirectHandler("https://stranger.example/", http.StatusTemporaryRedirect))
		stranger := w.listen(t, "stranger.example")
		defer stranger.Close()
		_, err := w.user(t, newDrawer()).Login(t.Context(), broker.LoginOptions{Scope: alerts}, func(broker.Prompt) {})
		wantError(t, err, entra.Unavailable, "redirect")
	})
}
