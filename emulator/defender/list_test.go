package defenderemu

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// follow turns a link into a request of the same server.
func follow(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u.RequestURI()
}

func TestPagesCoverTheListOnce(t *testing.T) {
	e := newEmulator(t)
	for _, tt := range []struct {
		uri, id string
		pages   []int
	}{
		{"/api/incidents", "incidentId", []int{100, 60}},
		{"/api/incidents?$filter=status%20eq%20'Active'&$skip=3", "incidentId", nil},
		{"/api/machines/SoftwareInventoryByMachine?pageSize=900", "deviceId", nil},
		{"/v1.0/security/incidents", "id", []int{50, 50, 50, 10}},
		{"/v1.0/security/incidents?$top=30", "id", []int{30, 30, 30, 30, 30, 10}},
	} {
		var sizes []int
		var ids []any
		for uri := tt.uri; uri != ""; {
			l := e.list(uri)
			sizes, ids = append(sizes, len(l.Value)), append(ids, l.properties(tt.id)...)
			if uri = l.NextLink; uri != "" {
				uri = follow(t, uri)
			}
			if len(sizes) > 50 {
				t.Fatalf("%s: the pages do not end", tt.uri)
			}
		}
		if tt.pages != nil && !cmp.Equal(sizes, tt.pages) {
			t.Errorf("%s: got pages of %v, want %v", tt.uri, sizes, tt.pages)
		}
		whole := e.list(strings.Replace(tt.uri, "pageSize=900", "pageSize=200000", 1))
		for whole.NextLink != "" {
			next := e.list(follow(t, whole.NextLink))
			whole.Value, whole.NextLink = append(whole.Value, next.Value...), next.NextLink
		}
		if diff := cmp.Diff(ids, whole.properties(tt.id)); diff != "" {
			t.Errorf("%s: the pages together are not the list: %s", tt.uri, diff)
		}
	}
}

func TestPageSizeIsSettable(t *testing.T) {
	e := newEmulator(t, func(c *Config) { c.PageSize = 7 })
	l := e.list("/api/machines")
	if len(l.Value) != 7 || l.NextLink == "" {
		t.Errorf("got %d machines and link %q, want 7 and one", len(l.Value), l.NextLink)
	}
}

func TestNextLinkNamesAForeignHostAndKeepsTheQuery(t *testing.T) {
	tests := []struct {
		name, uri, want string
		set             func(*Config)
		faults          Faults
	}{
		{
			"xdr", "/api/incidents?$filter=severity%20ne%20%27x%27&a=%2f+b", "https://api-us.security.microsoft.com/api/incidents?$filter=severity%20ne%20%27x%27&a=%2f+b&$skiptoken=eyJvZmZzZXQiOjV9", nil, nil,
		},
		{"mde", "/api/v1.0/Machines", "https://api-us.securitycenter.microsoft.com/api/v1.0/Machines?$skiptoken=eyJvZmZzZXQiOjV9", nil, nil},
		{"graph", "/beta/security/alerts_v2?", "https://graph.microsoft.com/beta/security/alerts_v2?$skiptoken=eyJvZmZzZXQiOjV9", nil, nil},
		{"second page", "/api/incidents?$skipToken=eyJvZmZzZXQiOjV9&x", "https://api-us.security.microsoft.com/api/incidents?x&$skiptoken=eyJvZmZzZXQiOjEwfQ==", nil, nil},
		{"settable", "/api/incidents", "https://api-df.example/api/incidents?$skiptoken=eyJvZmZzZXQiOjV9", func(c *Config) { c.ForeignHost = "api-df.example" }, nil},
		{"loopback", "/api/incidents", "https://127.0.0.1/api/incidents?$skiptoken=eyJvZmZzZXQiOjV9", nil, Faults{NextLinkHost: {}}},
		{"any host", "/api/incidents", "https://localhost:1059/api/incidents?$skiptoken=eyJvZmZzZXQiOjV9", nil, Faults{NextLinkHost: {Host: "localhost:1059"}}},
		{
			"lower-case keys", "/api/machines/SoftwareInventoryByMachine?pageSize=5&B=C&D",
			"https://api-us.securitycenter.microsoft.com/api/machines/SoftwareInventoryByMachine?pagesize=5&b=C&d&$skiptoken=eyJvZmZzZXQiOjV9", nil,
			Faults{LowerCaseKeys: {}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEmulator(t, func(c *Config) {
				c.PageSize = 5
				if tt.set != nil {
					tt.set(c)
				}
			})
			if err := e.SetFaults(tt.faults); err != nil {
				t.Fatal(err)
			}
			l := e.list(tt.uri)
			if l.NextLink != tt.want {
				t.Errorf("got  %s\nwant %s", l.NextLink, tt.want)
			}
			if strings.Contains(l.Context, "127.0.0.1") || !strings.HasPrefix(l.Context, "https://") {
				t.Errorf("got context %s", l.Context)
			}
			if body := e.get(tt.uri).Body.String(); !strings.Contains(body, l.NextLink) {
				t.Error("the link is escaped as no API escapes it")
			}
			if next := e.list(follow(t, l.NextLink)); len(next.Value) != 5 {
				t.Errorf("the next page has %d rows, want 5", len(next.Value))
			}
		})
	}
}

func TestTopSuppressesTheNextLink(t *testing.T) {
	e := newEmulator(t)
	if l := e.list("/api/machines?$top=5&$skip=10"); len(l.Value) != 5 || l.NextLink != "" {
		t.Errorf("got %d rows and link %q, want 5 and none", len(l.Value), l.NextLink)
	}
	if l := e.list("/api/machines?$top=0"); len(l.Value) != 0 || l.NextLink != "" {
		t.Errorf("got %d rows and link %q, want none", len(l.Value), l.NextLink)
	}
	if l := e.list("/v1.0/security/incidents?$top=0"); len(l.Value) != 0 || l.NextLink != "" {
		t.Errorf("Graph: got %d rows and link %q, want none: the pages would not end", len(l.Value), l.NextLink)
	}
	if err := e.SetFaults(Faults{PagedTop: {}}); err != nil {
		t.Fatal(err)
	}
	if l := e.list("/api/machines?$top=5"); len(l.Value) != 5 || l.NextLink == "" {
		t.Errorf("got %d rows and link %q, want 5 and one", len(l.Value), l.NextLink)
	}
}

func TestQueryOptions(t *testing.T) {
	e := newEmulator(t)
	whole := e.list("/api/machines").properties("id")
	if got := e.list("/api/machines?$skip=298").properties("id"); !cmp.Equal(got, whole[298:]) {
		t.Errorf("$skip: got %v, want %v", got, whole[298:])
	}
	if got := e.list("/api/machines?$skip=400").Value; len(got) != 0 {
		t.Errorf("$skip beyond the end: got %d rows", len(got))
	}
	if l := e.list("/api/machines?$count=true&$top=1"); l.Count == nil || *l.Count != 300 {
		t.Errorf("$count: got %v, want 300", l.Count)
	}
	if got := e.get("/api/machines/$count?$filter=osPlatform%20eq%20'macOS'").ok().Body.String(); got != "10" {
		t.Errorf("/$count: got %s, want 10", got)
	}
	if got, want := e.get("/api/machines?$select=osPlatform,id&$top=1").ok().Body.String(), `"value":[{"id":"`+whole[0].(string)+`","osPlatform":"Windows11"}]`; !strings.Contains(got, want) {
		t.Errorf("$select: got %s, want %s", got, want)
	}
	newest := e.list("/api/incidents?$orderby=createdTime%20desc,incidentId&$top=1")
	if got := newest.properties("incidentId"); !cmp.Equal(got, []any{float64(1160)}) {
		t.Errorf("$orderby desc: got %v, want 1160", got)
	}
	ordered := e.list("/api/alerts?$orderby=severity%20asc,alertCreationTime&$select=severity").properties("severity")
	for i := range ordered[1:] {
		if ordered[i].(string) > ordered[i+1].(string) {
			t.Fatalf("$orderby: %v stands before %v", ordered[i], ordered[i+1])
		}
	}
	if got := e.list("/api/alerts?$orderby=assignedTo&$top=1").properties("assignedTo"); got[0] != nil {
		t.Errorf("$orderby: %v stands before null", got[0])
	}
	if l := e.list("/api/alerts?$top=1"); len(l.Value[0]["evidence"].([]any)) != 0 {
		t.Error("evidence was sent without $expand")
	}
	if l := e.list("/api/alerts?$top=1&$expand=evidence"); len(l.Value[0]["evidence"].([]any)) == 0 {
		t.Error("no evidence was sent with $expand")
	}
	if l := e.list("/v1.0/security/incidents?$top=1"); l.Value[0]["alerts"] != nil {
		t.Error("Graph: alerts were sent without $expand")
	}
	if l := e.list("/v1.0/security/incidents?$top=1&$expand=alerts"); len(l.Value[0]["alerts"].([]any)) == 0 {
		t.Error("Graph: no alerts were sent with $expand")
	}
}

func TestBadQueryOptionsAreRefused(t *testing.T) {
	e := newEmulator(t)
	for uri, code := range map[string]string{
		"/api/incidents?$top=101":                               "ODataError",
		"/api/machines?$top=10001":                              "ODataError",
		"/v1.0/security/incidents?$top=51":                      "ODataError",
		"/api/machines?$top=-1":                                 "ODataError",
		"/api/machines?$top=many":                               "ODataError",
		"/api/machines?$top=99999999999999999999":               "ODataError",
		"/api/machines?$skip=1.5":                               "ODataError",
		"/api/machines?$top=1&$TOP=2":                           "ODataError",
		"/api/machines?$count=maybe":                            "ODataError",
		"/api/machines?$search=x":                               "ODataError",
		"/api/machines?$expand=evidence":                        "ODataError",
		"/api/machines?$select=nothing":                         "ODataError",
		"/api/machines?$orderby=nothing":                        "ODataError",
		"/api/machines?$orderby=machineTags":                    "ODataError",
		"/api/machines?$orderby=id%20up":                        "ODataError",
		"/api/machines?$orderby=":                               "",
		"/api/machines?$orderby=,":                              "ODataError",
		"/api/machines?$filter=nothing%20eq%201":                "ODataError",
		"/api/machines?$skiptoken=x":                            "BadRequest",
		"/api/machines?$skiptoken=eyJvZmZzZXQiOi0xfQ==":         "BadRequest",
		"/api/machines?$filter=%zz":                             "BadRequest",
		"/api/machines?a=1;b=2":                                 "BadRequest",
		"/api/machines/SoftwareInventoryByMachine?pageSize=0":   "BadRequest",
		"/api/machines/SoftwareInventoryByMachine?pageSize=2e5": "ODataError",
		"/api/deviceavinfo?pageSize=200001":                     "BadRequest",
	} {
		status := http.StatusBadRequest
		if code == "" {
			status = http.StatusOK
		}
		if a := e.get(uri); a.Code != status || !strings.Contains(a.Body.String(), code) {
			t.Errorf("%s: got %d %.200s, want %d %s", uri, a.Code, a.Body, status, code)
		}
	}
}
