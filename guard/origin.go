package guard

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"tokenbroker/entra"
)

// The checks below ask where a request comes from. Loopback alone says little:
// every page in the machine's browser and every open proxy on it reach it too.

// checkPeer refuses a peer on another machine. Where callers have keys, those
// are the proof in its place: for a listener that the configuration opened on
// purpose.
func (g *Guard) checkPeer(r *http.Request) error {
	if g.keys != nil || unixSocket(r) || loopback(r.RemoteAddr) {
		return nil
	}
	return entra.Errorf(entra.Denied, "guard.peer", "peer %s: not on this machine, and no caller keys are configured", entra.Quote(r.RemoteAddr))
}

// unixSocket reports whether r came by a Unix socket. Its file mode has
// admitted the peer; no browser and no resolver leads there.
func unixSocket(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && addr.Network() == "unix"
}

func loopback(remote string) bool {
	addr, err := netip.ParseAddrPort(remote)
	return err == nil && addr.Addr().IsLoopback()
}

// checkHost refuses a Host that is no name of the listener. A page whose name
// was rebound to 127.0.0.1 reaches us, but its name stays in Host. Names count
// in their exact spelling only: no resolver is asked, so that none can lie.
func (g *Guard) checkHost(r *http.Request) error {
	if unixSocket(r) {
		return nil
	}
	host, ok := splitHost(r.Host)
	if ok && (g.hosts[host] || host == localAddress(r)) {
		return nil
	}
	return entra.Errorf(entra.Denied, "guard.host", "Host %s: not a name of this listener; call it as localhost", entra.Quote(r.Host))
}

// localAddress is the address that the caller connected to. An address in
// Host cannot be rebound.
func localAddress(r *http.Request) string {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return ""
	}
	return addr.IP.String()
}

// splitHost returns the name in a Host header, in lower case and without
// brackets. It refuses what is not RFC 9110 §7.2's host [ ":" port ], where
// only an IPv6 address stands in brackets.
func splitHost(s string) (host string, ok bool) {
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
func checkForwarded(r *http.Request) error {
	for name := range r.Header {
		if saysForwarded(name) {
			return entra.Errorf(entra.Denied, "guard.forwarded", "header %s: the broker answers local programs, not proxies; remove the proxy between them", entra.Quote(name))
		}
	}
	return nil
}

// saysForwarded reports whether a header names those who passed the request
// on. An underscore counts as a hyphen, since some gateways read it so.
func saysForwarded(name string) bool {
	name = strings.ReplaceAll(name, "_", "-")
	return strings.EqualFold(name, "Forwarded") ||
		strings.EqualFold(name, "X-Forwarded-For") ||
		strings.EqualFold(name, "X-Forwarded-Host")
}

// checkSite refuses what a page of another site makes a browser send. It does
// so for every method: a token is read by GET, which is why
// [http.CrossOriginProtection] will not do.
func checkSite(r *http.Request) error {
	const op = "guard.site"
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "none" && site != "same-origin" {
			return entra.Errorf(entra.Denied, op, "Sec-Fetch-Site %s: a web page of another site may not call the broker", entra.Quote(site))
		}
	}
	for _, origin := range r.Header["Origin"] {
		if origin != ownOrigin(r) {
			return entra.Errorf(entra.Denied, op, "Origin %s: a web page of another origin may not call the broker", entra.Quote(origin))
		}
	}
	return nil
}

// ownOrigin is the origin of a page that the listener itself would serve.
func ownOrigin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
