package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const everyProtocol = `
protocols: {app_service: true, oauth: true, imds: true, cloud_shell: true, entra_sidecar: {overrides: true}}
`

// entitlements are what a caller may have, from all to next to nothing.
var entitlements = map[string]string{
	"everything":       `routes: ["*"], tenants: ["*"]`,
	"two routes":       `routes: [reader, graph]`,
	"reading":          `routes: ["*"], access: read-only, scopes: [` + mdeScope + `]`,
	"another identity": `routes: [hunting, mde], tenants: [` + tailspin + `, ` + fabrikam + `]`,
	"a scope":          `scopes: [` + xdrScope + `]`,
	"one customer":     `routes: [defender, narrow, mde], identities: [default, second], tenants: [` + tailspin + `]`,
	"narrow routes":    `routes: [narrow, guarded], identities: [default]`,
}

// entitled is a broker whose two callers, the one with a key and the anonymous
// one, may have the same.
func (w *world) entitled(to string) *running {
	w.write("caller.key", keyOf("caller"))
	return w.start(twoIdentities + policyRoutes + everyProtocol +
		"callers:\n  - {name: caller, key_file: 'DIR/caller.key', " + to + "}\n  - {name: anonymous, " + to + "}\n")
}

// wanted is what a token is asked for.
type wanted struct{ resource, identity, tenant string }

// wantable are what the tests ask for: each resource, of each identity, in each
// tenant; empty: the identity's own.
func wantable() []wanted {
	var all []wanted
	for _, resource := range []string{"https://api.security.microsoft.com", "https://api.securitycenter.microsoft.com", "https://graph.microsoft.com", "https://management.azure.com"} {
		for _, identity := range []string{"default", "second"} {
			for _, tenant := range []string{"", contoso, fabrikam, tailspin} {
				all = append(all, wanted{resource, identity, tenant})
			}
		}
	}
	return all
}

// client is the client id of the identity, by which libraries name it.
func (a wanted) client() string {
	return cmp.Or(map[string]string{"default": entraemu.DefaultClient, "second": secondClient}[a.identity], "99999999-9999-9999-9999-999999999999")
}

// home is the tenant, or that of the identity.
func (a wanted) home() string {
	return cmp.Or(a.tenant, map[string]string{"second": fabrikam}[a.identity], contoso)
}

// protocolRequest is a request in the manner of one protocol.
type protocolRequest struct {
	method, target, form string
	headers              []string
}

func (b *running) ask(a protocolRequest) *http.Response {
	b.t.Helper()
	return b.call(a.method, a.target, a.form, a.headers...)
}

// with is the request with more in its query or form.
func (a protocolRequest) with(more string) protocolRequest {
	switch {
	case a.form != "":
		a.form += "&" + more
	case strings.Contains(a.target, "?"):
		a.target += "&" + more
	default:
		a.target += "?" + more
	}
	return a
}

// spokenProtocol is how the tests speak a protocol, and what its refusals have.
type spokenProtocol struct {
	ask     func(wanted) protocolRequest
	tenants bool // a request can name one
	keyless bool
	media   string   // of refusals
	members []string // of refusals, beside those that only some have
}

var (
	identityMembers = []string{"statusCode", "message", "error", "error_description"}
	oauthMembers    = []string{"error", "error_description", "timestamp"}
)

func keyed(name string) []string { return []string{name, keyOf("caller")} }

var spokenProtocols = map[string]spokenProtocol{
	"app-service": {media: "application/json", members: identityMembers, ask: func(a wanted) protocolRequest {
		return protocolRequest{"GET", "/msi/token?api-version=2019-08-01&resource=" + a.resource + "&client_id=" + a.client(), "", keyed("X-IDENTITY-HEADER")}
	}},
	"azure-ml": {media: "application/json", members: identityMembers, ask: func(a wanted) protocolRequest {
		return protocolRequest{"GET", "/msi/token?api-version=2017-09-01&resource=" + a.resource + "&clientid=" + a.client(), "", keyed("secret")}
	}},
	"imds": {keyless: true, media: "application/json", members: []string{"error", "error_description"}, ask: func(a wanted) protocolRequest {
		return protocolRequest{"GET", "//metadata/identity/oauth2/token/?api-version=2018-02-01&resource=" + a.resource + "&client_id=" + a.client(), "", []string{"Metadata", "true"}}
	}},
	"cloud-shell": {keyless: true, media: "application/json", members: identityMembers, ask: func(a wanted) protocolRequest {
		return protocolRequest{"POST", "/msi/token", "resource=" + a.resource + "&client_id=" + a.client(), []string{"Metadata", "true"}}
	}},
	"oauth v1": {tenants: true, media: "application/json", members: oauthMembers, ask: func(a wanted) protocolRequest {
		return protocolRequest{"POST", "/" + a.home() + "/oauth2/token", "grant_type=client_credentials&resource=" + a.resource + "&client_id=" + a.client(), keyed("X-Broker-Key")}
	}},
	"oauth v2": {tenants: true, media: "application/json", members: oauthMembers, ask: func(a wanted) protocolRequest {
		form := "grant_type=client_credentials&scope=" + a.resource + "/.default&client_id=" + a.client() + "&client_secret=" + url.QueryEscape(keyOf("caller"))
		return protocolRequest{"POST", "/" + a.home() + "/oauth2/v2.0/token", form, nil}
	}},
	"adfs": {media: "application/json", members: oauthMembers, ask: func(a wanted) protocolRequest {
		form := "grant_type=client_credentials&scope=" + a.resource + "/.default+openid&client_id=" + a.client() + "&client_secret=" + url.QueryEscape(keyOf("caller"))
		return protocolRequest{"POST", "https://localhost/adfs/oauth2/token", form, nil}
	}},
	"sidecar": {tenants: true, keyless: true, media: "application/problem+json", members: []string{"type", "title", "status", "detail", "instance", "kind"}, ask: func(a wanted) protocolRequest {
		service := cmp.Or(map[string]string{"default": "defender", "second": "mde"}[a.identity], a.identity)
		target := "/AuthorizationHeaderUnauthenticated/" + service + "?optionsOverride.Scopes=" + a.resource + "/.default&optionsOverride.AcquireTokenOptions.Tenant=" + a.home()
		return protocolRequest{"GET", target, "", nil}
	}},
}

// answered is the token of an answer; empty: there is none. Whatever it is, no
// web page and no cache gets it.
func answered(t *testing.T, resp *http.Response) (token, body string) {
	t.Helper()
	body = text(t, resp)
	for name := range resp.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("it has the header %s", name)
		}
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("it has Cache-Control %q", resp.Header.Get("Cache-Control"))
	}
	var said struct {
		Access string `json:"access_token"`
		Header string `json:"authorizationHeader"`
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		t.Errorf("%q is no JSON: %v", body, err)
	}
	token = said.Access + strings.TrimPrefix(said.Header, "Bearer ")
	if (resp.StatusCode == http.StatusOK) != (token != "") {
		t.Errorf("%s with the token %q", resp.Status, token)
	}
	return token, body
}

// whose says of a token for whom it is, and whose.
func whose(t *testing.T, token string) wanted {
	t.Helper()
	jwt, err := entra.ParseJWT(token)
	must(t, err)
	return wanted{strings.Join(jwt.Claims.Audience, " "), jwt.Claims.Client(), jwt.Claims.Tenant}
}

// A caller gets by every protocol the token that it asked for, and none that
// /token would not give it. Where a protocol cannot carry a key, the caller is
// the anonymous one, which may have the same.
func TestProtocolsGiveWhatTheNativeOneGives(t *testing.T) {
	w := newWorld(t, secondApp)
	for may, to := range entitlements {
		b := w.entitled(to)
		given := map[string]int{}
		for _, a := range wantable() {
			native := b.call(http.MethodGet, "/token?resource="+a.resource+"&identity="+a.identity+"&tenant="+a.home(), "", keyed("X-Broker-Key")...)
			allowed := native.StatusCode == http.StatusOK
			for name, p := range spokenProtocols {
				if a.tenant != "" && !p.tenants {
					continue
				}
				t.Run(fmt.Sprint(may, "/", name, "/", a), func(t *testing.T) {
					resp := b.ask(p.ask(a))
					token, body := answered(t, resp)
					if token == "" {
						// The sidecar's services are routes, and not every caller has one.
						if allowed && name != "sidecar" {
							t.Errorf("%s %s, and /token gives it", resp.Status, body)
						}
						return
					}
					given[name]++
					if !allowed {
						t.Errorf("it is given, and /token refuses it with %s", native.Status)
					}
					if diff := gocmp.Diff(wanted{a.resource, a.client(), a.home()}, whose(t, token), gocmp.AllowUnexported(wanted{})); diff != "" {
						t.Errorf("another token than was asked for (-want +got):\n%s", diff)
					}
				})
			}
		}
		if may == "everything" && len(given) != len(spokenProtocols) {
			t.Errorf("no tokens but by %v: too few to show anything", given)
		}
	}
}

// What no token is given for, each protocol says in its own words, with a status
// for which no library asks again.
func TestProtocolsRefuseInTheirOwnShape(t *testing.T) {
	w := newWorld(t, secondApp)
	b := w.entitled(entitlements["everything"])
	good := wanted{resource: "https://api.security.microsoft.com", identity: "default"}
	asked := func(change func(*wanted)) func(spokenProtocol) protocolRequest {
		a := good
		change(&a)
		return func(p spokenProtocol) protocolRequest { return p.ask(a) }
	}
	changed := func(change func(*protocolRequest)) func(spokenProtocol) protocolRequest {
		return func(p spokenProtocol) protocolRequest {
			r := p.ask(good)
			r.headers = slices.Clone(r.headers)
			change(&r)
			return r
		}
	}
	header := func(name, value string) func(spokenProtocol) protocolRequest {
		return changed(func(r *protocolRequest) { r.headers = append(r.headers, name, value) })
	}
	faults := map[string]func(spokenProtocol) protocolRequest{
		"no resource of a route": asked(func(a *wanted) { a.resource = "https://vault.azure.net" }),
		"no resource":            asked(func(a *wanted) { a.resource = "everything" }),
		"two resources":          asked(func(a *wanted) { a.resource += "+https://graph.microsoft.com" }),
		"an unknown identity":    asked(func(a *wanted) { a.identity = "nobody" }),
		"an unknown tenant":      asked(func(a *wanted) { a.tenant = "99999999-9999-9999-9999-999999999999" }),
		"a tenant of any":        asked(func(a *wanted) { a.tenant = "common" }),
		"an unknown version":     changed(func(r *protocolRequest) { r.target = strings.Replace(r.target, "api-version=20", "api-version=19", 1) }),
		"a broken escape":        func(p spokenProtocol) protocolRequest { return p.ask(good).with("x=%zz") },
		"a web page":             header("Origin", "https://evil.example"),
		"a web page's fetch":     header("Sec-Fetch-Site", "cross-site"),
		"a preflight":            header("Access-Control-Request-Method", "GET"),
		"a proxy":                header("X-Forwarded-For", "192.0.2.1"),
		"a user of nobody's":     header("X-User-Assertion", "a.b.c"),
		"a key in the query": changed(func(r *protocolRequest) {
			*r = protocolRequest{r.method, r.target + "?&client_secret=x", r.form, r.headers}
		}),
		"a wrong key": changed(func(r *protocolRequest) {
			r.form = strings.ReplaceAll(r.form, url.QueryEscape(keyOf("caller")), "wrong")
			for i := range r.headers {
				r.headers[i] = strings.ReplaceAll(r.headers[i], keyOf("caller"), "wrong")
			}
		}),
		"an answer twice": func(p spokenProtocol) protocolRequest {
			r := p.ask(good)
			all := r.form
			if all == "" {
				_, all, _ = strings.Cut(r.target, "?")
			}
			pairs := strings.Split(all, "&")
			return r.with(pairs[len(pairs)-1])
		},
		"a body of another kind": changed(func(r *protocolRequest) {
			r.form = "{}"
			r.headers = append(r.headers, "Content-Type", "application/json")
		}),
	}
	for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
		faults["by "+method] = changed(func(r *protocolRequest) { r.method = method })
	}
	for name, p := range spokenProtocols {
		if token, body := answered(t, b.ask(p.ask(good))); token == "" {
			t.Errorf("%s: the good request is refused: %s", name, body)
		}
		for fault, make := range faults {
			switch {
			case fault == "an unknown version" && !strings.Contains(p.ask(good).target, "api-version"),
				strings.Contains(fault, "tenant") && !p.tenants,
				fault == "a wrong key" && p.keyless:
				continue // there is no place for it
			}
			t.Run(name+"/"+fault, func(t *testing.T) {
				resp := b.ask(make(p))
				token, body := answered(t, resp)
				if token != "" || resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
					t.Fatalf("%s %s", resp.Status, body)
				}
				checkShape(t, p, resp, body)
			})
		}
	}
}

// checkShape holds a refusal to the protocol's own.
func checkShape(t *testing.T, p spokenProtocol, resp *http.Response, body string) {
	t.Helper()
	var said map[string]any
	if err := json.Unmarshal([]byte(body), &said); err != nil || resp.Header.Get("Content-Type") != p.media {
		t.Errorf("%s %q: %v", resp.Header.Get("Content-Type"), body, err)
	}
	for _, name := range p.members {
		if said[name] == nil || said[name] == "" {
			t.Errorf("no %s in %s", name, body)
		}
	}
	for _, name := range []string{"status", "statusCode"} {
		if status, ok := said[name]; ok && status != float64(resp.StatusCode) {
			t.Errorf("%s with the %s %v", resp.Status, name, status)
		}
	}
	if strings.Contains(body, keyOf("caller")) {
		t.Errorf("the key is in %s", body)
	}
}

// A call through the sidecar's envelope is what it would be through the proxy.
func TestSidecarCallsWhatTheProxyCalls(t *testing.T) {
	w := newWorld(t, secondApp)
	calls := []struct{ method, path, body string }{
		{"GET", "/api/incidents?$top=1", ""},
		{"GET", "/api/incidents/13", ""},
		{"GET", "/api/machines?$top=1", ""},
		{"GET", "/v1.0/security/incidents?$top=1", ""},
		{"GET", "/api/../v1.0/security/incidents", ""},
		{"DELETE", "/api/indicators/13", ""},
		{"POST", "/api/machines/nothing/isolate", `{"Comment":"x","IsolationType":"Full"}`},
		{"POST", "/api/advancedhunting/run", `{"Query":"DeviceInfo | take 1"}`},
		{"TRACE", "/api/incidents", ""},
	}
	for may, to := range entitlements {
		b := w.entitled(to)
		for _, route := range []string{"defender", "reader", "narrow", "guarded", "hunting", "mde", "graph", "default", "nothing"} {
			for _, c := range calls {
				t.Run(may+"/"+route+"/"+c.method+c.path, func(t *testing.T) {
					direct := b.call(c.method, "/proxy/"+strings.Replace(route, "default", "defender", 1)+c.path, c.body, append(keyed("X-Broker-Key"), "Content-Type", "application/json")...)
					options := url.Values{"optionsOverride.RelativePath": {c.path}, "optionsOverride.HttpMethod": {c.method}}
					resp := b.call(http.MethodPost, "/DownstreamApiUnauthenticated/"+route+"?"+options.Encode(), c.body, "Content-Type", "application/json")
					body := text(t, resp)
					refused := direct.Header.Get("X-Token-Broker-Error")
					if refused != "" {
						if resp.StatusCode == http.StatusOK {
							t.Errorf("it is made, and the proxy refuses it (%s): %.300s", refused, body)
						}
						checkShape(t, spokenProtocols["sidecar"], resp, body)
						return
					}
					var envelope struct {
						StatusCode int
						Headers    http.Header
					}
					must(t, json.Unmarshal([]byte(body), &envelope))
					if resp.StatusCode != http.StatusOK || envelope.StatusCode != direct.StatusCode {
						t.Errorf("%s with the status %d, and the proxy has %s: %.300s", resp.Status, envelope.StatusCode, direct.Status, body)
					}
					if resp.Header.Get("Cache-Control") != "no-store" {
						t.Errorf("it has Cache-Control %q", resp.Header.Get("Cache-Control"))
					}
				})
			}
		}
	}
}
