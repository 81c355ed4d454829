package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tokenbroker/defender"
)

// announce says in an answer's header that the endpoint ends, and what comes in
// its place: Deprecation (RFC 9745), Sunset and its link (RFC 8594), and the page
// of the endpoint that does the same (RFC 5829 §3.3). Only a settled end is
// announced, and what the upstream says itself stays.
func (e *exchange) announce(h http.Header) {
	endpoint := e.cfg.known(e.call)
	if endpoint == nil {
		return
	}
	on, settled := endpoint.Retirement()
	if !settled {
		return
	}
	e.cfg.Retiring(endpoint)
	if h.Get("Sunset") == "" {
		h.Set("Sunset", on.UTC().Format(http.TimeFormat))
	}
	if h.Get("Deprecation") != "" {
		return
	}
	h.Set("Deprecation", "@"+strconv.FormatInt(defender.RetirementBegan().Unix(), 10))
	h.Add("Link", "<"+defender.RetirementGuide+`>; rel="deprecation sunset"; type="text/html"`)
	if page := e.pageOf(endpoint.Counterpart); page != "" {
		h.Add("Link", "<"+page+`>; rel="successor-version"; type="text/html"`)
	}
}

// pageOf returns the page of an endpoint, by name; empty: there is none.
func (e *exchange) pageOf(name string) string {
	if name == "" || e.cfg.Catalogue == nil {
		return ""
	}
	all := e.cfg.Catalogue.Endpoints()
	i := slices.IndexFunc(all, func(other defender.Endpoint) bool { return other.String() == name })
	if i < 0 {
		return ""
	}
	page, _, _ := strings.Cut(all[i].Source, " ") // a remark may follow
	return page
}
