package proxy

import (
	"mime"
	"net/http"
	"net/textproto"
	"strings"

	"tokenbroker/entra"
)

// refuse turns away what has no meaning through this proxy, or one that the
// rules of a route would not see.
func refuse(r *http.Request) error {
	switch r.Method {
	case http.MethodConnect, http.MethodTrace:
		return entra.Errorf(entra.Invalid, "proxy.refuse", "method %s: not forwarded, no upstream of a route needs it", r.Method)
	}
	// RFC 9110 §7.8 lets a server pass over an offer to upgrade. Java's client
	// offers h2c with every request, and goes on in HTTP/1.1; whoever offers
	// another protocol means it.
	for _, protocol := range r.Header["Upgrade"] {
		if protocol != "h2c" {
			return entra.Errorf(entra.Invalid, "proxy.refuse", "upgrade to %s: not forwarded, the token would go where no rule is", entra.Quote(protocol))
		}
	}
	for name := range r.Header {
		if overrides(canonical(name)) {
			return entra.Errorf(entra.Invalid, "proxy.refuse", "header %s: what it stands for is decided by the request line alone, put it there", name)
		}
	}
	return nil
}

// overrides reports whether some server takes the header for the request's
// method or path, past the rules that were matched with the real ones.
func overrides(name string) bool {
	switch name {
	case "X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Method", "X-Original-Url", "X-Rewrite-Url":
		return true
	}
	return false
}

// stripRequest removes what the caller must not tell the upstream. Hop-by-hop
// fields are gone already, those that the caller's Connection names too.
func stripRequest(h http.Header) {
	for name := range h {
		if isLocal(canonical(name)) {
			delete(h, name)
		}
	}
}

// isLocal reports whether a request header stays on this side.
func isLocal(name string) bool {
	switch name {
	case "Authorization", "Cookie", "Cookie2", // the route's token speaks for the caller, nothing else does
		"Idempotency-Key", "X-Idempotency-Key", // http.Transport sends a POST that carries one again
		"X-Broker-Key", "X-Identity-Header", "X-User-Assertion", "Secret", // keys to this broker, users' tokens
		"Forwarded", "Connection", "Upgrade", "Http2-Settings", // ReverseProxy puts an offer of h2c back
		"Accept-Encoding": // links are rewritten in plain JSON, and a compressed answer could only be passed on
		return true
	}
	return hasAnyPrefix(name, "X-Forwarded-", "X-Token-Broker-", "Proxy-")
}

// stripAnswer removes what the upstream must not tell the caller: what only
// the broker says, and what would be taken to speak for the host that the
// caller knows. A cookie is the session of the broker's identity: it would
// open the upstream past the route's rules, and browsers send it to every port
// of localhost.
func stripAnswer(h http.Header) {
	for name := range h {
		switch spelt := canonical(name); spelt {
		case "Set-Cookie", "Set-Cookie2", "Alt-Svc", "Strict-Transport-Security", "Clear-Site-Data", "X-Request-Id":
			delete(h, name)
		default:
			if hasAnyPrefix(spelt, "X-Token-Broker-") {
				delete(h, name)
			}
		}
	}
}

// confine keeps a page that the upstream sends from acting as one of ours: to
// a browser it comes from the broker's own origin.
func confine(h http.Header) {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	switch media {
	case "", "text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml": // what a browser renders
	default:
		return
	}
	h.Set("Content-Security-Policy", "sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
}

// canonical is the spelling that headers are compared in. Some servers read an
// underscore as a hyphen.
func canonical(name string) string {
	if !strings.Contains(name, "_") {
		return name // net/http has made it canonical
	}
	return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}
