package proxy

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

const (
	maxChallenges = 16      // of one header line; real ones hold one or two
	maxClaims     = 4 << 10 // bytes of a challenge's claims, as sent; real ones hold some hundred
)

// challenge is one of RFC 9110 §11.3: a scheme, and either a token68 or
// parameters. Scheme and parameter names are in lower case.
type challenge struct {
	scheme  string
	token68 string
	params  map[string]string
}

// claimsChallenge returns the claims that an API asks for with a 401, as
// decoded JSON, or "" where it asks for none. See "Claims challenges",
// learn.microsoft.com/entra/identity-platform/claims-challenge.
func claimsChallenge(h http.Header) string {
	for _, line := range h["Www-Authenticate"] {
		for _, c := range parseChallenges(line) {
			if c.scheme == "bearer" && c.params["error"] == "insufficient_claims" {
				if claims := decodeClaims(c.params["claims"]); claims != "" {
					return claims
				}
			}
		}
	}
	return ""
}

// decodeClaims takes base64 of either alphabet, padded or not, since both are
// seen, and only what decodes to a JSON object.
func decodeClaims(s string) string {
	if len(s) > maxClaims {
		return ""
	}
	s = strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(s)
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || !strings.HasPrefix(strings.TrimLeft(string(b), " \t\r\n"), "{") || !json.Valid(b) {
		return ""
	}
	return string(b)
}

// parseChallenges reads one WWW-Authenticate line, RFC 9110 §11.6.1:
//
//	WWW-Authenticate = #challenge
//	challenge        = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
//
// A comma separates parameters as well as challenges: what follows one is a
// parameter when it is a token before "=", else a new scheme. Reading stops at
// the first fault; what came before it counts.
func parseChallenges(line string) []challenge {
	var all []challenge
	for s := skip(line, " \t,"); s != "" && len(all) < maxChallenges; s = skip(s, " \t,") {
		var c challenge
		if c.scheme, s = cutToken(s); c.scheme == "" {
			break
		}
		c.scheme = strings.ToLower(c.scheme)
		if rest, ok := strings.CutPrefix(s, " "); ok {
			rest = skip(rest, " ")
			if t, after := cutToken68(rest); t != "" {
				c.token68, s = t, after
			} else {
				c.params, s = cutParams(rest)
			}
		}
		all = append(all, c)
		if s = skip(s, " \t"); s != "" && s[0] != ',' {
			break
		}
	}
	return all
}

// cutParams reads a list of auth-param = token BWS "=" BWS ( token /
// quoted-string ). Of two with one name the first counts.
func cutParams(s string) (params map[string]string, rest string) {
	params = map[string]string{}
	for {
		name, after := cutToken(skip(s, " \t,"))
		after, isParam := strings.CutPrefix(skip(after, " \t"), "=")
		if name == "" || !isParam {
			return params, s // the next scheme, or the end
		}
		value, after, ok := cutValue(skip(after, " \t"))
		if !ok {
			return params, ""
		}
		name = strings.ToLower(name)
		if _, twice := params[name]; !twice {
			params[name] = value
		}
		if s = skip(after, " \t"); s == "" || s[0] != ',' {
			return params, s
		}
	}
}

func cutValue(s string) (value, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		return cutQuoted(s)
	}
	value, rest = cutToken(s)
	return value, rest, value != ""
}

// cutQuoted reads the quoted-string of RFC 9110 §5.6.4 that s starts with.
func cutQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// cutToken68 reads a token68, RFC 9110 §11.2, that ends its challenge. A
// parameter's name looks like the start of one, hence the look ahead.
func cutToken68(s string) (token68, rest string) {
	n := len(s) - len(strings.TrimLeftFunc(s, isToken68))
	if n == 0 {
		return "", s
	}
	n = len(s) - len(strings.TrimLeft(s[n:], "="))
	if rest = skip(s[n:], " \t"); rest != "" && rest[0] != ',' {
		return "", s
	}
	return s[:n], rest
}

// cutToken reads a token, RFC 9110 §5.6.2.
func cutToken(s string) (token, rest string) {
	rest = strings.TrimLeftFunc(s, isTokenChar)
	return s[:len(s)-len(rest)], rest
}

func skip(s, cutset string) string { return strings.TrimLeft(s, cutset) }

func isTokenChar(c rune) bool {
	return isAlphanumeric(c) || c < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}

func isToken68(c rune) bool {
	return isAlphanumeric(c) || c < 0x80 && strings.ContainsRune("-._~+/", c)
}

func isAlphanumeric(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
