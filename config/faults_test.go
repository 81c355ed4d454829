package config

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFaults has a row for everything that can be wrong with a file. The yaml
// of a row begins on line 2, after the identity.
func TestFaults(t *testing.T) {
	const proof = "caller_key_file: /k\n"
	tests := []struct{ name, yaml, want string }{
		// YAML
		{"syntax", "a: b: c", "config.yaml:2: not YAML: mapping values are not allowed in this context"},
		{"tab", "log:\n\tlevel: info", "config.yaml:3: not YAML: found character that cannot start any token"},
		{"no anchor", "ca_file: *sw0rdfish", "config.yaml: not YAML: an alias to an anchor that is not there; a value that begins with * needs quotes"},
		{"tag", "ca_file: !sw0rdfish x", "config.yaml:2: ca_file: YAML tags have no meaning here; a value that begins with ! needs quotes"},
		{"second document", "---\nlog: {}", "config.yaml:2: a second YAML document begins here; want one"},
		{"broken second document", "---\nlog: {", "config.yaml:3: not YAML: did not find expected node content"},
		{"key twice", "log: {level: info}\nlog: {level: debug}", "config.yaml:3: log: stands twice, first on line 2"},
		{"key twice, deeper", "log: {level: info, level: debug}", "config.yaml:2: log.level: stands twice, first on line 2"},
		{"key that is a list", "? [a]\n: 1", "config.yaml:2: a key is one word, not a list, a mapping or an alias"},
		{"no value", "caller_key_file:\n", "config.yaml:2: caller_key_file: has no value; give it one, or remove the key"},
		{"null", "routes: {mde: ~}", "config.yaml:2: routes.mde: has no value; give it one, or remove the key"},
		{"merge of no mapping", "log: {<<: info}", "config.yaml:2: log.<<: want a mapping to merge, or a list of them"},
		{"merge of itself", "routes: {a: &a {<<: *a}}", "config.yaml:2: more than 100000 values, with its aliases unfolded"},

		// shapes
		{"unknown key", "telemetry: {}", "config.yaml:2: telemetry: no such key; known here: listen, cloud, region, authority, ca_file, identities, default_route, routes, callers, caller_key_file, identity_header_file, tokens, protocols, cache, limits, audit, log"},
		{"misspelt key", "cache: {siez: 1}", "config.yaml:2: cache.siez: no such key; did you mean size?"},
		{"letter case", "Cache: {size: 1}", "config.yaml:2: \"Cache\": no such key; did you mean cache?"},
		{"odd key", `"a\nb.c": 1`, `config.yaml:2: "a\nb.c": no such key; known here: listen, cloud, region, authority, ca_file, identities, default_route, routes, callers, caller_key_file, identity_header_file, tokens, protocols, cache, limits, audit, log`},
		{"long key", "log: {" + strings.Repeat("x", 121) + ": 1}", `config.yaml:2: log."` + strings.Repeat("x", 120) + `"…: no such key; known here: level, format`},
		{"scalar for a section", "cache: 5", "config.yaml:2: cache: want a mapping"},
		{"list for a section", "cache: [5]", "config.yaml:2: cache: want a mapping"},
		{"scalar for a list", "tokens: {scopes: x}", "config.yaml:2: tokens.scopes: want a list"},
		{"mapping for a list", "tokens: {scopes: {}}", "config.yaml:2: tokens.scopes: want a list"},
		{"list for a scalar", "ca_file: [a]", "config.yaml:2: ca_file: want one value, not a list or a mapping"},
		{"mapping for a scalar", "ca_file: {a: b}", "config.yaml:2: ca_file: want one value, not a list or a mapping"},
		{"mapping for a pattern", "routes: {mde: {deny: [{path: {}}]}}", "config.yaml:2: routes.mde.deny[0].path: want one value, not a list or a mapping"},
		{"list for a listener", "listen: {callers: [[a]]}", "config.yaml:2: listen.callers[0]: want a mapping"},

		// values
		{"truth", "tokens: {hand_out: yes}", `config.yaml:2: tokens.hand_out: "yes": want true or false`},
		{"number", "cache: {size: 1e4}", `config.yaml:2: cache.size: "1e4": want a whole number`},
		{"number too small", "cache: {size: 0}", "config.yaml:2: cache.size: out of bounds; want 1 to 1000000"},
		{"number too large", "cache: {size: 1000001}", "config.yaml:2: cache.size: out of bounds; want 1 to 1000000"},
		{"duration without unit", "limits: {grace: 20}", `config.yaml:2: limits.grace: "20": want a duration with its unit, as in 5s, 250ms or 2m30s`},
		{"negative duration", "limits: {read_timeout: -1s}", "config.yaml:2: limits.read_timeout: out of bounds; want 0s to 24h"},
		{"duration too long", "limits: {entra_timeout: 6m}", "config.yaml:2: limits.entra_timeout: out of bounds; want 100ms to 5m"},
		{"size with a wrong unit", "limits: {request_body: 32mb}", `config.yaml:2: limits.request_body: "32mb": want a size in bytes, as in 32MiB, 10MB or 65536`},
		{"size with a space", "limits: {request_body: 32 MiB}", `config.yaml:2: limits.request_body: "32 MiB": want a size in bytes, as in 32MiB, 10MB or 65536`},
		{"size beyond counting", "limits: {request_body: 9007199254740993GiB}", `config.yaml:2: limits.request_body: "9007199254740993GiB": more bytes than can be counted`},
		{"size beyond counting, in digits", "limits: {request_body: 99999999999999999999}", `config.yaml:2: limits.request_body: "99999999999999999999": more bytes than can be counted`},
		{"negative size", "limits: {request_body: -1MiB}", "config.yaml:2: limits.request_body: out of bounds; want 1KiB to 4GiB"},
		{"level", "log: {level: trace}", `config.yaml:2: log.level: level "trace": not one of debug, info, warn, error`},
		{"format", "log: {format: xml}", `config.yaml:2: log.format: format "xml": not one of json, text`},
		{"region", "region: moon", `config.yaml:2: region: region "moon": not one of the cloud public, which are us, eu, uk, au, swa, ina, aea`},
		{"region of another cloud", "cloud: gcc\nregion: eu", `config.yaml:3: region: region "eu": the cloud gcc has none: leave it empty`},
		{"region of no cloud", "cloud: azure\nregion: eu", `config.yaml:2: cloud: cloud "azure": want public, gcc, gcchigh, dod or china`},
		{"cloud", "cloud: azure", `config.yaml:2: cloud: cloud "azure": want public, gcc, gcchigh, dod or china`},
		{"http authority", "authority: http://login.microsoftonline.com", `config.yaml:2: authority: authority "http://login.microsoftonline.com": want https, a token request carries the credential`},
		{"authority with a tenant", "authority: https://login.microsoftonline.com/contoso.com", `config.yaml:2: authority: authority "https://login.microsoftonline.com/contoso.com": want the host alone, https://host; the tenant has a setting of its own`},
		{"file name with a line break", "ca_file: |\n  /a\n", "config.yaml:2: ca_file: has a line break or another control character in it"},
		{"scope", "tokens: {scopes: [x]}", `config.yaml:2: tokens.scopes[0]: scope "x": want https://host/.default`},
		{"one permission", "tokens: {scopes: [https://a.example/.default, https://a.example/Machine.Read]}", `config.yaml:2: tokens.scopes[1]: "https://a.example/Machine.Read": want https://host/.default: an application gets all of its permissions, not one by one`},

		// listeners
		{"no callers", "listen: {callers: []}", "config.yaml:2: listen.callers: none; want at least one address, as in localhost:5178"},
		{"no address", "listen: {callers: [{route: mde}]}", "config.yaml:2: listen.callers[0].address: missing; want host:port or unix:/path"},
		{"no port", "listen: {ops: localhost}", `config.yaml:2: listen.ops: address "localhost": want host:port, as in localhost:5178, or unix:/path`},
		{"port by name", "listen: {ops: 'localhost:http'}", `config.yaml:2: listen.ops: address "localhost:http": want a port from 0 (any free one) to 65535`},
		{"unknown route of a listener", "listen: {callers: [{address: 'localhost:1', route: mdee}]}", `config.yaml:2: listen.callers[0].route: no route "mdee"; there are: defender, graph, mde, mde-legacy`},
		{
			"closed route of a listener", "routes: {defender: {access: read-only}}\nlisten: {callers: [{address: 'localhost:1', route: mde}]}",
			`config.yaml:3: listen.callers[0].route: route "mde": closed, because the configuration restricts routes and does not name it; add routes.mde to open it`,
		},
		{"mode of a port", "listen: {callers: [{address: 'localhost:1', mode: 0600}]}", "config.yaml:2: listen.callers[0].mode: localhost:1 is no Unix socket: only a file has a mode"},
		{"mode for others", "listen: {callers: [{address: 'unix:/x', mode: 0666}]}", `config.yaml:2: listen.callers[0].mode: mode "0666": every local user could call; want none for others, as in 0660`},
		{"mode that shuts us out", "listen: {callers: [{address: 'unix:/x', mode: 0060}]}", `config.yaml:2: listen.callers[0].mode: mode "0060": want an octal file mode such as 0660 or 0600`},
		{"mode in words", "listen: {callers: [{address: 'unix:/x', mode: rw}]}", `config.yaml:2: listen.callers[0].mode: mode "rw": want an octal file mode such as 0660 or 0600`},
		{"one address twice", "listen: {callers: ['localhost:1', '127.0.0.1:1']}", "config.yaml:2: listen.callers[1]: 127.0.0.1:1: listen.callers[0] listens there already"},
		{"callers and ops at one address", "listen: {callers: ['localhost:5179']}", "listen.ops: localhost:5179: listen.callers[0] listens there already"},
		{"ops on a socket", "listen: {ops: 'unix:/x'}", "config.yaml:2: listen.ops: unix:/x: want host:port, since probes and scrapes cannot use a Unix socket"},
		{"TLS of a socket", "listen: {callers: [{address: 'unix:/x', tls: {}}]}", "config.yaml:2: listen.callers[0].tls: unix:/x: a Unix socket carries no TLS, nothing of it leaves this machine; remove it"},
		{"TLS in a word", "listen: {callers: [{address: 'localhost:1', tls: true}]}", "config.yaml:2: listen.callers[0].tls: want a mapping"},
		{"TLS of nothing", "listen: {callers: [{address: 'localhost:1', tls: }]}", "config.yaml:2: listen.callers[0].tls: has no value; give it one, or remove the key"},
		{"certificate without its key", "listen: {callers: [{address: 'localhost:1', tls: {cert_file: /c}}]}", "config.yaml:2: listen.callers[0].tls.key_file: missing; want the file with the private key of cert_file"},
		{"key without its certificate", "listen: {callers: [{address: 'localhost:1', tls: {key_file: /k}}]}", "config.yaml:2: listen.callers[0].tls.cert_file: missing; want the file with the certificate of key_file"},
		{"no authority to write", "listen: {callers: [{address: 'localhost:1', tls: {cert_file: /c, key_file: /k, ca_out: /a}}]}", "config.yaml:2: listen.callers[0].tls.ca_out: there is no authority to write: the certificate is that of cert_file; remove one of the two"},
		{"authority into a key", proof + "listen: {callers: [{address: 'localhost:1', tls: {ca_out: /./k}}]}", `config.yaml:3: listen.callers[0].tls.ca_out: "/./k" is a file that the broker reads; want one of its own`},
		{"authority into a listener's key", "listen: {callers: [{address: 'localhost:1', tls: {ca_out: /t}}, {address: 'localhost:2', tls: {cert_file: /c, key_file: /t}}]}", `config.yaml:2: listen.callers[0].tls.ca_out: "/t" is a file that the broker reads; want one of its own`},
		{"authority into the audit records", "listen: {callers: [{address: 'localhost:1', tls: {ca_out: /a}}]}\naudit: {file: /a}", `config.yaml:2: listen.callers[0].tls.ca_out: "/a" is also audit.file; want one of its own`},
		{"identity header into the authority", "listen: {callers: [{address: 'localhost:1', tls: {ca_out: /a}}]}\nidentity_header_file: /a", `config.yaml:2: listen.callers[0].tls.ca_out: "/a" is also identity_header_file; want one of its own`},
		{"identity header into the audit records", "audit: {file: /a}\nidentity_header_file: /a", `config.yaml:3: identity_header_file: "/a" is also audit.file; want one of its own`},
		{"identity header into the configuration", "identity_header_file: config.yaml", `config.yaml:2: identity_header_file: "config.yaml" is a file that the broker reads; want one of its own`},
		{"identity header beside keys", proof + "identity_header_file: /h", "config.yaml:3: identity_header_file: a key is made only where neither caller_key_file nor callers is set; remove it: IDENTITY_HEADER is a caller's own key"},
		{"identity header beside callers", "callers: [{name: a, key_file: /a, routes: [mde]}]\nidentity_header_file: /h", "config.yaml:3: identity_header_file: a key is made only where neither caller_key_file nor callers is set; remove it: IDENTITY_HEADER is a caller's own key"},
		{"metadata address without its protocol", "listen: {callers: ['169.254.169.254:80']}", "config.yaml:2: listen.callers[0]: 169.254.169.254:80: stands for the metadata service (IMDS), which is not served; set protocols.imds: true, or listen on localhost"},
		{"metadata address but for a digit", "protocols: {imds: true}\nlisten: {callers: ['169.254.169.253:80']}", "config.yaml:3: listen.callers[0]: 169.254.169.253:80: reachable from beyond this machine; listen on localhost, or set both caller_key_file and listen.unsafe_non_loopback: true"},
		{"sidecar in another word", "protocols: {entra_sidecar: yes}", `config.yaml:2: protocols.entra_sidecar: "yes": want true or false`},
		{"sidecar as a list", "protocols: {entra_sidecar: [true]}", "config.yaml:2: protocols.entra_sidecar: want a mapping"},
		{"beyond loopback", "listen: {callers: ['0.0.0.0:1']}", "config.yaml:2: listen.callers[0]: 0.0.0.0:1: reachable from beyond this machine; listen on localhost, or set both caller_key_file and listen.unsafe_non_loopback: true"},
		{"beyond loopback with keys alone", proof + "listen: {callers: ['broker.internal:1']}", "config.yaml:3: listen.callers[0]: broker.internal:1: reachable from beyond this machine; listen on localhost, or set both caller_key_file and listen.unsafe_non_loopback: true"},
		{"beyond loopback without keys", "listen: {unsafe_non_loopback: true, callers: [':1']}", "config.yaml:2: listen.callers[0]: :1: reachable from beyond this machine; listen on localhost, or set both caller_key_file and listen.unsafe_non_loopback: true"},

		// routes
		{"name of a route", "routes: {my_route@x: {}}", `config.yaml:2: routes."my_route@x": want a name of 1 to 63 letters a to z, digits and hyphens, the first no hyphen`},
		{"no upstream", "routes: {x: {scope: https://x.example/.default}}", "config.yaml:2: routes.x.upstream: want https://host"},
		{"no scope", "routes: {x: {upstream: https://x.example}}", "config.yaml:2: routes.x.scope: the catalogue does not know the upstream, so name the scope of its tokens"},
		{"http upstream", "routes: {mde: {upstream: http://x.example}}", `config.yaml:2: routes.mde.upstream: "http://x.example": want https, the calls carry tokens`},
		{"http upstream of a route without scope", "routes: {x: {upstream: http://x.example}}", `config.yaml:2: routes.x.upstream: "http://x.example": want https, the calls carry tokens`},
		{"no URL", "routes: {mde: {upstream: x.example}}", "config.yaml:2: routes.mde.upstream: want a URL such as https://api.security.microsoft.com"},
		{"upstream with a password", "routes: {mde: {upstream: 'https://me:sw0rdfish@x.example'}}", "config.yaml:2: routes.mde.upstream: has a user name or a password in it; the broker adds a token, nothing else"},
		{"upstream with a query", "routes: {mde: {upstream: 'https://x.example?a=b'}}", `config.yaml:2: routes.mde.upstream: "https://x.example?a=b": want it without query and fragment`},
		{"upstream with a fragment", "routes: {mde: {upstream: 'https://x.example#a'}}", `config.yaml:2: routes.mde.upstream: "https://x.example#a": want it without query and fragment`},
		{"upstream with a port that is none", "routes: {mde: {upstream: 'https://x.example:99999'}}", `config.yaml:2: routes.mde.upstream: "https://x.example:99999": want a port from 1 to 65535`},
		{"path before a known API", "routes: {mde: {upstream: 'https://api.security.microsoft.com/api'}}", "config.yaml:2: routes.mde.upstream: want https://api.security.microsoft.com alone: the path is part of each call"},
		{"unknown identity", "routes: {mde: {identity: nobody}}", `config.yaml:2: routes.mde.identity: no identity "nobody"; there are: default`},
		{"scope of a route", "routes: {mde: {scope: 'https://a/.default https://b/.default'}}", `config.yaml:2: routes.mde.scope: scope "https://a/.default": want https://host/.default`},
		{"one permission of a route", "routes: {mde: {scope: 'https://a.example/Machine.Read https://a.example/Alert.Read'}}", `config.yaml:2: routes.mde.scope: "https://a.example/Alert.Read https://a.example/Machine.Read": want https://host/.default: an application gets all of its permissions, not one by one`},
		{"rate", "routes: {mde: {rate: slow}}", `config.yaml:2: routes.mde.rate: rate "slow": not one of catalogue, off`},
		{"rate without figures", "routes: {mde: {rate: {burst: 5}}}", "config.yaml:2: routes.mde.rate.per_minute: want 1 or more; to pace nothing set rate: off"},
		{"burst beyond the minute", "routes: {mde: {rate: {per_minute: 4, burst: 5}}}", "config.yaml:2: routes.mde.rate.burst: want 1 to per_minute, or nothing"},
		{"burst below zero", "routes: {mde: {rate: {per_minute: 4, burst: -1}}}", "config.yaml:2: routes.mde.rate.burst: want 1 to per_minute, or nothing"},
		{"access", "routes: {mde: {access: readonly}}", `config.yaml:2: routes.mde.access: access "readonly": want full or read-only`},
		{"method", "routes: {mde: {deny: [{methods: [POST, get], path: /x}]}}", `config.yaml:2: routes.mde.deny[0].methods[1]: method "get": not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS`},
		{"rule without a path", "routes: {mde: {deny: [{methods: [POST]}]}}", "config.yaml:2: routes.mde.deny[0].path: want a pattern, such as /api/incidents/**"},
		{"pattern", "routes: {mde: {allow: [{path: /a/**/b}]}}", `config.yaml:2: routes.mde.allow[0].path: path pattern "/a/**/b": ** stands at the end only`},
		{"default route", "default_route: none", `config.yaml:2: default_route: no route "none"; there are: defender, graph, mde, mde-legacy`},
		{
			"closed default route", "routes: {mde: {access: read-only}}\ndefault_route: graph",
			`config.yaml:3: default_route: route "graph": closed, because the configuration restricts routes and does not name it; add routes.graph to open it`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := try(t, identity+tt.yaml)
			if got := text(err); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestFaultsOfAnIdentity has a row for everything that can be wrong with one.
func TestFaultsOfAnIdentity(t *testing.T) {
	const (
		app    = "tenant: contoso.com, client_id: " + client
		secret = "credential: {kind: secret, file: /s}"
	)
	tests := []struct{ name, identities, want string }{
		{"name", "{Prod: {" + app + ", " + secret + "}}", `config.yaml:1: identities."Prod": want a name of 1 to 63 letters a to z, digits and hyphens, the first no hyphen`},
		{
			"several, none the default", "{a: {" + app + ", " + secret + "}, b: {tenant: fabrikam.com, client_id: " + client + ", " + secret + "}}\nroutes: {mde: {}}",
			"config.yaml:2: routes.mde.identity: no identity is the default, so name one of: a, b",
		},
		{
			"twins", "{a: {" + app + ", " + secret + "}, default: {" + app + ", " + secret + "}}",
			"config.yaml:1: identities.default: the same tenant, client_id and kind of credential as identities.a; keep one of them",
		},
		{"no tenant", "{default: {client_id: " + client + ", " + secret + "}}", "config.yaml:1: identities.default.tenant: missing; want a GUID or a domain name such as contoso.onmicrosoft.com"},
		{"tenant", "{default: {tenant: common, client_id: " + client + ", " + secret + "}}", `config.yaml:1: identities.default.tenant: tenant "common": want a GUID or a domain name such as contoso.onmicrosoft.com`},
		{"further tenant", "{default: {tenants: [contoso.com, x/y], " + app + ", " + secret + "}}", `config.yaml:1: identities.default.tenants[1]: tenant "x/y": want a GUID or a domain name such as contoso.onmicrosoft.com`},
		{"no client id", "{default: {tenant: contoso.com, " + secret + "}}", "config.yaml:1: identities.default.client_id: missing; want the application (client) id, a GUID"},
		{"client id", "{default: {tenant: contoso.com, client_id: my-app, " + secret + "}}", `config.yaml:1: identities.default.client_id: "my-app": want the application (client) id, a GUID`},
		{"no credential", "{default: {" + app + "}}", "config.yaml:1: identities.default.credential.kind: missing; want secret, certificate, workload-identity, managed-identity, key-vault-secret, key-vault-certificate, device-code, browser, password or on-behalf-of"},
		{"credential of another shape", "{default: {" + app + ", credential: sw0rdfish}}", "config.yaml:1: identities.default.credential: want a mapping"},
		{"kind of a later version", "{default: {" + app + ", credential: {kind: passkey}}}", `config.yaml:1: identities.default.credential.kind: kind "passkey": not one of secret, certificate, workload-identity, managed-identity, key-vault-secret, key-vault-certificate, device-code, browser, password, on-behalf-of`},
		{"the secret itself", "{default: {" + app + ", credential: {kind: secret, secret: sw0rdfish}}}", "config.yaml:1: identities.default.credential.secret: no such key; known here: kind, file, env, token_file, key_file, password_file, send_chain, client_id, object_id, resource_id, vault, name, redirect_uri, username, credential, audiences\n" +
			"config.yaml:1: identities.default.credential: neither file nor env is set; want the file with the client secret"},
		{"the secret for the variable", "{default: {" + app + ", credential: {kind: secret, env: sw0rdfish}}}", "config.yaml:1: identities.default.credential.env: no variable of that name is set; want the name, not the secret"},
		{"two secrets", "{default: {" + app + ", credential: {kind: secret, file: /s, env: S}}}", "config.yaml:1: identities.default.credential: file and env are both set; want one"},
		{"field of another kind", "{default: {" + app + ", credential: {kind: secret, file: /s, token_file: /t}}}", "config.yaml:1: identities.default.credential.token_file: belongs to kind workload-identity; remove it, or change the kind"},
		{
			"fields of another kind", "{default: {" + app + ", credential: {kind: workload-identity, file: /s, env: S, token_file: /t}}}",
			"config.yaml:1: identities.default.credential.file: belongs to kind secret or certificate; remove it, or change the kind\n" +
				"config.yaml:1: identities.default.credential.env: belongs to kind secret; remove it, or change the kind",
		},
		{
			"fields of a certificate", "{default: {" + app + ", credential: {kind: secret, file: /s, key_file: /k, password_file: /p, send_chain: true}}}",
			"config.yaml:1: identities.default.credential.key_file: belongs to kind certificate; remove it, or change the kind\n" +
				"config.yaml:1: identities.default.credential.password_file: belongs to kind certificate or password; remove it, or change the kind\n" +
				"config.yaml:1: identities.default.credential.send_chain: belongs to kind certificate or key-vault-certificate; remove it, or change the kind",
		},
		{"no certificate", "{default: {" + app + ", credential: {kind: certificate, key_file: /k}}}", "config.yaml:1: identities.default.credential.file: missing; want the file with the certificate, PEM or PFX"},
		{"no token file", "{default: {" + app + ", credential: {kind: workload-identity}}}", "config.yaml:1: identities.default.credential.token_file: missing; on AKS it is /var/run/secrets/azure/tokens/azure-identity-token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := try(t, "identities: "+tt.identities)
			if got := text(err); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestAllFaultsAtOnce: whoever mends a file should have to try once.
func TestAllFaultsAtOnce(t *testing.T) {
	_, err := try(t, `
listen:
  callers: ["localhost:5178", {address: "0.0.0.0:5178", route: nope}, 7]
  ops: localhost:5178
cache: {siez: 5}
limits: {grace: 5}
identities:
  default:
    tenant: common
    credential: {kind: passkey}
  other:
    tenant: contoso.com
    client_id: `+client+`
    credential: {kind: secret, file: x, env: y}
routes:
  defender: {access: readonly, identity: nobody, deny: [{methods: [get], path: x}]}
  mine: {upstream: "http://x.example"}
  mine: {}
default_route: x
`, "TOKENBROKER_LOG_LEVEL=loud")
	want := strings.TrimSpace(`
TOKENBROKER_LOG_LEVEL: log.level: level "loud": not one of debug, info, warn, error
config.yaml:3: listen.callers[2]: address "7": want host:port, as in localhost:5178, or unix:/path
config.yaml:3: listen.callers[1].route: no route "nope"; there are: defender, graph, mde, mde-legacy, mine
config.yaml:3: listen.callers[1]: 0.0.0.0:5178: reachable from beyond this machine; listen on localhost, or set both caller_key_file and listen.unsafe_non_loopback: true
config.yaml:4: listen.ops: localhost:5178: listen.callers[0] listens there already
config.yaml:5: cache.siez: no such key; did you mean size?
config.yaml:6: limits.grace: "5": want a duration with its unit, as in 5s, 250ms or 2m30s
config.yaml:8: identities.default.client_id: missing; want the application (client) id, a GUID
config.yaml:9: identities.default.tenant: tenant "common": want a GUID or a domain name such as contoso.onmicrosoft.com
config.yaml:10: identities.default.credential.kind: kind "passkey": not one of secret, certificate, workload-identity, managed-identity, key-vault-secret, key-vault-certificate, device-code, browser, password, on-behalf-of
config.yaml:14: identities.other.credential: file and env are both set; want one
config.yaml:16: routes.defender.access: access "readonly": want full or read-only
config.yaml:16: routes.defender.deny[0].methods[0]: method "get": not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS
config.yaml:16: routes.defender.deny[0].path: path pattern "x": no path can match it: want a leading slash
config.yaml:16: routes.defender.identity: no identity "nobody"; there are: default, other
config.yaml:17: routes.mine.upstream: "http://x.example": want https, the calls carry tokens
config.yaml:18: routes.mine: stands twice, first on line 17
config.yaml:19: default_route: no route "x"; there are: defender, graph, mde, mde-legacy, mine`)
	if diff := cmp.Diff(strings.Split(text(err), "\n"), strings.Split(want, "\n")); diff != "" {
		t.Error(diff)
	}
}

// TestManyFaultsAreCut: somebody else's file is not echoed line by line.
func TestManyFaultsAreCut(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		b.WriteString("unknown-" + strconv.Itoa(i) + ": 1\n")
	}
	_, err := try(t, identity+b.String())
	lines := strings.Split(text(err), "\n")
	if len(lines) != 51 || lines[50] != "and 10 more" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

// TestAliasesDoNotMultiply: a small file must not become a large one, whether
// its aliases stand in lists or are merged.
func TestAliasesDoNotMultiply(t *testing.T) {
	methods := "&m [" + strings.TrimSuffix(strings.Repeat("GET,", 1000), ",") + "]"
	rules := "&r [{path: /x, methods: " + methods + "}" + strings.Repeat(",{path: /x, methods: *m}", 1000) + "]"
	merged := "&r {upstream: https://x.example, scope: https://x.example/.default, access: full}"
	many := "{<<: [" + strings.TrimSuffix(strings.Repeat("*r,", 50_000), ",") + "]}"
	for name, yaml := range map[string]string{
		"lists":  "routes: {mde: {deny: " + rules + "}}",
		"merges": "routes: {mde: " + merged + ", x: " + many + "}",
	} {
		_, err := try(t, identity+yaml)
		if want := "config.yaml:2: more than 100000 values, with its aliases unfolded"; text(err) != want {
			t.Errorf("%s: got %.200s, want %s", name, text(err), want)
		}
	}
}
