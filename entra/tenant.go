package entra

import "strings"

// Tenant is an Entra tenant: a GUID in lower case, or a verified domain name.
// The zero value is no tenant.
type Tenant string

// ParseTenant accepts a GUID or a DNS name with at least two labels, and
// nothing else: a tenant becomes a path segment of the token endpoint's URL.
// Entra's aliases (common, organizations, consumers) are refused, since a
// token is always of one tenant.
func ParseTenant(s string) (Tenant, error) {
	t := strings.ToLower(s)
	if isGUID(t) || isDomain(t) {
		return Tenant(t), nil
	}
	return "", Errorf(Invalid, "parse.tenant", "tenant %s: want a GUID or a domain name such as contoso.onmicrosoft.com", Quote(s))
}

// IsGUID reports whether s is a GUID in its usual form of 8-4-4-4-12 hex digits.
func IsGUID(s string) bool { return isGUID(strings.ToLower(s)) }

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isHex(c) {
				return false
			}
		}
	}
	return true
}

// isDomain holds s to RFC 1123 §2.1, in lower case: labels of letters, digits
// and inner hyphens, 63 bytes each, 253 together, the last one not numeric.
func isDomain(s string) bool {
	if len(s) > 253 || !strings.Contains(s, ".") {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isLower(c) && !isDigit(c) && c != '-' {
				return false
			}
		}
	}
	return !isDigit(labels[len(labels)-1][0])
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || 'a' <= c && c <= 'f' }
