package route

import (
	"fmt"
	"net/http"
	"strings"

	"tokenbroker/entra"
)

// fault is something wrong with the configuration. The text starts with its
// place there.
func fault(format string, args ...any) error { return entra.Errorf(entra.Invalid, "", format, args...) }

// WantName says what [IsName] wants, for the text of a fault.
const WantName = "want a name of 1 to 63 letters a to z, digits and hyphens, the first no hyphen"

// identityFaults says what is wrong with an identity, beside those before it.
func (t *Table) identityFaults(i *Identity) []error {
	switch {
	case !IsName(i.Name):
		return []error{fault("identities: %s: %s", entra.Quote(i.Name), WantName)}
	case t.identity(i.Name) != nil:
		return []error{fault("identities.%s: two identities of this name", i.Name)}
	}
	return nil
}

// routeFaults says what is wrong with a route, beside those before it.
func (t *Table) routeFaults(r *Route) (faults []error) {
	switch {
	case !IsName(r.Name):
		return []error{fault("routes: %s: %s", entra.Quote(r.Name), WantName)}
	case t.route(r.Name) != nil:
		return []error{fault("routes.%s: two routes of this name", r.Name)}
	}
	add := func(key, format string, args ...any) {
		faults = append(faults, fault("routes.%s.%s: %s", r.Name, key, fmt.Sprintf(format, args...)))
	}
	switch u := r.Upstream; {
	case u == nil, u.Scheme != "https", u.Hostname() == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		add("upstream", "want https://host")
	case strings.Trim(u.Path, "/") != "":
		if _, known := t.catalogue.Host(u.Hostname()); known {
			add("upstream", "want https://%s alone: the path is part of each call", u.Host)
		} else if _, why := decode(u.EscapedPath()); why != "" {
			add("upstream", "path %s: %s", entra.Quote(u.EscapedPath()), why)
		}
	}
	if r.Scope == "" && r.Host == nil {
		add("scope", "the catalogue does not know the upstream, so name the scope of its tokens")
	}
	switch {
	case r.Identity == "":
		add("identity", "no identity is the default, so name one of: %s", t.identityNames())
	case t.identity(r.Identity) == nil:
		add("identity", "no identity %s; there are: %s", entra.Quote(r.Identity), t.identityNames())
	}
	checkRules := func(key string, rules []Rule) {
		for i, rule := range rules {
			for _, m := range rule.Methods {
				if !isMethod(m) {
					add(fmt.Sprintf("%s[%d].methods", key, i), "%s: "+wantMethod, entra.Quote(m))
				}
			}
			if rule.Path.text == "" {
				add(fmt.Sprintf("%s[%d].path", key, i), "want a pattern, such as /api/incidents/**")
			}
		}
	}
	checkRules("allow", r.Allow)
	checkRules("deny", r.Deny)
	return faults
}

// IsName reports whether s can name a route or an identity. Such a name stands
// in URLs, JSON, logs and metrics as it is, and could be a label of a DNS name.
func IsName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z':
		case i > 0 && c == '-':
		default:
			return false
		}
	}
	return 1 <= len(s) && len(s) <= 63
}

// isMethod reports whether s is a method that rules can name. Others are
// refused: to some servers MERGE is PATCH, and patch too (RFC 9110 §9.1 says
// that case matters), and a rule for the one must not be walked round by the other.
func isMethod(s string) bool {
	switch s {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return true
	}
	return false
}

const wantMethod = "want GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS"
