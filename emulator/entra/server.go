// Package entraemu is a fake Microsoft Entra: enough of the sign-in service for
// applications that act as themselves or in the name of users. It issues tokens in the real ones'
// shape, checks what it is given as the real one does, and answers with the
// real one's errors, or it would prove nothing. It can be told to fail
// ([Faults]), and it counts ([Stats]).
//
// It serves, for every host name it is reached by:
//
//	GET  /common/discovery/instance
//	GET  /{tenant}/v2.0/.well-known/openid-configuration  and without /v2.0
//	GET  /{tenant}/discovery/v2.0/keys                    and without /v2.0
//	POST /{tenant}/oauth2/v2.0/token                      and without /v2.0
//	GET, POST /{tenant}/oauth2/v2.0/authorize             and without /v2.0
//	POST /{tenant}/login                                  what the sign-in pages send
//	POST /{tenant}/oauth2/v2.0/devicecode
//	GET, POST /{tenant}/oauth2/deviceauth                 where a user types a device's code in
//	GET  /{tenant}/oauth2/v2.0/logout
//	GET  /common/UserRealm/{user}, /common/userrealm?user=
//	GET, POST /{tenant}/v2.0/adminconsent                 and without /v2.0
//	GET, POST /{tenant}/oauth2/authorize?prompt=consent
//	GET  /_emulator/stats
//	GET, PUT, POST, DELETE /_emulator/faults
//
// Times are those of the system clock, so in a testing/synctest bubble they
// are the bubble's; make the [Server] inside.
package entraemu

import (
	"crypto/rsa"
	"crypto/x509"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"tokenbroker/entra"
)

const (
	// maxBody bounds a request's body, in bytes. An assertion with its
	// certificate chain stays below 16 KiB.
	maxBody = 64 << 10

	defaultLifetime = 3599 * time.Second

	requestID = "X-Ms-Request-Id"
)

// Server is the fake, an [http.Handler] that is safe for concurrent use.
type Server struct {
	config Config // but for the apps and the issuers: see below
	mux    *http.ServeMux

	mu       sync.Mutex    // guards everything below
	ring     []*signingKey // the first one signs, all are published
	apps     []App         // replaced, never written into: readers keep what they took
	issuers  []Issuer
	used     map[string]time.Time // ids of the assertions accepted, until they expire
	accounts map[string]account   // by the UPN in lower case
	sessions map[string]session   // by id
	refresh  map[string]refreshToken
	codes    map[string]authCode
	devices  map[string]deviceCode // by the device code
	signIns  map[string]signIn     // under way, by the token in their page
	browsers map[string][]login    // who is signed in, by the browser's cookie
	faults   Faults
	changed  chan struct{} // closed when the faults change
	stats    Stats
}

// New returns a Server. A configuration that contradicts itself is refused,
// with all its faults.
func New(config Config) (*Server, error) {
	if err := config.fault(); err != nil {
		return nil, entra.Errorf(entra.Invalid, "emulator.entra", "%w", err)
	}
	key, err := newSigningKey(config.SigningKey)
	if err != nil {
		return nil, err
	}
	if config.Lifetime == 0 {
		config.Lifetime = defaultLifetime
	}
	config.Tenants, config.Resources = slices.Clone(config.Tenants), slices.Clone(config.Resources)
	s := &Server{
		config:   config,
		mux:      http.NewServeMux(),
		ring:     []*signingKey{key},
		apps:     slices.Clone(config.Apps),
		issuers:  slices.Clone(config.Issuers),
		used:     map[string]time.Time{},
		accounts: map[string]account{},
		sessions: map[string]session{},
		refresh:  map[string]refreshToken{},
		codes:    map[string]authCode{},
		devices:  map[string]deviceCode{},
		signIns:  map[string]signIn{},
		browsers: map[string][]login{},
		changed:  make(chan struct{}),
		stats:    newStats(),
	}
	for _, user := range config.Users {
		s.accounts[strings.ToLower(user.UPN)] = account{User: user}
	}
	s.mux.HandleFunc("GET /common/discovery/instance", s.discovery(s.instance))
	s.mux.HandleFunc("GET /{tenant}/.well-known/openid-configuration", s.discovery(s.openID(v1)))
	s.mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", s.discovery(s.openID(v2)))
	s.mux.HandleFunc("GET /{tenant}/discovery/keys", s.discovery(s.keys))
	s.mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", s.discovery(s.keys))
	s.mux.HandleFunc("/{tenant}/oauth2/token", s.token(v1))
	s.mux.HandleFunc("/{tenant}/oauth2/v2.0/token", s.token(v2))
	for path, page := range map[string]http.HandlerFunc{
		"/{tenant}/oauth2/authorize":      s.authorizeV1,
		"/{tenant}/oauth2/v2.0/authorize": s.browsing(s.authorize(v2)),
		"/{tenant}/oauth2/deviceauth":     s.browsing(s.deviceAuth),
		"/{tenant}/adminconsent":          s.consent(adminConsent),
		"/{tenant}/v2.0/adminconsent":     s.consent(adminConsentV2),
	} {
		s.mux.HandleFunc("GET "+path, page)
		s.mux.HandleFunc("POST "+path, page)
	}
	s.mux.HandleFunc("POST /{tenant}/login", s.browsing(s.continueSignIn))
	s.mux.HandleFunc("GET /{tenant}/oauth2/v2.0/logout", s.logout)
	s.mux.HandleFunc("POST /{tenant}/oauth2/v2.0/devicecode", s.deviceCode)
	s.mux.HandleFunc("GET /common/UserRealm/{user}", s.realm)
	s.mux.HandleFunc("GET /common/userrealm/{user}", s.realm)
	s.mux.HandleFunc("GET /common/userrealm", s.realm)
	s.mux.HandleFunc("GET /_emulator/stats", s.showStats)
	s.mux.HandleFunc("GET /_emulator/faults", s.showFaults)
	s.mux.HandleFunc("PUT /_emulator/faults", s.putFaults)
	s.mux.HandleFunc("POST /_emulator/faults", s.putFaults)
	s.mux.HandleFunc("DELETE /_emulator/faults", s.clearFaults)
	return s, nil
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	h := w.Header()
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	h.Set(requestID, newGUID())
	if id := r.Header.Get("client-request-id"); id != "" && strings.EqualFold(r.Header.Get("return-client-request-id"), "true") {
		h.Set("client-request-id", id)
	}
	s.mux.ServeHTTP(w, r)
}

// SetSecrets replaces the secrets of an app, in all its tenants.
func (s *Server) SetSecrets(clientID string, secrets ...Secret) error {
	return s.change(clientID, func(app *App) { app.Secrets = secrets })
}

// SetCertificates replaces the certificates that an app may sign with, in all
// its tenants.
func (s *Server) SetCertificates(clientID string, certs ...*x509.Certificate) error {
	return s.change(clientID, func(app *App) { app.Certificates = certs })
}

// SetIssuerKeys replaces the keys, by their ids, that a federated issuer
// publishes.
func (s *Server) SetIssuerKeys(url string, keys map[string]*rsa.PublicKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, issuer := range s.issuers {
		if issuer.URL == url {
			s.issuers[i].Keys = maps.Clone(keys)
			return nil
		}
	}
	return entra.Errorf(entra.NotFound, "emulator.entra", "issuer %s: not one that is configured", entra.Quote(url))
}

// issuerKey returns a key of a federated issuer as it is now, or nil.
func (s *Server) issuerKey(url, id string) *rsa.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, issuer := range s.issuers {
		if issuer.URL == url {
			return issuer.Keys[id]
		}
	}
	return nil
}

// SetRoles replaces what an app is granted in a tenant for one resource, as an
// administrator's consent does. Tokens issued from then on have it.
func (s *Server) SetRoles(tenant entra.Tenant, clientID, resource string, roles ...string) error {
	return s.change(clientID, func(app *App) {
		app.Consents = slices.Clone(app.Consents)
		for i, consent := range app.Consents {
			if consent.Tenant == tenant {
				granted := maps.Clone(consent.Roles)
				if granted == nil {
					granted = Roles{}
				}
				granted[resource] = roles
				app.Consents[i].Roles = granted
			}
		}
	})
}

// change replaces an app by a changed copy.
func (s *Server) change(clientID string, edit func(*App)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, app := range s.apps {
		if app.ClientID == clientID {
			edit(&app)
			s.apps[i] = app
			return nil
		}
	}
	return entra.Errorf(entra.NotFound, "emulator.entra", "client %s: no such app", entra.Quote(clientID))
}

// app returns the app as it is now.
func (s *Server) app(clientID string) (App, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, app := range s.apps {
		if strings.EqualFold(app.ClientID, clientID) {
			return app, true
		}
	}
	return App{}, false
}

// principal finds an app and its service principal in a tenant.
func (s *Server) principal(client string, tenant *Tenant) (App, *Consent, *refusal) {
	app, _ := s.app(client)
	consent := app.consent(tenant)
	switch {
	case consent == nil:
		return app, nil, noApp(client, tenant.ID)
	case consent.Disabled:
		return app, nil, disabledApp(client)
	}
	return app, consent, nil
}

// tenant finds a tenant by its GUID or one of its domains.
func (s *Server) tenant(name string) (*Tenant, *refusal) {
	wanted, err := entra.ParseTenant(name)
	if err != nil {
		return nil, noTenantName(name)
	}
	for i, tenant := range s.config.Tenants {
		if tenant.goesBy(wanted) {
			return &s.config.Tenants[i], nil
		}
	}
	return nil, noTenant(wanted)
}

// tenantOrAny finds a tenant; nil is that of whoever signs in.
func (s *Server) tenantOrAny(name string) (*Tenant, *refusal) {
	if name == "organizations" || name == "common" {
		return nil, nil
	}
	return s.tenant(name)
}

// registration finds an app that a browser or a device asks for, and the tenant
// that it asks for; nil is that of whoever signs in. Nobody has to have consented.
func (s *Server) registration(name, client string) (App, *Tenant, *refusal) {
	if client == "" {
		return App{}, nil, missing("client_id")
	}
	tenant, no := s.tenantOrAny(name)
	if no != nil {
		return App{}, nil, no
	}
	app, known := s.app(client)
	switch {
	case !known, tenant != nil && !app.openTo(tenant):
		return App{}, nil, noApp(client, entra.Tenant(name))
	case tenant == nil && app.Home != "":
		return App{}, nil, notMultiTenant(client)
	}
	return app, tenant, nil
}

// tenantOf returns a tenant by its id, which is known.
func (s *Server) tenantOf(id entra.Tenant) *Tenant {
	return &s.config.Tenants[slices.IndexFunc(s.config.Tenants, func(t Tenant) bool { return t.ID == id })]
}

// resource finds, in a tenant, the resource application that goes by the
// audience, with or without a trailing slash.
func (s *Server) resource(tenant *Tenant, audience string) (*Resource, *refusal) {
	trimmed := strings.TrimSuffix(audience, "/")
	for i, resource := range s.config.Resources {
		named := func(spelling string) bool { return strings.EqualFold(spelling, trimmed) }
		if slices.ContainsFunc(resource.Audiences, named) && tenant.has(resource.Name) {
			return &s.config.Resources[i], nil
		}
	}
	return nil, noResource(audience, tenant.ID)
}
