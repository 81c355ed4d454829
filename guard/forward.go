package guard

import (
	"maps"
	"net/http"

	"tokenbroker/entra"
)

// Named is g at a listener that goes by further names.
func (g *Guard) Named(hosts ...string) *Guard {
	other := *g
	other.hosts = maps.Clone(g.hosts)
	other.name(hosts)
	return &other
}

// ForwardProxy is g at a listener that is a forward proxy (RFC 9112 §3.2.2).
// There Host names the server that is called: the mount has to judge it, and
// passes on nothing that it does not know. In its place the guard wants a whole
// URL, which no page can make a browser send whose proxy this is not, and of a
// browser whose proxy it is it refuses what speaks for a page.
func (g *Guard) ForwardProxy() *Guard {
	other := *g
	other.forward = true
	return &other
}

// ProxyKeys is the [KeysOf] of a forward proxy: Proxy-Authorization, as Basic
// with the key for password, whatever the user name, or as Bearer, and
// X-Broker-Key. Authorization is not looked at: it is meant for the server that
// is called.
func ProxyKeys(r *http.Request) ([]entra.Secret, error) {
	var keys []entra.Secret
	for _, value := range r.Header["Proxy-Authorization"] {
		// RFC 9110 §11.7.2: the same credentials as in Authorization.
		as := &http.Request{Header: http.Header{"Authorization": {value}}}
		if _, password, ok := as.BasicAuth(); ok && password != "" {
			keys = append(keys, entra.NewSecret(password))
			continue
		}
		bearer, _ := HeaderKeys(as) // never fails
		keys = append(keys, bearer...)
	}
	if r.Header["X-Broker-Key"] != nil {
		more, _ := HeaderKeys(r) // never fails
		keys = append(keys, more...)
	}
	return keys, nil
}

// checkTarget refuses what is not sent as a forward proxy gets it, or cannot be
// passed on with a token. A page whose name was rebound to 127.0.0.1 comes with
// a path for target.
func checkTarget(a arrival) error {
	const op = "guard.target"
	switch {
	case a.Method == http.MethodConnect:
		return entra.Errorf(entra.Denied, op, "CONNECT: refused, a token cannot be put into a tunnel; write http:// for https:// in the URL that the tool calls, the broker itself speaks https; for a tool that insists on https, give the route a listener with tls: see docs/forward.md")
	case a.URL.Host == "":
		return entra.Errorf(entra.Denied, op, "request target: want a whole URL, as in http://api.security.microsoft.com/api/incidents; this listener is a forward proxy, to be set as HTTP_PROXY")
	case a.URL.Scheme != "http":
		return entra.Errorf(entra.Denied, op, "request target: want http://, as the scheme of the URL; the broker itself speaks https to the API")
	case a.URL.User != nil:
		return entra.Errorf(entra.Denied, op, "request target: want no user before the host; a caller key is the password of the proxy, not of the URL")
	}
	return nil
}

// checkNoPage refuses what a browser sends for a page, whatever its origin: at a
// forward proxy no page is at home.
func checkNoPage(a arrival) error {
	for _, name := range [...]string{"Origin", "Sec-Fetch-Site", "Upgrade-Insecure-Requests"} {
		if _, says := a.Header[name]; says {
			return entra.Errorf(entra.Denied, "guard.site", "header %s: a web page may not call by this proxy; set it for the one tool that needs it, not for a browser or the whole machine", name)
		}
	}
	return checkSite(a)
}
