package defender

import (
	"slices"
	"strings"

	"tokenbroker/entra"
)

// Catalogue holds the endpoints and hosts of the Defender APIs. It never
// changes after [Load], and is safe for concurrent use.
type Catalogue struct {
	endpoints []Endpoint
	hosts     []Host
	root      *node // the endpoints, by the segments of their paths
}

// Load reads the embedded tables.
func Load() (*Catalogue, error) { return load(endpointsTSV, hostsTSV) }

func load(endpointsTable, hostsTable string) (*Catalogue, error) {
	endpoints, err := readTable("endpoints.tsv", endpointsTable, endpointColumns, readEndpoint)
	if err != nil {
		return nil, err
	}
	hosts, err := readTable("hosts.tsv", hostsTable, hostColumns, readHost)
	if err != nil {
		return nil, err
	}
	c := &Catalogue{endpoints: endpoints, hosts: hosts, root: new(node)}
	for i := range c.endpoints {
		if e := &c.endpoints[i]; !c.root.add(e) {
			return nil, entra.Errorf(entra.Internal, opLoad, "endpoints.tsv: %s stands there twice", e)
		}
	}
	return c, nil
}

// Endpoints lists every endpoint, in the order of the table. The slice is
// shared: nobody may write to it.
func (c *Catalogue) Endpoints() []Endpoint { return c.endpoints }

// Hosts lists every host, in the order of the table. The slice is shared:
// nobody may write to it. The name of Defender for Cloud Apps' host, of which
// every tenant has its own, has placeholders.
func (c *Catalogue) Hosts() []Host { return c.hosts }

// Host returns the host of that name, without a port, in any case.
func (c *Catalogue) Host(name string) (*Host, bool) {
	name = strings.ToLower(name)
	i := slices.IndexFunc(c.hosts, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return nil, false
	}
	return &c.hosts[i], true
}

// Builtin is a route that exists without configuration.
type Builtin struct {
	Name  string
	Host  *Host
	Paths []string // Host's
}

// Builtin lists the built-in routes of a cloud. Where the cloud has no host for
// an API, it has no route for it either: in China there is only graph.
func (c *Catalogue) Builtin(cloud entra.Cloud) []Builtin {
	var routes []Builtin
	for i := range c.hosts {
		h := &c.hosts[i]
		if h.Route == "" || !slices.Contains(h.Clouds, cloud) {
			continue
		}
		routes = append(routes, Builtin{Name: h.Route, Host: h, Paths: h.Paths()})
	}
	return routes
}
