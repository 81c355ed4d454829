package defender

import (
	"net/http"
	"strings"
)

// Canonical returns the form of a decoded path in which two paths are equal
// when the Defender APIs read them as one: in lower case, /api/v1.0 as /api (it
// is an alias, see "Supported Microsoft Defender for Endpoint APIs"), the
// /$count of a collection as the collection, and no slash at the end. A path
// that is canonical already is returned as it is, without allocation.
func Canonical(path string) string {
	path = strings.ToLower(path)
	for trimmed := ""; ; path = trimmed {
		trimmed = strings.TrimSuffix(strings.TrimRight(path, "/"), "/$count")
		if trimmed == path {
			break
		}
	}
	for below(path, "/api/v1.0") {
		path = "/api" + path[len("/api/v1.0"):]
	}
	if path == "" {
		return "/"
	}
	return path
}

// Match returns the endpoint of a call. The path is decoded, as the upstream
// reads it, and need not be [Canonical]. HEAD is looked up as GET. A name in
// the table is preferred to a placeholder.
//
// Graph serves one API in two versions: a path below /beta is the endpoint that
// stands in the table below /v1.0.
//
// Spellings of OData that name an endpoint in another way than the table's, a
// key in parentheses as in machines('id') or a qualified name as in ns.isolate,
// match nothing: whoever restricts calls has to take them for unknown.
func (c *Catalogue) Match(method, path string) (*Endpoint, bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	root, path := c.root, strings.TrimPrefix(Canonical(path), "/")
	if rest, ok := strings.CutPrefix(path, "beta/"); ok && root.names["v1.0"] != nil {
		root, path = root.names["v1.0"], rest
	}
	e := root.find(method, path)
	return e, e != nil
}

// node is a segment of the endpoints' paths, and what can follow it.
type node struct {
	names     map[string]*node // segments as they stand in the table, in lower case
	functions map[string]*node // the same for OData functions, without the parameters
	id        *node            // a placeholder
	endpoints []*Endpoint      // those whose path ends here, one a method
}

// add puts an endpoint into the tree. It reports false if one is there already.
func (n *node) add(e *Endpoint) bool {
	for segment := range strings.SplitSeq(strings.TrimPrefix(Canonical(e.Path), "/"), "/") {
		name, parameters, isFunction := strings.Cut(segment, "(")
		switch {
		case isFunction && strings.HasSuffix(parameters, ")"):
			n = child(&n.functions, name)
		case strings.HasPrefix(segment, "{"):
			if n.id == nil {
				n.id = new(node)
			}
			n = n.id
		default:
			n = child(&n.names, segment)
		}
	}
	if n.endpoint(e.Method) != nil {
		return false
	}
	n.endpoints = append(n.endpoints, e)
	return true
}

func child(children *map[string]*node, name string) *node {
	if *children == nil {
		*children = make(map[string]*node)
	}
	if (*children)[name] == nil {
		(*children)[name] = new(node)
	}
	return (*children)[name]
}

// find walks the path, a canonical one without its leading slash. Where a name
// leads nowhere it tries the placeholder: both /machines/findbytag and
// /machines/{id}/alerts are endpoints.
func (n *node) find(method, path string) *Endpoint {
	segment, rest, more := strings.Cut(path, "/")
	for _, next := range [...]*node{n.names[segment], n.function(segment), n.placeholder(segment)} {
		if next == nil {
			continue
		}
		var e *Endpoint
		if more {
			e = next.find(method, rest)
		} else {
			e = next.endpoint(method)
		}
		if e != nil {
			return e
		}
	}
	return nil
}

func (n *node) endpoint(method string) *Endpoint {
	for _, e := range n.endpoints {
		if e.Method == method {
			return e
		}
	}
	return nil
}

// function returns what follows a segment that calls an OData function:
// findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z).
func (n *node) function(segment string) *node {
	name, parameters, ok := strings.Cut(segment, "(")
	if !ok || !strings.HasSuffix(parameters, ")") {
		return nil
	}
	return n.functions[name]
}

// placeholder returns what follows a segment that is an id, and not another
// spelling of a name: a call in parentheses, something of OData's own such as
// $value, or a neighbour's name, qualified.
func (n *node) placeholder(segment string) *node {
	if segment == "" || segment[0] == '$' || strings.ContainsAny(segment, "()") {
		return nil
	}
	if i := strings.LastIndexByte(segment, '.'); i >= 0 && n.names[segment[i+1:]] != nil {
		return nil
	}
	return n.id
}
