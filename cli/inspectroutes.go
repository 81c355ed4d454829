package cli

import (
	"fmt"
	"strings"

	"tokenbroker/config"
	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
	"tokenbroker/setup"
)

// routeOpened is a route of a configuration whose upstream a token is for.
type routeOpened struct {
	Route   string   `json:"route"`
	Opens   int      `json:"opens"`   // of the endpoints that the route lets through
	Of      int      `json:"of"`      // these
	Missing []string `json:"missing"` // the permissions for the rest
}

// inspectRoutes says which routes of the configuration in file a token is good
// for. No credential is read, and nobody is asked.
func inspectRoutes(sys System, catalogue *defender.Catalogue, file string, c *entra.Claims) ([]routeOpened, error) {
	cfg, err := readConfig(sys, config.Options{Catalogue: catalogue, File: file})
	if err != nil {
		return nil, err
	}
	found := []routeOpened{}
	for _, r := range cfg.Table.Routes() {
		if isFor(catalogue, c, r.Scopes()...) {
			found = append(found, openedBy(catalogue, cfg.Table, r, c))
		}
	}
	return found, nil
}

// openedBy counts what a token opens of what a route lets through.
func openedBy(catalogue *defender.Catalogue, table *route.Table, r *route.Route, c *entra.Claims) routeOpened {
	o := routeOpened{Route: r.Name, Missing: []string{}}
	var closed []defender.Endpoint
	for _, e := range catalogue.Endpoints() {
		if !catalogue.Opens(c.Audience, e.API) {
			continue
		}
		call, err := table.Resolve(target(r, &e))
		if err != nil || call.Endpoint == nil || call.Endpoint.String() != e.String() || !isFor(catalogue, c, call.Scope) { // by path it may be another API's
			continue
		}
		if _, err := call.Permitted(); err != nil {
			continue
		}
		o.Of++
		if defender.Missing(&e, c) == nil {
			o.Opens++
		} else {
			closed = append(closed, e)
		}
	}
	for _, needed := range setup.Least(closed, c.Delegated()) {
		o.Missing = append(o.Missing, needed.Name)
	}
	return o
}

// isFor reports whether a token is for the resource of one of the scopes.
func isFor(catalogue *defender.Catalogue, c *entra.Claims, scopes ...entra.Scope) bool {
	for _, audience := range c.Audience {
		own, err := entra.ParseResource(audience)
		if err != nil {
			continue
		}
		for _, scope := range scopes {
			if catalogue.SameResource(own, scope) {
				return true
			}
		}
	}
	return false
}

// String is the route in a line.
func (o *routeOpened) String() string {
	text := o.Route + ": "
	if o.Of == 0 {
		return text + "the token is for its API, whose endpoints are not in the catalogue"
	}
	text += fmt.Sprintf("opens %d of the %d endpoints that it lets through", o.Opens, o.Of)
	if len(o.Missing) > 0 {
		text += "; missing " + strings.Join(o.Missing, ", ")
	}
	return text
}
