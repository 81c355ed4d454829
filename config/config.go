// Package config reads the settings of the broker: from a YAML file, from
// TOKENBROKER_ variables over it.
//
// [Load] returns a [Config] that is whole, typed and checked, or everything
// that is wrong with it at once, each fault with its place in the file and its
// path. Nothing is guessed: a key that is not known, a key that stands twice
// and a value that is out of bounds are faults.
package config

import (
	"io/fs"
	"log/slog"
	"net/url"
	"time"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// Config is every setting. The comments on the fields are written for those
// who set them: docs/configuration.md is made from them and from the tags.
// The tag yaml is the key; default, min and max are in the spelling of the file.
// A field without the tag yaml is no setting, but follows from them.
type Config struct {
	// Where the broker listens. A change needs a restart.
	Listen Listen `yaml:"listen"`

	// The cloud that the tenant is in: `public`, `gcc`, `gcchigh`, `dod` or `china`. It decides the sign-in host and the hosts of the built-in routes.
	Cloud entra.Cloud `yaml:"cloud" default:"public"`

	// The region whose Defender hosts the built-in routes lead to, for shorter ways: in the public cloud `us`, `eu`, `uk`, `au`, `swa`, `ina` or `aea`; the other clouds have none. A route whose API has no host there leads to the host for all regions: `graph` always, `mde` outside of `us`, `eu`, `uk` and `au`. Empty: the hosts for all regions.
	Region string `yaml:"region"`

	// The sign-in host, as `https://host`, instead of the cloud's own. `login.windows.net` is taken as `login.microsoftonline.com`.
	Authority entra.Authority `yaml:"authority"`

	// A PEM file with further root certificates, for the authority and the upstreams.
	CAFile string `yaml:"ca_file"`

	// The app registrations that the broker acts as, by a name of your choice. The one named `default`, or the only one, is used where none is named. Without this key, `default` is made from the `AZURE_` variables.
	Identities map[string]Identity `yaml:"identities"`

	// The route that stands for `default` in the APIs that ask for a service by name. Empty: `defender`, or in a cloud without it the first of the routes by name.
	DefaultRoute string `yaml:"default_route"`

	// The ways to the upstreams, by the name that stands in `/proxy/<name>/`. What is written here is merged by name into the built-in routes; `{}` is enough to name one. As soon as a route that is named here is restricted (`read-only`, `allow`, `deny`), the built-in ones that are not named are closed: their tokens are the same.
	Routes map[string]Route `yaml:"routes"`

	// The callers by name, each with its proof and with what it may have. Empty: every admitted caller is `local` and may have all that the routes and `tokens` leave open. As soon as one is named, nobody has anything that is not written here: see [Who may have what](#who-may-have-what).
	Callers []Caller `yaml:"callers"`

	// A file with the keys that prove the caller `local`, one a line; any of them is good, so that they can be rotated. Lines that begin with `#` are comments. Empty: where no `callers` are named, whoever reaches a listener may call; where some are, only they. Where callers are named beside it, one of them must be `local`.
	CallerKeyFile string `yaml:"caller_key_file"`

	// Where no callers prove themselves, by `caller_key_file` or `callers`: the file that the key for `IDENTITY_HEADER` is written to at the start, for the App Service protocol, which demands one. It is for the user that the broker runs as (mode 0600). A key that a broker before has left there stays good, so that programs that have it go on. Empty: without caller keys that protocol is off. A change needs a restart.
	IdentityHeaderFile string `yaml:"identity_header_file"`

	// Which tokens are handed out.
	Tokens Tokens `yaml:"tokens"`

	// The local protocols, by which SDKs and scripts that know nothing of the broker get their tokens from it.
	Protocols Protocols `yaml:"protocols"`

	// The memory of tokens.
	Cache Cache `yaml:"cache"`

	// How much, and how long.
	Limits Limits `yaml:"limits"`

	// The record of who got what: each token handed out and each proxied call, allowed or refused.
	Audit Audit `yaml:"audit"`

	// What is logged, and how.
	Log Log `yaml:"log"`

	// Table holds the identities, and the routes with the built-in ones among them.
	Table *route.Table

	// Warnings are what the operator should know although the settings are
	// valid: ignored variables, unsafe choices.
	Warnings []string

	// Notes are what explains a setting and asks nothing of anybody.
	Notes []string
}

// Listen says where the broker listens.
type Listen struct {
	// Where callers come in: addresses, or mappings with `address` and what else is set for the listener. `localhost` is 127.0.0.1 and ::1 both; port 0 is any free one; `unix:/path` is a Unix socket.
	Callers []Listener `yaml:"callers" default:"localhost:5178"`

	// Where health and metrics are served, never a token. In Kubernetes `:5179`, since the kubelet cannot reach loopback.
	Ops Address `yaml:"ops" default:"localhost:5179"`

	// Whether a callers' address may be other than loopback. Without `tls` the traffic is not encrypted and carries tokens. Callers must have keys as well, in `caller_key_file` or in a caller's `key_file`: a uid, or no proof at all, is good on this machine only.
	UnsafeNonLoopback bool `yaml:"unsafe_non_loopback" default:"false"`
}

// Listener is one address for callers. In the file the address alone will do.
type Listener struct {
	// `host:port` or `unix:/path`.
	Address Address `yaml:"address"`

	// The route whose upstream stands at `/` of this listener, for tools that take a host but no base path.
	Route string `yaml:"route"`

	// Whether this listener is a forward proxy instead, for tools whose host cannot be changed but that take a proxy, as in `HTTP_PROXY`, and a URL with `http://`. It calls the upstreams of the routes, by `https`, and nothing else; with `route` that of this one alone. See [forward.md](forward.md).
	Forward bool `yaml:"forward"`

	// The file mode of a Unix socket, octal, `0660` unless set. Never for others. On Windows it has no effect.
	Mode fs.FileMode `yaml:"mode"`

	// Whether the listener speaks TLS, and with which certificate. Not of a Unix socket.
	TLS TLS `yaml:"tls"`
}

// TLS is the certificate of a listener.
type TLS struct {
	// The PEM file with the certificate that the listener shows, and its issuers after it. With neither this nor `key_file`, as in `tls: {}`, a certificate for `localhost`, 127.0.0.1, ::1 and the host of the address is made at the start.
	CertFile string `yaml:"cert_file"`

	// The PEM file with the private key of `cert_file`; it may be the same file. Both are read again when they change: a certificate is never used with a key that is not its own.
	KeyFile string `yaml:"key_file"`

	// Where the certificate is made at the start: the file for the certificate of the authority that has signed it, for the programs that are to trust it. The authority can sign for these names only, and its key is never written. Every start makes a new one.
	CAOut string `yaml:"ca_out"`

	// On says whether the listener speaks TLS.
	On bool
}

// Route is a way to an upstream.
type Route struct {
	// The API behind the route, as `https://host`; a path is possible where the catalogue does not know the host, and every call is appended to it. Needed unless the route is a built-in one.
	Upstream *url.URL `yaml:"upstream"`

	// The identity whose token is put on the calls. Empty: `default`, or the only one.
	Identity string `yaml:"identity"`

	// The scope of the tokens, as in `https://host/.default`; of an identity that is a user also delegated permissions of one API, with spaces between them. Empty: by path, from the catalogue; then the upstream must be one of its hosts, or the route a built-in one.
	Scope entra.Scope `yaml:"scope"`

	// `full`, or `read-only`: only what the catalogue knows to be a read, whatever its method.
	Access route.Access `yaml:"access"`

	// The only calls that are let through. Empty: all that `access` lets through. Of the built-in routes only `graph` has a list of its own: `/v1.0/security/**` and `/beta/security/**`.
	Allow []Rule `yaml:"allow"`

	// Calls that are refused, even if `allow` names them.
	Deny []Rule `yaml:"deny"`

	// How the calls are paced. `catalogue`, which is also what it is without this key: each endpoint is kept to the ceilings that are documented for it, together with all other calls of the same application in the same tenant. `off`: not at all; the upstream's 429 goes to who called. Or figures of your own for all calls of the route together, with `per_minute` and perhaps `burst`.
	Rate Rate `yaml:"rate"`

	// `graph-hunting`: hunting by this route goes to Microsoft Graph, whose `runHuntingQuery` stays when `POST /api/advancedhunting/run` and `POST /api/advancedqueries/run` end; callers send and get what they always have. The app needs `ThreatHunting.Read.All` of Microsoft Graph. The rules of this route decide, with the path that the caller wrote, not those of `graph`; of that route comes where Graph is. Graph's own limits hold: three minutes and 50 MB a query. Not where Graph has no hunting, as in the cloud `china`. Empty: off.
	Bridge route.Bridge `yaml:"bridge"`
}

// Rate says how the calls of a route are paced. In the file `catalogue` or `off`
// is a word, and figures a mapping.
type Rate struct {
	// How many calls of the route there may be in any minute.
	PerMinute int `yaml:"per_minute"`

	// How many of them may come at once; the others are spread over the minute. Without this key all of them may.
	Burst int `yaml:"burst"`

	// Off is what `off` says.
	Off bool
}

// Rule names calls.
type Rule struct {
	// The methods, in upper case. `GET` stands for `HEAD` too. Empty: every method.
	Methods []Method `yaml:"methods"`

	// The path as the upstream knows it: `*` is any one segment, `**` at the end any rest, `name(*)` a function with any parameters.
	Path route.Pattern `yaml:"path"`
}

// Method is an HTTP method, in upper case.
type Method string

// Caller is a local program that proves itself. It has what is said here and
// nothing else.
type Caller struct {
	// The caller's name in logs, audit records and metrics: 1 to 63 letters `a` to `z`, digits and hyphens. Two names have a meaning: `local` is whoever has a key of `caller_key_file`, and `anonymous` is whoever comes by a protocol that cannot carry a key.
	Name string `yaml:"name"`

	// A file with the caller's keys, one a line; any of them is good, so that they can be rotated. Lines that begin with `#` are comments. No other caller may have the same file or the same key. A caller needs this or `uid`; with both, either proves it. `anonymous` has neither, and `local` needs neither where `caller_key_file` is set.
	KeyFile string `yaml:"key_file"`

	// The number of the user that the caller's processes run as, as the broker's own user namespace has it: it proves those that come by a Unix socket (a `unix:` listener), on Linux only. `0` is root. `65534` is refused: the kernel shows it for everybody that it cannot tell.
	UID UID `yaml:"uid"`

	// The routes that the caller may call and whose tokens it may have in hand. `["*"]`: all open ones. Empty: none, and then it needs `scopes`.
	Routes []string `yaml:"routes"`

	// Scopes that the caller may have tokens of in hand, beyond those of its unrestricted routes: even of restricted routes, with `access: read-only`, or of no route at all. Of each of its `identities`; without those, of the identities that its routes use the scope with, and of the default one.
	Scopes []entra.Scope `yaml:"scopes"`

	// The tenants that the caller's calls and tokens may be for; each must be one of an identity of the caller. `["*"]`: all that its identities are configured for. Empty: the identities' own, that is without their further `tenants`.
	Tenants []string `yaml:"tenants"`

	// The identities that the caller may use. Empty: those of its routes, and for its `scopes` also the default one.
	Identities []string `yaml:"identities"`

	// `full`, or `read-only`: of its routes the caller may only make calls that the catalogue knows to be reads, whatever their method, and gets none of their tokens in hand but for its `scopes`. `tokens.scopes` does not lift that.
	Access route.Access `yaml:"access"`
}

// Tokens says which tokens are handed out. Whatever it says, proxied calls get
// theirs.
type Tokens struct {
	// Whether callers may get tokens in hand at all. With `false` there is only the proxy.
	HandOut bool `yaml:"hand_out" default:"true"`

	// Scopes that are handed out beyond those of the unrestricted routes. A scope of a restricted route (`read-only`, `allow`, `deny`) is handed out only if it stands here: its token opens more than the route does. Of each identity only the scopes that a route uses with it; of the default identity all. With `callers` a scope that stands here is handed out to those of full access that have a route with it; what no route of theirs uses stands in their own `scopes`.
	Scopes []entra.Scope `yaml:"scopes"`
}

// Protocols says which of the local protocols are served.
type Protocols struct {
	// The managed identity of App Service (`IDENTITY_ENDPOINT` and `IDENTITY_HEADER`), and with it that of Azure ML (`MSI_ENDPOINT` and `MSI_SECRET`), at `/msi/token`. It demands a caller key: where none is configured, the one of `identity_header_file`.
	AppService bool `yaml:"app_service" default:"true"`

	// The token endpoints of Entra, at `/<tenant>/oauth2/v2.0/token` and `/<tenant>/oauth2/token`, and on a listener with `tls` those below `/adfs`.
	OAuth bool `yaml:"oauth" default:"true"`

	// The API of Microsoft's Entra sidecar container: `true`, `false`, or a mapping, which means `true`.
	EntraSidecar Sidecar `yaml:"entra_sidecar" default:"true"`

	// The instance metadata service of Azure's virtual machines (IMDS), at `/metadata/identity/oauth2/token`. It cannot carry a key: with caller keys it serves the caller `anonymous` only. With it a callers' address may be `169.254.169.254:80`, where every SDK looks for it; there only this machine's own processes are answered.
	IMDS bool `yaml:"imds" default:"false"`

	// The managed identity of Cloud Shell (`MSI_ENDPOINT` alone), as POST at `/msi/token` and `/oauth2/token`. It cannot carry a key, as `imds`.
	CloudShell bool `yaml:"cloud_shell" default:"false"`
}

// Sidecar says how the API of the Entra sidecar is served. In the file the word
// true or false will do.
type Sidecar struct {
	// Whether a request may change what the service named in it says, by `optionsOverride.*`. What comes of it must be the caller's, as everywhere.
	Overrides bool `yaml:"overrides" default:"false"`

	// On says whether it is served.
	On bool
}

// Cache bounds the memory of tokens.
type Cache struct {
	// How many tokens are remembered. A token takes a few KiB.
	Size int `yaml:"size" default:"10000" min:"1" max:"1000000"`
}

// Limits bounds what one request may take.
type Limits struct {
	// The largest body that a caller may send to an upstream.
	RequestBody Size `yaml:"request_body" default:"32MiB" min:"1KiB" max:"4GiB"`

	// The time that a caller has to send a request's header.
	ReadHeaderTimeout time.Duration `yaml:"read_header_timeout" default:"5s" min:"100ms" max:"5m"`

	// The time that a caller has to send a request, body included. `0s`: as long as bytes keep coming.
	ReadTimeout time.Duration `yaml:"read_timeout" default:"0s" min:"0s" max:"24h"`

	// The time that Entra has to answer a request for a token.
	EntraTimeout time.Duration `yaml:"entra_timeout" default:"10s" min:"100ms" max:"5m"`

	// The time that an upstream has to begin its answer.
	ResponseHeaderTimeout time.Duration `yaml:"response_header_timeout" default:"240s" min:"100ms" max:"1h"`

	// The time that requests in flight have to end after SIGTERM. Less than the Pod's `terminationGracePeriodSeconds`.
	Grace time.Duration `yaml:"grace" default:"20s" min:"100ms" max:"1h"`
}

// Audit says where the audit records go.
type Audit struct {
	// The file that the records are appended to, one JSON object a line. It is opened again on SIGHUP, so that it can be rotated, and must be no other file of the broker's. Empty: they stand in the log, each in place of its request's line.
	File string `yaml:"file"`
}

// Log says what is logged, and how.
type Log struct {
	// The least level that is logged: `debug`, `info`, `warn` or `error`.
	Level slog.Level `yaml:"level" default:"info"`

	// `json` or `text`.
	Format LogFormat `yaml:"format" default:"json"`
}

// LogFormat is the form of a log line.
type LogFormat string

// The forms of a log line.
const (
	LogJSON LogFormat = "json"
	LogText LogFormat = "text"
)
