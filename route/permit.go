package route

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// Effect says what the call does. Of a call that the catalogue does not know,
// only the method speaks: anything but a read is taken for an action, which is
// never sent twice.
func (c *Call) Effect() defender.Effect {
	if c.Endpoint != nil {
		return c.Endpoint.Effect
	}
	switch c.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return defender.Read
	}
	return defender.Action
}

// Permitted judges the call by its route's deny, access and allow, in this
// order, and returns the setting that decided. The error says why not, and what
// to change.
func (c *Call) Permitted() (rule string, err error) {
	r := c.Route
	setting := "routes." + r.Name
	refuse := func(rule, why string) (string, error) {
		return rule, entra.Errorf(entra.Denied, "route.permit", "route %q: %s %s: %s", r.Name, c.Method, entra.Quote(c.Path.Raw()), why)
	}
	if !r.Restricted() {
		return setting + ".access", nil
	}
	if i := slices.IndexFunc(r.Deny, c.denied); i >= 0 {
		rule := setting + ".deny[" + strconv.Itoa(i) + "]"
		return refuse(rule, rule+" refuses "+r.Deny[i].String()+"; change that rule to let it through")
	}
	if why := c.evasion(); why != "" {
		return refuse(setting, why)
	}
	if r.Access == ReadOnly {
		if why := c.NoRead(); why != "" {
			return refuse(setting+".access", setting+".access is read-only, and "+why)
		}
	}
	if len(r.Allow) == 0 {
		return setting + ".access", nil
	}
	if i := slices.IndexFunc(r.Allow, c.allowed); i >= 0 {
		return setting + ".allow[" + strconv.Itoa(i) + "]", nil
	}
	return refuse(setting+".allow", "no rule of "+setting+".allow names it; add one to let it through")
}

// NoRead says why the call is not one that the catalogue knows to be a read;
// empty: it is one.
func (c *Call) NoRead() string {
	switch {
	case c.Endpoint == nil:
		return "the catalogue does not know this endpoint; make it full, with an allow list, to let it through"
	case c.Endpoint.Effect != defender.Read:
		return c.Endpoint.String() + " has the effect " + c.Endpoint.Effect.String() + "; make it full to let it through"
	}
	return ""
}

// denied reports whether a deny rule picks the call. Graph serves one API in
// two versions: who denies a call in one denies it in the other.
func (c *Call) denied(rule Rule) bool {
	path := c.Path
	if rule.picks(c.Method, path) {
		return true
	}
	if rest, ok := strings.CutPrefix(path.match, "/beta/"); ok {
		path.match = "/v1.0/" + rest
	} else if rest, ok := strings.CutPrefix(path.match, "/v1.0/"); ok {
		path.match = "/beta/" + rest
	}
	return rule.picks(c.Method, path)
}

// allowed reports whether an allow rule picks the call. Where the catalogue
// does not know the call, a * does not stand for a segment in parentheses:
// machines('id') is two segments in one. A ** takes whatever there is.
func (c *Call) allowed(rule Rule) bool {
	if !rule.picks(c.Method, c.Path) {
		return false
	}
	for i, segment := range segmentsOf(c.Path.match) {
		if c.Endpoint == nil && i < len(rule.Path.segments) && rule.Path.segments[i] == "*" && strings.Contains(segment, "(") {
			return false
		}
	}
	return true
}

// evasion says how the call could be one that the route refuses, in a spelling
// that its rules do not see; empty: it could not.
func (c *Call) evasion() string {
	doubtful := c.Endpoint == nil && len(c.Route.Deny) > 0
	for i, segment := range segmentsOf(c.Path.match) {
		switch {
		case c.deniedByID(i) && !isPlainID(segment):
			return entra.Quote(segment) + " could be another spelling of an id that routes." + c.Route.Name + ".deny names; spell it plainly"
		case strings.HasPrefix(segment, "$"):
			// OData 4.01: $batch carries calls in its body, $entity and
			// $crossjoin name what they want in the query.
			return segment + " can reach what no rule sees; call that by its own path"
		case doubtful && isRespelling(i, segment):
			return "the catalogue does not know it, and it could be another spelling of what routes." + c.Route.Name + ".deny refuses; a route without deny rules can let it through"
		}
	}
	return ""
}

// deniedByID reports whether segment i is an id for the catalogue, and a deny
// rule names one there.
func (c *Call) deniedByID(i int) bool {
	if c.Endpoint == nil {
		return false
	}
	template := segmentsOf(c.Endpoint.Path)
	if i >= len(template) || !strings.HasPrefix(template[i], "{") {
		return false
	}
	before := segmentsOf(c.Path.match)[:i]
	return slices.ContainsFunc(c.Route.Deny, func(rule Rule) bool {
		pattern := rule.Path.segments
		return i < len(pattern) && !strings.HasPrefix(pattern[i], "*") &&
			slices.EqualFunc(pattern[:i], before, func(want, got string) bool { return want == "*" || want == got })
	})
}

// isPlainID reports whether an id has one spelling for every reader: 01001 and
// +1001 are 1001 to those who read a number.
func isPlainID(id string) bool {
	const digits, letters = "0123456789", "abcdefghijklmnopqrstuvwxyz"
	if !strings.ContainsAny(id, letters) { // a number, or meant to be one
		return strings.Trim(id, digits) == "" && (id[0] != '0' || id == "0")
	}
	return strings.Trim(id, digits+letters+"-_.~!@") == ""
}

// isRespelling reports whether segment i of a path that the catalogue does not
// know could make another path of it. OData takes machines('id') for
// machines/id, and ns.isolate for isolate; the Defender APIs take /api/v1.0 for
// /api, and do not say what they take other versions for; some servers take ｉ
// for i. Graph's paths start with a version, which is as it should be.
func isRespelling(i int, segment string) bool {
	version, ok := strings.CutPrefix(segment, "v")
	if ok && version != "" && strings.Trim(version, "0123456789.") == "" {
		return i == 1
	}
	return strings.ContainsAny(segment, "().") || strings.ContainsFunc(segment, func(r rune) bool { return r >= utf8.RuneSelf })
}
