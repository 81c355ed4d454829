package guard

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode"

	"tokenbroker/entra"
)

// The checks below ask where a request comes from. Loopback alone says little:
// every page in the machine's browser and every open proxy on it reach it too.

// arrival is a request and what its connection says of it.
type arrival struct {
	*http.Request
	socket bool  // by Unix socket: its file mode has admitted the peer; no browser and no resolver leads there
	near   bool  // from this machine
	imds   bool  // to the address of the metadata service, which serves its own machine only
	peer   *Peer // of a Unix socket; nil: not known
}

func arrive(r *http.Request) arrival {
	a := arrival{Request: r}
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && addr.Network() == "unix" {
		a.socket, a.near, a.peer = true, true, PeerIn(r.Context())
		return a
	}
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	a.imds = IsMetadata(localAddress(r))
	a.near = err == nil && (addr.Addr().IsLoopback() || a.imds && IsMetadata(addr.Addr()))
	return a
}

// IsMetadata reports whether ip is 169.254.169.254, where programs look for the
// instance metadata service of Azure's virtual machines, and where the broker
// may stand in for it. Whoever connects there from the very same address is on
// this machine: the kernel takes that address for a connection to itself, and
// what it sends to it never leaves the machine, so that nobody elsewhere learns
// the sequence number that a TCP handshake ends with.
func IsMetadata(ip netip.Addr) bool {
	return ip.Unmap() == netip.AddrFrom4([4]byte{169, 254, 169, 254})
}

// checkPeer refuses a peer on another machine. Where callers have keys, those
// are the proof in its place: for a listener that the configuration opened on
// purpose, which that of the metadata service is not.
func (g *Guard) checkPeer(a arrival) error {
	switch {
	case a.near, g.keys != nil && !a.imds:
		return nil
	case a.imds:
		return entra.Errorf(entra.Denied, "guard.peer", "peer %s: not on this machine, which alone the metadata address serves", entra.Quote(a.RemoteAddr))
	}
	return entra.Errorf(entra.Denied, "guard.peer", "peer %s: not on this machine, and no caller keys are configured", entra.Quote(a.RemoteAddr))
}

// checkHost refuses a Host that is no name of the listener. A page whose name
// was rebound to 127.0.0.1 reaches us, but its name stays in Host. Names count
// in their exact spelling only: no resolver is asked, so that none can lie.
func (g *Guard) checkHost(a arrival) error {
	if a.socket {
		return nil
	}
	// The target of a request may be a whole URL, with a user before the host.
	host, ok := splitHost(a.Host)
	if ok && a.URL.User == nil && (g.hosts[host] || host == localAddress(a.Request).String()) {
		return nil
	}
	return entra.Errorf(entra.Denied, "guard.host", "Host %s: not a name of this listener; call it as localhost", entra.Quote(a.Host))
}

// localAddress is the address that the caller connected to. An address in
// Host cannot be rebound. Zero: it is not known.
func localAddress(r *http.Request) netip.Addr {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(addr.IP)
	return ip.Unmap()
}

// splitHost returns the name in a Host header, in lower case and without
// brackets. It refuses what is not RFC 9110 §7.2's host [ ":" port ], where
// only an IPv6 address stands in brackets, and what is not ASCII: the Kelvin
// sign becomes a k in lower case.
func splitHost(s string) (host string, ok bool) {
	if strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
		return "", false
	}
	host = strings.ToLower(s)
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		if !isPort(host[colon+1:]) {
			return "", false
		}
		host = host[:colon]
	}
	if inner, opened := strings.CutPrefix(host, "["); opened {
		inner, closed := strings.CutSuffix(inner, "]")
		return inner, closed && strings.Contains(inner, ":")
	}
	return host, host != "" && !strings.ContainsAny(host, ":[]@/")
}

func isPort(s string) bool {
	return len(s) >= 1 && len(s) <= 5 && strings.Trim(s, "0123456789") == ""
}

// checkForwarded refuses what a proxy passed on: an open one would be a way
// in from outside.
func checkForwarded(a arrival) error {
	for name := range a.Header {
		if saysForwarded(name) {
			return entra.Errorf(entra.Denied, "guard.forwarded", "header %s: the broker answers local programs, not proxies; remove the proxy between them", entra.Quote(name))
		}
	}
	return nil
}

// saysForwarded reports whether a header speaks of another client than the one
// that connected. No client says such a thing of itself. X-Forwarded-Proto and
// -Port do not count: they speak of the connection, and a service mesh writes
// them on every request. An underscore counts as a hyphen, since some gateways
// read it so.
func saysForwarded(name string) bool {
	name = strings.ReplaceAll(name, "_", "-")
	for _, other := range [...]string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Server", "X-Real-Ip"} {
		if len(name) == len(other) && strings.EqualFold(name, other) {
			return true
		}
	}
	return false
}

// checkSite refuses what a page of another site makes a browser send. It does
// so for every method: a token is read by GET, which is why
// [http.CrossOriginProtection] will not do.
func checkSite(a arrival) error {
	const op = "guard.site"
	for _, site := range a.Header["Sec-Fetch-Site"] {
		if site != "none" && site != "same-origin" {
			return entra.Errorf(entra.Denied, op, "Sec-Fetch-Site %s: a web page of another site may not call the broker", entra.Quote(site))
		}
	}
	origins := a.Header["Origin"]
	for _, origin := range origins {
		if len(origins) > 1 || a.socket || origin != ownOrigin(a.Request) {
			return entra.Errorf(entra.Denied, op, "Origin %s: a web page of another origin may not call the broker", entra.Quote(origin))
		}
	}
	// A browser asks like this for pages of another origin only, or of another network.
	for _, name := range [...]string{"Access-Control-Request-Method", "Access-Control-Request-Private-Network"} {
		if _, asks := a.Header[name]; asks {
			return entra.Errorf(entra.Denied, op, "header %s: a preflight is never granted, a web page of another origin may not call the broker", name)
		}
	}
	return nil
}

// ownOrigin is the origin of a page that the listener itself would serve. On a
// Unix socket it means nothing: no page has that for its host.
func ownOrigin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
