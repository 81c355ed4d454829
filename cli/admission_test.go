package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"tokenbroker/guard"
)

// What requests come to, in the tables of admission.
const (
	asHunter  = "200 allow routes.defender hunter/key"
	called    = "200 allow routes.defender.access hunter/key"
	badHost   = "403 denied deny guard.host"
	forwarded = "403 denied deny guard.forwarded"
	badSite   = "403 denied deny guard.site"
	badPlace  = "403 denied deny guard.place"   // a key where others read it
	badKey    = "401 unadmitted deny guard.key" // none, or not a good one
	badCaller = "401 unadmitted deny guard.caller"
)

// a request for a token that anybody here may have, and a call.
const (
	ask  = "GET /token?route=defender"
	call = "/proxy/defender/api/incidents\nHost: localhost\nX-Broker-Key: {hunter}"
)

const oneIdentity = `
identities: {default: {tenant: 22222222-2222-2222-2222-222222222222, client_id: 11111111-1111-1111-1111-111111111111, credential: {kind: secret, file: 'DIR/client-secret'}}}
`

// each makes a row of each text, which stands for %s in the request.
func each(want, door, request string, texts ...string) []row {
	var rows []row
	for _, text := range texts {
		rows = append(rows, row{want, door, strings.ReplaceAll(request, "%s", text)})
	}
	return rows
}

// reachable leaves out the rows for an IPv6 loopback where the machine has none.
func (s *daemon) reachable(rows []row) []row {
	return slices.DeleteFunc(rows, func(r row) bool { return s.doors[r.door] == nil && r.door == "six" })
}

// uidSetting is a uid for a caller, where the system tells uids.
func uidSetting(uid int) string {
	if !guard.TellsUID {
		return ""
	}
	return fmt.Sprint(", uid: ", uid)
}

// ofKeys are requests to a broker whose callers have keys: hunter and clerk,
// and stranger, whose uid is another one than ours.
var ofKeys = slices.Concat(
	// What is admitted, at each listener.
	each(asHunter, "four", ask+"\nHost: %s\nX-Broker-Key: {hunter}",
		"localhost", "localhost:{port}", "127.0.0.1", "127.0.0.1:{port}", "[::1]", "[::1]:{port}", "LOCALHOST:{port}", "LocalHost", "localhost:1", "127.0.0.1:65535"),
	each(asHunter, "six", ask+"\nHost: %s\nX-Broker-Key: {hunter}", "localhost:{port}", "[::1]:{port}", "127.0.0.1"),
	each(asHunter, "socket", ask+"\nHost: %s\nX-Broker-Key: {hunter}", "localhost", "evil.example", "", "whatever:0x50"),
	each(asHunter, "socket", "GET /token?route=defender HTTP/1.0\nX-Broker-Key: %s", "{hunter}"),
	each(called, "route/defender", "GET %s\nHost: localhost:{port}\nX-Broker-Key: {hunter}", "/api/incidents", "/api/alerts"),
	each(called, "four", "%s "+call, "GET", "HEAD"),
	each("200", "four", "GET %s\nHost: localhost\nX-Broker-Key: {hunter}", "/routes", "/claims?route=defender"),

	// Host.
	each(badHost, "four", ask+"\nHost: %s\nX-Broker-Key: {hunter}",
		"evil.example", "evil.example:{port}", "localhost.evil.example", "127.0.0.1.nip.io", "xlocalhost", "localhost.", "127.0.0.1.", "[::1].",
		"2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.01", "127.0.0.2", "0.0.0.0", "[::]", "0",
		"::1", "[::1", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::1%25lo]:{port}", "[127.0.0.1]", "[localhost]",
		"", ":{port}", "localhost:", "localhost:http", "localhost:123456", "localhost:-1", "localhost:80:80", "localhost,evil.example", "local%68ost", "xn--localhost"),
	each(unread, "four", ask+"\n%s\nX-Broker-Key: {hunter}",
		"Accept: */*", "Host: localhost\nHost: localhost", "Host: localhost\nHost: evil.example", "Host: local\u00adhost", "Host: l\u043ecalhost", "Host : localhost", "Host: localhost evil.example", "Host: localhost@evil.example", "Host: evil.example@localhost", "Host: a:b@localhost:{port}"),
	each(badHost, "four", "%s\nX-Broker-Key: {hunter}",
		"GET /token?route=defender HTTP/1.0", "GET /token?route=defender HTTP/1.0\nHost: evil.example",
		"GET http://evil.example/token?route=defender\nHost: localhost", "GET http://localhost@evil.example/token\nHost: localhost", "GET http://a@localhost/token\nHost: localhost"),
	each(asHunter, "four", "%s\nX-Broker-Key: {hunter}",
		"GET /token?route=defender HTTP/1.0\nHost: localhost", "GET http://localhost/token?route=defender\nHost: evil.example"), // RFC 9112 §3.2.2
	each(badHost, "six", ask+"\nHost: %s\nX-Broker-Key: {hunter}", "evil.example", "::1", "[::1]x"),
	each(badHost, "route/defender", "GET /api/incidents\nHost: %s\nX-Broker-Key: {hunter}", "api.security.microsoft.com", "evil.example"),

	// Proxies.
	each(forwarded, "four", ask+"\nHost: localhost\nX-Broker-Key: {hunter}\n%s",
		"X-Forwarded-For: 127.0.0.1", "x-forwarded-for:", "X_FORWARDED_FOR: 1", "x_forwarded-for: 1", "X-Forwarded-Host: localhost", "X_Forwarded_Host: localhost", "X-Forwarded-Server: x",
		"Forwarded: for=127.0.0.1", "FORWARDED:", "Via: 1.1 p", "X-Real-IP: 127.0.0.1", "X_Real_IP: 127.0.0.1"),
	each(forwarded, "socket", ask+"\nHost: localhost\nX-Broker-Key: {hunter}\n%s", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=x"),
	each(forwarded, "route/defender", "GET /api/incidents\nHost: localhost\nX-Broker-Key: {hunter}\n%s", "Via: 1.1 p", "x_forwarded_for: 1"),
	each(unread, "four", ask+"\nHost: localhost\nX-Broker-Key: {hunter}\n%s", "X-Forwarded-For : 127.0.0.1"),
	each(asHunter, "four", ask+"\nHost: localhost\nX-Broker-Key: {hunter}\n%s", "X-Forwarded-Proto: http", "X-Forwarded-Port: 5178", "Traceparent: 00-x"),

	// Pages.
	each(badSite, "four", ask+"\nHost: localhost:{port}\nX-Broker-Key: {hunter}\n%s",
		"Origin: https://evil.example", "Origin: null", "Origin:", "Origin: http://localhost", "Origin: http://localhost:1", "Origin: https://localhost:{port}", "Origin: http://127.0.0.1:{port}",
		"Origin: HTTP://localhost:{port}", "Origin: http://localhost:{port}/", "Origin: http://localhost:{port}.evil.example", "Origin: http://a@localhost:{port}",
		"Origin: http://localhost:{port}\nOrigin: http://evil.example", "Origin: http://localhost:{port}\nOrigin: http://localhost:{port}", "Origin: file://", "Origin: chrome-extension://abc"),
	each(asHunter, "four", ask+"\nHost: localhost:{port}\nX-Broker-Key: {hunter}\n%s", "Origin: http://localhost:{port}", "Sec-Fetch-Site: none", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"),
	each(badSite, "socket", ask+"\nHost: localhost\nX-Broker-Key: {hunter}\n%s", "Origin: http://localhost", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"),
	each(badSite, "four", "%s "+call+"\nSec-Fetch-Site: cross-site", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"),
	each(badSite, "four", "%s "+call+"\nSec-Fetch-Site: same-site", "GET", "POST"),
	each(badSite, "four", "GET "+call+"\n%s", "Sec-Fetch-Site: Cross-Site", "Sec-Fetch-Site:", "Sec-Fetch-Site: none\nSec-Fetch-Site: cross-site", "Sec-Fetch-Site: none, cross-site"),

	// Preflights, and what asks like one.
	slices.Concat(
		preflights("four"), preflights("socket"), preflights("six"), preflights("route/defender"),
	),
	each(badSite, "four", ask+"\nHost: localhost\nX-Broker-Key: {hunter}\n%s", "Access-Control-Request-Method: GET", "Access-Control-Request-Private-Network: true"),

	// Keys.
	each(asHunter, "four", ask+"\nHost: localhost\n%s",
		"x-BROKER-key: {hunter}", "X-Broker-Key: {hunter}\nX-Broker-Key: {hunter}", "X-Broker-Key: {hunter}\nX-Broker-Key:", "X-Broker-Key:  {hunter} ",
		"Authorization: Bearer {hunter}", "authorization: bEARER   {hunter}", "Authorization: Bearer {hunter}\nAuthorization: Basic eDp5",
		"Authorization: Bearer {clerk}\nX-Broker-Key: {hunter}"), // Bearer is a key where nothing else carries one
	each(badKey, "four", ask+"\nHost: localhost\n%s",
		"Accept: */*", "X-Broker-Key:", "X-Broker-Key: x", "X-Broker-Key: {nobody}", "X-Broker-Key: key-of-hunter-0123456789ab", "X-Broker-Key: {hunter}0", "X-Broker-Key: 0{hunter}", "X-Broker-Key: key-of-hunter-0123456789ab=", "X-Broker-Key: KEY-OF-HUNTER-0123456789AB==",
		"X-Broker-Key: \"{hunter}\"", "X-Broker-Key: {hunter}, {hunter}", "X-Broker-Key: {hunter}\nX-Broker-Key: {clerk}", "X-Broker-Key: {hunter}\nX-Broker-Key: x", "X-Broker-Key: x\nAuthorization: Bearer {hunter}", "X-Broker-Key:\nAuthorization: Bearer {hunter}",
		"X_Broker_Key: {hunter}", "X-Identity-Header: {hunter}", "Secret: {hunter}", "Metadata: true",
		"Authorization: Bearer", "Authorization: Bearer x", "Authorization: {hunter}", "Authorization: Bearer{hunter}", "Authorization: Basic {hunter}", "Authorization: Token {hunter}", "Authorization: Bearer {hunter}\nAuthorization: Bearer {clerk}",
		"Proxy-Authorization: Bearer {hunter}"),
	each(badKey, "socket", ask+"\nHost: localhost\n%s", "Accept: */*", "X-Broker-Key: {nobody}", "X-Broker-Key: {hunter}\nX-Broker-Key: {clerk}"),
	each(badKey, "six", ask+"\nHost: localhost\n%s", "Accept: */*", "X-Broker-Key: {nobody}"),
	each(badKey, "route/defender", "GET %s\nHost: localhost", "/api/incidents", "/healthz", "/token"),
	each(badPlace, "four", "GET /token?%s\nHost: localhost\nX-Broker-Key: {hunter}",
		"route=defender&X-Broker-Key={hunter}", "route=defender&x_broker_key=x", "route=defender&broker%2Dkey=x", "route={hunter}", "{hunter}", "route=defender;k={hunter}", "route=defender&k=%6bey-of-hunter-0123456789ab==", "x={clerk}", "client_secret=x", "X-IDENTITY-HEADER=x"),
	each(badPlace, "four", ask+"\nHost: localhost\nX-Broker-Key: {hunter}\nCookie: %s", "k={hunter}", "a=b; k=\"{hunter}\"", "{hunter}", "X-Broker-Key=x", "k={clerk}", "a=b\nCookie: k={hunter}"),
	each(badPlace, "socket", ask+"\nHost: localhost\nX-Broker-Key: {hunter}\n%s", "Cookie: k={hunter}"),
	each(asHunter, "four", ask+"\nHost: localhost\nX-Broker-Key: {hunter}\nCookie: %s", "session=abc", "key=x"),
	each("200 allow routes.mde clerk/key", "four", "GET /token?route=mde\nHost: localhost\n%s", "X-Broker-Key: {clerk}", "Authorization: Bearer {clerk}"),
	each("200 allow routes.mde stranger/key", "socket", "GET /token?route=mde\nHost: localhost\n%s", "X-Broker-Key: {stranger}"),

	// Methods and targets that are nobody's.
	each("400 invalid none hunter/key", "four", "%s "+call, "TRACE", "get", "FOO", "PRI"),
	each("405 invalid none hunter/key", "four", "%s /token?route=defender\nHost: localhost\nX-Broker-Key: {hunter}", "get", "DELETE", "PUT", "TRACE", "OPTIONS", "FOO"),
	each(badKey, "four", "%s /token?route=defender\nHost: localhost", "get", "DELETE", "TRACE", "OPTIONS"),
	each("404 not_found", "four", "%s\nHost: localhost\nX-Broker-Key: {hunter}", "OPTIONS *", "CONNECT localhost:443", "GET /", "GET /Token?route=defender", "GET /token/", "GET //token?route=defender", "GET /%74oken/x"),
	each("401 unadmitted", "four", "%s\nHost: localhost", "OPTIONS *", "CONNECT localhost:443", "GET /", "GET /nothing", "GET /routes", "POST /claims"),
	each("403 denied", "four", "%s", "CONNECT evil.example:443\nHost: localhost", "PRI * HTTP/2.0\nHost: evil.example"),
	each("400 invalid none hunter/key", "four", "GET %s\nHost: localhost\nX-Broker-Key: {hunter}", "http://localhost/proxy/defender/api/incidents"),
	each("200", "four", "%s", "GET /healthz\nHost: evil.example", "HEAD /healthz\nHost: x", "GET /healthz\nHost: localhost\nX-Forwarded-For: 1\nOrigin: null"), // exempt: it says nothing
	each("405 invalid", "four", "%s /healthz\nHost: localhost", "POST", "OPTIONS"),
)

func preflights(door string) []row {
	path := "/token"
	if strings.HasPrefix(door, "route/") {
		path = "/api/incidents"
	}
	return each(badSite, door, "OPTIONS "+path+"\nHost: localhost\nX-Broker-Key: {hunter}\n%s",
		"Origin: https://evil.example\nAccess-Control-Request-Method: GET\nAccess-Control-Request-Headers: x-broker-key",
		"Access-Control-Request-Method: POST", "Access-Control-Request-Private-Network: true")
}

func TestAdmissionByKey(t *testing.T) {
	s := newWorld(t).daemon(oneIdentity+`
callers:
  - {name: hunter, key_file: 'DIR/hunter.key', routes: [defender]}
  - {name: clerk, key_file: 'DIR/clerk.key', routes: [mde]}
  - {name: stranger, key_file: 'DIR/stranger.key', routes: [mde]`+uidSetting(os.Getuid()+1)+`}
  - {name: anonymous, routes: ["*"]}
`, "defender")
	s.judge(s.reachable(ofKeys))
}

// ofUIDs are requests to a broker of which our own uid proves operator.
var ofUIDs = slices.Concat(
	each("200 allow routes.defender operator/uid", "socket", ask+"\nHost: localhost\n%s", "Accept: */*", "X-Broker-Key:", "Authorization: Basic eDp5", "X_Broker_Key: x"),
	each("200 allow routes.defender operator/key", "socket", ask+"\nHost: localhost\n%s", "X-Broker-Key: {operator}", "Authorization: Bearer {operator}"),
	each("200 allow routes.defender operator/key", "four", ask+"\nHost: localhost\nX-Broker-Key: %s", "{operator}"),
	each(asHunter, "four", ask+"\nHost: localhost\nX-Broker-Key: %s", "{hunter}"),
	each(badCaller, "socket", ask+"\nHost: localhost\n%s", "X-Broker-Key: {hunter}", "Authorization: Bearer {hunter}"),
	each(badKey, "socket", ask+"\nHost: localhost\n%s", "X-Broker-Key: x", "X-Broker-Key: {operator}\nX-Broker-Key: {hunter}", "Authorization: Bearer eyJ"),
	each(badKey, "four", ask+"\nHost: localhost\n%s", "Accept: */*"),
	each(badSite, "socket", ask+"\nHost: localhost\n%s", "Origin: http://localhost", "Sec-Fetch-Site: cross-site", "Access-Control-Request-Private-Network: true"),
	each(forwarded, "socket", ask+"\nHost: localhost\n%s", "X-Forwarded-For: 127.0.0.1"),
	each(badPlace, "socket", ask+"&k=%s\nHost: localhost", "{hunter}", "{operator}"),
)

func TestAdmissionByUID(t *testing.T) {
	if !guard.TellsUID {
		return // there a uid in the configuration is a fault
	}
	own := uidSetting(os.Getuid())
	t.Run("beside keys", func(t *testing.T) {
		newWorld(t).daemon(oneIdentity + `
callers:
  - {name: operator, key_file: 'DIR/operator.key', routes: [defender]` + own + `}
  - {name: hunter, key_file: 'DIR/hunter.key', routes: [defender]}
`).judge(ofUIDs)
	})
	t.Run("without keys", func(t *testing.T) {
		newWorld(t).daemon(oneIdentity + `
callers:
  - {name: operator, routes: [defender]` + own + `}
  - {name: anonymous, routes: [defender]}
`).judge(slices.Concat(
			each("200 allow routes.defender operator/uid", "socket", ask+"\nHost: localhost\n%s", "Accept: */*", "X-Broker-Key: nobody looks at it"),
			each(badCaller, "four", ask+"\nHost: localhost\n%s", "Accept: */*", "X-Broker-Key: nobody looks at it"),
		))
	})
	t.Run("of another user", func(t *testing.T) {
		newWorld(t).daemon(oneIdentity + `
callers: [{name: stranger, routes: [defender]` + uidSetting(os.Getuid()+1) + `}]
`).judge(slices.Concat(
			each(badCaller, "socket", ask+"\nHost: localhost\n%s", "Accept: */*", "X-Broker-Key: nobody looks at it"),
			each(badCaller, "four", ask+"\nHost: localhost\n%s", "Accept: */*"),
		))
	})
}

func TestAdmissionOfLocal(t *testing.T) {
	const asLocal = "200 allow routes.defender local/"
	shared := slices.Concat(
		each(asLocal+"key", "four", ask+"\nHost: localhost\nX-Broker-Key: %s", "{local}"),
		each(asLocal+"key", "socket", ask+"\nHost: localhost\nX-Broker-Key: %s", "{local}"),
		each(badKey, "four", ask+"\nHost: localhost\n%s", "Accept: */*", "X-Broker-Key: {nobody}"),
		each(badKey, "socket", ask+"\nHost: localhost\n%s", "Accept: */*"),
	)
	for _, tt := range []struct {
		name, settings string
		rows           []row
	}{
		{"whoever comes", "", slices.Concat(
			each(asLocal+"peer", "four", ask+"\nHost: localhost:{port}\n%s", "Accept: */*", "X-Broker-Key: nobody looks at it", "Authorization: Bearer x", "Origin: http://localhost:{port}"),
			each(asLocal+"peer", "six", ask+"\nHost: %s", "[::1]:{port}"),
			each(asLocal+"peer", "socket", ask+"\nHost: %s", "x"),
			each(badHost, "four", ask+"\nHost: %s", "evil.example", "127.1"),
			each(forwarded, "four", ask+"\nHost: localhost\n%s", "X-Forwarded-For: 127.0.0.1", "Forwarded:"),
			each(badSite, "four", ask+"\nHost: localhost\n%s", "Origin: null", "Sec-Fetch-Site: cross-site"),
			each(badPlace, "four", ask+"%s", "&X-Broker-Key=x\nHost: localhost", "\nHost: localhost\nCookie: broker-key=x"),
		)},
		{"whoever has the key", "caller_key_file: 'DIR/local.key'", shared},
		{
			"beside named callers", "caller_key_file: 'DIR/local.key'\ncallers: [{name: local, routes: [defender]}, {name: hunter, key_file: 'DIR/hunter.key', routes: [defender]}]",
			append(slices.Clone(shared), each(asHunter, "four", ask+"\nHost: localhost\nX-Broker-Key: %s", "{hunter}")...),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newWorld(t).daemon(oneIdentity + tt.settings)
			s.judge(s.reachable(tt.rows))
		})
	}
}
