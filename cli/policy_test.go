package cli

import (
	"slices"
	"strings"
	"testing"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const (
	contoso  = entraemu.DefaultTenant
	fabrikam = entraemu.OtherTenant
	tailspin = "44444444-4444-4444-4444-444444444444"

	secondClient = "55555555-5555-5555-5555-555555555555"
	graphDefault = "https://graph.microsoft.com/.default"
)

// secondApp adds a third tenant, a customer of both apps', and an app that is
// at home in the second.
func secondApp(known *entraemu.Config) {
	known.Tenants = append(known.Tenants, entraemu.Tenant{ID: tailspin, Domains: []entra.Tenant{"tailspin.example"}})
	roles := entraemu.AllRoles()
	known.Apps[0].Consents = append(known.Apps[0].Consents, entraemu.Consent{Tenant: tailspin, Roles: roles})
	known.Apps = append(known.Apps, entraemu.App{
		ClientID: secondClient, Secrets: known.Apps[0].Secrets,
		Consents: []entraemu.Consent{{Tenant: fabrikam, Roles: roles}, {Tenant: tailspin, Roles: roles}},
	})
}

const twoIdentities = `
identities:
  default: {tenant: ` + contoso + `, tenants: [` + fabrikam + `, ` + tailspin + `], client_id: ` + entraemu.DefaultClient + `, credential: {kind: secret, file: 'DIR/client-secret'}}
  second: {tenant: ` + fabrikam + `, tenants: [` + tailspin + `], client_id: ` + secondClient + `, credential: {kind: secret, file: 'DIR/client-secret'}}
`

const policyRoutes = `
routes:
  defender: {}
  graph: {}
  reader: {upstream: https://api.security.microsoft.com, access: read-only}
  narrow:
    upstream: https://api.security.microsoft.com
    allow: [{methods: [GET], path: '/api/incidents/**'}, {path: /api/alerts}]
    deny: [{path: '/api/incidents/13/**'}, {methods: [POST], path: '/api/**'}]
  guarded:
    upstream: https://api.security.microsoft.com
    deny: [{methods: [POST], path: '/api/machines/*/isolate'}, {path: '/api/indicators/**'}]
  hunting: {upstream: https://api.security.microsoft.com, identity: second, access: read-only}
  mde: {identity: second}
`

const namedCallers = `
callers:
  - {name: soc, key_file: 'DIR/soc.key', routes: ["*"], tenants: ["*"]}
  - {name: reader, key_file: 'DIR/reader.key', routes: [reader, graph]}
  - {name: auditor, key_file: 'DIR/auditor.key', routes: ["*"], access: read-only, scopes: [` + mdeScope + `]}
  - {name: hunter, key_file: 'DIR/hunter.key', routes: [hunting, mde], tenants: [` + tailspin + `, ` + fabrikam + `]}
  - {name: ci, key_file: 'DIR/ci.key', scopes: [` + xdrScope + `]}
  - {name: partner, key_file: 'DIR/partner.key', routes: [defender, narrow, mde], identities: [default, second], tenants: [` + tailspin + `], scopes: ['https://security.microsoft.com/mtp/.default']}
  - {name: both, key_file: 'DIR/both.key', routes: [defender, mde], tenants: [` + contoso + `, ` + fabrikam + `]}
  - {name: narrow, key_file: 'DIR/narrow.key', routes: [narrow, guarded], identities: [default]}
`

// by makes a row of each request, which the caller makes with its key and which
// is recorded.
func by(caller, want string, requests ...string) []row {
	return quiet(caller, want+" "+caller+"/key", requests...)
}

// quiet makes rows of requests of which there is no record. A target alone is
// asked for by GET, a form is posted.
func quiet(caller, want string, requests ...string) []row {
	var rows []row
	for _, request := range requests {
		switch {
		case strings.HasPrefix(request, "/"):
			request = "GET " + request
		case !strings.Contains(request, " "):
			request = form(request)
		}
		rows = append(rows, row{want, "four", with(request, "Host: localhost", "X-Broker-Key: {"+caller+"}")})
	}
	return rows
}

// form asks for a token by POST.
func form(fields string) string {
	return "POST /token\nContent-Type: application/x-www-form-urlencoded\n\n" + fields
}

const (
	hunt    = "\nContent-Type: application/json\n\n{\"Query\":\"DeviceInfo | take 1\"}"
	unknown = "404 not_found deny route.find"
	nobody  = "404 not_found deny identity.find"
	abroad  = "403 denied deny route.tenant"
	unsaid  = "400 invalid none"
	unused  = "403 denied deny default"
)

// ofSOC has every route and every tenant.
var ofSOC = slices.Concat(
	// Tokens by route, scope, resource, identity, tenant; by GET and by POST.
	by("soc", "200 allow routes.defender",
		"/token?route=defender", "/token?route=reader", "/token?route=guarded", "/token?route=defender&path=/api/machines", // one route hands the scope out: so it has it
		"/token?scope="+xdrScope+"&identity=default", "/token?scope="+mdeScope+"&identity=default", "/token?resource=https://api.security.microsoft.com&identity=default",
		"/token?route=defender&tenant="+fabrikam, "/token?route=defender&tenant="+tailspin, "/token?route=defender&tenant="+contoso,
		"route=defender", "route=defender&tenant="+tailspin, "scope="+xdrScope+"&identity=default", "route=defender&fresh=true"),
	by("soc", "200 allow routes.mde", "/token?route=mde", "/token?scope="+mdeScope+"&identity=second", "/token?route=mde&tenant="+tailspin, "resource=https://api.securitycenter.microsoft.com&identity=second"),
	by("soc", "403 denied deny routes.hunting", "/token?route=hunting", "/token?scope="+xdrScope+"&identity=second", "route=hunting", "/token?route=defender&identity=second"),
	by("soc", "200 allow tokens.scopes", "/token?route=graph", "/token?scope="+graphDefault, "resource=https://graph.microsoft.com"),
	by("soc", unsaid, "/token", "/token?scope="+xdrScope, "/token?route=defender&scope="+xdrScope, "/token?route=defender&route=defender", "/token?route=defender&path=/x", "/token?route=defender&tenant=common", "/token?route=", "/token?x=1", "/token?route=defender&fresh=true"),
	by("soc", unused, "/token?scope=https://management.azure.com/.default", "/token?scope="+graphDefault+"&identity=second"),
	by("soc", nobody, "/token?route=defender&identity=nobody", "scope="+xdrScope+"&identity=Default"),
	by("soc", unknown, "/token?route=nothing", "/token?route=mde-legacy", "/token?route=Defender", "route=nothing", "/proxy/nothing/api/incidents", "/proxy/DEFENDER/api/incidents", "/proxy//api/incidents", "/proxy/mde-legacy/api/machines", "/proxy/defender%40"+fabrikam+"/api/incidents"),
	by("soc", abroad, "/token?route=defender&tenant=tailspin.example", "/token?route=mde&tenant="+contoso, "/proxy/mde@"+contoso+"/api/machines", "/proxy/defender@tailspin.example/api/incidents", "/proxy/defender@99999999-9999-9999-9999-999999999999/api/incidents"),
	quiet("soc", "200", "/claims?route=hunting", "/claims?route=defender", "/claims?scope="+graphDefault+"&tenant="+tailspin, "/routes"),

	// Calls by a route that is open.
	by("soc", "200 allow routes.defender.access", "/proxy/defender/api/incidents", "/proxy/defender@"+fabrikam+"/api/incidents", "/proxy/defender@"+tailspin+"/api/machines", "HEAD /proxy/defender/api/incidents", "POST /proxy/defender/api/advancedhunting/run"+hunt),
	by("soc", "404 allow routes.defender.access", "POST /proxy/defender/api/machines/nothing/isolate", "/proxy/defender/api/unheard-of", "/proxy/defender/api/machines/nothing/getPackageUri"),
	by("soc", "200 allow routes.mde.access", "/proxy/mde/api/machines", "/proxy/mde@"+tailspin+"/api/machines"),
	by("soc", unsaid, "/proxy/defender@/api/incidents", "/proxy/defender", "/proxy/defender/", "/proxy/defender/nothing", "/proxy/mde/api/incidents", "/proxy/defender/api/incidents\nX-HTTP-Method-Override: DELETE", "/proxy/defender/api/incidents\nX_Original_URL: /api/machines", "/proxy/defender/api/incidents\nUpgrade: websocket"),

	// Read-only is by the catalogue, not by method.
	by("soc", "200 allow routes.reader.access", "/proxy/reader/api/incidents", "HEAD /proxy/reader/api/alerts", "POST /proxy/reader/api/advancedhunting/run"+hunt, "POST /proxy/reader/API/v1.0/AdvancedHunting/Run"+hunt, "/proxy/reader/api/v1.0/incidents", "/proxy/reader/api/machines/"),
	by("soc", "200 allow routes.hunting.access", "/proxy/hunting/api/machines", "/proxy/hunting@"+tailspin+"/api/incidents"),
	by("soc", "403 denied deny routes.reader.access",
		"POST /proxy/reader/api/machines/1/isolate", "PATCH /proxy/reader/api/incidents/1", "DELETE /proxy/reader/api/indicators/1", "POST /proxy/reader/api/machines/1/runliveresponse", "POST /proxy/reader/api/machines/1/offboard",
		"/proxy/reader/api/machineactions/1/getPackageUri", "/proxy/reader/api/machineactions/1/GETPACKAGEURI", "/proxy/reader/api/machineactions/1/GetLiveResponseResultDownloadLink(index=0)",
		"/proxy/reader/api/unheard-of", "/proxy/reader/api/machines('1')", "POST /proxy/reader/api/incidents", "OPTIONS /proxy/reader/api/incidents", "PUT /proxy/reader/api/machines/1", "/proxy/reader/api/advancedhunting/run"),
	by("soc", "403 denied deny routes.reader", "POST /proxy/reader/api/$batch", "/proxy/reader/api/machines/$entity"),

	// Deny beats allow, however the path is spelt.
	by("soc", "200 allow routes.narrow.allow[0]", "/proxy/narrow/api/incidents", "HEAD /proxy/narrow/api/incidents", "/proxy/narrow/API/Incidents", "/proxy/narrow/api/%69ncidents"),
	by("soc", "404 allow routes.narrow.allow[0]", "/proxy/narrow/api/incidents/130", "/proxy/narrow/api/incidents/1/13"),
	by("soc", "200 allow routes.narrow.allow[1]", "/proxy/narrow/api/alerts", "/proxy/narrow/api/v1.0/alerts"),
	by("soc", "403 denied deny routes.narrow.deny[0]", "/proxy/narrow/api/incidents/13", "/proxy/narrow/api/incidents/13/", "/proxy/narrow/api/incidents/13/x", "/proxy/narrow/API/v1.0/Incidents/13", "/proxy/narrow/api/incidents/%31%33", "PATCH /proxy/narrow/api/incidents/13"),
	by("soc", "403 denied deny routes.narrow.deny[1]", "POST /proxy/narrow/api/alerts", "POST /proxy/narrow/api/advancedhunting/run", "POST /proxy/narrow/api/machines/1/isolate"),
	by("soc", "403 denied deny routes.narrow.allow", "/proxy/narrow/api/machines", "PATCH /proxy/narrow/api/incidents/14", "DELETE /proxy/narrow/api/incidents", "OPTIONS /proxy/narrow/api/incidents", "/proxy/narrow/api/alerts/1", "/proxy/narrow/api/incidentsandmore"),
	by("soc", "403 denied deny routes.narrow", "/proxy/narrow/api/incidents(13)", "/proxy/narrow/api/v2.0/incidents/13", "PATCH /proxy/narrow/api/%ef%bd%89ncidents/13"),
	by("soc", "403 denied deny routes.guarded.deny[0]", "POST /proxy/guarded/api/machines/1/isolate", "POST /proxy/guarded/API/MACHINES/1/ISOLATE", "POST /proxy/guarded/api/v1.0/machines/1/isolate", "POST /proxy/guarded/api/machines/1/isolate/", "POST /proxy/guarded/api/machines/1/%69solate"),
	by("soc", "403 denied deny routes.guarded", "POST /proxy/guarded/api/machines('1')/isolate", "POST /proxy/guarded/api/machines/1/ns.isolate", "POST /proxy/guarded/api/v2/machines/1/isolate", "POST /proxy/guarded/api/machines/1/%ef%bd%89solate"),
	by("soc", "403 denied deny routes.guarded.deny[1]", "/proxy/guarded/api/indicators", "POST /proxy/guarded/api/indicators/import", "DELETE /proxy/guarded/api/Indicators/1", "HEAD /proxy/guarded/api/indicators/"),
	by("soc", "404 allow routes.guarded.access", "POST /proxy/guarded/api/machines/nothing/unisolate", "/proxy/guarded/api/machines/1/isolate"),
	by("soc", unsaid,
		"/proxy/narrow/api/incidents/x/../13", "/proxy/narrow/api/incidents/%2e%2e/machines", "/proxy/narrow/api/incidents//13", "/proxy/narrow//api/incidents", "/proxy/narrow/api/incidents%2F13", "/proxy/narrow/api/incidents%5C13", `/proxy/narrow/api\incidents/13`,
		"/proxy/narrow/api/incidents;x=1/13", "/proxy/narrow/api/incidents%3b", "/proxy/narrow/api/incidents/13%3f", "/proxy/narrow/api/incidents/13%23", "/proxy/narrow/api/incidents/%2531%2533", "/proxy/narrow/api/incidents/13%00", "/proxy/narrow/api/incidents/13%20", "/proxy/narrow/api/incidents/13.", "/proxy/narrow/api/%c4%b1ncidents/13", "/proxy/narrow/api/incidents/%ff", "/proxy/narrow/api/./incidents"),
	by("soc", "200 allow routes.graph.allow[0]", "/proxy/graph/v1.0/security/incidents", "POST /proxy/graph/v1.0/security/runHuntingQuery"+hunt),
	by("soc", "403 denied deny routes.graph.allow", "/proxy/graph/v1.0/me/messages", "/proxy/graph/beta/users", "/proxy/graph/v1.0/securityx", "/proxy/graph/v1.0"),
	by("soc", "403 denied deny routes.graph", "POST /proxy/graph/v1.0/$batch"),
)

// ofOthers are of callers who have less.
var ofOthers = slices.Concat(
	// reader has restricted routes only.
	by("reader", "403 denied deny routes.reader", "/token?route=reader", "/token?scope="+xdrScope, "/token?scope="+mdeScope, "/token?scope="+xdrScope+"&identity=default", "/token?route=reader&tenant="+contoso, "route=reader&path=/api/machines", "POST /proxy/reader/api/$batch"),
	by("reader", "200 allow tokens.scopes", "/token?route=graph", "scope="+graphDefault),
	by("reader", "200 allow routes.reader.access", "/proxy/reader/api/incidents", "/proxy/reader@"+contoso+"/api/incidents", "POST /proxy/reader/api/advancedhunting/run"+hunt),
	by("reader", "403 denied deny routes.reader.access", "POST /proxy/reader/api/machines/1/isolate", "/proxy/reader/api/machineactions/1/getPackageUri"),
	by("reader", unknown, "/token?route=defender", "/token?route=hunting", "/proxy/defender/api/incidents", "/proxy/narrow/api/incidents", "POST /proxy/guarded/api/machines/1/isolate"),
	by("reader", nobody, "/token?scope="+xdrScope+"&identity=second", "/token?route=reader&identity=second"),
	by("reader", abroad, "/token?route=reader&tenant="+fabrikam, "/proxy/reader@"+fabrikam+"/api/incidents", "/proxy/graph@"+tailspin+"/v1.0/security/incidents"),
	by("reader", unused, "/token?scope=https://management.azure.com/.default"),
	quiet("reader", "200", "/claims?route=reader", "/claims?scope="+mdeScope),
	quiet("reader", "404 not_found", "/claims?route=defender", "/claims?route=reader&identity=second"),
	quiet("reader", "403 denied", "/claims?route=reader&tenant="+fabrikam, "/claims?scope=https://management.azure.com/.default"),

	// auditor has every route, to read only, and one scope in so many words.
	by("auditor", "200 allow callers.auditor.scopes", "/token?route=mde", "/token?scope="+mdeScope+"&identity=default", "/token?scope="+mdeScope+"&identity=second", "route=defender&path=/api/machines"),
	by("auditor", "403 denied deny callers.auditor.access",
		"/token?route=defender", "/token?route=graph", "/token?route=hunting", "scope="+graphDefault,
		"POST /proxy/defender/api/machines/1/isolate", "POST /proxy/mde/api/machines/1/isolate", "POST /proxy/guarded/api/machines/1/isolate", "PATCH /proxy/defender/api/incidents/1", "POST /proxy/defender/api/machines/1/runliveresponse",
		"/proxy/defender/api/machineactions/1/getPackageUri", "/proxy/defender/api/machineactions/1/GetLiveResponseResultDownloadLink(index=0)", "/proxy/defender/api/unheard-of", "OPTIONS /proxy/defender/api/incidents", "/proxy/graph/v1.0/me/messages", "/proxy/defender/api/machines('1')", "POST /proxy/defender/api/$batch"),
	by("auditor", "200 allow routes.defender.access", "/proxy/defender/api/incidents", "HEAD /proxy/defender/api/machines", "POST /proxy/defender/api/advancedhunting/run"+hunt),
	by("auditor", "200 allow routes.graph.allow[0]", "POST /proxy/graph/v1.0/security/runHuntingQuery"+hunt),
	by("auditor", "403 denied deny routes.narrow.allow", "/proxy/narrow/api/machines"),
	by("auditor", "403 denied deny routes.guarded.deny[1]", "/proxy/guarded/api/indicators"),
	by("auditor", abroad, "/token?route=mde&tenant="+tailspin, "/proxy/defender@"+fabrikam+"/api/incidents"),

	// hunter has the second identity's routes, in both of its tenants.
	by("hunter", "200 allow routes.mde", "/token?route=mde", "/token?scope="+mdeScope, "/token?route=mde&tenant="+tailspin, "route=mde&tenant="+fabrikam),
	by("hunter", "403 denied deny routes.hunting", "/token?route=hunting", "/token?scope="+xdrScope),
	by("hunter", "200 allow routes.hunting.access", "/proxy/hunting/api/incidents", "POST /proxy/hunting@"+tailspin+"/api/advancedhunting/run"+hunt),
	by("hunter", unused, "/token?scope="+graphDefault), // tokens.scopes lifts what a route restricts, and hunter has none that uses it
	by("hunter", unknown, "/token?route=defender", "/proxy/graph/v1.0/security/incidents"),
	by("hunter", nobody, "/token?scope="+mdeScope+"&identity=default"),
	by("hunter", abroad, "/token?route=mde&tenant="+contoso, "/proxy/mde@"+contoso+"/api/machines"),

	// ci has a scope and no route.
	by("ci", "200 allow callers.ci.scopes", "/token?scope="+xdrScope, "/token?scope=https://API.security.microsoft.com/.default", "/token?resource=https://api.security.microsoft.com/", "scope="+xdrScope+"&identity=default&tenant="+contoso),
	by("ci", unused, "/token?scope="+mdeScope, "/token?scope="+graphDefault, "/token?scope=https://api.security.microsoft.com/Incident.Read.All", "/token?resource=https://api.security.microsoft.com.evil.example"),
	by("ci", unknown, "/token?route=defender", "/proxy/defender/api/incidents"),
	by("ci", nobody, "/token?scope="+xdrScope+"&identity=second"),
	by("ci", abroad, "/token?scope="+xdrScope+"&tenant="+fabrikam),
	quiet("ci", "200", "/claims?scope="+xdrScope, "/routes"),
	quiet("ci", "403 denied", "/claims?scope="+mdeScope),

	// partner may act for one customer, and not at home.
	by("partner", "200 allow routes.defender", "/token?route=defender&tenant="+tailspin),
	by("partner", "200 allow callers.partner.scopes", "/token?scope=https://security.microsoft.com/mtp/.default&tenant="+tailspin, "/token?scope=https://security.microsoft.com/mtp/.default&identity=second&tenant="+tailspin),
	by("partner", "200 allow routes.defender.access", "/proxy/defender@"+tailspin+"/api/incidents"),
	by("partner", "403 denied deny routes.narrow.deny[0]", "/proxy/narrow@"+tailspin+"/api/incidents/13"),
	by("partner", unsaid, "/token?route=defender", "/proxy/defender/api/incidents", "/token?route=mde"),
	by("partner", abroad, "/token?route=defender&tenant="+contoso, "/token?route=mde&tenant="+fabrikam, "/proxy/defender@"+contoso+"/api/incidents", "/token?scope=https://security.microsoft.com/mtp/.default&tenant="+contoso),
	by("partner", unknown, "/proxy/graph@"+tailspin+"/v1.0/security/incidents"),

	// both has a tenant that only one of its identities is configured for.
	by("both", "200 allow routes.mde", "/token?route=mde", "/token?route=mde&tenant="+fabrikam),
	by("both", "200 allow routes.defender", "/token?route=defender", "/token?route=defender&tenant="+fabrikam),
	by("both", abroad, "/token?route=mde&tenant="+contoso, "/proxy/mde@"+contoso+"/api/machines", "/token?route=defender&tenant="+tailspin),

	// narrow has routes that restrict, each in its way.
	by("narrow", "403 denied deny routes.guarded", "/token?route=narrow", "/token?route=guarded", "scope="+mdeScope),
	by("narrow", "200 allow routes.narrow.allow[0]", "/proxy/narrow/api/incidents"),
	by("narrow", "403 denied deny routes.guarded.deny[0]", "POST /proxy/guarded/api/machines/1/isolate"),
	by("narrow", unknown, "/token?route=graph", "/proxy/reader/api/incidents"),
)

func TestPolicy(t *testing.T) {
	for name, tt := range map[string]struct {
		settings string
		rows     []row
	}{
		"by routes":          {policyRoutes + namedCallers + "tokens: {scopes: [" + graphDefault + "]}\n", ofSOC},
		"of those with less": {policyRoutes + namedCallers + "tokens: {scopes: [" + graphDefault + "]}\n", ofOthers},
		"nothing handed out": {policyRoutes + namedCallers + "tokens: {hand_out: false, scopes: [" + graphDefault + "]}\n", slices.Concat(
			by("soc", "403 denied deny tokens.hand_out", "/token?route=defender", "/token?route=graph", "scope="+xdrScope+"&identity=default"),
			by("ci", "403 denied deny tokens.hand_out", "/token?scope="+xdrScope),
			by("auditor", "403 denied deny tokens.hand_out", "/token?route=mde"),
			by("soc", "200 allow routes.defender.access", "/proxy/defender/api/incidents"),
			quiet("soc", "200", "/claims?route=defender"),
		)},
		"without callers": {policyRoutes + "caller_key_file: 'DIR/local.key'\ntokens: {scopes: [" + graphDefault + "]}\n", slices.Concat(
			by("local", "200 allow routes.defender", "/token?route=defender", "/token?route=reader&tenant="+tailspin),
			by("local", "200 allow tokens.scopes", "/token?route=graph", "/token?scope="+graphDefault+"&tenant="+fabrikam),
			by("local", "403 denied deny routes.hunting", "/token?route=hunting"),
			by("local", "403 denied deny route.find", "/token?route=mde-legacy", "/proxy/mde-legacy/api/machines"), // closed: no caller is told less than another
			by("local", "403 denied deny routes.narrow.deny[0]", "/proxy/narrow/api/incidents/13"),
		)},
	} {
		t.Run(name, func(t *testing.T) { newWorld(t, secondApp).daemon(twoIdentities + tt.settings).judge(tt.rows) })
	}
}
