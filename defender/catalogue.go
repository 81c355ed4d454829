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
	for i := range c.endpoints {
		if e := &c.endpoints[i]; e.Counterpart != "" && !c.inGraph(e.Counterpart) {
			return nil, entra.Errorf(entra.Internal, opLoad, "endpoints.tsv: %s: %q is no endpoint of Graph", e, e.Counterpart)
		}
	}
	return c, nil
}

func (c *Catalogue) inGraph(name string) bool {
	return slices.ContainsFunc(c.endpoints, func(e Endpoint) bool { return e.API == Graph && e.String() == name })
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
// an API, it has no route for it either: in China there is only graph. A route
// leads to the host of the region, or where the region has none of its own to
// the cloud's. The empty region is none.
func (c *Catalogue) Builtin(cloud entra.Cloud, region string) []Builtin {
	var routes []Builtin
	for i := range c.hosts {
		h := &c.hosts[i]
		if h.Route == "" || h.Region != "" && h.Region != region || !slices.Contains(h.Clouds, cloud) {
			continue
		}
		b := Builtin{Name: h.Route, Host: h, Paths: h.Paths()}
		if at := slices.IndexFunc(routes, func(r Builtin) bool { return r.Name == b.Name }); at < 0 {
			routes = append(routes, b)
		} else if h.Region != "" {
			routes[at] = b
		}
	}
	return routes
}

// Regions lists the regions of a cloud: those that have a built-in route to a
// host of their own.
func (c *Catalogue) Regions(cloud entra.Cloud) []string {
	var regions []string
	for i := range c.hosts {
		h := &c.hosts[i]
		if h.Route != "" && h.Region != "" && slices.Contains(h.Clouds, cloud) && !slices.Contains(regions, h.Region) {
			regions = append(regions, h.Region)
		}
	}
	return regions
}

// CheckRegion refuses a region that the cloud does not have. The empty one is
// always good.
func (c *Catalogue) CheckRegion(cloud entra.Cloud, region string) error {
	regions := c.Regions(cloud)
	switch {
	case region == "" || slices.Contains(regions, region):
		return nil
	case len(regions) == 0:
		return entra.Errorf(entra.Invalid, opRegion, "region %s: the cloud %s has none: leave it empty", entra.Quote(region), cloud)
	default:
		return entra.Errorf(entra.Invalid, opRegion, "region %s: not one of the cloud %s, which are %s", entra.Quote(region), cloud, strings.Join(regions, ", "))
	}
}

const opRegion = "defender.region"
