package route

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// maxPath bounds a path in bytes, escaped. Real ones stay below 300.
const maxPath = 8 << 10

// Path is a path that every reader on the way reads alike: the rules here, the
// proxy, whatever stands before the upstream, the upstream. Only [ParsePath]
// makes one.
type Path struct {
	raw   string
	match string
}

// ParsePath accepts the path of a request as it was sent, escaped and without
// its query. It refuses what two readers could read in two ways, and it has no
// correction to offer: a path is forwarded byte for byte or not at all.
//
// Refused are: dot segments, empty segments, slashes, backslashes, control
// characters and a further escape behind an escape, each in any spelling; what
// begins a query, a fragment or a path parameter to a reader that decodes
// first; segments that end in a dot or are padded with spaces, which some
// readers trim; letters that become ASCII ones when their case is folded; and
// bytes that net/url would escape anew. OData's own syntax passes, as in
// findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z).
func ParsePath(escaped string) (Path, error) {
	if len(escaped) > maxPath {
		return Path{}, entra.Errorf(entra.Invalid, "parse.path", "path: longer than %d bytes", maxPath)
	}
	decoded, fault := decode(escaped)
	if fault != "" {
		return Path{}, entra.Errorf(entra.Invalid, "parse.path", "path %s: %s", entra.Quote(escaped), fault)
	}
	return Path{raw: escaped, match: defender.Canonical(decoded)}, nil
}

// Raw returns the path as it was sent, byte for byte.
func (p Path) Raw() string { return p.raw }

// Match returns the path as the upstream reads it: decoded, and in the form in
// which its spellings are equal, [defender.Canonical].
func (p Path) Match() string { return p.match }

// String returns what [Path.Raw] returns.
func (p Path) String() string { return p.raw }

// decode unescapes a path, or says why not.
func decode(escaped string) (decoded, fault string) {
	if !strings.HasPrefix(escaped, "/") {
		return "", "want a leading slash"
	}
	decoded, err := url.PathUnescape(escaped)
	if err != nil {
		return "", "it has a % that begins no escape, write %25"
	}
	// An escaped slash would make segments that the sender did not cut.
	if strings.Count(decoded, "/") != strings.Count(escaped, "/") {
		return "", "escaped slashes are refused, not every server takes them for slashes"
	}
	if fault := faultOf(decoded); fault != "" {
		return "", fault
	}
	// EscapedPath keeps RawPath only where it is a valid escaping of Path.
	if u := (url.URL{Path: decoded, RawPath: escaped}); u.EscapedPath() != escaped {
		return "", "it has a character that must be escaped"
	}
	return decoded, ""
}

// faultOf says what two readers of a decoded path could disagree about; empty:
// nothing.
func faultOf(decoded string) string {
	if !utf8.ValidString(decoded) {
		return "it is not UTF-8"
	}
	for i, r := range decoded {
		switch {
		case unicode.IsControl(r):
			return "control characters are refused"
		case r == '\\':
			return "backslashes are refused, some servers take them for slashes"
		case r == '?', r == '#', r == ';':
			return "?, # and ; are refused, escaped ones too: some servers end the path or the segment there"
		case r == '%' && beginsEscape(decoded[i+1:]):
			return "it is escaped twice"
		case r >= utf8.RuneSelf && (unicode.ToLower(r) < utf8.RuneSelf || unicode.ToUpper(r) < utf8.RuneSelf):
			return "it has a letter that some servers take for an ASCII one"
		}
	}
	for rest := decoded[1:]; ; {
		segment, after, more := strings.Cut(rest, "/")
		switch {
		case segment == "" && more:
			return "empty segments (//) are refused"
		case segment == "." || segment == "..":
			return "dot segments are refused"
		case strings.HasSuffix(segment, "."), strings.TrimSpace(segment) != segment:
			return "a segment that ends in a dot, or has a space at an end, is refused: some servers trim it"
		case !more:
			return ""
		}
		rest = after
	}
}

// beginsEscape reports whether what follows a % makes it an escape to a reader
// that decodes once more: %2f, or %u002f as IIS has it.
func beginsEscape(s string) bool {
	if s != "" && s[0]|0x20 == 'u' {
		return true
	}
	return len(s) >= 2 && isHex(s[0]) && isHex(s[1])
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}
