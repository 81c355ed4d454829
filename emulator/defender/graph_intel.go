package defenderemu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// intel is a piece of Microsoft's threat intelligence, with what most kinds of
// it have in common (Graph: "Use the Microsoft Graph threat intelligence API").
type intel struct {
	Type  string `json:"@odata.type"`
	ID    string `json:"id"`
	Title string `json:"title,omitempty"`
	First stamp  `json:"firstSeenDateTime"`
	Last  stamp  `json:"lastSeenDateTime"`
}

// intelPaths are the paths below threatIntelligence, each with the kind of what
// is there. A path with a single thing ends in the thing's id, or names what a
// host has one of.
var intelPaths = map[string]string{
	"articleIndicators/{id}":                      "articleIndicator",
	"articles":                                    "article",
	"articles/{id}":                               "article",
	"articles/{id}/indicators":                    "articleIndicator",
	"hostComponents/{id}":                         "hostComponent",
	"hostCookies/{id}":                            "hostCookie",
	"hostPairs/{id}":                              "hostPair",
	"hostPorts/{id}":                              "hostPort",
	"hosts/{id}":                                  intelHost,
	"hosts/{id}/childHostPairs":                   "hostPair",
	"hosts/{id}/components":                       "hostComponent",
	"hosts/{id}/cookies":                          "hostCookie",
	"hosts/{id}/hostPairs":                        "hostPair",
	"hosts/{id}/parentHostPairs":                  "hostPair",
	"hosts/{id}/passiveDns":                       "passiveDnsRecord",
	"hosts/{id}/passiveDnsReverse":                "passiveDnsRecord",
	"hosts/{id}/ports":                            "hostPort",
	"hosts/{id}/reputation":                       "hostReputation",
	"hosts/{id}/subdomains":                       "subdomain",
	"hosts/{id}/trackers":                         "hostTracker",
	"hostTrackers/{id}":                           "hostTracker",
	"intelligenceProfileIndicators/{id}":          "intelligenceProfileIndicator",
	"intelProfiles":                               "intelligenceProfile",
	"intelProfiles/{id}":                          "intelligenceProfile",
	"intelProfiles/{id}/indicators":               "intelligenceProfileIndicator",
	"passiveDnsRecords/{id}":                      "passiveDnsRecord",
	"sslCertificates/{id}/relatedHosts":           intelHost,
	"vulnerabilities/{id}":                        intelVulnerability,
	"vulnerabilities/{id}/components":             "vulnerabilityComponent",
	"vulnerabilities/{id}/components/{component}": "vulnerabilityComponent",
}

// The kinds whose ids are names, not numbers.
const (
	intelHost          = "host"
	intelVulnerability = "vulnerability"
)

// intelOf makes what there is of a kind: the same for every tenant.
func (t *data) intelOf(kind string, now stamp) []intel {
	rows := make([]intel, 3)
	for i := range rows {
		n := i + 1
		rows[i] = intel{
			Type: "#microsoft.graph.security." + kind, ID: strconv.Itoa(n), Title: fmt.Sprintf("Example %s %d", kind, n),
			First: now.after(-time.Duration(n) * 90 * 24 * time.Hour), Last: now.after(-time.Duration(n) * time.Hour),
		}
		switch kind {
		case intelHost:
			rows[i].ID = fmt.Sprintf("c2-%d.example", n)
		case intelVulnerability:
			rows[i].ID = t.weakness(i)
		}
	}
	return rows
}

// weakness is the id of one of the weaknesses that the products have.
func (t *data) weakness(i int) string {
	var ids []string
	for _, p := range t.products {
		for _, w := range p.weaknesses {
			ids = append(ids, w.ID)
		}
	}
	return ids[i%len(ids)]
}

// intelRoutes says who answers for threat intelligence.
func intelRoutes() map[string]handler {
	routes := map[string]handler{}
	for path, kind := range intelPaths {
		parent := ""
		if collection, _, below := strings.Cut(path, "/{id}/"); below {
			parent = intelPaths[collection+"/{id}"]
		}
		answer := listIntel(kind)
		if strings.HasSuffix(path, "}") {
			answer = getIntel(kind, path[strings.LastIndexByte(path, '{')+1:len(path)-1])
		} else if kind == "hostReputation" {
			answer = getReputation
		}
		routes["GET /v1.0/security/threatIntelligence/"+path] = within(parent, answer)
	}
	return routes
}

// within answers where the thing that the path begins with exists. The empty
// parent is none, or one of a kind that cannot be asked for alone.
func within(parent string, h handler) handler {
	if parent == "" {
		return h
	}
	return func(c *call) (answer, error) {
		if _, err := c.intel(parent, "id"); err != nil {
			return answer{}, err
		}
		return h(c)
	}
}

// intel finds what a placeholder of the path names.
func (c *call) intel(kind, placeholder string) (intel, error) {
	rows, id := c.data.intelOf(kind, c.now), c.param(placeholder)
	i := slices.IndexFunc(rows, func(row intel) bool { return strings.EqualFold(row.ID, id) })
	if i < 0 {
		return intel{}, notFound("No %s has the id %q", kind, id)
	}
	return rows[i], nil
}

func listIntel(kind string) handler {
	return func(c *call) (answer, error) {
		return list(c, listing{of: "security/threatIntelligence/" + kind, page: 100, maxTop: 1000, pagedTop: true}, c.data.intelOf(kind, c.now))
	}
}

func getIntel(kind, placeholder string) handler {
	return func(c *call) (answer, error) {
		row, err := c.intel(kind, placeholder)
		if err != nil {
			return answer{}, err
		}
		return c.one("security/threatIntelligence/"+kind, row)
	}
}

// getReputation: Graph, "Get hostReputation".
func getReputation(c *call) (answer, error) {
	return c.one("security/threatIntelligence/hostReputation", struct {
		ID             string   `json:"id"`
		Classification string   `json:"classification"`
		Score          int      `json:"score"`
		Rules          []string `json:"rules"`
	}{c.param("id"), "malicious", 100, []string{}})
}
