package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// several are the first lines of files with two identities, of which one is
// the default and has a customer, and with a route of the other.
const several = `identities:
  default: {tenant: contoso.com, tenants: [customer.example], client_id: ` + client + `, credential: {kind: secret, file: /s}}
  hunter: {tenant: hunter.example, client_id: ` + client + `, credential: {kind: secret, file: /h}}
routes: {hunting: {upstream: https://api.security.microsoft.com, identity: hunter}}
listen: {callers: ["localhost:1", "unix:/x"]}
`

func TestCallers(t *testing.T) {
	c := good(t, several+`
caller_key_file: /keys
callers:
  - {name: local, routes: ["*"], access: read-only}
  - {name: root, uid: 0, key_file: /root, routes: [mde], tenants: [Customer.Example, contoso.com]}
  - {name: ci, key_file: /ci, scopes: ["https://Graph.microsoft.com//.default"], identities: [hunter], tenants: ["*"]}
  - {name: hunter, uid: 4294967294, routes: [hunting, mde]}
`)
	want := []Caller{
		{Name: "local", Routes: []string{"*"}, Access: route.ReadOnly},
		{Name: "root", UID: UID{Set: true}, KeyFile: "/root", Routes: []string{"mde"}, Tenants: []string{"customer.example", "contoso.com"}},
		{Name: "ci", KeyFile: "/ci", Scopes: []entra.Scope{"https://graph.microsoft.com/.default"}, Identities: []string{"hunter"}, Tenants: []string{"*"}},
		{Name: "hunter", UID: UID{Number: 4294967294, Set: true}, Routes: []string{"hunting", "mde"}},
	}
	if diff := cmp.Diff(c.Callers, want); diff != "" {
		t.Error(diff)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// TestFaultsOfCallers has a row for everything that can be wrong with the
// callers. The yaml of a row begins on line 6.
func TestFaultsOfCallers(t *testing.T) {
	const isName = "want a name of 1 to 63 letters a to z, digits and hyphens, the first no hyphen"
	tests := []struct{ name, yaml, want string }{
		// shapes
		{"no list", "callers: {name: a}", "config.yaml:6: callers: want a list"},
		{"name alone", "callers: [ci]", "config.yaml:6: callers[0]: want a mapping"},
		{"key of a later version", "callers: [{name: a, key_file: /a, routes: [mde], service_account: x}]", "config.yaml:6: callers[0].service_account: no such key; known here: name, key_file, uid, routes, scopes, tenants, identities, access"},
		{"star without quotes", "callers: [{name: a, key_file: /a, routes: [*]}]", `config.yaml:6: not YAML: an alias or an anchor without a name; a value that begins with * or & needs quotes, as in routes: ["*"]`},
		{"one route for a list", "callers: [{name: a, key_file: /a, routes: mde}]", "config.yaml:6: callers[0].routes: want a list"},
		{"one scope for a list", "callers: [{name: a, key_file: /a, scopes: x}]", "config.yaml:6: callers[0].scopes: want a list"},

		// names
		{"no name", "callers: [{key_file: /a, routes: [mde]}]", "config.yaml:6: callers[0].name: missing; " + isName},
		{"name", "callers: [{name: A b, key_file: /a, routes: [mde]}]", `config.yaml:6: callers[0].name: "A b": ` + isName},
		{
			"name twice", "callers:\n  - {name: a, key_file: /a, routes: [mde]}\n  - {name: a, key_file: /b, routes: [mde]}",
			"config.yaml:8: callers[1].name: callers[0] has that name already; want one entry for each caller",
		},

		// proofs
		{"no proof", "callers: [{name: a, routes: [mde]}]", "config.yaml:6: callers[0].key_file: missing; want the file with the caller's keys, or its uid"},
		{"local without keys", "callers: [{name: local, routes: [mde]}]", "config.yaml:6: callers[0].key_file: missing; local is whoever has a key of caller_key_file: set that, or key_file or uid here"},
		{
			"keys without local", "callers: [{name: a, key_file: /a, routes: [mde]}]\ncaller_key_file: /k",
			"config.yaml:7: caller_key_file: whoever has a key of it is the caller local, and callers has no entry of that name; add one that says what it may have, or remove caller_key_file",
		},
		{
			"anonymous with proofs", "callers: [{name: anonymous, key_file: /a, uid: 1, routes: [mde]}]",
			"config.yaml:6: callers[0].key_file: anonymous is whoever proves nothing; remove it, or give the caller another name\n" +
				"config.yaml:6: callers[0].uid: anonymous is whoever proves nothing; remove it, or give the caller another name",
		},
		{
			"one proof for two", "callers:\n  - {name: a, key_file: /k/a, uid: 7, routes: [mde]}\n  - {name: b, key_file: /k/./a, uid: 7, routes: [mde]}",
			"config.yaml:8: callers[1].key_file: the same as that of callers[0]; want a file of the caller's own\n" +
				"config.yaml:8: callers[1].uid: the same as that of callers[0], so it does not tell who calls; run one of them as another user, or use key_file",
		},
		{
			"a caller with the keys of local", "caller_key_file: /k\ncallers: [{name: local, routes: [mde]}, {name: a, key_file: /./k, routes: [mde]}]",
			"config.yaml:7: callers[1].key_file: the same as caller_key_file, whose keys prove local; want a file of the caller's own",
		},
		{"uid by name", "callers: [{name: a, uid: root, routes: [mde]}]", `config.yaml:6: callers[0].uid: uid "root": want the number of a user, as id -u prints it`},
		{"negative uid", "callers: [{name: a, uid: -1, routes: [mde]}]", `config.yaml:6: callers[0].uid: uid "-1": want the number of a user, as id -u prints it`},
		{"nobody's uid", "callers: [{name: a, uid: 4294967295, routes: [mde]}]", `config.yaml:6: callers[0].uid: uid "4294967295": want the number of a user, as id -u prints it`},
		{"uid in octal", "callers: [{name: a, uid: 0100, routes: [mde]}]", `config.yaml:6: callers[0].uid: uid "0100": want the number of a user, as id -u prints it`},
		{"empty uid", `callers: [{name: a, uid: "", routes: [mde]}]`, `config.yaml:6: callers[0].uid: uid "": want the number of a user, as id -u prints it`},
		{"overflow uid", "callers: [{name: a, uid: 65534, routes: [mde]}]", "config.yaml:6: callers[0].uid: uid 65534: the kernel shows it for every user that it cannot tell, so it proves nothing; run the caller as another user, or use key_file"},

		// grants
		{"nothing to have", "callers: [{name: a, key_file: /a, tenants: [contoso.com]}]", "config.yaml:6: callers[0].routes: missing; a caller without routes and without scopes may have nothing"},
		{"empty lists", "callers: [{name: a, key_file: /a, routes: [], scopes: []}]", "config.yaml:6: callers[0].routes: missing; a caller without routes and without scopes may have nothing"},
		{"unknown route", "callers: [{name: a, key_file: /a, routes: [mdee]}]", `config.yaml:6: callers[0].routes[0]: no route "mdee"; there are: defender, graph, hunting, mde, mde-legacy`},
		{"all routes and one", `callers: [{name: a, key_file: /a, routes: [mde, "*"]}]`, `config.yaml:6: callers[0].routes[1]: "*" stands for all there are; want it alone, or the names`},
		{"empty scope", `callers: [{name: a, key_file: /a, scopes: [""]}]`, "config.yaml:6: callers[0].scopes[0]: empty; want https://host/.default"},
		{"scope", "callers: [{name: a, key_file: /a, scopes: [x]}]", `config.yaml:6: callers[0].scopes[0]: scope "x": want https://host/.default`},
		{"tenant", "callers: [{name: a, key_file: /a, routes: [mde], tenants: [common]}]", `config.yaml:6: callers[0].tenants[0]: tenant "common": want a GUID or a domain name such as contoso.onmicrosoft.com`},
		{"all tenants and one", `callers: [{name: a, key_file: /a, routes: [mde], tenants: ["*", contoso.com]}]`, `config.yaml:6: callers[0].tenants[0]: "*" stands for all there are; want it alone, or the names`},
		{"unknown identity", `callers: [{name: a, key_file: /a, routes: [mde], identities: ["*"]}]`, `config.yaml:6: callers[0].identities[0]: no identity "*"; there are: default, hunter`},
		{"access", "callers: [{name: a, key_file: /a, routes: [mde], access: none}]", `config.yaml:6: callers[0].access: access "none": want full or read-only`},
		{"tenant of another identity", "callers: [{name: a, key_file: /a, routes: [mde], tenants: [contoso.com, hunter.example]}]", "config.yaml:6: callers[0].tenants[1]: no identity of the caller is configured for hunter.example; the caller's are: default"},
		{"route of another identity", "callers: [{name: a, key_file: /a, routes: [mde, hunting], identities: [default]}]", "config.yaml:6: callers[0].routes[1]: its tokens are of identity hunter, which the caller's identities leave out; add it there, or remove the route"},
		{"route of other tenants", "callers: [{name: a, key_file: /a, routes: [mde, hunting], tenants: [customer.example]}]", "config.yaml:6: callers[0].routes[1]: its tokens are of identity hunter, which has none of the caller's tenants; add one of its tenants, or remove the route"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := try(t, several+tt.yaml)
			if got := text(err); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestFaultsOfCallersWithOtherSettings has rows that need another file around
// the callers.
func TestFaultsOfCallersWithOtherSettings(t *testing.T) {
	const unowned = "identities: {a: {tenant: a.example, client_id: " + client + ", credential: {kind: secret, file: /a}}, b: {tenant: b.example, client_id: " + client + ", credential: {kind: secret, file: /b}}}\n"
	tests := []struct{ name, yaml, want string }{
		{
			"closed route", identity + "routes: {defender: {access: read-only}}\ncallers: [{name: a, key_file: /a, routes: [mde]}]",
			`config.yaml:3: callers[0].routes[0]: route "mde": closed, because the configuration restricts routes and does not name it; add routes.mde to open it`,
		},
		{
			"uid without a socket", identity + "callers: [{name: a, uid: 7, routes: [mde]}]",
			"config.yaml:2: callers[0].uid: proves who comes by a Unix socket, and listen.callers has none; add unix:/path there, or use key_file",
		},
		{
			"uid beside a listener that cannot be read", identity + "callers: [{name: a, uid: 7, routes: [mde]}]\nlisten: {callers: [unix]}",
			`config.yaml:3: listen.callers[0]: address "unix": want host:port, as in localhost:5178, or unix:/path`,
		},
		{
			"no open route", unowned + `callers: [{name: a, key_file: /a, routes: ["*"]}]`,
			"config.yaml:2: callers[0].routes[0]: there is no open route with an identity of the caller's",
		},
		{
			"no route of the identity", identity + `callers: [{name: a, key_file: /a, routes: ["*"], identities: [other]}]`,
			`config.yaml:2: callers[0].identities[0]: no identity "other"; there are: default`,
		},
		{
			"scope of no identity", unowned + "callers: [{name: a, key_file: /a, scopes: [https://x.example/.default]}]",
			"config.yaml:2: callers[0].scopes[0]: no route of the caller uses it, and no identity is the default; say in identities whose tokens it may have",
		},
		{
			"everything after a faulty route", identity + "routes: {x: {}}\ncallers: [{name: a, routes: [x, y], tenants: [z.example]}]",
			"config.yaml:2: routes.x.upstream: want https://host\n" +
				"config.yaml:3: callers[0].key_file: missing; want the file with the caller's keys, or its uid\n" +
				`config.yaml:3: callers[0].routes[1]: no route "y"; there are: defender, graph, mde, mde-legacy, x`,
		},
		{
			"beyond loopback with a uid alone", identity + "callers: [{name: a, uid: 7, routes: [mde]}]\nlisten: {unsafe_non_loopback: true, callers: ['unix:/x', '0.0.0.0:1']}",
			"config.yaml:3: listen.callers[1]: 0.0.0.0:1: reachable from beyond this machine; listen on localhost, or set both a caller's key_file and listen.unsafe_non_loopback: true",
		},
		{
			"beyond loopback without any proof", identity + "callers: [{name: anonymous, routes: [mde]}]\nlisten: {unsafe_non_loopback: true, callers: [':1']}",
			"config.yaml:3: listen.callers[0]: :1: reachable from beyond this machine; listen on localhost, or set both a caller's key_file and listen.unsafe_non_loopback: true",
		},
		{
			"beyond loopback without the switch", identity + "callers: [{name: a, key_file: /a, routes: [mde]}]\nlisten: {callers: [':1']}",
			"config.yaml:3: listen.callers[0]: :1: reachable from beyond this machine; listen on localhost, or set both a caller's key_file and listen.unsafe_non_loopback: true",
		},
		{"audit into the keys", identity + "callers: [{name: a, key_file: /a, routes: [mde]}]\naudit: {file: /./a}", `config.yaml:3: audit.file: "/./a" is a file that the broker reads; want one of its own`},
		{"audit into the configuration", identity + "audit: {file: ./config.yaml}", `config.yaml:2: audit.file: "./config.yaml" is a file that the broker reads; want one of its own`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := try(t, tt.yaml)
			if got := text(err); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestKeyOfACallerIsProofBeyondLoopback: as one of caller_key_file is.
func TestKeyOfACallerIsProofBeyondLoopback(t *testing.T) {
	c := good(t, identity+"callers: [{name: a, key_file: /a, routes: [mde]}]\nlisten: {unsafe_non_loopback: true, callers: [':1']}")
	if len(c.Warnings) > 0 {
		t.Errorf("warnings %q, want none", c.Warnings)
	}
}

func TestUIDIsForLinux(t *testing.T) {
	const fault = "config.yaml:2: callers[0].uid: only Linux tells which user is at the other end of a Unix socket; use key_file"
	for goos, want := range map[string]string{"linux": "", "darwin": fault, "windows": fault} {
		opts := Options{Catalogue: catalogue(t), File: "config.yaml", goos: goos}
		_, err := load(opts, []byte(identity+"callers: [{name: a, uid: 7, key_file: /a, routes: [mde]}]\nlisten: {callers: ['unix:/x']}"))
		if got := text(err); got != want {
			t.Errorf("%s: got %q, want %q", goos, got, want)
		}
	}
}

// TestWarningsOfCallers has a row for everything in the callers that is
// dangerous or has no effect.
func TestWarningsOfCallers(t *testing.T) {
	const (
		xdr   = "https://api.security.microsoft.com/.default"
		graph = "https://graph.microsoft.com/.default"
		a     = "callers: [{name: a, key_file: /a, routes: "
	)
	restricted := strings.Replace(several, "routes: {", "routes: {graph: {}, ", 1)
	tests := []struct {
		name, yaml string
		want       []string
	}{
		{"none", several + a + "[hunting]}]", nil},
		{"nobody named", several + "callers: []", []string{"caller_key_file is not set: every process that reaches a listener may call, in a Pod every container"}},
		{"anonymous", several + "callers: [{name: anonymous, routes: [hunting]}]", []string{"callers[0]: anonymous is every process that reaches a listener, in a Pod every container; it may have what stands there"}},
		{"a listener for nobody", several + "callers: [{name: a, uid: 7, routes: [hunting]}]", []string{"listen.callers[0]: no caller can come in by localhost:1, since none has a key"}},
		{"uid that is no use", identity + "callers: [{name: a, uid: 7, key_file: /a, routes: [mde]}]", []string{"callers[0].uid has no effect: it proves who comes by a Unix socket, and listen.callers has none"}},
		{
			"uid of local that is no use", identity + "caller_key_file: /k\ncallers: [{name: local, uid: 7, routes: [mde]}]",
			[]string{"callers[0].uid has no effect: it proves who comes by a Unix socket, and listen.callers has none"},
		},
		{"a route for nobody", several + a + "[mde]}]", []string{"routes.hunting: no caller has it"}},
		{"identity without a route", several + a + "[hunting], identities: [hunter, default]}]", []string{"callers[0].identities[1] has no effect: no route of the caller has that identity"}},
		{
			"identity without a tenant", several + a + "[hunting], identities: [hunter, default], tenants: [hunter.example], scopes: [" + graph + "]}]",
			[]string{"callers[0].identities[1] has no effect: the identity has none of the caller's tenants"},
		},
		{"scopes of named identities", several + a + "[hunting], identities: [hunter, default], scopes: [" + graph + "]}]", nil},
		{
			"scopes of named identities, none the default", strings.ReplaceAll(several, "default:", "other:") + a + "[hunting], identities: [hunter, other], scopes: [" + graph + "]}]",
			nil,
		},
		{"every tenant", several + a + `[hunting], identities: [hunter], tenants: ["*"]}]`, nil},
		{
			"nothing handed out", several + a + "[hunting], scopes: [" + graph + "]}, {name: b, key_file: /b, routes: [mde]}]\ntokens: {hand_out: false, scopes: [" + graph + "]}",
			[]string{"tokens.scopes has no effect while tokens.hand_out is false", "callers[0].scopes has no effect while tokens.hand_out is false"},
		},
		{"access without routes", identity + "callers: [{name: a, key_file: /a, scopes: [" + graph + "], access: read-only}]", []string{"callers[0].access has no effect without routes"}},
		{
			"read-only undone", several + a + "[hunting], access: read-only, scopes: [" + graph + ", https://api.security.microsoft.com/.default]}]",
			[]string{"callers[0].scopes[1]: the token opens more of route hunting than callers[0].access does"},
		},
		{
			"restricted route undone", restricted + a + "[hunting, graph], scopes: [" + graph + "]}]",
			[]string{"callers[0].scopes[0]: the token opens more than routes.graph lets through"},
		},
		{"scope of an unrestricted route", several + a + "[hunting], scopes: [" + xdr + "]}]", nil},
		{
			"tokens.scopes by another name of the resource", restricted + a + "[hunting, graph]}]\ntokens: {scopes: [00000003-0000-0000-c000-000000000000/.default]}",
			[]string{"tokens.scopes[0]: the token opens more than routes.graph lets through; it is handed out to: a"},
		},
		{
			"tokens.scopes for nobody", several + "callers: [{name: a, key_file: /a, routes: [hunting]}, {name: b, key_file: /b, routes: [graph], access: read-only}]\ntokens: {scopes: [" + graph + "]}",
			[]string{"tokens.scopes[0] has no effect: no caller of full access has a route that uses it; callers have scopes of their own"},
		},
		{
			"tokens.scopes for some", restricted + "callers: [{name: a, key_file: /a, routes: [hunting]}, {name: b, key_file: /b, routes: ['*']}, {name: c, key_file: /c, routes: [graph]}]\ntokens: {scopes: [" + graph + ", " + xdr + "]}",
			[]string{"tokens.scopes[0]: the token opens more than routes.graph lets through; it is handed out to: b, c"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(good(t, tt.yaml).Warnings, tt.want); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	got := good(t, `
ca_file: /roots
caller_key_file: /keys
callers: [{name: local, routes: ["*"]}, {name: a, key_file: /a, routes: ["*"]}]
audit: {file: /audit}
identities:
  default: {tenant: a.example, client_id: `+client+`, credential: {kind: secret, file: /secret}}
  b: {tenant: b.example, client_id: `+client+`, credential: {kind: secret, file: /secret}}
  c: {tenant: c.example, client_id: `+client+`, credential: {kind: certificate, file: /c.pem, key_file: /c.key, password_file: /password}}
  d: {tenant: d.example, client_id: `+client+`, credential: {kind: workload-identity, token_file: token}}
  e: {tenant: e.example, client_id: `+client+`, credential: {kind: key-vault-secret, vault: "https://v.vault.azure.net", name: s, credential: {kind: workload-identity, token_file: vault-token}}}
`).Files()
	want := []string{"/a", "/c.key", "/c.pem", "/keys", "/password", "/roots", "/secret", "token", "vault-token"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
}
