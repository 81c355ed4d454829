// Package defenderemu is a fake of the Microsoft Defender APIs: XDR, Defender
// for Endpoint and Graph security, over a small tenant that is lifelike and the
// same on every run. It checks what the real ones check, the audience by path
// and the roles by endpoint above all, and has their manners: links that name
// another host, errors in their shape, actions that take their time. Faults can
// be switched on while it runs.
//
// One [Server] stands for all hosts. Which one is meant the Host header says; a
// name that the catalogue does not know, such as 127.0.0.1, stands for all of
// them at once.
package defenderemu

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// Config says how the emulator behaves.
type Config struct {
	// Catalogue holds the endpoints. Required.
	Catalogue *defender.Catalogue
	// Verify checks a token's signature, issuer and times. Required.
	Verify func(token string) (entra.Claims, error)
	// Seed chooses the data; every tenant has its own.
	Seed uint64
	// Now is when the data end, and the time that the emulator goes by from
	// then on; zero: the time at which it was made.
	Now time.Time
	// Machines is how many machines a tenant has, 300 or more; zero: 300.
	Machines int
	// PageSize bounds the pages of every list; zero: the documented sizes, 100
	// incidents or 10,000 of anything else.
	PageSize int
	// ActionTime is how long a machine action is pending; zero: 3 seconds.
	ActionTime time.Duration
	// Limits turns the catalogue's ceilings on: more calls are answered with 429.
	Limits bool
	// ForeignHost is the host that links name; empty: a regional one, or Graph's
	// own. The real APIs too hardly ever name the host that was asked.
	ForeignHost string
	// FilesHost is where the links to packages and exports lead, a port included
	// if need be. Empty: the host that was asked, so that the links work, but
	// from the hosts of the catalogue a name that resolves nowhere.
	FilesHost string
}

// Server is the emulator, an [http.Handler]. It is safe for concurrent use.
type Server struct {
	cfg      Config
	started  time.Time
	handlers map[*defender.Endpoint]handler
	admin    http.Handler
	files    *files
	faults   *faults
	limiter  *limiter
	meter    *meter
	journal  *journal

	mu      sync.Mutex // guards tenants
	tenants map[string]*data
}

// New makes an emulator.
func New(cfg Config) (*Server, error) {
	if cfg.Catalogue == nil || cfg.Verify == nil {
		return nil, entra.Errorf(entra.Invalid, "defenderemu.new", "emulator: Catalogue and Verify are required")
	}
	if cfg.PageSize < 0 || cfg.ActionTime < 0 {
		return nil, entra.Errorf(entra.Invalid, "defenderemu.new", "emulator: PageSize and ActionTime cannot be negative")
	}
	if cfg.Machines == 0 {
		cfg.Machines = fleetSize
	}
	if cfg.Machines < fleetSize {
		return nil, entra.Errorf(entra.Invalid, "defenderemu.new", "emulator: Machines is %d: want %d or more", cfg.Machines, fleetSize)
	}
	if cfg.Now.IsZero() {
		cfg.Now = time.Now()
	}
	if cfg.ActionTime == 0 {
		cfg.ActionTime = 3 * time.Second
	}
	s := &Server{
		cfg: cfg, started: time.Now(), handlers: bind(cfg.Catalogue), tenants: map[string]*data{},
		faults: &faults{on: Faults{}}, limiter: &limiter{windows: map[window]*count{}}, meter: newMeter(), journal: new(journal),
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	s.files = &files{key: key, now: s.now, open: s.openFile, faults: s.faults}
	s.admin = s.newAdmin()
	return s, nil
}

// now is the emulator's time: it begins at Config.Now and goes on.
func (s *Server) now() stamp { return stamp{s.cfg.Now.Add(time.Since(s.started)).UTC()} }

// dataOf returns a tenant's data, made at its first call.
func (s *Server) dataOf(tenant string) *data {
	tenant = strings.ToLower(tenant)
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tenants[tenant]
	if !ok {
		t = newData(s.cfg.Seed, tenant, stamp{s.cfg.Now.UTC()}, s.cfg.Machines)
		s.tenants[tenant] = t
	}
	return t
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, adminPath) {
		s.admin.ServeHTTP(w, r)
		return
	}
	seen := &watched{ResponseWriter: w, gone: r.Context().Done()}
	end := s.journal.begin(r)
	defer end(seen)
	if s.disturb(seen, r) {
		return
	}
	if strings.HasPrefix(r.URL.Path, filesPath) {
		s.files.ServeHTTP(seen, r)
	} else {
		s.serveAPI(seen, r)
	}
	if seen.cut {
		panic(http.ErrAbortHandler) // the body was shorter than where it was to be cut
	}
}

// serveAPI answers a call of one of the APIs.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	id := correlate(r)
	api := apiOf(r.URL.Path)
	e, host, err := s.endpoint(r)
	if err != nil {
		s.meter.request("unknown")
		encode(api, id, answer{}, err).write(w)
		return
	}
	s.meter.request(e.String())
	c, err := s.admit(w, r, e, host)
	if err != nil {
		s.meter.refused(err)
		encode(e.API, id, answer{}, err).write(w)
		return
	}
	if f, ok := s.faults.take(Stream, r); ok {
		c.stream(w, f)
		return
	}
	out := c.run(id)
	if e.Effect == defender.Action && out.status < http.StatusBadRequest {
		s.meter.executed(e.String(), r.URL.Path, c.now.Time)
	}
	out.write(w)
}

// endpoint finds what a request is for, and the host that it was sent to; nil:
// one that the catalogue does not know.
func (s *Server) endpoint(r *http.Request) (*defender.Endpoint, *defender.Host, error) {
	e, ok := s.cfg.Catalogue.Match(r.Method, r.URL.Path)
	if !ok {
		return nil, nil, notFound("No HTTP resource was found that matches the request URI %s", r.URL.Path)
	}
	host, known := s.cfg.Catalogue.Host(hostName(r.Host))
	if known && host.Scope(e.API) == "" {
		return nil, nil, notFound("No HTTP resource was found that matches the request URI %s at %s", r.URL.Path, host.Name)
	}
	return e, host, nil
}

// apiOf guesses the API from a path: what an error looks like depends on it.
func apiOf(path string) defender.API {
	if strings.HasPrefix(path, "/v1.0/") || strings.HasPrefix(path, "/beta/") {
		return defender.Graph
	}
	return defender.MDE
}

// run calls the handler and encodes what it answers, both under the lock of the
// tenant's data.
func (c *call) run(id correlation) encoded {
	if c.endpoint.Effect == defender.Read {
		c.data.mu.RLock()
		defer c.data.mu.RUnlock()
	} else {
		c.data.mu.Lock()
		defer c.data.mu.Unlock()
	}
	a, err := c.server.handlers[c.endpoint](c)
	return encode(c.endpoint.API, id, a, err)
}

// newGUID makes a GUID that is not of the data set.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
