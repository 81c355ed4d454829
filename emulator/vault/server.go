// Package vaultemu is a fake Azure Key Vault: of its data plane what a service
// needs that keeps its credentials there. It asks for a token with the real
// one's challenge, checks the token and the access policy, and answers in the
// real one's shape, or the real SDK would not run against it. It can be told to
// fail ([Faults]), and it counts ([Stats]).
//
// It serves, for every host name it is reached by:
//
//	GET  /secrets/{name}[/{version}]
//	GET  /certificates/{name}[/{version}]
//	GET  /keys/{name}[/{version}]
//	POST /keys/{name}[/{version}]/sign
//	GET  /_emulator/stats
//	GET, PUT, POST, DELETE /_emulator/faults
//
// The SDK accepts a challenge from a vault only if the vault's host lies below
// that of the challenge's resource: serve it as NAME.vault.azure.net. Times are
// those of the system clock, so in a testing/synctest bubble they are the
// bubble's; make the [Server] inside.
package vaultemu

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"tokenbroker/entra"
)

const (
	// Resource is what tokens for a vault of the public cloud are for.
	Resource = "https://vault.azure.net"

	// appID is the application id of the resource, of all clouds.
	appID = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"

	adminPath = "/_emulator/"

	// maxBody bounds a request's body, in bytes.
	maxBody = 64 << 10
)

// Operation is something that a vault does for its callers.
type Operation string

// The operations, each of which is a permission of its own.
const (
	GetSecret      Operation = "get_secret"
	GetCertificate Operation = "get_certificate"
	GetKey         Operation = "get_key"
	Sign           Operation = "sign"
)

// permissions are the operations' names in refusals: the kind of object, and
// what is done with it.
var permissions = map[Operation]struct{ kind, verb string }{
	GetSecret:      {"secrets", "get"},
	GetCertificate: {"certificates", "get"},
	GetKey:         {"keys", "get"},
	Sign:           {"keys", "sign"},
}

// Policies are the operations that each caller may do, by its client id or
// object id.
type Policies map[string][]Operation

// Config says who may come in.
type Config struct {
	// Verify checks a token's signature, issuer and times. Required.
	Verify func(token string) (entra.Claims, error)
	// Tenant is the one whose tokens are accepted, a GUID. Required.
	Tenant entra.Tenant
	// Login is the host that the challenge sends callers to; empty:
	// login.microsoftonline.com.
	Login string
	// Resource is the audience of tokens, without a slash at the end; empty:
	// [Resource].
	Resource string
	// Policies are the access policies at the beginning.
	Policies Policies
}

// Server is the fake, an [http.Handler] that is safe for concurrent use. One is
// one vault.
type Server struct {
	config Config // but for the policies: see below
	admin  http.Handler

	mu       sync.Mutex // guards everything below
	policies Policies
	objects  map[Collection]map[string]*object
	faults   Faults
	changed  chan struct{} // closed when the faults change
	stats    Stats
}

// New returns an empty vault.
func New(config Config) (*Server, error) {
	const op = "emulator.vault"
	if config.Verify == nil {
		return nil, entra.Errorf(entra.Invalid, op, "verify: required")
	}
	if !entra.IsGUID(string(config.Tenant)) {
		return nil, entra.Errorf(entra.Invalid, op, "tenant %s: want a GUID", entra.Quote(string(config.Tenant)))
	}
	if config.Login == "" {
		config.Login = "login.microsoftonline.com"
	}
	if config.Resource == "" {
		config.Resource = Resource
	}
	s := &Server{
		config:   config,
		policies: Policies{},
		objects:  map[Collection]map[string]*object{Secrets: {}, Certificates: {}, Keys: {}},
		changed:  make(chan struct{}),
		stats:    newStats(),
	}
	for caller, operations := range config.Policies {
		s.SetPolicy(caller, operations...)
	}
	s.admin = s.newAdmin()
	return s, nil
}

// SetPolicy replaces what a caller may do, from the next request on.
func (s *Server) SetPolicy(caller string, operations ...Operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies = maps.Clone(s.policies)
	s.policies[strings.ToLower(caller)] = slices.Clone(operations)
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if strings.HasPrefix(r.URL.Path, adminPath) {
		s.admin.ServeHTTP(w, r)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("X-Ms-Keyvault-Region", "westeurope")
	h.Set("X-Ms-Keyvault-Service-Version", "1.9.3000.1")
	h.Set("X-Ms-Request-Id", newGUID())
	if id := r.Header.Get("X-Ms-Client-Request-Id"); id != "" {
		h.Set("X-Ms-Client-Request-Id", id)
	}
	s.serve(w, r)
}

// serve checks who calls, lets faults happen, and then does what is asked.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	c, no := parse(r)
	if no != nil {
		s.refuse(w, no)
		return
	}
	s.count(func(stats *Stats) { stats.Requests[c.operation]++ })
	claims, no := s.authenticate(r)
	if no != nil {
		s.refuse(w, no)
		return
	}
	f, changed := s.takeFault(c.operation)
	if s.fail(w, r, f, changed) {
		return
	}
	answer, no := s.answer(c, &claims)
	if no != nil {
		s.refuse(w, no)
		return
	}
	s.count(func(stats *Stats) { stats.Served[c.operation]++ })
	writeJSON(w, http.StatusOK, answer)
}

// call is a request in parts.
type call struct {
	operation Operation
	host      string
	name      string
	version   string // empty: the newest
	api       string // the api-version
	signature signRequest
}

// parse takes a request to pieces. Empty segments of the path count for
// nothing: the SDK leaves a version out by writing none between its slashes.
func parse(r *http.Request) (*call, *refusal) {
	segments := slices.DeleteFunc(strings.Split(r.URL.Path, "/"), func(segment string) bool { return segment == "" })
	c := &call{host: r.Host, api: r.URL.Query().Get("api-version")}
	kind, rest := "", segments
	if len(segments) > 0 {
		kind, rest = segments[0], segments[1:]
	}
	if kind == "keys" && len(rest) > 1 && rest[len(rest)-1] == "sign" {
		c.operation, rest = Sign, rest[:len(rest)-1]
	} else {
		c.operation = map[string]Operation{"secrets": GetSecret, "certificates": GetCertificate, "keys": GetKey}[kind]
	}
	if c.operation == "" || len(rest) < 1 || len(rest) > 2 {
		return nil, &refusal{status: http.StatusNotFound, code: "NotFound", text: "The requested resource was not found."}
	}
	c.name = rest[0]
	if len(rest) == 2 {
		c.version = rest[1]
	}
	want := http.MethodGet
	if c.operation == Sign {
		want = http.MethodPost
	}
	if r.Method != want {
		return nil, &refusal{status: http.StatusMethodNotAllowed, code: "MethodNotAllowed", text: "The HTTP method " + r.Method + " is not allowed."}
	}
	// The SDK sends its first request without a body, to get the challenge: what
	// cannot be read is refused only when somebody was let in.
	if c.operation == Sign {
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &c.signature)
	}
	return c, nil
}

// answer does what is asked, for a caller whom we know.
func (s *Server) answer(c *call, claims *entra.Claims) (any, *refusal) {
	if !supported(c.api) {
		return nil, badVersion(c.api)
	}
	if no := s.authorize(c, claims); no != nil {
		return nil, no
	}
	switch c.operation {
	case GetSecret:
		return s.secret(c)
	case GetCertificate:
		return s.certificate(c)
	case GetKey:
		return s.key(c)
	default:
		return s.sign(c)
	}
}
