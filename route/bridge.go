package route

import (
	"net/http"
	"slices"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// Bridge leads some of a route's calls over to another API, which does the same
// and stays when theirs ends. The zero value leads none.
type Bridge uint8

const (
	// NoBridge leaves every call where it is.
	NoBridge Bridge = iota
	// GraphHunting leads the hunting of the MDE and XDR APIs to that of Graph.
	GraphHunting
)

// ParseBridge accepts a bridge's name in the configuration; empty is [NoBridge].
func ParseBridge(s string) (Bridge, error) {
	switch s {
	case "":
		return NoBridge, nil
	case "graph-hunting":
		return GraphHunting, nil
	default:
		return NoBridge, entra.Errorf(entra.Invalid, "parse.bridge", "bridge %s: want graph-hunting, or nothing", entra.Quote(s))
	}
}

// String is the bridge's name in the configuration.
func (b Bridge) String() string {
	if b == GraphHunting {
		return "graph-hunting"
	}
	return ""
}

const (
	graphRoute  = "graph" // the built-in route that says where Graph is
	graphHunted = "/v1.0/security/runHuntingQuery"
)

// crossing is what a call becomes that goes over its route's bridge.
//
// Its other side is where the route graph leads, be that open or closed: the
// configuration says there once where Graph is, its cloud's or an emulator. The
// identity, the tenant and the pace stay the call's own.
//
// Only where the call goes changes, not who may make it. The rules of the call's
// own route decide, with the path that its caller wrote. What the route graph
// lets through has no say: bridge opens this one endpoint to those who may hunt
// here, and nothing else of Graph. So its scope is none of the route's Scopes,
// and [Table.UsersOf] knows nothing of it: whoever may hunt over a bridge gets no
// token for Graph in hand by that, nor its claims shown. The one place that
// allows such a token, on a call alone, is [Table.Bridged].
type crossing struct {
	route    *Route // the call's own, but for where it leads
	scope    entra.Scope
	endpoint *defender.Endpoint
	path     Path
}

// addBridges finds the other side of the open routes' bridges.
func (t *Table) addBridges(given []Route) (faults []error) {
	t.bridges = make(map[string]*crossing)
	for _, r := range t.routes {
		if r.Bridge == NoBridge {
			continue
		}
		c, err := t.crossingOf(r, given)
		if err != nil {
			faults = append(faults, err)
		}
		t.bridges[r.Name] = c
	}
	return faults
}

func (t *Table) crossingOf(r *Route, given []Route) (*crossing, error) {
	i := slices.IndexFunc(given, func(other Route) bool { return other.Name == graphRoute && other.Upstream != nil })
	if r.Host == nil || r.Host.XDR == "" && r.Host.MDE == "" {
		return nil, fault("routes.%s.bridge: it leads hunting away from the Defender APIs, and the catalogue knows none of them at the route's upstream", r.Name)
	}
	if i < 0 {
		return nil, fault("routes.%s.bridge: where is Graph? no route %s says so", r.Name, graphRoute)
	}
	there := &given[i]
	if there.Host != nil && slices.Contains(there.Host.Clouds, entra.China) {
		return nil, fault("routes.%s.bridge: Graph has no hunting in the cloud %s", r.Name, entra.China)
	}
	path, err := ParsePath(graphHunted)
	if err != nil {
		return nil, err
	}
	scope := there.ScopeFor(path)
	endpoint, ok := t.catalogue.Match(http.MethodPost, path.Match())
	if scope == "" || !ok {
		return nil, fault("routes.%s.bridge: where route %s leads, there is no hunting", r.Name, graphRoute)
	}
	far := *r
	far.Upstream, far.Host, far.Scope = there.Upstream, there.Host, ""
	return &crossing{&far, scope, endpoint, path}, nil
}

// crossing returns what becomes of a call; nil: it stays where it is.
func (t *Table) crossing(r *Route, e *defender.Endpoint) *crossing {
	c := t.bridges[r.Name]
	if c == nil || e == nil || e.Counterpart != c.endpoint.String() {
		return nil
	}
	return c
}

// Bridged reports whether calls of the route of that name go over its bridge,
// with a token of that scope and identity.
func (t *Table) Bridged(name string, scope entra.Scope, identity entra.IdentityID) bool {
	r, c := t.route(name), t.bridges[name]
	return r != nil && c != nil && c.scope == scope && t.identity(r.Identity).ID == identity
}

// Cross returns the call as it goes out, for who has judged it as its caller
// wrote it: as it is or, where its route has a bridge for it, over that. Then
// Bridge says by which, and that body and answer are to be translated.
func (c *Call) Cross() Call {
	out := *c
	if far := c.crossing; far != nil {
		out.Route, out.Scope, out.Endpoint, out.Path = far.route, far.scope, far.endpoint, far.path
		out.Bridge, out.crossing = far.route.Bridge, nil
	}
	return out
}
