package protocol_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// FuzzIdentity sends any query and any form to all three protocols. Whatever is
// answered with a token says one resource, and one identity at most, and the
// token is for just those; everything else is refused in the protocol's shape.
func FuzzIdentity(f *testing.F) {
	for _, seed := range [][2]string{
		{"api-version=2019-08-01&resource=https://api.example", "resource=https://api.example"},
		{"api-version=2017-09-01&resource=" + appResource + "&clientid=", "client_id=" + appClient + "&resource=https://api.example/"},
		{"api-version=2018-02-01&resource=https%3A%2F%2Fmanaged.example&object_id=" + objectID, "resource=a&resource=b"},
		{"api-version=2018-02-01&resource=https://people.example&msi_res_id=" + resourceID, "xms_cc=cp1&resource=https://shut.example"},
		{"api-version=2019-08-01&resource=https://api.example;x", "%"},
		{"", "resource=https://managed.example&mi_res_id=" + resourceID},
		{"xms_cc=cp1", "resource=https://api.example"},
		{"api-version=2019-08-01&resource=https://api.example/&client_id=" + appClient + "&mi_res_id=x", "resource=https://api.example%20openid"},
	} {
		f.Add(seed[0], seed[1])
	}
	s := newIdentities(f, nil)
	table := identityTable(f)
	f.Fuzz(func(t *testing.T, query, form string) {
		for name, as := range everySpoken {
			s.asked = nil
			sent := ""
			if as.method == http.MethodPost {
				sent = form
			}
			w := s.send(t, as.method, as.path+"?"+query, sent, as.header)
			name = fmt.Sprintf("%s, query %q, form %q", name, query, sent)
			var got map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("%s: got %d %q: %v", name, w.Code, w.Body, err)
			}
			if w.Code != http.StatusOK {
				denied := w.Code == http.StatusForbidden && as != imds
				if !denied && w.Code != http.StatusBadRequest || got["error"] == nil || got["error_description"] == nil || len(s.asked) > 0 && s.asked[0].Identity != "id-3" {
					t.Errorf("%s: got %d %s, asked for %+v", name, w.Code, w.Body, s.asked)
				}
				continue
			}
			said, err := url.ParseQuery(query)
			more, err2 := url.ParseQuery(sent)
			if err != nil || err2 != nil || len(s.asked) != 1 {
				t.Fatalf("%s: answered, though malformed (%v, %v) or asked for %+v", name, err, err2, s.asked)
			}
			for parameter, values := range more {
				said[parameter] = append(said[parameter], values...)
			}
			checkAnswered(t, name, table, said, got, &s.asked[0])
		}
	})
}

// checkAnswered holds an answer, and what the source was asked, to what was said.
func checkAnswered(t *testing.T, name string, table *route.Table, said url.Values, got map[string]any, asked *entra.Request) {
	t.Helper()
	selected := route.Known{}
	selectors := 0
	for parameter, values := range said {
		if len(values) != 1 || values[0] == "" && parameter != "clientid" {
			t.Errorf("%s: answered, though it says %s as %q", name, parameter, values)
		}
		switch parameter {
		case "api-version", "resource", "xms_cc":
			continue
		case "client_id", "clientid":
			selected.ClientID = values[0]
		case "object_id", "principal_id":
			selected.ObjectID = values[0]
		case "mi_res_id", "msi_res_id":
			selected.ResourceID = values[0]
		default:
			t.Errorf("%s: answered, though nobody knows %s", name, parameter)
		}
		if values[0] != "" {
			selectors++
		}
	}
	scope, err := entra.ParseResource(said.Get("resource"))
	if err != nil || asked.Scope != scope || got["resource"] != said.Get("resource") || selectors > 1 {
		t.Errorf("%s: answered %v, asked for %+v: %v", name, slices.Sorted(maps.Keys(got)), asked, err)
	}
	for _, i := range table.Identities() {
		if i.ID != asked.Identity {
			continue
		}
		for _, id := range [][2]string{
			{selected.ClientID, i.Known.ClientID}, {selected.ObjectID, i.Known.ObjectID}, {selected.ResourceID, i.Known.ResourceID},
		} {
			if id[0] != "" && !strings.EqualFold(id[0], id[1]) {
				t.Errorf("%s: answered as %s, which goes not by %q", name, i.Name, id[0])
			}
		}
	}
}
