package cli

import (
	"strings"

	entraemu "tokenbroker/emulator/entra"
)

// everything turns on all that a listener can serve, with an identity of each
// kind.
const everything = `
identities:
  default: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: secret, file: 'DIR/client-secret'}}
  portal:
    tenant: 22222222-2222-2222-2222-222222222222
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: on-behalf-of, credential: {kind: secret, file: 'DIR/client-secret'}}
  me: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: browser}}
routes:
  defender: {}
  people: {upstream: "https://api.securitycenter.microsoft.com", identity: portal}
  mine: {upstream: "https://api.securitycenter.microsoft.com", identity: me}
protocols: {imds: true, cloud_shell: true}
`

// asking is a request, and the operation that it is one of.
type asking struct {
	operation string // its id
	target    string
	body      string
	header    []string
}

// askings are requests that get what they ask for, one for each operation but
// for those of a sign-in.
func askings(key, user string) []asking {
	const (
		incidents = "/proxy/defender/api/incidents"
		resource  = "resource=https://api.security.microsoft.com"
		imds      = "/metadata/identity/oauth2/token?api-version=2018-02-01&" + resource
		relative  = "?optionsOverride.RelativePath=api/incidents"
		oauth     = "grant_type=client_credentials&scope=" + xdrScope
	)
	tenant := "/" + string(entraemu.DefaultTenant)
	shown := []string{"Authorization", "Bearer " + user}
	metadata := []string{"Metadata", "true"}
	return []asking{
		{"getToken", "/token?route=defender", "", nil},
		{"getToken", "/token?route=defender", "", []string{"Accept", "text/plain"}},
		{"getToken", "/token?scope=" + mdeScope + "&identity=default&tenant=22222222-2222-2222-2222-222222222222", "", nil},
		{"postToken", "/token", "route=defender", nil},
		{"postToken", "/token", "route=people", []string{"X-User-Assertion", user}},
		{"getClaims", "/claims?route=defender", "", nil},
		{"introspect", "/introspect", "token=" + user, nil},
		{"introspect", "/introspect", "token=a.b.c", nil},
		{"getRoutes", "/routes", "", nil},
		{"getProxy", incidents, "", nil},
		{"headProxy", incidents, "", nil},
		{"postProxy", "/proxy/defender/api/advancedhunting/run", `{"Query":"DeviceInfo"}`, []string{"Content-Type", "application/json"}},
		{"putProxy", incidents + "/924565", "{}", nil},
		{"patchProxy", incidents + "/924565", `{"status":"Resolved"}`, []string{"Content-Type", "application/json"}},
		{"deleteProxy", incidents + "/924565", "", nil},
		{"optionsProxy", incidents, "", nil},
		{"whoami", "/whoami", "", nil},
		{"healthz", "/healthz", "", nil},
		{"getOpenAPI", "/openapi.json", "", nil},
		{"getAppServiceToken", "/msi/token?api-version=2019-08-01&" + resource, "", []string{"X-IDENTITY-HEADER", key}},
		{"getAppServiceToken", "/msi/token?api-version=2017-09-01&clientid=&" + resource, "", []string{"secret", key}},
		{"postCloudShellToken", "/msi/token", resource, metadata},
		{"postCloudShellTokenAtItsOwnPath", "/oauth2/token", resource, metadata},
		{"getImdsToken", imds, "", metadata},
		{"getAuthorizationHeader", "/AuthorizationHeader/people", "", shown},
		{"postAuthorizationHeader", "/AuthorizationHeader/people", "", shown},
		{"getAuthorizationHeaderUnauthenticated", "/AuthorizationHeaderUnauthenticated/default", "", nil},
		{"postAuthorizationHeaderUnauthenticated", "/authorizationheaderunauthenticated/defender", "", nil},
		{"getDownstreamApi", "/DownstreamApi/people?optionsOverride.RelativePath=api/machines", "", shown},
		{"postDownstreamApi", "/DownstreamApi/people?optionsOverride.RelativePath=api/machines&optionsOverride.HttpMethod=Get", "", shown},
		{"getDownstreamApiUnauthenticated", "/DownstreamApiUnauthenticated/defender" + relative, "", nil},
		{"postDownstreamApiUnauthenticated", "/DownstreamApiUnauthenticated/defender" + relative + "/nosuch", "", nil},
		{"getValidate", "/Validate", "", shown},
		{"postValidate", "/Validate", "", shown},
		{"postOAuthToken", tenant + "/oauth2/v2.0/token", oauth, nil},
		{"postOAuthTokenV1", tenant + "/oauth2/token", oauth, nil},
		{"getDiscovery", tenant + "/v2.0/.well-known/openid-configuration", "", nil},
		{"postAdfsToken", "/adfs/oauth2/token", oauth, nil},
		{"postAdfsTokenV2", "/adfs/oauth2/v2.0/token", oauth, nil},
		{"getAdfsDiscovery", "/adfs/.well-known/openid-configuration", "", nil},
	}
}

// refusals are requests of which something is wrong.
func refusals(key string) []asking {
	return []asking{
		{"getToken", "/token", "", nil},
		{"getToken", "/token?route=nosuch", "", nil},
		{"postToken", "/token", "fresh=maybe&route=defender", nil},
		{"postToken", "/token", strings.Repeat("x", 65<<10), nil},
		{"getClaims", "/claims?route=nosuch", "", nil},
		{"introspect", "/introspect", "", nil},
		{"getProxy", "/proxy/nosuch/", "", nil},
		{"postProxy", "/proxy/defender/api", strings.Repeat("x", 33<<20), nil},
		{"login", "/login", "identity=nosuch", nil},
		{"login", "/login", "identity=me&prompt=maybe", nil},
		{"answerLogin", "/login/answer", "identity=me&url=http://localhost/?code=x", nil},
		{"logout", "/logout", "", nil},
		{"whoami", "/whoami?identity=nosuch", "", nil},
		{"getAppServiceToken", "/msi/token", "", []string{"X-IDENTITY-HEADER", key}},
		{"getAppServiceToken", "/msi/token", "", nil},
		{"postCloudShellToken", "/msi/token", "", nil},
		{"getImdsToken", "/metadata/identity/oauth2/token", "", nil},
		{"getAuthorizationHeader", "/AuthorizationHeader/people", "", []string{"Authorization", "Bearer a.b.c"}},
		{"getAuthorizationHeaderUnauthenticated", "/AuthorizationHeaderUnauthenticated/nosuch", "", nil},
		{"postDownstreamApi", "/DownstreamApi/people", "", nil},
		{"getValidate", "/Validate", "", nil},
		{"postOAuthToken", "/nosuch/oauth2/v2.0/token", "", nil},
		{"postOAuthTokenV1", "/22222222-2222-2222-2222-222222222222/oauth2/token", "grant_type=magic", nil},
		{"getDiscovery", "/no..such/v2.0/.well-known/openid-configuration", "", nil},
		{"getAdfsDiscovery", "/adfs/.well-known/openid-configuration", "", nil}, // without TLS
		{"postAdfsToken", "/adfs/oauth2/token", "", nil},
	}
}
