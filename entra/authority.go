package entra

import (
	"net/url"
	"strings"
)

// Cloud is one of Microsoft's national clouds. Its authority is where tokens
// come from; its API hosts stand in package defender.
type Cloud string

// The clouds of Microsoft's "National clouds" page.
const (
	Public  Cloud = "public"
	GCC     Cloud = "gcc" // commercial sign-in, US government API hosts
	GCCHigh Cloud = "gcchigh"
	DoD     Cloud = "dod"
	China   Cloud = "china" // operated by 21Vianet
)

// Clouds lists every cloud, in the order of their documentation.
func Clouds() []Cloud { return []Cloud{Public, GCC, GCCHigh, DoD, China} }

// ParseCloud accepts a cloud's name; empty is [Public].
func ParseCloud(s string) (Cloud, error) {
	if s == "" {
		return Public, nil
	}
	for _, c := range Clouds() {
		if string(c) == s {
			return c, nil
		}
	}
	return "", Errorf(Invalid, "parse.cloud", "cloud %s: want public, gcc, gcchigh, dod or china", Quote(s))
}

// Authority returns the cloud's sign-in host.
func (c Cloud) Authority() Authority {
	switch c {
	case GCCHigh, DoD:
		return "https://login.microsoftonline.us"
	case China:
		return "https://login.partner.microsoftonline.cn"
	default:
		return "https://login.microsoftonline.com"
	}
}

// Authority is the host that issues tokens, as an https URL without a path.
// The zero value is none.
type Authority string

// ParseAuthority accepts an https URL of a host, with a port and a trailing
// slash if need be (AZURE_AUTHORITY_HOST has one). Older names of Microsoft's
// hosts become the current ones.
func ParseAuthority(s string) (Authority, error) {
	u, err := url.Parse(s)
	if strings.Contains(s, "@") { // a password may stand before it: not to be repeated
		return "", Errorf(Invalid, "parse.authority", "authority: has an @ in it; want https://host, without a user")
	}
	if err != nil || u.Host == "" {
		return "", Errorf(Invalid, "parse.authority", "authority %s: want https://host", Quote(s))
	}
	if u.Scheme != "https" {
		return "", Errorf(Invalid, "parse.authority", "authority %s: want https, a token request carries the credential", Quote(s))
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Hostname() == "" {
		return "", Errorf(Invalid, "parse.authority", "authority %s: want the host alone, https://host; the tenant has a setting of its own", Quote(s))
	}
	host := strings.ToLower(u.Host)
	switch host {
	case "login.windows.net":
		host = "login.microsoftonline.com"
	case "login.chinacloudapi.cn":
		host = "login.partner.microsoftonline.cn"
	}
	return Authority("https://" + host), nil
}

// Host returns the host, with its port where it has one.
func (a Authority) Host() string { return strings.TrimPrefix(string(a), "https://") }

// Tenant returns the URL of a tenant at this authority.
func (a Authority) Tenant(t Tenant) string { return string(a) + "/" + string(t) }

// TokenEndpoint returns the path of a tenant's v2 token endpoint, the only
// place that a credential may be sent to.
func (a Authority) TokenEndpoint(t Tenant) string { return a.Tenant(t) + "/oauth2/v2.0/token" }
