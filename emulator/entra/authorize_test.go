package entraemu_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	entraemu "tokenbroker/emulator/entra"
)

const spaURI = "https://spa.example/back"

// withSPA registers a redirect URI of a single-page application.
func withSPA(c *entraemu.Config) { c.Apps[0].SPARedirectURIs = []string{spaURI} }

func TestCodeIsRedeemed(t *testing.T) {
	w := newWorld(t)
	to, answer := goes(t, w.person(t, alice), authorizeURL())
	if to != localhost || answer.Get("state") != "a&b" || answer.Get("session_state") == "" {
		t.Fatalf("got %s %v", to, answer)
	}
	token, claims := w.userToken(t, tokenPath, byCode(answer.Get("code")))
	if id := payload(t, token.ID); claims.User != alice || id["nonce"] != "n" || token.Refresh == "" || token.ClientInfo == "" || payload(t, token.Access)["appidacr"] != "0" {
		t.Errorf("got %+v, %+v", token, claims)
	}
	w.refused(t, "a second time", tokenPath, byCode(answer.Get("code")), 54005, "invalid_grant")
	if got := w.Stats(); got.SignIns != 1 || got.Given["authorization_code"] != 1 {
		t.Errorf("statistics: got %+v", got)
	}
}

func TestCodeOfTheOldVersion(t *testing.T) {
	w := newWorld(t)
	page := "https://" + host + "/common/oauth2/authorize?" + url.Values{
		"client_id": {client}, "response_type": {"code"}, "redirect_uri": {portal}, "prompt": {"consent"}, "resource": {"https://api.securitycenter.windows.com"},
	}.Encode()
	to, answer := goes(t, w.person(t, alice), page)
	if to != portal {
		t.Fatalf("got %s %v", to, answer)
	}
	redeem := url.Values{"grant_type": {"authorization_code"}, "client_id": {client}, "client_secret": {w.secret}, "code": {answer.Get("code")}, "redirect_uri": {portal}}
	got := w.post(t, "oauth2/token", redeem)
	if fields := fieldsOf(t, got.body); fields["resource"] != "https://api.securitycenter.windows.com" || fields["refresh_token"] == nil {
		t.Errorf("got %v", fields)
	}

	// It may leave the resource to the token request.
	late := "https://" + host + "/common/oauth2/authorize?" + url.Values{"client_id": {client}, "response_type": {"code"}, "redirect_uri": {portal}}.Encode()
	_, answer = goes(t, w.person(t, alice), late)
	got = w.post(t, "oauth2/token", form(redeem, "code", answer.Get("code"), "resource", mdeHost))
	if fields := fieldsOf(t, got.body); fields["resource"] != mdeHost {
		t.Errorf("got %v", fields)
	}
}

func TestPlatformsOfRedirectURIs(t *testing.T) {
	w := newWorld(t, withSPA)
	p := w.person(t, alice)
	redeem := func(code string, pairs ...string) (answer, url.Values) {
		form := byCode(code, pairs...)
		return w.post(t, tokenPath, form), form
	}
	for _, tc := range []struct {
		name, uri string
		pairs     []string
		number    int // 0: a token
	}{
		{"web with a secret", portal, []string{"client_secret", w.secret}, 0},
		{"web without a credential", portal, nil, 7000218},
		{"native", localhost, nil, 0},
		{"native, the other loopback", "https://127.0.0.1", nil, 0},
		{"native with a secret", localhost, []string{"client_secret", w.secret}, 700025},
		{"single-page from elsewhere", spaURI, nil, 9002327},
	} {
		got, _ := redeem(w.code(t, p, "redirect_uri", tc.uri), append(tc.pairs, "redirect_uri", tc.uri)...)
		number := 0
		if got.StatusCode != http.StatusOK {
			number = parseError(t, got.body).Codes[0]
		}
		if number != tc.number {
			t.Errorf("%s: got %d, want %d", tc.name, number, tc.number)
		}
	}
	// A URI that is not said is the first one.
	if to, answer := goes(t, p, authorizeURL("redirect_uri", "")); to != portal || answer.Get("code") == "" {
		t.Errorf("got %s %v", to, answer)
	}
}

func TestSinglePageApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, withSPA)
		p := w.person(t, alice)
		send := func(form url.Values) answer {
			t.Helper()
			got, err := w.do(t.Context(), t, http.MethodPost, "/"+tenant+"/"+tokenPath, form.Encode(),
				"Content-Type", "application/x-www-form-urlencoded", "Origin", "https://spa.example")
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		number := func(form url.Values) int {
			t.Helper()
			return parseError(t, send(form).body).Codes[0]
		}
		bare := w.code(t, p, "redirect_uri", spaURI, "code_challenge", "", "code_challenge_method", "")
		if got := number(byCode(bare, "redirect_uri", spaURI)); got != 9002325 {
			t.Errorf("without PKCE: got %d", got)
		}
		first, _ := fieldsOf(t, send(byCode(w.code(t, p, "redirect_uri", spaURI), "redirect_uri", spaURI)).body)["refresh_token"].(string)
		w.refused(t, "refreshed from elsewhere", tokenPath, byRefresh(first), 9002327, "invalid_request")
		time.Sleep(23 * time.Hour)
		second, _ := fieldsOf(t, send(byRefresh(first)).body)["refresh_token"].(string)
		time.Sleep(time.Hour)
		if got := number(byRefresh(second)); got != 700084 {
			t.Errorf("a day later: got %d, want 700084", got)
		}
	})
}

func TestAnswerComesInItsMode(t *testing.T) {
	w := newWorld(t, func(c *entraemu.Config) {
		c.Apps[0].NativeRedirectURIs = []string{localhost + "/back?from=entra", localhost}
	})
	for mode, want := range map[string]string{"": "GET ?", "query": "GET ?", "fragment": "GET #", "form_post": "POST "} {
		req, err := w.person(t, alice).SignIn(t.Context(), authorizeURL("response_mode", mode))
		if err != nil {
			t.Fatal(err)
		}
		separator := strings.Trim(strings.TrimPrefix(req.URL.String(), localhost), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=&%-")
		if got := req.Method + " " + separator; got != want {
			t.Errorf("%q: got %q, want %q", mode, got, want)
		}
		if _, answer := goes(t, w.person(t, alice), authorizeURL("response_mode", mode)); answer.Get("code") == "" || answer.Get("state") != "a&b" {
			t.Errorf("%q: got %v", mode, answer)
		}
	}
	req, err := w.person(t, alice).SignIn(t.Context(), authorizeURL("redirect_uri", localhost+"/back?from=entra"))
	if err != nil || !strings.HasPrefix(req.URL.RawQuery, "from=entra&code=") {
		t.Errorf("got %v, %v", req, err)
	}
}

func TestLoopbackPortsDoNotMatter(t *testing.T) {
	w := newWorld(t, func(c *entraemu.Config) {
		c.Apps[0].RedirectURIs = []string{"http://localhost/path", "https://localhost", "http://127.0.0.1/v4", "https://app.example/x"}
		c.Apps[0].NativeRedirectURIs = nil
	})
	for uri, good := range map[string]bool{
		"http://localhost/path":       true,
		"http://localhost:1/path":     true,
		"http://127.0.0.1:65535/v4":   true,
		"http://localhost:1/Path":     false,
		"http://localhost:1":          false,
		"http://localhost:1/path?x=y": false,
		"http://u@localhost:1/path":   false,
		"http://localhost:1/path#x":   false,
		"https://localhost":           true,
		"https://localhost:8443":      false,
		"http://127.0.0.1:1/path":     false,
		"http://localhost:1/v4":       false,
		"https://app.example/x":       true,
		"https://app.example:444/x":   false,
		"http://[::1]:1/path":         false,
		"http://localhost.evil/path":  false,
		"http://%zz":                  false,
	} {
		page := w.get(t, strings.TrimPrefix(authorizeURL("redirect_uri", uri), "https://"+host))
		if got := page.StatusCode == http.StatusOK; got != good || !good && !strings.Contains(page.body, "AADSTS50011:") {
			t.Errorf("%s: got %s", uri, page.Status)
		}
	}
}

func TestAuthorizationIsRefusedOnAPage(t *testing.T) {
	const private, homely = "77777777-7777-7777-7777-777777777777", "88888888-8888-8888-8888-888888888888"
	w := newWorld(t, func(c *entraemu.Config) {
		c.Apps = append(c.Apps, entraemu.App{ClientID: private}, entraemu.App{ClientID: homely, Home: tenant, RedirectURIs: []string{portal}})
	})
	for _, tc := range []struct{ name, page, number string }{
		{"no client", authorizeURL("client_id", ""), "900144"},
		{"an unknown tenant", authorizeURL("tenant", stranger), "90002"},
		{"an unknown app", authorizeURL("client_id", stranger), "700016"},
		{"another tenant's app", authorizeURL("tenant", fabrikam, "client_id", homely), "700016"},
		{"an app of one tenant", authorizeURL("tenant", "common", "client_id", homely), "50194"},
		{"no redirect URI", authorizeURL("client_id", private), "500113"},
		{"another redirect URI", authorizeURL("redirect_uri", "https://evil.example"), "50011"},
		{"another mode", authorizeURL("response_mode", "pigeon"), "70007"},
		{"an unknown resource", authorizeURL("scope", "https://unknown.example/x"), "500011"},
		{"a tenant that the user is not in", authorizeURL("tenant", fabrikam), "50020"},
	} {
		_, err := w.person(t, alice).SignIn(t.Context(), tc.page)
		if err == nil || !strings.Contains(err.Error(), "AADSTS"+tc.number+":") {
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.number)
		}
	}
	if got, err := w.do(t.Context(), t, http.MethodPost, "/"+tenant+"/oauth2/v2.0/authorize", "x=%zz", "Content-Type", "application/x-www-form-urlencoded"); err != nil || !strings.Contains(got.body, "9002313") {
		t.Errorf("got %s, %v", got.body, err)
	}
}

func TestAuthorizationIsRefusedToTheApp(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		name   string
		pairs  []string
		number string
		code   string
	}{
		{"no response type", []string{"response_type", ""}, "900144", "invalid_request"},
		{"another response type", []string{"response_type", "token"}, "70005", "unsupported_response_type"},
		{"no scope", []string{"scope", ""}, "900144", "invalid_request"},
		{"two resources", []string{"scope", alertScope + " " + xdrScope}, "28000", "invalid_scope"},
		{"an unknown prompt", []string{"prompt", "please"}, "90023", "invalid_request"},
		{"a challenge of another method", []string{"code_challenge_method", "plain"}, "501491", "invalid_request"},
		{"a short challenge", []string{"code_challenge", "short"}, "501491", "invalid_request"},
		{"a method without a challenge", []string{"code_challenge", ""}, "501491", "invalid_request"},
		{"nobody signed in", []string{"prompt", "none"}, "50058", "login_required"},
	} {
		to, answer := goes(t, w.person(t, alice), authorizeURL(tc.pairs...))
		if to != localhost || answer.Get("error") != tc.code || !strings.Contains(answer.Get("error_description"), "AADSTS"+tc.number+":") || answer.Get("state") != "a&b" || answer.Get("code") != "" {
			t.Errorf("%s: got %s %v, want %s %s", tc.name, to, answer, tc.number, tc.code)
		}
	}
}

func TestCodeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.person(t, alice)
		code := w.code(t, p)
		for _, tc := range []struct {
			name, path string
			pairs      []string
			number     int
			kind       string
		}{
			{"none", tokenPath, []string{"code", ""}, 900144, "invalid_request"},
			{"garbage", tokenPath, []string{"code", "x"}, 70000, "invalid_grant"},
			{"another client's", tokenPath, []string{"client_id", entraemu.FrontEnd}, 70000, "invalid_grant"},
			{"another tenant's", "/" + fabrikam + "/" + tokenPath, nil, 700005, "invalid_grant"},
			{"another redirect URI", tokenPath, []string{"redirect_uri", "http://localhost:2"}, 500112, "invalid_client"},
			{"no redirect URI", tokenPath, []string{"redirect_uri", ""}, 500112, "invalid_client"},
			{"another verifier", tokenPath, []string{"code_verifier", verifier + "x"}, 501481, "invalid_grant"},
			{"the challenge as verifier", tokenPath, []string{"code_verifier", challenge}, 501481, "invalid_grant"},
			{"no verifier", tokenPath, []string{"code_verifier", ""}, 501481, "invalid_grant"},
			{"two resources", tokenPath, []string{"scope", alertScope + " " + xdrScope}, 28000, "invalid_scope"},
		} {
			w.refused(t, tc.name, tc.path, byCode(code, tc.pairs...), tc.number, tc.kind)
		}
		w.userToken(t, tokenPath, byCode(code)) // none of this has spent it

		late := w.code(t, p)
		time.Sleep(10 * time.Minute)
		w.refused(t, "late", tokenPath, byCode(late), 70008, "invalid_grant")
		since := w.code(t, p)
		w.edit(t, alice, func(u *entraemu.User) { u.Disabled = true })
		w.refused(t, "disabled since", tokenPath, byCode(since), 50057, "invalid_grant")
	})
}

func TestCodeIsGoodOnceForManyAtOnce(t *testing.T) {
	w := newWorld(t)
	code := w.code(t, w.person(t, alice))
	device := w.device(t, devicePath)
	if err := w.Approve(device.UserCode, alice); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() { w.post(t, tokenPath, byCode(code)) })
		group.Go(func() { w.post(t, tokenPath, poll(device.DeviceCode)) })
	}
	group.Wait()
	if got := w.Stats(); got.Given["authorization_code"] != 1 || got.Given[deviceType] != 1 || got.Refused[54005] != 30 {
		t.Errorf("got %+v, want each to be given once", got)
	}
}

// FuzzAuthorize sends strangers' bytes as a request for a code: there is a page
// or a redirect to a registered URI.
func FuzzAuthorize(f *testing.F) {
	w := newWorld(f)
	_, good, _ := strings.Cut(authorizeURL("prompt", "none"), "?")
	f.Add(good)
	f.Add(strings.Replace(good, "response_mode", "fragment", 1) + "&login_hint=%3Cscript%3E")
	f.Fuzz(func(t *testing.T, query string) {
		got := httptest.NewRecorder()
		w.ServeHTTP(got, &http.Request{
			Method: http.MethodGet, Host: host, Header: http.Header{}, Body: http.NoBody,
			URL: &url.URL{Scheme: "https", Host: host, Path: "/" + tenant + "/oauth2/v2.0/authorize", RawQuery: query},
		})
		to := got.Header().Get("Location")
		registered := strings.HasPrefix(to, "http://localhost") || strings.HasPrefix(to, "https://127.0.0.1") || strings.HasPrefix(to, portal)
		if got.Code >= 500 || to != "" && !registered || strings.Contains(got.Body.String(), "<script>alert") {
			t.Errorf("got %d to %q: %s", got.Code, to, got.Body)
		}
	})
}
