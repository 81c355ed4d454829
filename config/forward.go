package config

import (
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Forwarded says which route a forward proxy takes for which server, by the
// server's [Authority]. Of several routes that have one server it takes the
// default route; where that is none of them it takes none.
func (c *Config) Forwarded(l *Listener) map[string]string {
	chosen := map[string]string{}
	for server, names := range c.servers(l) {
		if name, ok := c.choose(names); ok {
			chosen[server] = name
		}
	}
	return chosen
}

// servers lists the open routes of each server. One whose upstream has a path of
// its own is left out: it does not stand for its server.
func (c *Config) servers(l *Listener) map[string][]string {
	names := map[string][]string{}
	if c.Table == nil {
		return names
	}
	for _, r := range c.Table.Routes() {
		if (l.Route == "" || l.Route == r.Name) && r.Upstream.EscapedPath() == "" {
			server := Authority(r.Upstream.Host)
			names[server] = append(names[server], r.Name)
		}
	}
	return names
}

func (c *Config) choose(names []string) (name string, ok bool) {
	if len(names) > 1 {
		return c.DefaultRoute, slices.Contains(names, c.DefaultRoute)
	}
	return names[0], true
}

// Authority is the host of a URL, and its port, in the one spelling in which
// those of upstreams and those that callers write are compared: letters of ASCII
// in lower case, and no port where it is that of http or of https. A forward
// proxy is asked for http, and calls by https. Empty: it is not in ASCII, and
// stands for nobody: IDNA would map it to another name.
func Authority(host string) string {
	if strings.IndexFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
		return ""
	}
	host = strings.ToLower(host)
	for _, port := range [...]string{":80", ":443"} {
		if name, ok := strings.CutSuffix(host, port); ok {
			return name
		}
	}
	return host
}

// checkForward checks that a forward proxy knows one route for each server.
func (l *loader) checkForward(c *Listener, path string) {
	if !c.Forward || l.cfg.Table == nil || l.faults.within(path) {
		return
	}
	servers := l.cfg.servers(c)
	if len(servers) == 0 {
		l.faults.add(join(path, "forward"), "no route to call by: want one whose upstream is a host alone, without a path")
	}
	for _, server := range slices.Sorted(maps.Keys(servers)) {
		names := servers[server]
		if _, ok := l.cfg.choose(names); !ok {
			l.faults.add(join(path, "forward"), "%s is the upstream of the routes %s: set route here, or default_route, to say by which of them it is called", server, strings.Join(names, " and "))
		}
	}
}
