package route

import (
	"net/url"
	"strings"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// Pattern picks paths. It is written as the upstream reads a path, unescaped
// and in any case. * stands for one segment, ** at the end for any number of
// them, none included, and name(*) for an OData function with any parameters.
type Pattern struct {
	text     string
	segments []string // of the canonical path, without the ** at the end
	any      bool     // whether ** was there
}

// ParsePattern accepts a pattern such as /api/incidents/**, and refuses one
// that no path can match.
func ParsePattern(s string) (Pattern, error) {
	refuse := func(why string) (Pattern, error) {
		return Pattern{}, entra.Errorf(entra.Invalid, "parse.pattern", "path pattern %s: %s", entra.Quote(s), why)
	}
	decoded, fault := decode((&url.URL{Path: s}).EscapedPath())
	if fault != "" {
		return refuse("no path can match it: " + fault)
	}
	p := Pattern{text: s, segments: segmentsOf(defender.Canonical(decoded))}
	last := len(p.segments) - 1
	if last >= 0 && p.segments[last] == "**" {
		p.segments, p.any = p.segments[:last], true
	}
	for _, segment := range p.segments {
		switch {
		case segment == "**":
			return refuse("** stands at the end only")
		case segment != "*" && strings.Contains(strings.TrimSuffix(segment, "(*)"), "*"):
			return refuse("* stands for a whole segment, or for all parameters of a function: name(*)")
		}
	}
	return p, nil
}

// Match reports whether the pattern picks the path.
func (p Pattern) Match(path Path) bool {
	rest := strings.TrimPrefix(path.match, "/")
	for _, want := range p.segments {
		if rest == "" {
			return false
		}
		segment, after, _ := strings.Cut(rest, "/")
		if want != "*" && want != segment && !isCallOf(want, segment) {
			return false
		}
		rest = after
	}
	return p.any || rest == ""
}

// isCallOf reports whether a segment is a call of the function that the
// pattern's segment stands for.
func isCallOf(want, segment string) bool {
	name, ok := strings.CutSuffix(want, "*)")
	return ok && strings.HasPrefix(segment, name) && strings.HasSuffix(segment, ")")
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// segmentsOf cuts a canonical path into its segments.
func segmentsOf(path string) []string {
	if path == "/" {
		return nil
	}
	return strings.Split(path[1:], "/")
}
