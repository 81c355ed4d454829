package defender

import (
	"slices"
	"strings"

	"tokenbroker/entra"
)

// Host is an API host of one cloud or several.
type Host struct {
	Clouds    []entra.Cloud
	Name      string // in lower case
	Authority entra.Authority
	Route     string // the built-in route that leads there, from its region; empty: none
	Region    string // whose nearest host it is, as in eu; empty: the cloud's own, for all regions
	Status    string // in the documentation's words: current, legacy, …
	Source    string // the page that the row was read from

	// The scope of the tokens for each API; empty: the host does not serve it.
	XDR, MDE, Graph, MDCA entra.Scope
}

// Scope returns the scope of the tokens for an API at this host, or none where
// the host does not serve it.
func (h *Host) Scope(api API) entra.Scope {
	switch api {
	case XDR:
		return h.XDR
	case MDE:
		return h.MDE
	case Graph:
		return h.Graph
	case MDCA:
		return h.MDCA
	default:
		return ""
	}
}

// apis lists the APIs that the host serves.
func (h *Host) apis() []API {
	return slices.DeleteFunc(apis(), func(api API) bool { return h.Scope(api) == "" })
}

// Scopes lists the scopes of the host's APIs: first the one whose audience is
// the host itself, where it serves two.
func (h *Host) Scopes() []entra.Scope {
	var scopes []entra.Scope
	for _, api := range h.apis() {
		scopes = append(scopes, h.Scope(api))
	}
	return scopes
}

// Paths lists the patterns of the only paths that a built-in route opens at this
// host; nil: every path. A token for Graph can open mail and files as well.
func (h *Host) Paths() []string {
	if h.Graph == "" {
		return nil
	}
	return []string{"/v1.0/security/**", "/beta/security/**"}
}

// ScopeFor returns the scope of the token for a path, decoded, as the upstream
// reads it. One host serves two resource applications, and a token for one is
// refused by the other, so it is the path that decides. None means that the
// host serves no API at that path: in the government clouds the host of the XDR
// API does not serve MDE's.
func (h *Host) ScopeFor(path string) entra.Scope {
	path = Canonical(path)
	switch {
	case h.MDCA != "":
		return h.MDCA
	case below(path, "/v1.0"), below(path, "/beta"):
		return h.Graph
	case !below(path, "/api"):
		return ""
	}
	collection := strings.TrimPrefix(path[len("/api"):], "/")
	if i := strings.IndexAny(collection, "/("); i >= 0 { // "(": an OData key, incidents(41)
		collection = collection[:i]
	}
	switch collection {
	case "incidents", "advancedhunting":
		return h.XDR
	default:
		return h.MDE
	}
}

// below reports whether a path is root or lies below it.
func below(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || rest[0] == '/')
}
