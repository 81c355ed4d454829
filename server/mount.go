package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// WriteError writes a failure in the shape of one mount, and notes it in the
// request's trail. For a caller that left ([entra.Canceled]) it notes only.
type WriteError func(w http.ResponseWriter, r *http.Request, err *entra.Error)

// Mount is a handler at a path, with the manners of its protocol.
type Mount struct {
	Name       string   // in logs and metrics: "proxy", "token"
	Path       string   // as echo routes: exact, with :name for a segment, or with /* at its end. Several may have one path, which differ in Methods
	Methods    []string // GET stands for HEAD too. Nil: every method there is, also those that are nobody's
	Handler    http.Handler
	Guard      *guard.Guard // who admits callers here; nil: the guard of the listener
	Keys       guard.KeysOf // how a caller shows its key here; nil: the protocol has no place for one
	WriteError WriteError
	Open       bool // admits everybody: for /healthz, which says nothing
	Audited    bool // its requests are recorded: it hands out tokens, or calls upstreams with them
}

func (m *Mount) serves(method string) bool {
	return m.Methods == nil || slices.Contains(m.Methods, method) ||
		method == http.MethodHead && slices.Contains(m.Methods, http.MethodGet)
}

// Handler answers those whom g admits: at the mounts' paths, and everywhere else
// with 404 as [WriteProblem] has it. Paths reach the mounts as they were sent,
// odd ones too: each refuses what it must.
func (s *Server) Handler(g *guard.Guard, mounts ...Mount) http.Handler {
	e := echo.New()
	byPath := map[string][]*place{}
	for _, m := range mounts {
		byPath[m.Path] = append(byPath[m.Path], s.at(g, m))
	}
	for path, places := range byPath {
		// Of echo's ways to add a route, this one alone takes every method: Any
		// knows eleven, and for the others echo would answer without admission.
		e.RouteNotFound(path, func(c echo.Context) error { return byMethod(places, c.Request().Method).serve(c) })
		places[0].allowed = allowed(places)
	}
	elsewhere := s.at(g, Mount{Name: "none", Handler: http.HandlerFunc(notFound), Keys: guard.HeaderKeys, WriteError: WriteProblem}).serve
	// No handler of ours returns an error: here it is the router's, for a path
	// of no mount.
	e.HTTPErrorHandler = func(_ error, c echo.Context) { _ = elsewhere(c) }
	return e
}

// byMethod picks the place that serves a method; where none does, the first is
// the one to refuse it.
func byMethod(places []*place, method string) *place {
	for _, p := range places {
		if p.serves(method) {
			return p
		}
	}
	return places[0]
}

// allowed lists the methods of a path's mounts, for the header Allow.
func allowed(places []*place) string {
	var methods []string
	for _, p := range places {
		methods = append(methods, p.Methods...)
	}
	if slices.Contains(methods, http.MethodGet) && !slices.Contains(methods, http.MethodHead) {
		methods = append(methods, http.MethodHead)
	}
	return strings.Join(methods, ", ")
}

func notFound(w http.ResponseWriter, r *http.Request) {
	WriteProblem(w, r, entra.Errorf(entra.NotFound, "server.path", "path %s: nothing is served here; see /routes, or call an API at /proxy/<route>/", entra.Quote(r.URL.Path)))
}
