package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	defenderemu "tokenbroker/emulator/defender"
	entraemu "tokenbroker/emulator/entra"
)

// alone drops from the settings what is the neighbour's: the lines that begin
// with a bar.
func alone(settings string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(settings, "\n"), func(line string) bool { return strings.HasPrefix(line, "|") }), "\n")
}

func together(settings string) string { return strings.ReplaceAll(settings, "\n|", "\n ") }

// The neighbourhoods of alice. What is bob's stands behind a bar.
var neighbourhoods = map[string]string{
	"an identity each": `
identities:
  default: {tenant: ` + contoso + `, tenants: [` + fabrikam + `], client_id: ` + entraemu.DefaultClient + `, credential: {kind: secret, file: 'DIR/client-secret'}}
  failing: {tenant: ` + fabrikam + `, client_id: ` + entraemu.DefaultClient + `, credential: {kind: secret, file: 'DIR/wrong-secret'}}
| second: {tenant: ` + fabrikam + `, tenants: [` + tailspin + `], client_id: ` + secondClient + `, credential: {kind: secret, file: 'DIR/client-secret'}}
| broken: {tenant: ` + tailspin + `, client_id: ` + secondClient + `, credential: {kind: secret, file: 'DIR/wrong-secret'}}
routes:
  defender: {identity: default}
  mine: {upstream: https://api.security.microsoft.com, identity: default, access: read-only}
  lost: {upstream: https://api.securitycenter.microsoft.com, identity: failing}
| theirs: {upstream: https://api.security.microsoft.com, identity: second}
| secret-plan: {upstream: https://api.security.microsoft.com, identity: default, deny: [{path: '/api/incidents/13'}]}
| gone: {upstream: https://api.securitycenter.microsoft.com, identity: broken}
| mde: {identity: second}
| graph: {identity: second}
callers:
  - {name: alice, key_file: 'DIR/alice.key', routes: [defender, mine, lost], identities: [default, failing], tenants: [` + contoso + `, ` + fabrikam + `], scopes: ['https://security.microsoft.com/mtp/.default']}
| - {name: bob, key_file: 'DIR/bob.key', routes: [theirs, secret-plan, gone, mde, graph], tenants: ["*"], scopes: ['https://management.azure.com/.default']}
`,
	"the default one is the neighbour's": `
identities:
  first: {tenant: ` + contoso + `, client_id: ` + entraemu.DefaultClient + `, credential: {kind: secret, file: 'DIR/client-secret'}}
| default: {tenant: ` + fabrikam + `, tenants: [` + tailspin + `, ` + contoso + `], client_id: ` + secondClient + `, credential: {kind: secret, file: 'DIR/client-secret'}}
routes:
  mine: {upstream: https://api.security.microsoft.com, identity: first}
| theirs: {upstream: https://api.security.microsoft.com}
| defender: {access: read-only}
| graph: {}
callers:
  - {name: alice, key_file: 'DIR/alice.key', routes: [mine]}
| - {name: bob, key_file: 'DIR/bob.key', routes: [theirs, defender, graph], tenants: ["*"]}
`,
	"one identity for both": `
identities:
  default: {tenant: ` + contoso + `, tenants: [` + fabrikam + `, ` + tailspin + `], client_id: ` + entraemu.DefaultClient + `, credential: {kind: secret, file: 'DIR/client-secret'}}
routes:
  mine: {upstream: https://api.security.microsoft.com, allow: [{path: '/api/incidents/**'}]}
| theirs: {upstream: https://api.security.microsoft.com}
| graph: {}
callers:
  - {name: alice, key_file: 'DIR/alice.key', routes: [mine], tenants: [` + contoso + `]}
| - {name: bob, key_file: 'DIR/bob.key', routes: [theirs, mine, graph], tenants: ["*"], scopes: [` + mdeScope + `]}
`,
}

// curious are the targets of one who would know what is there: for each name,
// alice's own, bob's and nobody's, in each place where it can stand.
func curious() []string {
	targets := []string{"/routes", "/", "/nothing", "/openapi.json", "/token", "/claims", "/proxy", "/proxy/", "/healthz", "/msi/token?resource=https://management.azure.com"}
	for _, name := range []string{"defender", "mine", "lost", "theirs", "secret-plan", "gone", "mde", "mde-legacy", "graph", "nobody", "Theirs"} {
		targets = append(targets, "/token?route="+name, "/claims?route="+name, "/token?route="+name+"&path=/api/machines", "/token?route="+name+"&path=/x", "/token?route="+name+"&identity=second",
			"/proxy/"+name, "/proxy/"+name+"/api/incidents?$top=1", "/proxy/"+name+"/api/machines?$top=1", "/proxy/"+name+"/api/incidents/13", "/proxy/"+name+"/v1.0/security/incidents", "/proxy/"+name+"/x", "/proxy/"+name+"/api//x", "/proxy/"+name+"@/x")
		for _, tenant := range []string{contoso, fabrikam, tailspin, "tailspin.example", "nobody.example", "?"} {
			targets = append(targets, "/token?route="+name+"&tenant="+tenant, "/proxy/"+name+"@"+tenant+"/api/alerts?$top=1")
		}
	}
	for _, scope := range []string{xdrScope, mdeScope, graphDefault, "https://security.microsoft.com/mtp/.default", "https://management.azure.com/.default", "https://nobody.example/.default"} {
		targets = append(targets, "/claims?scope="+scope)
		for _, identity := range []string{"", "&identity=default", "&identity=first", "&identity=failing", "&identity=second", "&identity=broken", "&identity=nobody", "&tenant=" + fabrikam, "&tenant=" + tailspin, "&identity=second&tenant=" + tailspin} {
			targets = append(targets, "/token?scope="+scope+identity)
		}
	}
	return targets
}

// prying are requests of other forms, the line first.
var prying = []string{
	"GET /proxy/mine/api/incidents", "GET /proxy/defender/api/incidents", // more than a page: its link leads on
	"HEAD /proxy/theirs/api/incidents", "OPTIONS /proxy/theirs/api/incidents", "POST /proxy/theirs/api/machines/1/isolate", "POST /proxy/mine/api/machines/nothing/isolate", "TRACE /proxy/theirs/", "DELETE /token?route=theirs", "POST /claims?route=theirs",
	"GET /proxy/theirs/../mine/api/incidents", "GET /proxy/mine/%2e%2e/theirs/api/incidents", "GET /proxy/mine%2f..%2ftheirs/api/incidents", "GET /PROXY/theirs/api/incidents", "GET /proxy/mine/api/incidents/13", "GET http://localhost/proxy/theirs/api/incidents",
	"GET /token?route=theirs\nAccept: text/plain", "GET /token?route=theirs\nX-User-Assertion: x", "GET /token?route=theirs\nOrigin: https://evil.example", "GET /token?route=theirs\nX-Forwarded-For: 1",
	form("route=theirs"), form("route=mine&fresh=true"), form("scope=" + graphDefault + "&identity=second"),
}

// volatile is what differs from one answer to the next: tokens, times, ids.
var volatile = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+|\d{4}-\d\d-\d\dT[\d:.]+Z|"(expires_in|expires_on|iat|nbf|exp)":\d+|"(uti|aio|rh)":"[^"]*"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// steady is an answer without what is volatile, and without how it was cut.
func steady(a answer) string {
	for _, name := range []string{"Date", "Content-Length"} {
		a.Header.Del(name)
	}
	var text strings.Builder
	fmt.Fprintln(&text, a.Status)
	_ = a.Header.Write(&text) // a builder takes everything
	return volatile.ReplaceAllStringFunc(text.String()+"\n"+a.body, func(found string) string {
		if slices.Contains([]string{contoso, fabrikam, tailspin, entraemu.DefaultClient, secondClient}, found) {
			return found
		}
		return "…"
	})
}

// TestNeighboursDoNotShow: whatever alice asks, the answer is that of a broker
// where there is no bob and nothing of bob's.
func TestNeighboursDoNotShow(t *testing.T) {
	for name, settings := range neighbourhoods {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, secondApp)
			w.write("wrong-secret", "wrong")
			must(t, w.defender.SetFaults(defenderemu.Faults{defenderemu.Redirect: {Path: "/api/incidents/13"}}))
			beside, without := w.daemon(together(settings), "mine", "theirs"), w.daemon(alone(settings), "mine")

			var rows []row
			for _, target := range curious() {
				rows = append(rows, row{door: "four", request: "GET " + target})
			}
			for _, request := range prying {
				rows = append(rows, row{door: "four", request: request}, row{door: "socket", request: request})
			}
			rows = append(rows, each("", "route/mine", "GET %s", "/api/incidents", "/api/incidents/13", "/theirs", "/proxy/theirs/api/incidents", "/token?route=theirs")...)
			alice, bob := map[int]int{}, map[int]int{} // their answers by status
			for i, r := range rows {
				request := with(r.request, "Host: localhost", fmt.Sprint("X-Request-Id: neighbour-", i))
				bob[beside.send(r.door, with(request, "X-Broker-Key: {bob}")).StatusCode]++ // so that his tokens and failures are there
				for _, alices := range []string{with(request, "X-Broker-Key: {alice}"), request} {
					got, want := beside.send(r.door, alices), without.send(r.door, alices)
					alice[want.StatusCode]++
					if got.body == want.body {
						got.body, want.body = "", "" // a page is long, and steady reads every letter
					}
					if diff := cmp.Diff(steady(want), steady(got)); diff != "" {
						t.Errorf("%q at %s shows the neighbour (-without +beside):\n%s", alices, r.door, diff)
					}
				}
			}
			if alice[200] < 5 || alice[302] == 0 || alice[404] < 50 || bob[200] < 30 || bob[302] == 0 {
				t.Errorf("alice's answers by status are %v, bob's %v: too few of a kind to show anything", alice, bob)
			}
			notAtTheirs(t, beside)
		})
	}
}

// notAtTheirs wants of a listener that stands for another's route that it does
// not tell the route's name.
func notAtTheirs(t *testing.T, s *daemon) {
	t.Helper()
	for _, target := range []string{"/", "/api/incidents", "/api//x", "/x"} {
		for _, proof := range []string{"", "\nX-Broker-Key: {alice}"} {
			a := s.send("route/theirs", "GET "+target+"\nHost: localhost"+proof)
			if a.StatusCode < 400 || strings.Contains(a.raw, "theirs") {
				t.Errorf("GET %s at a neighbour's listener: %.500s", target, a.raw)
			}
		}
	}
}
