package entraemu_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	entraemu "tokenbroker/emulator/entra"
)

const devicePage = "https://" + host + "/common/oauth2/deviceauth"

type deviceAnswer struct {
	UserCode   string `json:"user_code"`
	DeviceCode string `json:"device_code"`
	URI        string `json:"verification_uri"`
	ExpiresIn  int    `json:"expires_in"`
	Interval   int    `json:"interval"`
	Message    string `json:"message"`
}

// device asks for a device code, which must be given.
func (w *world) device(t *testing.T, path string, pairs ...string) deviceAnswer {
	t.Helper()
	got := w.post(t, path, form(url.Values{"client_id": {client}, "scope": {alertScope + " openid offline_access"}}, pairs...))
	var answer deviceAnswer
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil || got.StatusCode != http.StatusOK {
		t.Fatalf("got %s %s, want a device code", got.Status, got.body)
	}
	return answer
}

// poll is a good request for a token with a device code.
func poll(code string, pairs ...string) url.Values {
	return form(url.Values{"grant_type": {deviceType}, "client_id": {client}, "device_code": {code}, "client_info": {"1"}}, pairs...)
}

func TestDeviceCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		device := w.device(t, devicePath)
		want := deviceAnswer{
			UserCode: device.UserCode, DeviceCode: device.DeviceCode, URI: devicePage, ExpiresIn: 900, Interval: 5,
			Message: "To sign in, use a web browser to open the page " + devicePage + " and enter the code " + device.UserCode + " to authenticate.",
		}
		if diff := cmp.Diff(device, want); diff != "" || len(device.UserCode) != 9 {
			t.Errorf("(-got +want):\n%s", diff)
		}
		w.refused(t, "first poll", tokenPath, poll(device.DeviceCode), 70016, "authorization_pending")
		time.Sleep(4 * time.Second)
		w.refused(t, "too soon", tokenPath, poll(device.DeviceCode), 70016, "slow_down")
		time.Sleep(5 * time.Second)
		w.refused(t, "too soon for the longer interval", tokenPath, poll(device.DeviceCode), 70016, "slow_down")
		time.Sleep(15 * time.Second)
		w.refused(t, "in time", tokenPath, poll(device.DeviceCode), 70016, "authorization_pending")

		p := w.person(t, bob)
		p.DeviceCode = " " + strings.ToLower(device.UserCode)
		if req, err := p.SignIn(t.Context(), device.URI); req != nil || err != nil {
			t.Fatalf("got %v, %v", req, err)
		}
		token, claims := w.userToken(t, tokenPath, poll(device.DeviceCode))
		if claims.User != bob || token.Refresh == "" || token.ID == "" || token.ClientInfo == "" {
			t.Errorf("got %+v, %+v", token, claims)
		}
		w.refused(t, "a second time", tokenPath, poll(device.DeviceCode), 54005, "invalid_grant")
		w.userToken(t, tokenPath, byRefresh(token.Refresh))
		if got := w.Stats(); got.SignIns != 1 || got.Given[deviceType] != 1 {
			t.Errorf("statistics: got %+v", got)
		}
	})
}

func TestDeviceCodeIsApprovedOrDeclined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *entraemu.Config) { c.Apps[0].Consents = nil })
		w.edit(t, bob, func(u *entraemu.User) { u.MFA = true })
		for path, want := range map[string]string{devicePath: tenant, "/" + fabrikam + "/" + devicePath: fabrikam, "/organizations/" + devicePath: tenant} {
			device := w.device(t, path)
			if err := w.Approve(device.UserCode, bob); err != nil {
				t.Fatal(err)
			}
			token, claims := w.userToken(t, "/organizations/"+tokenPath, poll(device.DeviceCode))
			if claims.Tenant != want || claims.Scp != "Alert.Read" || len(payload(t, token.Access)["amr"].([]any)) != 2 {
				t.Errorf("%s: got %+v", path, claims)
			}
		}

		declined := w.device(t, devicePath)
		if err := w.Decline(declined.UserCode); err != nil {
			t.Fatal(err)
		}
		w.refused(t, "declined", tokenPath, poll(declined.DeviceCode), 65004, "authorization_declined")

		byHand := w.device(t, devicePath)
		p := w.person(t, alice)
		p.DeviceCode, p.Declines = byHand.UserCode, "password"
		if _, err := p.SignIn(t.Context(), devicePage); err != nil {
			t.Fatal(err)
		}
		w.refused(t, "declined by hand", tokenPath, poll(byHand.DeviceCode), 65004, "authorization_declined")

		expired := w.device(t, devicePath)
		time.Sleep(15 * time.Minute)
		w.refused(t, "expired", tokenPath, poll(expired.DeviceCode), 70020, "expired_token")

		for name, tc := range map[string]struct {
			err  error
			want string
		}{
			"expired":           {w.Approve(expired.UserCode, alice), "70019"},
			"unknown":           {w.Approve("AAAAAAAAA", alice), "70018"},
			"declined":          {w.Approve(declined.UserCode, alice), "70018"},
			"declined, expired": {w.Decline(expired.UserCode), "70019"},
			"by nobody":         {w.Approve(w.device(t, devicePath).UserCode, "nobody@contoso.example"), "50034"},
			"not in the tenant": {w.Approve(w.device(t, "/"+fabrikam+"/"+devicePath).UserCode, alice), "50020"},
		} {
			if tc.err == nil || !strings.Contains(tc.err.Error(), tc.want) {
				t.Errorf("%s: got %v, want %s", name, tc.err, tc.want)
			}
		}
	})
}

func TestDeviceCodeIsRefused(t *testing.T) {
	const private, homely = "77777777-7777-7777-7777-777777777777", "88888888-8888-8888-8888-888888888888"
	w := newWorld(t, func(c *entraemu.Config) {
		c.Apps = append(c.Apps, entraemu.App{ClientID: private, Delegates: entraemu.AllScopes()}, entraemu.App{ClientID: homely, Home: tenant})
	})
	good := url.Values{"client_id": {client}, "scope": {alertScope}}
	for _, tc := range []struct {
		name, path string
		form       url.Values
		number     int
		code       string
	}{
		{"no client", devicePath, form(good, "client_id", ""), 900144, "invalid_request"},
		{"no scope", devicePath, form(good, "scope", ""), 900144, "invalid_request"},
		{"an unknown tenant", "/" + stranger + "/" + devicePath, good, 90002, "invalid_tenant"},
		{"an unknown app", devicePath, form(good, "client_id", stranger), 700016, "unauthorized_client"},
		{"another tenant's app", "/" + fabrikam + "/" + devicePath, form(good, "client_id", homely), 700016, "unauthorized_client"},
		{"an app of one tenant", "/common/" + devicePath, form(good, "client_id", homely), 50194, "invalid_request"},
		{"too large", devicePath, form(good, "x", strings.Repeat("x", 1<<17)), 9002313, "invalid_request"},
		{"a poll without a code", tokenPath, poll(""), 900144, "invalid_request"},
		{"an unknown code", tokenPath, poll("x"), 70018, "bad_verification_code"},
		{"another client's code", tokenPath, poll(w.device(t, devicePath).DeviceCode, "client_id", entraemu.FrontEnd), 70018, "bad_verification_code"},
	} {
		w.refused(t, tc.name, tc.path, tc.form, tc.number, tc.code)
	}

	// That public clients are not allowed is told when the user has done their part.
	device := w.device(t, devicePath, "client_id", private)
	mine := poll(device.DeviceCode, "client_id", private)
	w.refused(t, "pending", tokenPath, mine, 70016, "authorization_pending")
	if err := w.Approve(device.UserCode, alice); err != nil {
		t.Fatal(err)
	}
	w.refused(t, "not public", tokenPath, mine, 7000218, "invalid_client")

	// What happens to the user between approval and poll counts.
	again := w.device(t, devicePath)
	if err := w.Approve(again.UserCode, alice); err != nil {
		t.Fatal(err)
	}
	w.edit(t, alice, func(u *entraemu.User) { u.Disabled = true })
	w.refused(t, "disabled since", tokenPath, poll(again.DeviceCode), 50057, "invalid_grant")
}

func TestPageForTheDevicesCode(t *testing.T) {
	w := newWorld(t)
	if got := w.get(t, "/common/oauth2/deviceauth?code=%22%3E%3Cscript%3E"); got.StatusCode != http.StatusOK || strings.Contains(got.body, "<script>") || !strings.Contains(got.body, `name="code"`) {
		t.Errorf("got %s %s", got.Status, got.body)
	}
	p := w.person(t, alice)
	p.DeviceCode = "AAAAAAAAA"
	if _, err := p.SignIn(t.Context(), devicePage); err == nil || !strings.Contains(err.Error(), "AADSTS70018") {
		t.Errorf("got %v, want 70018", err)
	}
	// A device that was settled while its user was on the pages.
	for name, declines := range map[string]string{"signed in": "", "declined": "password"} {
		device := w.device(t, devicePath)
		form := url.Values{"code": {device.UserCode}}
		page := w.post(t, "/common/oauth2/deviceauth", form)
		if err := w.Approve(device.UserCode, bob); err != nil {
			t.Fatal(err)
		}
		answer := url.Values{"flow": {between(page.body, `name="flow" value="`, `"`)}, "login": {alice}, "passwd": {p.Password}}
		if declines != "" {
			answer.Set("answer", "cancel")
		}
		if got := w.post(t, "/common/login", answer); !strings.Contains(got.body, "AADSTS70018") {
			t.Errorf("%s: got %s", name, got.body)
		}
		if _, claims := w.userToken(t, tokenPath, poll(device.DeviceCode)); claims.User != bob {
			t.Errorf("%s: got %s's token", name, claims.User)
		}
	}
}

// between returns what stands between two marks.
func between(text, from, to string) string {
	_, rest, _ := strings.Cut(text, from)
	found, _, _ := strings.Cut(rest, to)
	return found
}
