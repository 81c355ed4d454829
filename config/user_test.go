package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
)

// user is an identity with the credential, and with what else is set.
func user(credential, more string) string {
	return "identities: {default: {tenant: contoso.com, client_id: " + client + ", credential: {" + credential + "}" + more + "}}\n"
}

func TestUsers(t *testing.T) {
	for name, tt := range map[string]struct {
		yaml, env string
		want      Identity
	}{
		"device code": {
			yaml: user("kind: device-code", ""),
			want: Identity{Credential: Credential{Kind: DeviceCode}, Store: Store{Kind: InMemory}, Name: "default"},
		},
		"device code and a browser": {
			yaml: user("kind: device-code, redirect_uri: 'http://localhost:8400/back'", ", store: memory"),
			want: Identity{Credential: Credential{Kind: DeviceCode, RedirectURI: "http://localhost:8400/back"}, Store: Store{Kind: InMemory}, Name: "default"},
		},
		"browser": {
			yaml: user("kind: browser, redirect_uri: 'https://127.0.0.1'", ", store: keychain"),
			want: Identity{Credential: Credential{Kind: Browser, RedirectURI: "https://127.0.0.1"}, Store: Store{Kind: InKeychain}, Name: "default"},
		},
		"in a file": {
			yaml: user("kind: browser", ", store: {file: /s, key_file: /k}"),
			want: Identity{Credential: Credential{Kind: Browser}, Store: Store{Kind: InFile, File: "/s", KeyFile: "/k"}, Name: "default"},
		},
		"password": {
			yaml: user("kind: password, username: Robot@contoso.com, password_file: /p", ""),
			want: Identity{Credential: Credential{Kind: Password, Username: "Robot@contoso.com", PasswordFile: "/p"}},
		},
		"on behalf, by a secret": {
			yaml: user("kind: on-behalf-of, credential: {kind: secret, env: APP}", ""), env: "APP=sw0rdfish",
			want: Identity{Credential: Credential{Kind: OnBehalfOf, Access: InnerCredential{Kind: ClientSecret, Env: "APP", Secret: entra.NewSecret("sw0rdfish")}}},
		},
		"on behalf, by a certificate": {
			yaml: user("kind: on-behalf-of, credential: {kind: certificate, file: /c, key_file: /k, password_file: /p, send_chain: true}", ""),
			want: Identity{Credential: Credential{Kind: OnBehalfOf, Access: InnerCredential{Kind: Certificate, File: "/c", KeyFile: "/k", PasswordFile: "/p", SendChain: true}}},
		},
		"on behalf, by a workload": {
			yaml: user("kind: on-behalf-of, credential: {kind: workload-identity, token_file: /t}", ""),
			want: Identity{Credential: Credential{Kind: OnBehalfOf, Access: InnerCredential{Kind: WorkloadIdentity, TokenFile: "/t"}}},
		},
		"on behalf, by other names": {
			yaml: user("kind: on-behalf-of, audiences: ['api://Contoso/portal', 'https://contoso.onmicrosoft.com/portal/', 'api://"+client+"'], credential: {kind: secret, file: /s}", ""),
			want: Identity{Credential: Credential{
				Kind: OnBehalfOf, Access: InnerCredential{Kind: ClientSecret, File: "/s"},
				Audiences: []string{"api://contoso/portal", "https://contoso.onmicrosoft.com/portal", "api://" + client},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.want.Tenant, tt.want.ClientID = "contoso.com", client
			id := good(t, tt.yaml, tt.env).Identities["default"]
			if diff := cmp.Diff(id, tt.want, sameSecret); diff != "" {
				t.Error(diff)
			}
			if !id.Delegated() || id.SignsIn() != (tt.want.Name != "") {
				t.Errorf("delegated %v, signs in %v", id.Delegated(), id.SignsIn())
			}
		})
	}
}

func TestFaultsOfUsers(t *testing.T) {
	const (
		path     = "config.yaml:1: identities.default."
		redirect = path + "credential.redirect_uri: "
		shape    = "want http://localhost, or another URL that the app is registered with"
		app      = "kind: secret, file: /s"
		uri      = "want an Application ID URI, as in api://contoso/portal or https://contoso.onmicrosoft.com/portal"
		missing  = "missing; want the user, as in analyst@contoso.com"
	)
	for _, tt := range []struct{ name, credential, more, want string }{
		{"redirect to a stranger", "kind: browser, redirect_uri: 'http://stranger.example'", "", redirect + `"http://stranger.example": want http://localhost, or https`},
		{"redirect to a program", "kind: browser, redirect_uri: 'msal://auth'", "", redirect + `"msal://auth": want http://localhost, or https`},
		{"redirect nowhere", "kind: device-code, redirect_uri: localhost", "", redirect + shape},
		{"redirect with a query", "kind: browser, redirect_uri: 'https://a.example?x'", "", redirect + shape},
		{"redirect with a password", "kind: browser, redirect_uri: 'https://a:sw0rdfish@a.example'", "", redirect + shape},
		{"redirect to no port", "kind: browser, redirect_uri: 'http://localhost:99999'", "", redirect + shape},
		{"redirect of an app", app + ", redirect_uri: 'http://localhost'", "", redirect + "belongs to kind device-code or browser; remove it, or change the kind"},
		{"nobody", "kind: password", "", path + "credential.username: " + missing + "\n" + path + "credential.password_file: missing; want the file with the user's password"},
		{"no domain", "kind: password, username: robot, password_file: /p", "", path + `credential.username: "robot": want the user, as in analyst@contoso.com`},
		{"user of a browser", "kind: browser, username: a@b", "", path + "credential.username: belongs to kind password; remove it, or change the kind"},
		{"nothing on behalf", "kind: on-behalf-of", "", path + "credential.credential.kind: missing; want secret, certificate or workload-identity"},
		{"a vault on behalf", "kind: on-behalf-of, credential: {kind: key-vault-secret}", "", path + "credential.credential.kind: key-vault-secret: an app that acts on behalf of users proves itself with secret, certificate or workload-identity"},
		{"a stranger on behalf", "kind: on-behalf-of, credential: {kind: passkey}", "", path + `credential.credential.kind: kind "passkey": not one of secret, certificate, workload-identity, managed-identity, key-vault-secret, key-vault-certificate, device-code, browser, password, on-behalf-of`},
		{"no secret on behalf", "kind: on-behalf-of, credential: {kind: secret}", "", path + "credential.credential: neither file nor env is set; want the file with the client secret"},
		{"another's fields on behalf", "kind: on-behalf-of, credential: {kind: secret, file: /s, key_file: /k, tenant: a.example, client_id: " + client + "}", "", path + "credential.credential.key_file: belongs to kind certificate; remove it, or change the kind\n" +
			path + "credential.credential.tenant: the app is the identity's own; remove it\n" + path + "credential.credential.client_id: the app is the identity's own; remove it"},
		{
			"audiences that are none", "kind: on-behalf-of, audiences: [portal, 'api://contoso/portal/.default', '" + client + "'], credential: {" + app + "}", "",
			path + `credential.audiences[0]: "portal": ` + uri + "\n" + path + `credential.audiences[1]: "api://contoso/portal/.default": ` + uri + "\n" + path + `credential.audiences[2]: "` + client + `": ` + uri,
		},
		{
			"audience of another app", "kind: on-behalf-of, audiences: ['api://99999999-9999-9999-9999-999999999999'], credential: {" + app + "}", "",
			path + `credential.audiences[0]: "api://99999999-9999-9999-9999-999999999999": that is another app than client_id; remove it`,
		},
		{
			"audience of a route", "kind: on-behalf-of, audiences: ['api://contoso/portal', 'https://api.security.microsoft.com'], credential: {" + app + "}", "",
			path + `credential.audiences[1]: "https://api.security.microsoft.com": route "defender" gets tokens for it, and such a token was given to be sent there; want the app's own`,
		},
		{"audiences of a secret", app + ", audiences: ['api://contoso/portal']", "", path + "credential.audiences: belongs to kind on-behalf-of; remove it, or change the kind"},
		{"a store of an app", app, ", store: memory", path + "store: there is no sign-in to keep: it belongs to kind device-code or browser; remove it"},
		{"a store of a password", "kind: password, username: a@b, password_file: /p", ", store: {file: /s, key_file: /k}", path + "store: there is no sign-in to keep: it belongs to kind device-code or browser; remove it"},
		{"a store of nothing", "kind: browser", ", store: {}", path + "store: want memory, keychain, or file and key_file"},
		{"a store elsewhere", "kind: browser", ", store: vault", path + `store: store "vault": not one of memory, keychain`},
		{"a store without a key", "kind: browser", ", store: {file: /s}", path + "store.key_file: missing; want the file with its key: tokenbroker key new makes one"},
		{"a key without a store", "kind: browser", ", store: {key_file: /k}", path + "store.file: missing; want the file for the sign-ins"},
		{"a store that is its key", "kind: browser", ", store: {file: /s, key_file: /s}", path + "store: file and key_file are the same file; want two"},
		{"a store of no kind", "kind: passkey", ", store: memory", path + `credential.kind: kind "passkey": not one of secret, certificate, workload-identity, managed-identity, key-vault-secret, key-vault-certificate, device-code, browser, password, on-behalf-of`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := try(t, user(tt.credential, tt.more))
			if got := text(err); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestSignInsInOneFileHaveOneKey(t *testing.T) {
	const (
		app = "tenant: contoso.com, client_id: " + client + ", credential: {kind: browser}, store: {file: /s, key_file: "
		two = "identities:\n  a: {" + app + "/k}}\n  default: {" + app
	)
	good(t, two+"/k}}")
	_, err := try(t, two+"/other}}")
	if got, want := text(err), "config.yaml:3: identities.default.store.key_file: identities.a has another key for the same file; want one"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSignInsAndAuditAreApart(t *testing.T) {
	for _, audit := range []string{"/s", "/k"} {
		_, err := try(t, user("kind: browser", ", store: {file: /s, key_file: /k}")+"audit: {file: "+audit+"}")
		if got, want := text(err), `config.yaml:2: audit.file: "`+audit+`" is a file that the broker reads; want one of its own`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestPasswordIsWarnedOf(t *testing.T) {
	c := good(t, user("kind: password, username: a@b, password_file: /p", ""))
	if len(c.Warnings) == 0 || !strings.Contains(strings.Join(c.Warnings, "\n"), "identities.default.credential: kind password: whoever reads the file is that user") {
		t.Errorf("warnings %q", c.Warnings)
	}
	if diff := cmp.Diff(c.Files(), []string{"/p"}); diff != "" {
		t.Error(diff)
	}
}

func TestFilesOfAnAppThatActsOnBehalf(t *testing.T) {
	c := good(t, user("kind: on-behalf-of, credential: {kind: certificate, file: /c, key_file: /k, password_file: /p}", ""))
	if diff := cmp.Diff(c.Files(), []string{"/c", "/k", "/p"}); diff != "" {
		t.Error(diff)
	}
	id := c.Identities["default"]
	if diff := cmp.Diff(id.Credential.App(), Credential{Kind: Certificate, File: "/c", KeyFile: "/k", PasswordFile: "/p"}, sameSecret); diff != "" {
		t.Error(diff)
	}
	own := Credential{Kind: ClientSecret, File: "/s"}
	if diff := cmp.Diff(own.App(), own, sameSecret); diff != "" {
		t.Error(diff)
	}
	if identity, err := c.Table.Identity("default"); err != nil || !identity.OnBehalfOf {
		t.Errorf("the table has %+v, %v", identity, err)
	}
}

func TestSecretOfAnAppThatActsOnBehalfIsNotIgnored(t *testing.T) {
	c := good(t, user("kind: on-behalf-of, credential: {kind: secret, env: AZURE_CLIENT_SECRET}", ""), "AZURE_CLIENT_SECRET=sw0rdfish")
	if got := strings.Join(c.Warnings, "\n"); strings.Contains(got, "AZURE_CLIENT_SECRET") {
		t.Errorf("warned: %s", got)
	}
}

// Two users of one app are two identities that differ in nothing but the name.
func TestUsersOfOneAppAreToldApart(t *testing.T) {
	const app = "tenant: contoso.com, client_id: " + client
	c := good(t, `
identities:
  default: {`+app+`, credential: {kind: browser}}
  other: {`+app+`, credential: {kind: browser}}
  device: {`+app+`, credential: {kind: device-code}}
  robot: {`+app+`, credential: {kind: password, username: Robot@contoso.com, password_file: /p}}
  robot2: {`+app+`, credential: {kind: password, username: robot2@contoso.com, password_file: /p}}
  portal: {`+app+`, credential: {kind: on-behalf-of, credential: {kind: secret, file: /s}}}
`)
	seen := map[entra.IdentityID]string{}
	for name, id := range c.Identities {
		if other, twice := seen[id.ID(c.Authority)]; twice {
			t.Errorf("%s has the id of %s", name, other)
		}
		seen[id.ID(c.Authority)] = name
	}
	_, err := try(t, `
identities:
  default: {`+app+`, credential: {kind: password, username: Robot@contoso.com, password_file: /p}}
  robot: {`+app+`, credential: {kind: password, username: robot@contoso.com, password_file: /q}}
`)
	if got, want := text(err), "config.yaml:4: identities.robot: the same tenant, client_id and kind of credential as identities.default; keep one of them"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPermissionsAreForUsers(t *testing.T) {
	const (
		one  = "https://api.securitycenter.microsoft.com/Alert.Read"
		two  = "https://api.securitycenter.microsoft.com/Machine.Read"
		want = `: "` + one + `": want https://host/.default: an application gets all of its permissions, not one by one`
	)
	c := good(t, user("kind: browser", "")+"routes: {mde: {scope: '"+two+" "+one+"'}}\ntokens: {scopes: ['"+one+"']}\n")
	r, err := c.Table.Route("mde")
	if err != nil || r.Scope != one+" "+two {
		t.Errorf("got %q, %v", r.Scope, err)
	}
	_, err = try(t, user("kind: secret, file: /s", "")+`
routes: {mde: {scope: '`+one+`'}}
tokens: {scopes: ['`+one+`']}
callers:
  - {name: a, key_file: /a, routes: [mde], scopes: ['`+one+`']}
`)
	if got, wants := text(err), "config.yaml:3: routes.mde.scope"+want+"\nconfig.yaml:4: tokens.scopes[0]"+want+"\nconfig.yaml:6: callers[0].scopes[0]"+want; got != wants {
		t.Errorf("got\n%s\nwant\n%s", got, wants)
	}
}

// One app has one identity in each tenant, and its Application ID URIs in all.
func TestAudienceBelongsToOneApp(t *testing.T) {
	const (
		obo   = "credential: {kind: on-behalf-of, audiences: ['api://contoso/portal'], credential: {kind: secret, file: /s}}}\n"
		first = "identities:\n  default: {tenant: contoso.com, client_id: " + client + ", " + obo
	)
	good(t, first+"  other: {tenant: fabrikam.com, client_id: "+client+", "+obo)
	_, err := try(t, first+"  other: {tenant: contoso.com, client_id: 99999999-9999-9999-9999-999999999999, "+obo)
	if got, want := text(err), "config.yaml:3: identities.other.credential.audiences[0]: identities.default has it too, and is another app; an Application ID URI belongs to one"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Where an audience is taken no more, the tokens that it brought are not given
// out any longer.
func TestAudiencesAreOfTheIdentity(t *testing.T) {
	id := func(more string) entra.IdentityID {
		c := good(t, user("kind: on-behalf-of, credential: {kind: secret, file: /s}"+more, ""))
		id := c.Identities["default"]
		return id.ID(c.Authority)
	}
	if id("") == id(", audiences: ['api://contoso/portal']") {
		t.Error("the same with an audience more")
	}
}
