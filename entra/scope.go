package entra

import (
	"net/url"
	"slices"
	"strings"
)

// maxScope bounds a scope in bytes. Real ones stay below 200.
const maxScope = 2048

// Scope is what is asked of Entra: one or more scopes of one resource, in
// their canonical form. Two scopes are the same exactly when they are equal;
// Entra's habit of answering a narrower request with a wider token is not ours.
// The zero value is no scope.
type Scope string

// ParseScope accepts what RFC 6749 §3.3 calls a scope, in the spellings that
// Entra knows: https://host/.default, api://id/.default, GUID/.default, or
// several delegated scopes of one resource separated by spaces. The OIDC
// scopes (openid, profile, email, offline_access) are dropped. The host is
// lowered, a doubled slash before the last segment is made single, and several
// scopes are sorted.
func ParseScope(s string) (Scope, error) {
	if len(s) > maxScope {
		return "", Errorf(Invalid, "parse.scope", "scope: longer than %d bytes", maxScope)
	}
	var names []string
	resource := ""
	for field := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ' ' }) {
		if isOIDC(field) {
			continue
		}
		res, name, ok := splitScope(field)
		if !ok {
			return "", Errorf(Invalid, "parse.scope", "scope %s: want https://host/.default", Quote(field))
		}
		if resource != "" && res != resource {
			return "", Errorf(Invalid, "parse.scope", "scope %s: another resource than %s: ask for one resource at a time", Quote(field), Quote(resource))
		}
		resource = res
		names = append(names, res+"/"+name)
	}
	if len(names) == 0 {
		return "", Errorf(Invalid, "parse.scope", "scope %s: names no resource, want https://host/.default", Quote(s))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > 1 && slices.Contains(names, resource+"/.default") {
		return "", Errorf(Invalid, "parse.scope", "scope %s: .default stands alone, without other scopes of its resource", Quote(s))
	}
	return Scope(strings.Join(names, " ")), nil
}

// ParseResource accepts a v1 resource, such as https://host, as Entra's v1
// endpoint and managed identity have it, and returns its .default scope. A
// trailing slash is the same resource.
func ParseResource(s string) (Scope, error) {
	trimmed := strings.TrimSuffix(s, "/")
	if strings.HasSuffix(trimmed, "/.default") {
		return "", Errorf(Invalid, "parse.resource", "resource %s: a resource has no /.default, leave it off or use scope", Quote(s))
	}
	scope, err := ParseScope(trimmed + "/.default")
	if err != nil || strings.Contains(s, " ") {
		return "", Errorf(Invalid, "parse.resource", "resource %s: want https://host", Quote(s))
	}
	return scope, nil
}

// Audience is the resource whose scope it is: whom the token is for.
func (s Scope) Audience() string {
	first, _, _ := strings.Cut(string(s), " ")
	return first[:max(strings.LastIndexByte(first, '/'), 0)]
}

// Names are the single scopes that make up s.
func (s Scope) Names() []string { return strings.Fields(string(s)) }

func isOIDC(s string) bool {
	switch s {
	case "openid", "profile", "email", "offline_access":
		return true
	}
	return false
}

// splitScope cuts one scope into its resource, canonical, and its name.
func splitScope(s string) (resource, name string, ok bool) {
	for i := range len(s) {
		// RFC 6749 §3.3: scope-token, less the characters that would end a path.
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"\?#%@`, c) >= 0 {
			return "", "", false
		}
	}
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	resource, name = strings.TrimSuffix(s[:i], "/"), s[i+1:]
	if name == "" || strings.HasSuffix(resource, "/") {
		return "", "", false
	}
	if guid := strings.ToLower(resource); isGUID(guid) {
		return guid, name, true
	}
	u, err := url.Parse(resource)
	if err != nil || u.Host == "" || u.Opaque != "" || strings.Contains(u.Path, "//") || hasDotSegment(u.Path) {
		return "", "", false
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
		host := strings.ToLower(u.Hostname())
		if !isDomain(host) && host != "localhost" {
			return "", "", false
		}
		if port := u.Port(); port != "" && port != "443" {
			host += ":" + port
		}
		return "https://" + host + u.Path, name, true
	case "api":
		return "api://" + strings.ToLower(u.Host) + u.Path, name, true
	}
	return "", "", false
}

func hasDotSegment(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
