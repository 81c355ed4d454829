package defenderemu

import (
	"net/url"
	"strconv"
	"strings"

	"tokenbroker/defender"
)

// The API's links name whatever host the backend takes itself for, which is
// hardly ever the one that was asked.
const (
	foreignXDR   = "api-us.security.microsoft.com"
	foreignMDE   = "api-us.securitycenter.microsoft.com"
	foreignGraph = "graph.microsoft.com"
)

// linkHost is the host that the links of an answer name.
func (c *call) linkHost() string {
	switch {
	case c.server.cfg.ForeignHost != "":
		return c.server.cfg.ForeignHost
	case c.endpoint.API == defender.Graph:
		return foreignGraph
	case c.endpoint.API == defender.XDR:
		return foreignXDR
	default:
		return foreignMDE
	}
}

// context is an @odata.context.
func (c *call) context(of string) string {
	root := "api"
	if c.endpoint.API == defender.Graph {
		root = strings.Split(c.URL.Path, "/")[1] // the version that was asked
	}
	return "https://" + c.linkHost() + "/" + root + "/$metadata#" + of
}

// nextLink is the link to the page that begins at a token.
func (c *call) nextLink(token skipToken) string { return c.link("$skiptoken=" + token.String()) }

// deltaLink is the link to what will have changed since.
func (c *call) deltaLink() string {
	return c.link("$deltatoken=" + strconv.FormatInt(c.now.UnixNano(), 36))
}

// link is a link to the same list: the path and the query byte for byte as they
// came, with another token at their end.
func (c *call) link(token string) string {
	host := c.linkHost()
	if f, ok := c.server.faults.take(NextLinkHost, c.Request); ok {
		host = f.Host
	}
	_, lower := c.server.faults.take(LowerCaseKeys, c.Request)
	var pairs []string
	for pair := range strings.SplitSeq(c.URL.RawQuery, "&") {
		key, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(key); err != nil || pair == "" || strings.EqualFold(name, "$skiptoken") || strings.EqualFold(name, "$deltatoken") {
			continue
		}
		if lower {
			pair = strings.ToLower(key) + pair[len(key):]
		}
		pairs = append(pairs, pair)
	}
	pairs = append(pairs, token)
	return "https://" + host + c.URL.EscapedPath() + "?" + strings.Join(pairs, "&")
}
