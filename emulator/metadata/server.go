// Package metadataemu is a fake of where Azure hands out the tokens of managed
// identities: the instance metadata service of a virtual machine (IMDS), and
// the endpoint beside an App Service. Both answer over plain http, in the real
// ones' shape; the tokens are an emulated Entra's. It can be told to fail
// ([Faults]), and it counts ([Stats]).
//
// It serves, for every host name it is reached by:
//
//	GET /metadata/identity/oauth2/token   IMDS, api-version 2018-02-01
//	GET /msi/token                        App Service, api-version 2019-08-01 and 2017-09-01
//	GET /_emulator/stats
//	GET, PUT, POST, DELETE /_emulator/faults
//
// IMDS is found at 169.254.169.254 alone, which many clients cannot be told
// otherwise: redirect their dialer, or listen at [IMDSHost] of a network in
// memory. The real ones remember their tokens for a day; this one makes a new
// token for each request.
package metadataemu

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// IMDSHost is where clients look for IMDS, at port 80.
const IMDSHost = "169.254.169.254"

// AppServicePath is the path that an App Service's IDENTITY_ENDPOINT has.
const AppServicePath = "/msi/token"

const (
	imdsPath  = "/metadata/identity/oauth2/token"
	adminPath = "/_emulator/"

	// defaultLifetime is what managed identities get, however long other tokens
	// of the tenant live.
	defaultLifetime = 24 * time.Hour

	// maxBody bounds a request's body, in bytes.
	maxBody = 64 << 10
)

// Config is what the machine knows.
type Config struct {
	// Issue gets a token: IssueFor of the emulated Entra. Required.
	Issue func(p entraemu.ServicePrincipal, resource string, lifetime time.Duration) (entraemu.IssuedToken, error)
	// Identities are assigned to the machine.
	Identities []Identity
	// Header is the value of X-IDENTITY-HEADER that App Service demands; zero:
	// the machine is no App Service, and refuses everyone there.
	Header entra.Secret
	// Lifetime is that of a token; zero: 24 hours.
	Lifetime time.Duration
}

// Identity is a managed identity of the machine.
type Identity struct {
	entraemu.ServicePrincipal
	System bool // system-assigned: its life is the machine's, and there is one at most
}

// Server is the fake, an [http.Handler] that is safe for concurrent use.
type Server struct {
	config Config
	admin  http.Handler

	mu      sync.Mutex // guards everything below
	faults  Faults
	changed chan struct{} // closed when the faults change
	stats   Stats
}

// New returns a Server.
func New(config Config) (*Server, error) {
	const op = "emulator.metadata"
	if config.Issue == nil {
		return nil, entra.Errorf(entra.Invalid, op, "issue: required")
	}
	config.Identities = slices.Clone(config.Identities)
	system := 0
	for i, identity := range config.Identities {
		if !entra.IsGUID(identity.ClientID) || !entra.IsGUID(identity.ObjectID) {
			return nil, entra.Errorf(entra.Invalid, op, "identities[%d]: client id and object id: want GUIDs", i)
		}
		if identity.System {
			system++
		}
	}
	if system > 1 {
		return nil, entra.Errorf(entra.Invalid, op, "identities: %d are system-assigned: want one at most", system)
	}
	if config.Lifetime == 0 {
		config.Lifetime = defaultLifetime
	}
	s := &Server{config: config, changed: make(chan struct{}), stats: newStats()}
	s.admin = s.newAdmin()
	return s, nil
}

// ServeHTTP answers a request. Paths are compared by hand: clients are known
// that write a slash too many at either end, and IMDS answers them.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	path := "/" + strings.Trim(r.URL.Path, "/")
	switch {
	case path == imdsPath:
		s.token(w, r, imds)
	case path == AppServicePath:
		s.token(w, r, appService(r.URL.Query().Get("api-version")))
	case strings.HasPrefix(path, adminPath):
		s.admin.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// token counts, lets faults happen, and then gives a token or says why not.
func (s *Server) token(w http.ResponseWriter, r *http.Request, p *protocol) {
	s.count(func(stats *Stats) { stats.Requests[p.name]++ })
	f, changed := s.takeFault()
	if s.fail(w, r, p, f, changed) {
		return
	}
	lifetime := s.config.Lifetime
	if f.LifetimeS > 0 {
		lifetime = time.Duration(f.LifetimeS) * time.Second
	}
	g, no := s.grant(r, p, lifetime)
	if no != nil {
		s.refuse(w, p, no)
		return
	}
	s.count(func(stats *Stats) { stats.Issued[g.identity.ClientID]++ })
	writeJSON(w, http.StatusOK, p.answer(g))
}

// granted is a token with what its answer says of it.
type granted struct {
	entraemu.IssuedToken
	identity *Identity
	resource string // as it was asked for
}

// grant gets a token for the request, or says why not.
func (s *Server) grant(r *http.Request, p *protocol, lifetime time.Duration) (*granted, *refusal) {
	if no := p.admit(s, r); no != nil {
		return nil, no
	}
	query := r.URL.Query()
	resource := query.Get("resource")
	if resource == "" {
		return nil, &refusal{http.StatusBadRequest, "invalid_request", "Required query variable 'resource' is missing"}
	}
	identity, no := s.choose(query, p)
	if no != nil {
		return nil, no
	}
	token, err := s.config.Issue(identity.ServicePrincipal, resource, lifetime)
	if err != nil {
		e := entra.AsError(err)
		if e.AADSTS == 0 {
			return nil, &refusal{http.StatusInternalServerError, "unknown", "Failed to retrieve token from the Active directory."}
		}
		return nil, &refusal{http.StatusBadRequest, e.Code, e.Message()}
	}
	return &granted{token, identity, resource}, nil
}

// refuse answers with the refusal in the protocol's shape, and counts it.
func (s *Server) refuse(w http.ResponseWriter, p *protocol, no *refusal) {
	s.count(func(stats *Stats) { stats.Refused[no.code]++ })
	writeJSON(w, no.status, p.failure(no))
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error here is the client's leaving
}
